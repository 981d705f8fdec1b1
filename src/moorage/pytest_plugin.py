"""The pytest plugin: what its fixtures and options do, imported when one of them is used.

Owns the bodies of the fixtures, the actions of the options, and the hooks that put the
event loops of pytest-asyncio and of anyio's plugin into virtual time.  The names of
fixtures and options are in the module ``_moorage_pytest_plugin``: pytest loads that
module by its entry point, and that module imports this one late.  The hooks of the leak
check are in ``testing/leak_check.py``.

Begin at `clock_of_test`, then `VirtualTime.pytest_fixture_setup`, then `_runner_of_anyio`.

If a test uses ``virtual_clock``, the hooks below set that fixture up before the test's
event loop is made.  The fixture of pytest-asyncio then makes the loop from the clock.
For anyio, the fixture ``virtual_clock`` makes anyio's runner itself, and all async code
of the test shares that runner.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    NoReturn,
    ParamSpec,
    Protocol,
    TypeVar,
    Unpack,
    cast,
    overload,
)

import pytest

from . import as_modal, config
from .exception import ExecutionError
from .runtime.clocks.loops_here import real_loops
from .runtime.real import Real

if TYPE_CHECKING:
    from .app import App
    from .declaring.batch_types import OneInput
    from .declaring.partial import NotAFunction, PartialFunction
    from .functions import Function
    from .testing import FakeContainer, FakeOptions, VirtualClock

A = TypeVar("A", bound="App")
P = ParamSpec("P")
R = TypeVar("R")

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

# The names of pytest-asyncio's fixture that makes a test's own loop: since version 1.1, in
# 1.0, and before 1.0.
_LOOP_FIXTURES: Final = ("_function_scoped_runner", "_function_event_loop", "event_loop")


class FakeContainerFactory(Protocol):
    """The type of the fixture ``fake_container``.

    A call enters a `moorage.testing.FakeContainer`, with the options of that class, and
    returns it.  The container is left at the end of the test.  If the test uses
    ``virtual_clock``, that clock is the container's clock.
    """

    @overload
    def __call__(
        self, function: Function[P, R, object], /, **options: Unpack[FakeOptions]
    ) -> FakeContainer[P, R]: ...
    @overload
    def __call__(
        self, function: OneInput[P, R], /, **options: Unpack[FakeOptions]
    ) -> FakeContainer[P, R]: ...
    @overload
    def __call__(
        self, function: PartialFunction[P, R, object], /, **options: Unpack[FakeOptions]
    ) -> FakeContainer[P, R]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, R]], /, **options: Unpack[FakeOptions]
    ) -> FakeContainer[P, R]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, R], /, **options: Unpack[FakeOptions]
    ) -> FakeContainer[P, R]: ...
    @overload
    def __call__(
        self, function: NotAFunction, /, **options: Unpack[FakeOptions]
    ) -> FakeContainer[..., Any]: ...


class RunApp(Protocol):
    """The type of the fixture ``run_app``."""

    def __call__(self, app: A, /, **options: Any) -> A:
        """Enter ``app.run(**options)`` and return `app`; the run is left when the test ends.

        If the test uses ``virtual_clock``, that clock is the run's clock.

        Args:
            options: the options of `App.run`.
        """
        ...


# -- options ---------------------------------------------------------------------


def turn_on(config: pytest.Config, name: str) -> None:
    """Apply the option `name`, once per session: a second call does nothing."""
    if name not in config.stash.setdefault(_turned_on, set()):
        config.stash[_turned_on].add(name)
        _ACTIONS[name](config)


_turned_on: Final = pytest.StashKey[set[str]]()


def _be_modal(_: pytest.Config) -> None:
    try:
        as_modal.install_as_modal()
    except ExecutionError as error:
        reason = str(error).partition(";")[0]
        raise pytest.UsageError(
            f"moorage_as_modal comes too late: {reason}; "
            "leave that import to test modules and conftest.py, or take it out of the plugin"
        ) from None


def _be_strict(session: pytest.Config) -> None:
    before = config.strict
    config.strict = True
    session.add_cleanup(lambda: setattr(config, "strict", before))


def _check_leaks(session: pytest.Config) -> None:
    from .testing.leak_check import LeakCheck

    session.pluginmanager.register(LeakCheck(session), "moorage-leak-check")


# The action of each option, by the option's name.
_ACTIONS: Final[dict[str, Callable[[pytest.Config], None]]] = {
    "moorage_as_modal": _be_modal,
    "moorage_strict": _be_strict,
    "moorage_leak_check": _check_leaks,
}


# -- fixtures --------------------------------------------------------------------


def clock_of_test(request: pytest.FixtureRequest) -> Generator[VirtualClock]:
    """The fixture ``virtual_clock``."""
    from .testing.explore_marker import clock_of_run

    _refuse_real_loops(request)
    with clock_of_run(request.node) as clock:
        if "anyio_backend" in request.fixturenames and _is_async(request.node):
            with _runner_of_anyio(request.getfixturevalue("anyio_backend"), clock):
                yield clock
        else:
            yield clock


def containers_of_test(request: pytest.FixtureRequest) -> Generator[FakeContainerFactory]:
    """The fixture ``fake_container``."""
    from .testing import FakeContainer

    defaults = _clock_of(request)
    with ExitStack() as stack:

        def fake_container(function: Any, /, **options: Any) -> Any:
            return stack.enter_context(FakeContainer(function, **{**defaults, **options}))

        yield fake_container


def runs_of_test(request: pytest.FixtureRequest) -> Generator[RunApp]:
    """The fixture ``run_app``."""
    defaults = _clock_of(request)
    with ExitStack() as stack:

        def run_app(app: A, /, **options: Any) -> A:
            run = getattr(app, "run", None)
            if run is None or Real.ismodule(app):
                _fail(
                    f"run_app takes an app, got {app!r}; write run_app(app), "
                    "with the module's `app = moorage.App()`"
                )
            stack.enter_context(run(**{**defaults, **options}))
            return app

        yield run_app


def _clock_of(request: pytest.FixtureRequest) -> dict[str, Any]:
    # pytest tears fixtures down in reverse order.  The clock is requested here, before any
    # container or run exists, so it is closed after the containers and runs that use it.
    if "virtual_clock" in request.fixturenames:
        return {"clock": request.getfixturevalue("virtual_clock")}
    return {}


def _refuse_real_loops(request: pytest.FixtureRequest) -> None:
    """Fail the test if its event loop cannot use the test's clock; say what to write."""
    if Real._get_running_loop() is not None:
        _fail(
            "virtual_clock was requested when the test's event loop ran already, in real time; "
            "name virtual_clock among the test's arguments, or write "
            '@pytest.mark.usefixtures("virtual_clock")'
        )
    test: Any = request.node
    if not _is_async(test):
        return
    mark: pytest.Mark | None = test.get_closest_marker("asyncio")
    if "anyio_backend" in request.fixturenames:
        name, _ = _backend(request.getfixturevalue("anyio_backend"))
        if name != "asyncio":
            _fail(
                f"virtual_clock drives asyncio, and this test runs on {name}; write "
                '@pytest.mark.parametrize("anyio_backend", ["asyncio"]), '
                "or use trio.testing.MockClock with trio"
            )
        return
    if mark is not None:
        scope = mark.kwargs.get("loop_scope") or mark.kwargs.get("scope") or _loop_scope(request)
        if scope != "function":
            _fail(
                f"virtual_clock belongs to one test, but this test's loop belongs to the {scope}; "
                'write @pytest.mark.asyncio(loop_scope="function")'
            )


def _fail(message: str) -> NoReturn:
    pytest.fail(message, pytrace=False)


def _loop_scope(request: pytest.FixtureRequest) -> str:
    try:
        return str(request.config.getini("asyncio_default_test_loop_scope") or "function")
    except (KeyError, ValueError):
        return "function"  # this version of pytest-asyncio is older than the option


def _is_async(test: Any) -> bool:
    """Return true if the test function is a coroutine function, also below ``@given``."""
    function = getattr(test, "obj", None)
    inner = getattr(getattr(function, "hypothesis", None), "inner_test", function)
    return Real.iscoroutinefunction(inner)


# -- the test's own loop -----------------------------------------------------------


def install_virtual_time(config: pytest.Config) -> None:
    """From now on, make the event loops of tests that use ``virtual_clock`` from that clock."""
    if not config.pluginmanager.has_plugin(_VIRTUAL_TIME):
        config.pluginmanager.register(VirtualTime(), _VIRTUAL_TIME)


def install_exploring(config: pytest.Config) -> None:
    """From now on, run tests marked with ``moorage_explore`` once for each seed."""
    from .testing.explore_marker import ExploreMarker

    if not config.pluginmanager.has_plugin("moorage-explore"):
        config.pluginmanager.register(ExploreMarker(), "moorage-explore")


_VIRTUAL_TIME: Final = "moorage-virtual-time"


class VirtualTime:
    """The hooks that make fixtures of other plugins use a loop of the test's clock."""

    # This hook must run first: anyio's hook replaces the function of an async fixture, and
    # this hook examines the original function.
    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, Any, Any]:
        if "virtual_clock" not in request.fixturenames:
            return (yield)
        if fixturedef.scope != "function":
            # It outlives the clock, so what it starts must be in real time.
            with real_loops():
                return (yield)
        if fixturedef.argname in _LOOP_FIXTURES:
            clock: VirtualClock = request.getfixturevalue("virtual_clock")
            if "_asyncio_loop_factory" in fixturedef.argnames:
                with _called_with(fixturedef, _asyncio_loop_factory=clock.new_event_loop):
                    return (yield)
            with _made_by(request.getfixturevalue("event_loop_policy"), clock.new_event_loop):
                return (yield)
        if "anyio_backend" in request.fixturenames and _is_asynchronous(fixturedef.func):
            # Before anyio's hook makes a runner, `clock_of_test` makes one from the clock.
            request.getfixturevalue("virtual_clock")
        return (yield)


@contextmanager
def _called_with(fixturedef: pytest.FixtureDef[Any], **instead: object) -> Generator[None]:
    """In this context, replace these arguments of a fixture's generator function."""
    function = cast("Callable[..., Generator[Any, Any, object]]", fixturedef.func)

    def call(**arguments: object) -> Generator[Any, Any, object]:
        return (yield from function(**{**arguments, **instead}))

    changed: Any = fixturedef
    changed.func = call
    try:
        yield
    finally:
        changed.func = function


@contextmanager
def _made_by(policy: Any, factory: LoopFactory) -> Generator[None]:
    """In this context, loops that `policy` makes in this thread come from `factory`."""
    here = Real.get_ident()
    make: LoopFactory = policy.new_event_loop

    def new_event_loop() -> asyncio.AbstractEventLoop:
        return factory() if Real.get_ident() == here else make()

    policy.new_event_loop = new_event_loop
    try:
        yield
    finally:
        del policy.new_event_loop


def _is_asynchronous(function: object) -> bool:
    """Return true for the function of an async fixture.

    Older versions of anyio replace that function by a generator function of their own
    before pytest sets the fixture up; this counts too.
    """
    return (
        Real.iscoroutinefunction(function)
        or Real.isasyncgenfunction(function)
        or (
            getattr(function, "__module__", "") == "anyio.pytest_plugin"
            and Real.isgeneratorfunction(function)
        )
    )


def _backend(backend: object) -> tuple[str, dict[str, Any]]:
    """Return the backend's name and options from a value of the fixture ``anyio_backend``."""
    if isinstance(backend, tuple):
        name, options = cast("tuple[str, dict[str, Any]]", backend)
        return name, options
    return str(backend), {}


def _runner_of_anyio(backend: object, clock: VirtualClock) -> AbstractContextManager[object]:
    """Make anyio's runner of this test, on a loop of `clock`, until the context is left.

    anyio keeps one current runner, so all async fixtures and the test share this runner.
    """
    from anyio import pytest_plugin

    name, options = _backend(backend)
    # `_current_runner` is not public.  If a runner exists already, `get_runner` returns that
    # runner and ignores our loop factory, so the test would run in real time.
    if getattr(pytest_plugin, "_current_runner", None) is not None:
        _fail(
            "virtual_clock belongs to one test, but this test's loop was made before, "
            "for an async fixture of a wider scope; "
            'write @pytest.fixture(scope="function") there'
        )
    options = {**options, "use_uvloop": False, "loop_factory": clock.new_event_loop}
    return pytest_plugin.get_runner(name, options)
