"""Apps: where functions and classes are registered, and the runs that scope them.

Owns the registration and the options of what is registered.  Decorating starts
nothing: containers live within a run.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Coroutine, Hashable
from types import TracebackType
from typing import Any, Final, Never, ParamSpec, Protocol, TypeVar, dataclass_transform, overload

from . import config
from .cls import Cls, Methods, make_target
from .exception import ExecutionError, InvalidError
from .functions import Function
from .partial_function import Concurrency, PartialFunction, parameter, positional_arguments
from .runs import MakePool, Run
from .runtime.autoscaler import Limits
from .runtime.capacity import Capacity
from .runtime.clock import Clock
from .runtime.container import Container, ContainerOptions, Host
from .runtime.input import Target
from .runtime.lifecycle import Lifecycle
from .runtime.local import LocalContainer
from .runtime.pool import Pool, PoolOptions
from .runtime.waits import run_in_thread

P = ParamSpec("P")
R = TypeVar("R")
O = TypeVar("O")  # noqa: E741 - what the undecorated function returns
C = TypeVar("C", bound=type)


class FunctionDecorator(Protocol):
    """What ``app.function(...)`` gives: it keeps the function's types."""

    @overload
    def __call__(self, function: PartialFunction[P, R, O], /) -> Function[P, R, O]: ...
    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> Function[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Function[P, R, R]: ...


class AppService:
    """How one function, or one class with one set of parameters, of an app is run."""

    def __init__(self, app: App, options: PoolOptions, container: ContainerOptions) -> None:
        self._app = app
        self._options = options
        self._container = container
        self.limits: Limits = options.limits

    def current_run(self) -> Run:
        return self._app._run or self._app._ambient_run()

    @property
    def open_run(self) -> Run | None:
        return self._app._run

    def make_pool(
        self, clock: Clock, capacity: Capacity, on_retired: Callable[[Pool], object]
    ) -> Pool:
        def factory(host: Host, number: int, target: int, limit: int) -> Container:
            return LocalContainer(host, number, target, limit, self._container)

        return Pool(self._options, factory, clock=clock, capacity=capacity, on_retired=on_retired)


class App:
    """A collection of functions and classes that run together.

    ``with app.run():`` (or ``async with``) scopes their containers.  A call
    outside of any run opens an *ambient* run, which ends with the interpreter.
    """

    def __init__(self, name: str | None = None) -> None:
        self._name = name
        self._run: Run | None = None
        self._lock = threading.Lock()
        # Functions with min_containers, to start when a run does.
        self._eager: list[tuple[Hashable, MakePool]] = []

    @property
    def name(self) -> str | None:
        return self._name

    def function(
        self,
        *args: Never,
        name: str | None = None,
        timeout: float | None = None,
        min_containers: int = 0,
        max_containers: int | None = None,
        buffer_containers: int = 0,
        scaledown_window: float | None = None,
        is_generator: bool | None = None,
    ) -> FunctionDecorator:
        """Register a function with the app.

        Args:
            name: shown and looked up under this name; default, the function's.
            timeout: seconds an input may run, from when it got its slot; 300 if None.
            min_containers: started with the run, and kept.
            max_containers: never more that start or take inputs; no limit but the process's
                if None.
            buffer_containers: further ones, while there is any demand.
            scaledown_window: seconds an idle container is kept; 60 if None.
            is_generator: whether calling it gives a generator; found out if None.
        """
        _no_positional("function", args)
        settings = _Settings(
            timeout, min_containers, max_containers, buffer_containers, scaledown_window
        )

        def decorate(function: Any) -> Any:
            concurrency: Concurrency | None = None
            raw = function
            is_method = False
            if isinstance(function, PartialFunction):
                raw, concurrency = function.raw, function.marks.concurrency
                is_method = function.marks.is_method
            if isinstance(raw, type):
                raise InvalidError(
                    f"app.function() decorates functions, got the class {raw.__name__}; "
                    "write @app.cls() instead"
                )
            if not callable(raw) or getattr(raw, "_moorage_registered", False):
                raise InvalidError(
                    f"app.function() decorates functions, got {raw!r}; write it above a def, once"
                )
            shown = name or getattr(raw, "__name__", None)
            if not isinstance(shown, str):
                raise InvalidError(
                    f"app.function() needs a name for {raw!r}, which has none; "
                    'write @app.function(name="...")'
                )
            if is_method or _is_method(raw):
                raise InvalidError(
                    f"app.function() decorates functions, got the method {shown}; write "
                    "@moorage.method() above it and @app.cls() above its class"
                )
            target = make_target(shown, raw, is_generator)
            options, container = settings.resolve(shown, concurrency, [target], Lifecycle())
            service = AppService(self, options, container)
            registered: Function[Any, Any, Any] = Function(target, service, raw)
            if settings.min_containers:
                self._eager.append((registered, service.make_pool))
            return registered

        return decorate

    # What type checkers know of dataclasses gives `C(k=1)` its types.
    @dataclass_transform(kw_only_default=True, field_specifiers=(parameter,))
    def cls(
        self,
        *args: Never,
        timeout: float | None = None,
        min_containers: int = 0,
        max_containers: int | None = None,
        buffer_containers: int = 0,
        scaledown_window: float | None = None,
    ) -> Callable[[C], C]:
        """Register a class with the app: see `function` for the arguments.

        Raises:
            InvalidError: if a method is decorated with ``concurrent``.
        """
        _no_positional("cls", args)
        settings = _Settings(
            timeout, min_containers, max_containers, buffer_containers, scaledown_window
        )

        def decorate(user_class: Any) -> Any:
            concurrency: Concurrency | None = None
            raw = user_class
            if isinstance(user_class, PartialFunction):
                raw, concurrency = user_class.raw, user_class.marks.concurrency
            if not isinstance(raw, type):
                raise InvalidError(
                    f"app.cls() decorates classes, got {raw!r}; write @app.function() instead"
                )
            methods = Methods(raw)
            targets = list(methods.methods.values())

            def make_service(lifecycle: Lifecycle, shown: str) -> AppService:
                options, container = settings.resolve(shown, concurrency, targets, lifecycle)
                return AppService(self, options, container)

            registered = Cls(methods, make_service)
            if settings.min_containers and not methods.parameters:
                obj = registered()
                self._eager.append((obj._key, obj._service.make_pool))
            return registered

        return decorate

    # -- runs -----------------------------------------------------------------------

    def run(self, *, clock: Clock | None = None, grace: float | None = None) -> AppRun:
        """Scope the app's containers: ``with app.run():`` or ``async with app.run():``.

        Leaving cancels what is queued and what runs, then runs the exit hooks.

        Args:
            clock: the clock that everything in the run lives by; real time if None.
            grace: seconds that leaving may take in all; 5 if None.

        Raises:
            InvalidError: on entering, if the app runs already.
        """
        return AppRun(self, clock, grace)

    def _open(self, clock: Clock | None, grace: float | None) -> Run:
        with self._lock:
            if self._run is not None and not self._run.ambient:
                raise InvalidError(
                    f"{self._shown} runs already; leave that run first, or call inside it"
                )
            # A scoped run takes the place of the ambient one, at once: neither
            # another run nor another ambient one may come in between.
            ambient = self._run
            self._run = run = Run(self._shown, clock=clock, grace=grace)
        try:
            if ambient is not None:
                ambient.close()
            for key, make in self._eager:
                run.pool(key, make).start_minimum()
        except BaseException:  # KeyboardInterrupt: nobody else would leave it
            self._close(run)
            raise
        return run

    def _ambient_run(self) -> Run:
        with self._lock:
            if self._run is None:
                if config.strict:
                    raise ExecutionError(
                        f"{self._shown} does not run; call inside `with app.run():`"
                    )
                self._run = Run(self._shown, ambient=True)
            return self._run

    def _close(self, run: Run) -> None:
        try:
            run.close()
        finally:  # KeyboardInterrupt: the app may run again all the same
            with self._lock:
                if self._run is run:
                    self._run = None

    @property
    def _shown(self) -> str:
        return f"the app {self._name!r}" if self._name else "the app"

    def __repr__(self) -> str:
        return f"<App {self._name!r}>"


class AppRun:
    """What ``app.run()`` gives: a context manager; entering it again begins a new run."""

    def __init__(self, app: App, clock: Clock | None, grace: float | None) -> None:
        self._app = app
        self._clock = clock
        self._grace = grace
        self._run: Run | None = None

    def __enter__(self) -> AppRun:
        self._run = self._app._open(self._clock, self._grace)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._run is not None
        self._app._close(self._run)

    async def __aenter__(self) -> AppRun:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await run_in_thread(lambda: self.__exit__(kind, error, traceback))


class _Settings:
    """The arguments that functions and classes share, checked."""

    def __init__(
        self,
        timeout: float | None,
        min_containers: int,
        max_containers: int | None,
        buffer_containers: int,
        scaledown_window: float | None,
    ) -> None:
        _check("timeout", timeout, 0, exclusive=True)
        _check("min_containers", min_containers, 0)
        _check("max_containers", max_containers, 1)
        _check("buffer_containers", buffer_containers, 0)
        _check("scaledown_window", scaledown_window, 0, exclusive=True)
        if max_containers is not None and min_containers > max_containers:
            raise InvalidError(
                f"min_containers must not exceed max_containers, got {min_containers} > "
                f"{max_containers}; write max_containers={min_containers} or more"
            )
        self.timeout = config.default_timeout if timeout is None else timeout
        self.min_containers = min_containers
        self.max_containers = max_containers
        self.buffer_containers = buffer_containers
        self.scaledown_window = (
            config.default_scaledown_window if scaledown_window is None else scaledown_window
        )

    def resolve(
        self,
        name: str,
        concurrency: Concurrency | None,
        targets: list[Target],
        lifecycle: Lifecycle,
    ) -> tuple[PoolOptions, ContainerOptions]:
        max_inputs = 1 if concurrency is None else concurrency.max_inputs
        target_inputs = 1 if concurrency is None else concurrency.target_inputs
        has_sync = any(not target.is_async for target in targets)
        limits = Limits(
            target_inputs=target_inputs,
            max_inputs=max_inputs,
            min_containers=self.min_containers,
            max_containers=self.max_containers,
            buffer_containers=self.buffer_containers,
            scaledown_window=self.scaledown_window,
        )
        options = PoolOptions(
            name=name,
            limits=limits,
            timeout=self.timeout,
            sync_slots=max_inputs if has_sync else 0,
        )
        container = ContainerOptions(
            name=name,
            max_inputs=max_inputs,
            has_async=any(target.is_async for target in targets),
            lifecycle=lifecycle,
        )
        return options, container


def _no_positional(name: str, args: tuple[object, ...]) -> None:
    if args:
        raise positional_arguments(f"app.{name}", args[0], f"@app.{name}()")


# What to write for each, in an error's advice.
_EXAMPLES: Final = {
    "timeout": "timeout=300",
    "min_containers": "min_containers=1",
    "max_containers": "max_containers=1",
    "buffer_containers": "buffer_containers=1",
    "scaledown_window": "scaledown_window=60",
}


def _check(name: str, value: object, least: float, *, exclusive: bool = False) -> None:
    if value is None:
        return
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        # Written so that NaN, which compares false with everything, is refused.
        enough = value > least if exclusive else value >= least
        if enough:
            return
    wanted = f"above {least:g}" if exclusive else f"from {least:g} up"
    raise InvalidError(f"{name} must be a number {wanted}, got {value!r}; write {_EXAMPLES[name]}")


def _is_method(function: Callable[..., object]) -> bool:
    """Whether it was written in a class body, to be called with an instance."""
    in_class = "." in getattr(function, "__qualname__", "").rpartition("<locals>.")[2]
    return in_class and next(iter(inspect.signature(function).parameters), "") == "self"
