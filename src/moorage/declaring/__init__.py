"""The statements of decorators about functions and classes, and how an app reads them.

Begin at `marks.Marks`, which a decorator fills in.  `options.py` checks the arguments of
``app.function`` and ``app.cls``; `declarations.py` reads a class.
"""
