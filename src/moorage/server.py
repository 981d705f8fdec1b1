"""Servers: classes whose enter hooks start a server that listens on a port.

Owns `Server`, the handle of a server: ``@app.server()`` above a class makes it, and a deployed
server can be named.  ``web/web_server.py`` serves it.

Begin at `Server`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Self

from . import config
from .arguments import InvalidUseError, unimplemented
from .calling.asking import ask
from .exception import InvalidError, NotFoundError
from .placing.blueprints import reference_of_global
from .running import deployments
from .running.endpoints import ServerEndpoint
from .running.urls import open_server_url
from .runtime.context import is_a_container
from .web.servers import check_scaleup_window, check_server_concurrency
from .with_aio import MethodWithAio

if TYPE_CHECKING:
    from .client import Client
    from .runtime.pools.statistics import PoolStatistics
    from .types import ServerAutoscalerSettings, ServerInfo


def _unknown() -> ServerEndpoint:
    raise InvalidError(
        "a Server with an id of Modal's is not served here; write @app.server() above its class"
    )


class Server:
    """A class whose enter hook starts an HTTP server; ``@app.server()`` makes it."""

    _moorage_registered: Final = True
    _moorage_registered_by = "@app.server()"
    # The class of its containers; None for a server that was named.
    _class: Any = None
    _find_endpoint: Callable[[], ServerEndpoint] = staticmethod(_unknown)

    # How another process finds the server: see `_moorage_crosses`.
    _refers: tuple[Callable[..., Any], tuple[Any, ...]] | None = None

    @classmethod
    def _of_class(
        cls, app: object, user_class: type, served: object, name: str, endpoint: ServerEndpoint
    ) -> Server:
        made = cls()
        made._app = app
        made._class = served
        made._find_endpoint = lambda: endpoint
        made.__name__ = name
        made.__doc__ = user_class.__doc__
        made.__module__ = user_class.__module__
        return made

    __name__: str
    _app: object

    def _moorage_crosses(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Return what finds the server in another process: its module, its app, or its name."""
        found = self._refers
        if found is None:
            if self._class is None:
                return Server, ()  # of an id of Modal's
            found = reference_of_global(self) or (_server_of_app, (self._app, self.__name__))
            self._refers = found
        return found

    def _moorage_code(self) -> type | None:
        """Return the code in whose place this object is: see ``placing/blueprints.py``."""
        code: type | None = None if self._class is None else self._class._moorage_code()
        return code

    @classmethod
    def from_name(
        cls,
        app_name: str,
        name: str,
        *,
        environment_name: str | None = None,
        client: Client | None = None,
    ) -> Self:
        """Name a server of an app that is deployed or runs in this process."""

        def find() -> ServerEndpoint:
            found: Server = deployments.of_app(
                "Server", app_name, name, environment_name, lambda app: app._servers_by_name()
            )
            return found._web_endpoint()

        made = cls()
        made._find_endpoint = find
        made._refers = _server_named, (app_name, name, environment_name)
        return made

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
        raise unimplemented("Server.info", "write Server.get_url()")

    def _web_endpoint(self) -> ServerEndpoint:
        """Return what a bridge needs of the server: see `Endpoint` in ``web/bridge.py``.

        Raises:
            InvalidError: if the server was named by an id of Modal's.
            NotFoundError: if the server was named, and there is no such app or server.
        """
        return self._find_endpoint()

    @MethodWithAio
    def get_url(self) -> str | None:
        """Return the URL of the server, such as ``http://127.0.0.1:41234``.

        The server is served from the first call on, until its run ends.  That starts no container.

        Raises:
            ExecutionError: if the run is ending; in strict mode, if the app does not run.
            InvalidError: if the run has a virtual clock, in which there are no sockets, or if the
                extra ``web`` is not installed.
            NotFoundError: if the server was named, and there is no such app or server.
        """
        if is_a_container():
            url: str | None = ask(_url_of, self)
            return url
        return open_server_url(self._web_endpoint())

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
        """Change the bounds of the server's pool, and return the bounds after the change.

        None changes nothing.  There is at most one container, whatever the bounds say.

        Raises:
            InvalidError: if a value is out of its range.
        """
        given: dict[str, float | None] = {
            "target_concurrency": target_concurrency,
            "min_containers": min_containers,
            "max_containers": max_containers,
            "buffer_containers": buffer_containers,
            "scaleup_window": scaleup_window,
            "scaledown_window": scaledown_window,
        }
        return self.autoscaler._change({k: v for k, v in given.items() if v is not None})

    @property
    def autoscaler(self) -> ServerAutoscalerManager:
        """The bounds of the server's pool, to read and to change."""
        return ServerAutoscalerManager(self)

    def statistics(self) -> PoolStatistics | None:
        """Return the exact counts of the server's pool at this moment: see `Function.statistics`.

        Each request is an input.  None outside of a run, and before the first request.
        """
        if is_a_container():
            counts: PoolStatistics | None = ask(_statistics_of, self)
            return counts
        service = self._web_endpoint().service
        run = service.open_run
        return None if run is None else run.statistics(service.key)

    if not TYPE_CHECKING:

        def __call__(self, *args, **kwargs):
            name = self.__dict__.get("__name__", "the server")
            raise InvalidUseError(
                f"{name} is a server: callers make no instances of its class; "
                "write @app.cls() above the class for a class with methods"
            )

        def __getattr__(self, name):
            if name in ("logs", "metrics", "sessions", "stats"):
                raise AttributeError(f"Server has no {name} here; write Server.get_url()")
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        name = self.__dict__.get("__name__")
        return "Server()" if name is None else f"Server({name})"


class ServerAutoscalerManager:
    """``Server.autoscaler``: the bounds of a server's pool, to read and to change."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @MethodWithAio
    def settings(self) -> ServerAutoscalerSettings:
        """Return the present bounds."""
        return self._change({})

    @MethodWithAio
    def update(
        self,
        *,
        target_concurrency: float | None = -1,
        min_containers: int | None = -1,
        max_containers: int | None = -1,
        buffer_containers: int | None = -1,
        scaledown_window: int | None = -1,
        scaleup_window: int | None = -1,
    ) -> ServerAutoscalerSettings:
        """Change the bounds for the present pool and later ones, and return the new bounds.

        -1 changes nothing.  None removes the bound, so that the default holds.  There is at most
        one container, whatever the bounds say; `target_concurrency` and `scaleup_window` are kept
        without effect.

        Raises:
            InvalidError: if a value is out of its range.
        """
        given = {
            "target_concurrency": target_concurrency,
            "min_containers": min_containers,
            "max_containers": max_containers,
            "buffer_containers": buffer_containers,
            "scaledown_window": scaledown_window,
            "scaleup_window": scaleup_window,
        }
        return self._change({name: value for name, value in given.items() if value != -1})

    def _change(self, changes: Mapping[str, Any]) -> ServerAutoscalerSettings:
        if is_a_container():
            there: ServerAutoscalerSettings = ask(_change_there, self._server, dict(changes))
            return there
        from .types import ServerAutoscalerSettings

        endpoint = self._server._web_endpoint()
        service = endpoint.service
        if config.strict:
            service.current_run()
        target = changes.get("target_concurrency", endpoint.target_concurrency)
        window = changes.get("scaleup_window", endpoint.scaleup_window)
        check_server_concurrency(target, None, None)
        check_scaleup_window(window)
        bounds = {name: value for name, value in changes.items() if name in _BOUNDS}
        limits = service.update_autoscaler(bounds) if bounds else service.limits
        endpoint.target_concurrency, endpoint.scaleup_window = target or None, window
        seconds = limits.scaledown_window
        return ServerAutoscalerSettings(
            target_concurrency=endpoint.target_concurrency,
            min_containers=limits.min_containers,
            max_containers=limits.max_containers,
            buffer_containers=limits.buffer_containers,
            scaleup_window=window,
            scaledown_window=None if seconds is None else math.ceil(seconds),
        )


_BOUNDS: Final = frozenset(
    {"min_containers", "max_containers", "buffer_containers", "scaledown_window"}
)


if not TYPE_CHECKING:  # Modal's inner names of the same classes, for isinstance() and annotations
    _Server = Server


# -- servers of other processes ------------------------------------------------------------------


def _server_named(app_name: str, name: str, environment_name: str | None) -> Server:
    return Server.from_name(app_name, name, environment_name=environment_name)


def _server_of_app(app: Any, name: str) -> Server:
    """Return the server that an app has under a name, or what stands for it in a container."""
    found: Server | None = app._servers_by_name().get(name)
    if found is not None:
        return found
    if not is_a_container():
        raise NotFoundError(f"{app!r} has no server {name!r} here; keep its Server")
    made = Server()
    made.__name__ = name
    made._refers = _server_of_app, (app, name)
    # The first one stays, if two threads come here.
    stays: Server = app._servers.setdefault(name, made)
    return stays


async def _url_of(server: Server) -> str | None:
    return await server.get_url.aio()


def _statistics_of(server: Server) -> PoolStatistics | None:
    return server.statistics()


def _change_there(server: Server, changes: dict[str, Any]) -> ServerAutoscalerSettings:
    return server.autoscaler._change(changes)
