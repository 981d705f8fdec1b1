"""Web functions: their decorators, their requests, and `asgi`, which mounts one in an app.

This file owns the public names of the package.  Begin at ``decorators.py`` for what a decorator
says, and at ``bridge.py`` for how a request becomes an input of a pool.
"""

from .mounted import asgi as asgi

__all__ = ["asgi"]
