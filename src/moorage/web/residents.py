"""The web applications that live in a container.

Owns `WebResident`: how the function under a web decorator becomes an ASGI application when a
container starts (``runtime/containers/residents.py``), its lifespan, and the scope that each of its
requests gets.  ``fastapi_app.py`` and ``wsgi.py`` make the applications of two decorators; they
import what their extra installs only in the container.  ``web_server.py`` has the resident of a
server behind a port.

Begin at `WebResident.make`, then `Living`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from ..declaring.declarations import Declarations
from ..declaring.marks import Web
from ..exception import InvalidError
from ..runtime.containers.lifecycle import Lifecycle
from ..runtime.containers.residents import Resident
from ..runtime.kinds import is_awaitable
from .exchange import Application, Receive, Scope, Send
from .lifespan import Lifespan
from .web_server import ServerResident

# anyio runs the sync handlers of an application on this many threads of a loop, by default.
THREADS: int = 40


class Living:
    """One application in one container."""

    def __init__(self, name: str, application: Application, max_inputs: int) -> None:
        self.name: str = name
        self.application: Application = application
        self.lifespan: Lifespan = Lifespan(name, application)
        self.max_inputs: int = max_inputs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.lifespan.state:
            scope["state"] = dict(self.lifespan.state)
        else:
            scope.setdefault("state", {})
        await self.application(scope, receive, send)


class WebResident:
    """How the application of one web function is made in each container: see `Resident`."""

    def __init__(self, name: str, web: Web, bind: Callable[[Any], Callable[..., Any]]) -> None:
        self.name: str = name
        self._web = web
        self._bind = bind  # returns the user's function, bound to the container's instance

    def prepare(self) -> None:
        """Do nothing: the application needs nothing before it is made.  See `Resident.prepare`."""

    def make(self, instance: Any, max_inputs: int) -> Living:
        """Make the application.  See `Resident.make`.

        Raises:
            InvalidError: if the user's function gives no application, or an extra is missing.
        """
        function, web = self._bind(instance), self._web
        if web.kind == "fastapi_endpoint":
            from .fastapi_app import make_fastapi

            return Living(self.name, make_fastapi(self.name, function, web), max_inputs)
        application = function()
        if is_awaitable(application) or not callable(application):
            what = "an ASGI application" if web.kind == "asgi_app" else "a WSGI application"
            raise InvalidError(
                f"{self.name} must return {what}, got {application!r}; "
                "return the application itself, such as FastAPI()"
            )
        if web.kind == "wsgi_app":
            from .wsgi import from_wsgi

            application = from_wsgi(self.name, application)
        made: Any = application
        return Living(self.name, made, max_inputs)

    async def begin(self, made: Living) -> None:
        """Start the application's lifespan.  See `Resident.begin`."""
        import anyio.to_thread

        # anyio's own bound would be the bound of sync handlers, and not `max_inputs`.
        limiter = anyio.to_thread.current_default_thread_limiter()
        limiter.total_tokens = max(limiter.total_tokens, THREADS, made.max_inputs)
        await made.lifespan.start()

    async def end(self, made: Living) -> None:
        """Shut the lifespan down.  See `Resident.end`."""
        await made.lifespan.stop()

    def close(self) -> None:
        """Do nothing: the application is freed with its container.  See `Resident.close`."""


def web_lifecycle(name: str, web: Web, function: Callable[..., Any]) -> Lifecycle:
    """Return the lifecycle of the containers of a web function."""
    resident = _resident(name, web, lambda instance: function)
    return _with_needs(Lifecycle(residents=lambda: (resident,)), (web,))


def with_residents(lifecycle: Lifecycle, declared: Declarations) -> Lifecycle:
    """Return `lifecycle` of a class, with the web applications that the class has as it starts."""
    if not declared.web:
        return lifecycle

    def now() -> list[Resident]:
        return [
            _resident(declared.methods[name].name, web, partial(_bound, declared, name))
            for name, web in declared.web.items()
        ]

    return _with_needs(replace(lifecycle, residents=now), declared.web.values())


def _with_needs(lifecycle: Lifecycle, webs: Iterable[Web]) -> Lifecycle:
    kinds = {web.kind for web in webs}
    return replace(lifecycle, has_errands="wsgi_app" in kinds, is_alone="web_server" in kinds)


def _resident(name: str, web: Web, bind: Callable[[Any], Callable[..., Any]]) -> Resident:
    if web.kind != "web_server":
        return WebResident(name, web, bind)
    assert web.port is not None
    assert web.startup_timeout is not None
    return ServerResident(name, web.port, web.startup_timeout, bind)


def _bound(declared: Declarations, name: str, instance: Any) -> Callable[..., Any]:
    raw: Any = declared.raw_methods[name]
    bound: Callable[..., Any] = raw.__get__(instance)
    return bound
