"""Web functions: their decorators, their requests, and `asgi`, which mounts one in an app.

This file owns the public names of the package.  Begin at ``decorators.py`` for what a decorator
says, at ``bridge.py`` for how a request becomes an input of a pool, and at ``sites.py`` for the
URLs of a run, which the HTTP thread serves.
"""

from .mounted import asgi as asgi

__all__ = ["asgi"]
