"""The command line: ``moorage run app.py`` and the commands beside it.

Needs the extra ``cli`` (click, and rich for colours on a terminal).  Nothing imports this folder
but ``__main__.py``, so a program that uses the library does not need the extra.

Begin at ``command.py``, then ``run.py``.
"""
