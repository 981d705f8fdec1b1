"""What decorators say about a function or a class, and what an app makes of it.

Begin at `marks.Marks`, which a decorator fills in.  `options.py` checks the arguments of
``app.function`` and ``app.cls``; `declarations.py` reads a class.
"""
