"""Servers: classes whose enter hooks start a server that listens on a port.

Owns `Server`, the handle of a server: ``@app.server()`` above a class makes it, and a deployed
server can be named.  ``web/web_server.py`` serves it.

Begin at `Server`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

from .arguments import InvalidUseError, unimplemented
from .client import Client
from .exception import InvalidError
from .types import ServerAutoscalerSettings, ServerInfo
from .with_aio import MethodWithAio

_INSTEAD = "run the server on this machine, e.g. with asyncio.start_server"


class Server:
    """A class whose enter hook starts an HTTP server; ``@app.server()`` makes it."""

    _moorage_registered: Final = True
    _moorage_registered_by = "@app.server()"
    # The class under ``@app.server()``; None for a server that was named.
    _user_class: type | None = None
    # What a bridge needs of the server; None for a server that was named.
    _endpoint: Any = None

    @classmethod
    def _of_class(cls, user_class: type, name: str, endpoint: Any = None) -> Server:
        made = cls()
        made._user_class = user_class
        made._endpoint = endpoint
        made.__name__ = name
        made.__doc__ = user_class.__doc__
        made.__module__ = user_class.__module__
        return made

    __name__: str

    @classmethod
    def from_name(
        cls,
        app_name: str,
        name: str,
        *,
        environment_name: str | None = None,
        client: Client | None = None,
    ) -> Self:
        """Name a server of a deployed app."""
        return cls()

    @classmethod
    def from_id(cls, server_id: str, *, client: Client | None = None) -> Self:
        """Name a server by Modal's id."""
        return cls()

    @property
    def object_id(self) -> str:
        """Modal's id of the server.  Placeholders have none.

        Raises:
            AttributeError: always, as in Modal before a server is looked up.
        """
        raise AttributeError("a Server has no object_id, because it is a placeholder")

    @MethodWithAio
    def hydrate(self, client: Client | None = None) -> Server:
        """Return the server itself.  Nothing is looked up."""
        return self

    @MethodWithAio
    def info(self, *, refresh: bool = False) -> ServerInfo:
        raise unimplemented("Server.info", _INSTEAD)

    def _web_endpoint(self) -> Any:
        """Return what a bridge needs of the server: see `Endpoint` in ``web/bridge.py``.

        Raises:
            InvalidError: if the server is only named.
        """
        if self._endpoint is None:
            raise InvalidError(
                "a Server that is only named is not served here; write @app.server() above its "
                "class"
            )
        return self._endpoint

    @MethodWithAio
    def get_url(self) -> str | None:
        # The seam: the URL of `_web_endpoint()`, as `Function.get_web_url` makes that of a
        # function's.
        raise unimplemented("Server.get_url", _INSTEAD)

    @MethodWithAio
    def update_autoscaler(
        self,
        *,
        target_concurrency: float | None = None,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaleup_window: int | None = None,
        scaledown_window: int | None = None,
    ) -> ServerAutoscalerSettings:
        raise unimplemented("Server.update_autoscaler", _INSTEAD)

    if not TYPE_CHECKING:

        def __call__(self, *args, **kwargs):
            name = self.__dict__.get("__name__", "the server")
            raise InvalidUseError(
                f"{name} is a server: callers make no instances of its class; "
                "write @app.cls() above the class for a class with methods"
            )

        def __getattr__(self, name):
            if name in ("autoscaler", "logs", "metrics", "sessions", "stats"):
                raise AttributeError(f"Server has no {name} here, for it is not served; {_INSTEAD}")
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        name = self.__dict__.get("__name__")
        return "Server()" if name is None else f"Server({name})"


if not TYPE_CHECKING:  # Modal's inner names of the same classes, for isinstance() and annotations
    _Server = Server
