"""The web applications that live in a container.

Owns `WebResident`: how the function under a web decorator becomes an ASGI application when a
container starts (``runtime/containers/residents.py``), its lifespan, and the scope that each of its
requests gets.  ``fastapi_app.py`` and ``wsgi.py`` make the applications of two decorators; they
import what their extra installs only in the container.  ``web_server.py`` has the resident of a
server behind a port.

Begin at `WebResident.make`, then `Living`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from .. import config
from ..declaring.declarations import Declarations
from ..declaring.marks import Web
from ..exception import InvalidError
from ..placing.blueprints import Made
from ..runtime.background import log
from ..runtime.containers.lifecycle import Lifecycle
from ..runtime.containers.residents import Resident, make_visit_target
from ..runtime.kinds import discard, is_awaitable, unfinished
from ..runtime.real import Real
from ..runtime.thread_state import thread_state
from .crossing import arrive
from .exchange import Application, Receive, Scope, Send
from .lifespan import Lifespan
from .server_ports import take_ports
from .web_server import ServerResident

logger: Final = logging.getLogger("moorage")

# anyio runs the sync handlers of an application on this many threads of a loop, by default.
THREADS: int = 40


class Living:
    """One application in one container."""

    def __init__(self, name: str, application: Application, max_inputs: int) -> None:
        self.name: str = name
        self.application: Application = application
        self.lifespan: Lifespan = Lifespan(name, application)
        self.max_inputs: int = max_inputs

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        # Never the state of the server in front: its objects belong to that server's loop.
        scope["state"] = dict(self.lifespan.state)
        return self.application(scope, receive, send)


class Shared:
    """Finds that containers of one pool serve the same application object."""

    def __init__(self) -> None:
        self._lock = Real.Lock()
        # Guarded by the lock: the applications of the containers that live, by the names of the
        # web function and the container's object.
        self._known: dict[tuple[str, Any], object] = {}
        self._warned = False

    def know(self, name: str, container: Any, application: object) -> None:
        """Note what a container serves; warn once if another one serves the same object."""
        with self._lock:
            warns = (
                not self._warned
                and not config.strict
                and any(
                    other is application and of == name for (of, _), other in self._known.items()
                )
            )
            self._warned = self._warned or warns
            self._known[name, container] = application
        if warns:
            log(
                logger,
                logging.WARNING,
                "two containers of %s serve the same application object, so its state and its "
                "lifespan are shared; make the application inside of %s, or write "
                "max_containers=1",
                name,
                name,
            )

    def forget(self, name: str, container: Any) -> None:
        with self._lock:
            gone = self._known.pop((name, container), None)
        del gone  # not under the lock: this may run a destructor of the user's


class WebResident:
    """How the application of one web function is made in each container: see `Resident`."""

    def __init__(
        self,
        name: str,
        web: Web,
        bind: Callable[[Any], Callable[..., Any]],
        shared: Shared,
    ) -> None:
        self.name: str = name
        self._web = web
        self._shared = shared
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
        _check(self.name, web.kind, application)
        self._shared.know(self.name, thread_state.container, application)
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
        # Half of the grace: the exit hooks come after this.
        await made.lifespan.stop(thread_state.container.host.run.grace / 2)

    def close(self) -> None:
        """Forget the application, which is freed with its container.  See `Resident.close`."""
        self._shared.forget(self.name, thread_state.container)


_TAKES: Final = {2: "wsgi_app", 3: "asgi_app"}


def _check(name: str, kind: str, application: Any) -> None:
    """Check what the user's function returned.

    Raises:
        InvalidError: if it is no application of this kind.
    """
    what = "an ASGI application" if kind == "asgi_app" else "a WSGI application"
    if is_awaitable(application) or not callable(application):
        shown = repr(application)
        if unfinished(application):
            discard(application)
        raise InvalidError(
            f"{name} must return {what}, got {shown}; "
            "return the application itself, such as FastAPI()"
        )
    wanted = 3 if kind == "asgi_app" else 2
    fits = [count for count in (1, 2, 3) if _takes(application, count)]
    if not fits or wanted in fits:
        return
    if kind == "asgi_app" and fits == [1]:
        raise InvalidError(
            f"{name} must return an ASGI 3 application, got {application!r}, which takes the scope "
            "alone as ASGI 2 had it; return "
            "asgiref.compatibility.guarantee_single_callable(application)"
        )
    other = _TAKES.get(fits[-1])
    instead = f"write @moorage.{other}() above {name}" if other else "return another one"
    raise InvalidError(
        f"{name} must return {what}, got {application!r}, which takes {fits[-1]} arguments and "
        f"not {wanted}; {instead}"
    )


def _takes(application: Any, count: int) -> bool:
    try:
        Real.signature(application).bind(*range(count))
    except TypeError:
        return False
    except ValueError:
        return True  # it has no signature, so nothing is known
    return True


def web_lifecycle(name: str, web: Web, function: Callable[..., Any]) -> Lifecycle:
    """Return the lifecycle of the containers of a web function."""
    resident = _resident(name, web, lambda instance: function, Shared())
    lifecycle = Lifecycle(
        residents=lambda: (resident,), blueprint=partial(WebBlueprint, name, web, function)
    )
    return _with_needs(lifecycle, [(name, web)])


@dataclass(frozen=True)
class WebBlueprint:
    """Makes the target and the lifecycle of a web function, in the process of a container."""

    name: str
    web: Web
    function: Callable[..., Any]

    def __call__(self) -> Made:
        target = make_visit_target(self.name, is_method=False)
        return Made([target], web_lifecycle(self.name, self.web, self.function))


def with_residents(lifecycle: Lifecycle, declared: Declarations) -> Lifecycle:
    """Return `lifecycle` of a class, with the web applications that the class has as it starts."""
    serves = declared.serves
    if not declared.web and serves is None:
        return lifecycle

    shared = Shared()

    def now() -> list[Resident]:
        residents = [
            _resident(declared.methods[name].name, web, partial(_bound, declared, name), shared)
            for name, web in declared.web.items()
        ]
        if serves is not None:
            server = ServerResident(declared.name, serves.port, serves.startup_timeout, None)
            # A caller of a method need not wait for the server.
            server.is_awaited = not declared.methods
            residents.append(server)
        return residents

    webs = [(declared.methods[name].name, web) for name, web in declared.web.items()]
    made = _with_needs(replace(lifecycle, residents=now), webs)
    if serves is None:
        return made
    return replace(
        made,
        is_alone=True,
        exit_grace=serves.exit_grace_period or 0.0,
        # A caller of a method need not have the port.
        take_ports=None if declared.methods else _taking((declared.name, serves.port)),
    )


def _with_needs(lifecycle: Lifecycle, webs: Sequence[tuple[str, Web]]) -> Lifecycle:
    kinds = {web.kind for _, web in webs}
    ports = [(name, web.port) for name, web in webs if web.port is not None]
    return replace(
        lifecycle,
        has_errands="wsgi_app" in kinds,
        is_alone="web_server" in kinds,
        arrive=arrive,
        take_ports=_taking(*ports) if ports else None,
    )


def _taking(*ports: tuple[str, int]) -> Callable[[Any], Callable[[], object]]:
    return partial(take_ports, ports)


def _resident(
    name: str, web: Web, bind: Callable[[Any], Callable[..., Any]], shared: Shared
) -> Resident:
    if web.kind != "web_server":
        return WebResident(name, web, bind, shared)
    assert web.port is not None
    assert web.startup_timeout is not None
    return ServerResident(name, web.port, web.startup_timeout, bind)


def _bound(declared: Declarations, name: str, instance: Any) -> Callable[..., Any]:
    raw: Any = declared.raw_methods[name]
    bound: Callable[..., Any] = raw.__get__(instance)
    return bound
