"""WSGI: a WSGI application as an ASGI application, over the threads of its container.

Owns `from_wsgi`.  The only file that imports a2wsgi.

Begin at `from_wsgi`.
"""

from __future__ import annotations

from typing import Any

from ..exception import UnimplementedError
from .exchange import Application


def from_wsgi(name: str, application: Any) -> Application:
    """Return the ASGI application."""
    raise UnimplementedError(f"{name} is a wsgi_app, and nothing serves it yet")
