"""Mounted apps: a web function as a part of somebody's own service.

Owns `asgi`, and `endpoint_of`, which the test kit's client uses too.  The service's own server has
the sockets; the pool of the function has the concurrency.

Begin at `asgi`.
"""

from __future__ import annotations

from typing import Any

from ..exception import InvalidError
from ..frames import hide_our_frames
from .bridge import Bridge, Endpoint


@hide_our_frames
def asgi(function: object) -> Bridge:
    """Return an ASGI application whose requests run in the containers of a web function.

    Mount it into an app of Starlette or FastAPI: ``app.mount("/generate", moorage.web.asgi(f))``.
    Each request is an input of the pool of `function`, with its `max_inputs`, its autoscaler and
    its timeouts.  A request that finds no room gets 503.  The prefix is the ``root_path`` of the
    application's requests.  The lifespan of the service begins and ends no container: open the run
    there, by ``async with app.run():``; without an open run, the first request opens an ambient
    run.

    Args:
        function: a function under ``@app.function()`` and a web decorator, or such a method of
            an instance: ``Model().generate``.

    Raises:
        InvalidError: if `function` is no web function.
    """
    return Bridge(endpoint_of(function, "asgi"))


def endpoint_of(function: Any, taker: str) -> Endpoint:
    """Return the endpoint of a web function; `taker` is what the user called with it.

    Raises:
        InvalidError: if `function` is no web function.
    """
    find = getattr(function, "_web_endpoint", None)
    if find is None or isinstance(function, type):
        shown = getattr(function, "__name__", None) or repr(function)
        raise InvalidError(
            f"{taker} takes a web function, got {shown}; write @moorage.asgi_app(), or another "
            "web decorator, below @app.function(), or give a method of an instance: Model().page"
        )
    endpoint: Endpoint = find()
    return endpoint
