"""Mounted apps: a web function as a part of somebody's own service.

Owns `asgi`.  The service's own server has the sockets; the pool of the function has the
concurrency.

Begin at `asgi`.
"""

from __future__ import annotations

from typing import Any

from .bridge import Bridge


def asgi(function: Any) -> Bridge:
    """Return an ASGI application whose requests run in the containers of a web function.

    Mount it into an app of Starlette or FastAPI: ``app.mount("/generate", moorage.web.asgi(f))``.
    Each request is an input of the pool of `function`, with its `max_inputs`, its autoscaler and
    its timeouts.  Requests that find no room get 503.

    Args:
        function: a function under ``@app.function()`` and a web decorator, or such a method of
            an instance: ``Model().generate``.

    Raises:
        InvalidError: if `function` is no web function.
    """
    return Bridge(function._web_endpoint())
