"""The pytest plugin, from where something of it is used on.

Owns what the fixtures and options do, and how the loops of pytest-asyncio and of
anyio's plugin come to live in virtual time.  Their names are in the module
``_moorage_pytest_plugin``, which pytest loads by its entry point and which imports
this one late; the leak check's hooks are in ``testing/leak_check.py``.

A test that names ``virtual_clock`` among its fixtures has it before its loop is made:
the hooks below see to that.  pytest-asyncio's fixture then makes the loop by the clock;
anyio's runner is made by the fixture ``virtual_clock`` itself, and shared by all that the
test runs on it.
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
from .runtime.real import Real

if TYPE_CHECKING:
    from .app import App
    from .declaring.partial import PartialFunction
    from .functions import Function
    from .testing import FakeContainer, FakeOptions, VirtualClock

A = TypeVar("A", bound="App")
P = ParamSpec("P")
R = TypeVar("R")

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

# What pytest-asyncio calls the fixture that makes a test's own loop: since 1.1, in 1.0,
# and before.
_LOOP_FIXTURES: Final = ("_function_scoped_runner", "_function_event_loop", "event_loop")


class FakeContainerFactory(Protocol):
    """What the fixture ``fake_container`` gives.

    Called, it starts a container, which is closed at the end of the test.  Its clock is
    the test's `virtual_clock`, if the test uses that one.  Options are those of
    `moorage.testing.FakeContainer`.
    """

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Function[P, R, object], /, **options: Unpack[FakeOptions]
    ) -> FakeContainer[P, R]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
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
        self, function: object, /, **options: Unpack[FakeOptions]
    ) -> FakeContainer[..., Any]: ...


class RunApp(Protocol):
    """What the fixture ``run_app`` gives."""

    def __call__(self, app: A, /, **options: Any) -> A:
        """Enter ``app.run(**options)``; it is left at the end of the test.

        Its clock is the test's `virtual_clock`, if the test uses that one.

        Args:
            options: those of `App.run`.
        """
        ...


# -- options ---------------------------------------------------------------------


def turn_on(config: pytest.Config, name: str) -> None:
    """Carry out the option `name`; again, it does nothing."""
    if name not in config.stash.setdefault(_turned_on, set()):
        config.stash[_turned_on].add(name)
        _WHAT[name](config)


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


_WHAT: Final[dict[str, Callable[[pytest.Config], None]]] = {
    "moorage_as_modal": _be_modal,
    "moorage_strict": _be_strict,
    "moorage_leak_check": _check_leaks,
}


# -- fixtures --------------------------------------------------------------------


def clock_of_test(request: pytest.FixtureRequest) -> Generator[VirtualClock]:
    """The fixture ``virtual_clock``."""
    from .testing import VirtualClock

    _refuse_real_loops(request)
    with VirtualClock() as clock:
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
    # Asked for here, it is set up first, and so closed after what lives by it.
    if "virtual_clock" in request.fixturenames:
        return {"clock": request.getfixturevalue("virtual_clock")}
    return {}


def _refuse_real_loops(request: pytest.FixtureRequest) -> None:
    """Say so if the test's loop cannot live in the time of the test's clock."""
    if Real._get_running_loop() is not None:
        _fail(
            "virtual_clock was asked for when the test's loop ran already, in real time; "
            'name it among the arguments, or write @pytest.mark.usefixtures("virtual_clock")'
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
                f"virtual_clock is of one test, and this test's loop is of the {scope}; "
                'write @pytest.mark.asyncio(loop_scope="function")'
            )


def _fail(message: str) -> NoReturn:
    pytest.fail(message, pytrace=False)


def _loop_scope(request: pytest.FixtureRequest) -> str:
    try:
        return str(request.config.getini("asyncio_default_test_loop_scope") or "function")
    except (KeyError, ValueError):
        return "function"  # older than the option


def _is_async(test: Any) -> bool:
    function = getattr(test, "obj", None)
    inner = getattr(getattr(function, "hypothesis", None), "inner_test", function)
    return Real.iscoroutinefunction(inner)


# -- the test's own loop -----------------------------------------------------------


def install_virtual_time(config: pytest.Config) -> None:
    """Let the loops of tests that use ``virtual_clock`` be made by it, from now on."""
    if not config.pluginmanager.has_plugin(_VIRTUAL_TIME):
        config.pluginmanager.register(VirtualTime(), _VIRTUAL_TIME)


_VIRTUAL_TIME: Final = "moorage-virtual-time"


class VirtualTime:
    """Hooks that give the clock's loop to whoever makes one for the test."""

    # First: anyio's hook puts its own function in the place of an asynchronous fixture's.
    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, Any, Any]:
        if "virtual_clock" not in request.fixturenames or fixturedef.scope != "function":
            return (yield)
        if fixturedef.argname in _LOOP_FIXTURES:
            clock: VirtualClock = request.getfixturevalue("virtual_clock")
            if "_asyncio_loop_factory" in fixturedef.argnames:
                with _called_with(fixturedef, _asyncio_loop_factory=clock.new_event_loop):
                    return (yield)
            with _made_by(request.getfixturevalue("event_loop_policy"), clock.new_event_loop):
                return (yield)
        if "anyio_backend" in request.fixturenames and _is_asynchronous(fixturedef.func):
            request.getfixturevalue("virtual_clock")  # it leases the runner first
        return (yield)


@contextmanager
def _called_with(fixturedef: pytest.FixtureDef[Any], **instead: object) -> Generator[None]:
    """Meanwhile the function of a fixture, a generator, gets these arguments instead."""
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
    """Meanwhile the loops that `policy` makes in this thread are made by `factory`."""
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
    """Whether it is an asynchronous fixture's, or what older versions of anyio put there."""
    return (
        Real.iscoroutinefunction(function)
        or Real.isasyncgenfunction(function)
        or (
            getattr(function, "__module__", "") == "anyio.pytest_plugin"
            and Real.isgeneratorfunction(function)
        )
    )


def _backend(backend: object) -> tuple[str, dict[str, Any]]:
    """anyio's name and options, out of what a fixture ``anyio_backend`` may give."""
    if isinstance(backend, tuple):
        name, options = cast("tuple[str, dict[str, Any]]", backend)
        return name, options
    return str(backend), {}


def _runner_of_anyio(backend: object, clock: VirtualClock) -> AbstractContextManager[object]:
    """anyio's runner of this test, in the clock's time: all that it runs shares the first one."""
    from anyio import pytest_plugin

    name, options = _backend(backend)
    # Not public: one that is there already is used, whatever options it would be given.
    if getattr(pytest_plugin, "_current_runner", None) is not None:
        _fail(
            "virtual_clock is of one test, and this test's loop was made before, "
            "for an asynchronous fixture of a wider scope; "
            'write @pytest.fixture(scope="function") there'
        )
    options = {**options, "use_uvloop": False, "loop_factory": clock.new_event_loop}
    return pytest_plugin.get_runner(name, options)
