"""The fake container: one container around any function, controlled by a test.

Owns `FakeContainer`, its counts (`FakeStatistics`) and the handles of its methods
(`FakeMethod`).  A fake container opens its own run, with one pool that always has one
container.  The engine runs the inputs; this file starts the run, waits for states of the
pool, and reads the pool.  Tests use it directly or through the fixture
``fake_container`` (``pytest_plugin.py``).

Begin at `FakeContainer.__enter__`, then `_begin`, then `_wait`.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterable, Callable, Coroutine, Hashable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Generic, ParamSpec, TypedDict, TypeVar, Unpack, overload

from ..app import App
from ..calling.waited import StreamReader
from ..calling.ways import Map, Remote, Starmap
from ..cls import Cls, Obj
from ..declaring.marks import Concurrency
from ..declaring.options import FunctionOptions, OnFull, changed_options
from ..declaring.parameters import checked_batching
from ..declaring.partial import PartialFunction
from ..declaring.targets import check_batched
from ..exception import Error, ExecutionError, InvalidError
from ..frames import hide_our_frames, without_our_frames
from ..functions import Function
from ..retries import Retries
from ..running.runs import MakePool, Run, give_sigint_back
from ..running.services import Service
from ..runtime.clocks.clock import Clock, Waiter
from ..runtime.clocks.clock_of_here import clock_of_here
from ..runtime.clocks.parking import park
from ..runtime.clocks.participants import Participants
from ..runtime.clocks.virtual_clock import VirtualWaiter
from ..runtime.containers.container import ContainerState
from ..runtime.guards.interrupts import interrupts
from ..runtime.labels import shown_call
from ..runtime.outcome import Failure, Raising
from ..runtime.pools.autoscaler import Limits
from ..runtime.pools.pool import Pool
from ..runtime.pools.statistics import PoolStatistics
from ..runtime.real import Real
from ..runtime.uninterruptible import uninterruptible
from ..runtime.waiting.async_waiters import AsyncWaiter, make_async_waiter, run_in_thread
from ..with_aio import with_aio
from .events import Events, Timeline, seconds
from .gates import Gate, GatePoint
from .probe import Probe, Watch, check_point
from .submission import Submission

READY: Final = ContainerState.READY

# Seconds from now to a start that must not happen.
NEVER: Final = 1e9

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
Y = TypeVar("Y")


class FakeOptions(TypedDict, total=False):
    """The options of a `FakeContainer`, which describes them; each may be left out."""

    max_inputs: int | None
    target_inputs: int | None
    max_batch_size: int | None
    wait_ms: int | None
    timeout: float | None
    queue_timeout: float | None
    max_backlog: int | None
    on_full: OnFull | None
    retries: int | Retries | None
    clock: Clock | None
    serialize: bool
    grace: float | None


@dataclass(frozen=True, slots=True)
class FakeStatistics:
    """The counts of a `FakeContainer` at one moment.

    The counts are exact, because they are taken together under the pool's lock.  A test
    can compare them as a whole: ``FakeStatistics(running=2, queued=1, peak=2, limit=2)``
    is equal to the statistics if all other counts are 0.
    """

    running: int = 0  # inputs that hold a slot, or share the slot of their batch
    queued: int = 0  # inputs in the queue, and inputs outside of a full backlog
    finished: int = 0  # inputs that have a result
    failed: int = 0
    cancelled: int = 0
    peak: int = 0  # the most slots held at once; a batch holds one slot
    limit: int = 0  # the slots of the container
    waiting: int = 0  # inputs that failed and will be tried again
    abandoned: int = 0  # running inputs whose caller was answered already


class FakeContainer(Generic[P, R_co]):
    """One container that runs up to `max_inputs` at once: ``with FakeContainer(fn) as c:``.

    The container runs inputs with the same engine as an app's containers: hooks, slots,
    batches, timeouts, retries and cancellation are real.  There is no autoscaler.
    ``with`` and ``async with`` start the container and wait for its enter hooks.  The end
    of the block cancels all queued and running inputs, and then runs the exit hooks.

    Args:
        function: a function of an app, a function decorated with ``concurrent`` or
            ``batched`` only, an instance of a class of an app, a method of such an
            instance, or any callable.  Other functions of an app that this function calls
            run in their own app, as always.
        max_inputs: the number of inputs that run at once.  If None, the value of the
            function's decorators; without such a decorator, 1.
        target_inputs: checked, and shown in ``container.pool_statistics()``; without
            effect, because nothing scales.
        max_batch_size, wait_ms: give both to batch inputs, as ``batched`` does.
        timeout, queue_timeout, max_backlog, on_full, retries: replace the options of the
            function's decorators; see `App.function`.
        clock: the clock of the container.  If None, the virtual clock in which the
            calling thread takes part already; without such a clock, real time.  With a
            `VirtualClock`, the thread that enters the container takes part until it
            leaves the container.
        serialize: send arguments and results through cloudpickle, as on the way to a
            remote container; see `App.run`.
        grace: the longest time in seconds that leaving may take; 5 if None.

    Raises:
        InvalidError: if a container cannot run `function` with these options.
        ExecutionError: on use, if the container was not entered.
        Exception: on entering, the error that an enter hook raised.
    """

    @overload
    def __init__(
        self, function: Function[P, R_co, object], /, **options: Unpack[FakeOptions]
    ) -> None: ...
    @overload
    def __init__(
        self, function: PartialFunction[P, R_co, object], /, **options: Unpack[FakeOptions]
    ) -> None: ...
    @overload
    def __init__(
        self, function: Callable[P, Coroutine[Any, Any, R_co]], /, **options: Unpack[FakeOptions]
    ) -> None: ...
    @overload
    def __init__(self, function: Callable[P, R_co], /, **options: Unpack[FakeOptions]) -> None: ...
    @overload
    def __init__(
        self: FakeContainer[..., Any], function: object, /, **options: Unpack[FakeOptions]
    ) -> None: ...
    @hide_our_frames
    def __init__(self, function: Any, /, **options: Unpack[FakeOptions]) -> None:
        unknown = options.keys() - FakeOptions.__annotations__.keys()
        if unknown:
            raise InvalidError(
                f"FakeContainer has no option {min(unknown)}; "
                f"write one that it has: {', '.join(FakeOptions.__annotations__)}"
            )
        self._given_clock = options.get("clock")
        self._clock = self._given_clock  # the clock of the run; chosen by `_take_part`
        self._serialize = options.get("serialize", False)
        self._grace = options.get("grace")
        self._probe = Probe()
        methods, service = _methods_and_service(function)
        self._service = _FakeService(service, _changed(service.options, options), self._get_run)
        self._functions: dict[str, Function[Any, Any, Any]] = {
            name: _in_container(method, self._service) for name, method in methods.items()
        }
        if self._service.options.batching is not None:
            for method in self._functions.values():
                check_batched(method._target)
        # The function that `call` and `submit` run; None if there are several.
        self._only = next(iter(self._functions.values())) if len(methods) == 1 else None
        # The fields below are written only by the thread or task that enters and leaves.
        # Invariant: _run and _pool are both None while the container is not in use.
        self._run: Run | None = None
        self._pool: Pool | None = None
        # The virtual clock's participants, and the ident of the thread that entered and
        # takes part until the container is left.
        self._part: tuple[Participants, int] | None = None
        # The counts when the container was left, for `statistics` afterwards.
        self._last: FakeStatistics | None = None

    # -- entering and leaving -----------------------------------------------------------

    def __enter__(self) -> FakeContainer[P, R_co]:
        self._check_not_entered()
        try:
            # First, before anything is started that a Ctrl-C could leave behind.
            interrupts.install()
            self._take_part()
            with uninterruptible:
                self._begin()
            self._wait(_has_started)
            self._check_start()
        except BaseException as error:
            self._end()
            raise without_our_frames(error)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    async def __aenter__(self) -> FakeContainer[P, R_co]:
        self._check_not_entered()
        try:
            interrupts.install()  # first, as in `__enter__`
            self._take_part()
            with uninterruptible:
                self._begin()
            await self._wait_async(_has_started)
            self._check_start()
        except BaseException as error:
            await self._end_async()
            raise without_our_frames(error)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._end_async()

    def _check_not_entered(self) -> None:
        if self._run is not None:
            raise without_our_frames(
                ExecutionError(
                    f"{self!r} is in use already; "
                    "leave it first, or write FakeContainer(...) for another"
                )
            )

    def _take_part(self) -> None:
        """Choose the clock; from now on, virtual time stands still while this thread runs."""
        self._clock = clock_of_here() if self._given_clock is None else self._given_clock
        participants = None if self._clock is None else self._clock.participants
        if participants is not None:
            self._part = participants, participants.enter("FakeContainer(..., clock=clock)")

    def _begin(self) -> None:
        """Open the run and its pool, and have the pool start the container."""
        self._last = None
        self._probe.start_error = None
        name = f"the fake container of {self._service.name}"
        self._run = run = Run(
            name,
            clock=self._clock,
            grace=self._grace,
            probe=self._probe,
            serialize=self._serialize,
        )
        self._pool = run.pool(self._service.key, self._service.maker(run))
        self._probe.watch(self._pool, _starts_once)
        self._pool.start_minimum()

    def _check_start(self) -> None:
        """Raise the error of the start, if the container did not start."""
        error = self._probe.start_error
        if error is not None:
            # Callers of inputs may have the same error.
            with Raising() as error_of:
                raise error_of(Failure(error))

    def _end(self) -> None:
        try:
            if self._run is not None:
                self._run.close()
        finally:
            self._forget()

    async def _end_async(self) -> None:
        try:
            if self._run is not None:
                await run_in_thread(self._run.close)
                give_sigint_back()  # only the main thread can, not the thread of `close`
        finally:
            self._forget()

    def _forget(self) -> None:
        """Keep the final counts, and drop all else that belongs to the run that was left."""
        if self._pool is not None:
            self._last = _counted(self._pool)
        self._run = self._pool = None
        self._probe.start_error = None
        self._probe.unwatch(_starts_once)
        self._probe._open_gates()  # a gate holds inputs of one use only
        part, self._part = self._part, None
        if part is not None:
            participants, ident = part
            participants.leave(ident)

    # -- giving it inputs -----------------------------------------------------------------

    @property
    def call(self) -> Remote[P, R_co]:
        """Run one input and return its result: ``call(...)`` or ``await call.aio(...)``."""
        return self._function().remote

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> Submission[R_co]:
        """Submit one input without waiting for it; return a handle to its state and result.

        Raises:
            ResourceExhaustedError: if ``max_backlog`` inputs wait already.
        """
        try:
            return _submit(self._function(), args, kwargs)
        except Exception as error:
            raise without_our_frames(error)

    @property
    def map(self) -> Map[R_co]:
        """Run many inputs and return their results: ``map([...])``; see `Function.map`."""
        return self._function().map

    @property
    def starmap(self) -> Starmap[R_co]:
        """Run many inputs as `map` does, each with the arguments of one row."""
        return self._function().starmap

    def stream(
        self: FakeContainer[P, Iterable[Y] | AsyncIterable[Y]], *args: P.args, **kwargs: P.kwargs
    ) -> StreamReader[Y]:
        """Return the items of a generator, for ``for`` and ``async for``.

        The input is submitted when the first item is read.
        """
        try:
            return self._function().remote_gen(*args, **kwargs)
        except Exception as error:
            raise without_our_frames(error)

    def method(self, name: str) -> FakeMethod:
        """Return one method of a class that has several: ``container.method("add").submit(1)``.

        All methods share the slots of the container, as in an app.

        Raises:
            InvalidError: if the class has no method `name`.
        """
        try:
            self._pool_now  # noqa: B018 - it must be in use
            function = self._functions.get(name)
            if function is None:
                raise InvalidError(
                    f"{self._service.name} has no method {name!r}; "
                    f"write one of {', '.join(map(repr, self._functions))}"
                )
        except Error as error:
            raise without_our_frames(error)
        return FakeMethod(function)

    def _function(self) -> Function[P, R_co, Any]:
        self._pool_now  # noqa: B018 - it must be in use
        if self._only is None:
            names = list(self._functions)
            raise without_our_frames(
                InvalidError(
                    f"{self._service.name} has the methods {', '.join(names)}; "
                    f'write container.method("{names[0]}") to say which'
                )
            )
        return self._only

    # -- looking at it ----------------------------------------------------------------------

    def statistics(self) -> FakeStatistics:
        """Return the counts of this moment; after the container was left, the final counts."""
        if self._pool is None and self._last is not None:
            return self._last
        return _counted(self._pool_now)

    def pool_statistics(self) -> PoolStatistics:
        """Return all counts of the container's pool, as `Function.statistics` does."""
        return self._pool_now.statistics()

    @property
    def events(self) -> Events:
        """The events until now, including the events of earlier uses of this container."""
        return self._probe.events

    def timeline(self, *, width: int = 60) -> Timeline:
        """Return a picture of the events until now, with at most `width` characters of time."""
        return self._probe.timeline(width=width)

    def __repr__(self) -> str:
        name = self._service.name
        if self._pool is None:
            return f"<FakeContainer {name}: not in use>"
        seen = _counted(self._pool)
        parts = [f"{seen.running} of {seen.limit} slots held"]
        for count, what in (
            (seen.queued, "queued"),
            (seen.waiting, "waiting for a retry"),
            (seen.finished, "finished"),
            (seen.failed, "failed"),
            (seen.cancelled, "cancelled"),
        ):
            if count:
                parts.append(f"{count} {what}")
        if self._pool.clock.virtual:
            parts.append(f"at {seconds(self._pool.clock.now())} s")
        return f"<FakeContainer {name}: {', '.join(parts)}>"

    # -- holding inputs, and waiting ------------------------------------------------------------

    @hide_our_frames
    def hold(self, point: GatePoint) -> Gate:
        """Hold inputs at `point` from now on, until the gate is opened; see `Probe.hold`.

        Raises:
            InvalidError: if there is no such point, or inputs of this container never come
                to it.
        """
        targets = [function._target for function in self._functions.values()]
        check_point(point, self._service.name, targets)
        return self._probe.hold(point)

    async def _wait_running_async(self, count: int) -> None:
        await self._wait_async(self._enough(count))
        await self._rest_async()

    @with_aio(_wait_running_async)
    def wait_running(self, count: int) -> None:
        """Wait until `count` inputs run at once: hold a slot, or share the slot of their batch.

        In virtual time, this method returns after the code of all these inputs has reached
        its first wait.  In real time, that code may not have begun.

        Raises:
            InvalidError: if the container cannot run `count` inputs at once.
        """
        self._wait(self._enough(count), lambda: f"{count} running in {self!r}")
        self._rest()

    async def _wait_idle_async(self) -> None:
        await self._wait_async(_is_idle)

    @with_aio(_wait_idle_async)
    def wait_idle(self) -> None:
        """Wait until no input is queued, runs, or waits for a retry."""
        self._wait(_is_idle, lambda: f"the end of all inputs in {self!r}")

    async def _wait_until_async(self, condition: Callable[[], object]) -> None:
        await self._probe.wait_until.aio(condition)

    @with_aio(_wait_until_async)
    def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait until `condition()` is true; see `Probe.wait_until`."""
        self._probe.wait_until(condition)

    @hide_our_frames
    def set_limit(self, limit: int) -> None:
        """Run at most `limit` inputs at once from now on; running inputs go on.

        Raises:
            InvalidError: if `limit` is not a whole number from 1 to `max_inputs`.
        """
        pool = self._pool_now
        most = self._service.limits.max_inputs
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= most:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(
                f"a limit must be a whole number from 1 to max_inputs={most}, got {limit!r}; "
                "write FakeContainer(..., max_inputs=...) for a higher one"
            )
        with uninterruptible:
            with pool.lock:
                containers = list(pool.fleet.ready)
            for container in containers:
                pool.resize(container, limit)

    def _enough(self, count: int) -> Callable[[Pool], bool]:
        """Return the condition that at least `count` inputs run."""
        batching = self._service.options.batching
        most = self._service.limits.max_inputs * (batching.max_batch_size if batching else 1)
        if isinstance(count, bool) or not 0 <= count <= most:
            raise without_our_frames(
                InvalidError(
                    f"wait_running needs a count from 0 to {most}, as many as can run at once, "
                    f"got {count!r}; write FakeContainer(..., max_inputs=...) for more"
                )
            )
        return lambda pool: pool.counted().running >= count

    def _wait(
        self, condition: Callable[[Pool], bool], about: Callable[[], str] | None = None
    ) -> None:
        """Wait until `condition`, which the probe checks under the pool's lock, is true.

        Args:
            about: says what the wait is for, if virtual time gets stuck.

        Raises:
            ExecutionError: if the container is left meanwhile.
        """
        pool = self._pool_now
        waiter = pool.clock.make_waiter()
        if isinstance(waiter, VirtualWaiter):
            waiter.about = about
        met: list[bool] = []
        watch = _when(condition, waiter, met)
        self._probe.watch(pool, watch)
        try:
            with uninterruptible:
                park(pool.clock, waiter)
        finally:
            self._probe.unwatch(watch)
        if not met:
            raise without_our_frames(self._left())

    async def _wait_async(self, condition: Callable[[Pool], bool]) -> None:
        """Wait as `_wait` does, in a task."""
        waiter = make_async_waiter()
        met: list[bool] = []
        watch = _when(condition, waiter, met)
        self._probe.watch(self._pool_now, watch)
        try:
            await waiter.wait()
        finally:
            self._probe.unwatch(watch)
        if not met:
            raise without_our_frames(self._left())

    def _left(self) -> ExecutionError:
        return ExecutionError(
            f"the fake container of {self._service.name} was left while this call waited; "
            "wait inside `with FakeContainer(...) as container:`"
        )

    def _rest(self) -> None:
        """In virtual time, wait until all other participants wait."""
        clock = self._pool_now.clock
        if clock.virtual:
            with uninterruptible:
                park(clock, clock.make_waiter(), 0.0)

    async def _rest_async(self) -> None:
        """Wait as `_rest` does, in a task."""
        clock = self._pool_now.clock
        if clock.virtual:
            waiter = make_async_waiter()
            timer = clock.call_at(clock.now(), waiter.wake)
            try:
                await waiter.wait()
            finally:
                timer.cancel()

    @property
    def _pool_now(self) -> Pool:
        """The pool; raises `ExecutionError` if the container is not in use."""
        if self._pool is None:
            raise without_our_frames(
                ExecutionError(
                    f"the fake container of {self._service.name} is not in use; "
                    "write `with FakeContainer(...) as container:`, and use it inside"
                )
            )
        return self._pool

    def _get_run(self) -> Run | None:
        return self._run


class FakeMethod:
    """One method of a class in a `FakeContainer`; see `FakeContainer.method`."""

    def __init__(self, function: Function[..., Any, Any]) -> None:
        self._function = function

    @property
    def call(self) -> Remote[..., Any]:
        """Run one input and return its result: ``call(...)`` or ``await call.aio(...)``."""
        return self._function.remote

    def submit(self, *args: Any, **kwargs: Any) -> Submission[Any]:
        """Submit one input without waiting for it; see `FakeContainer.submit`."""
        try:
            return _submit(self._function, args, kwargs)
        except Exception as error:
            raise without_our_frames(error)

    @property
    def map(self) -> Map[Any]:
        """Run many inputs and return their results: ``map([...])``; see `Function.map`."""
        return self._function.map

    @property
    def starmap(self) -> Starmap[Any]:
        """Run many inputs as `map` does, each with the arguments of one row."""
        return self._function.starmap

    def stream(self, *args: Any, **kwargs: Any) -> StreamReader[Any]:
        """Return the items of a generator; see `FakeContainer.stream`."""
        try:
            return self._function.remote_gen(*args, **kwargs)
        except Exception as error:
            raise without_our_frames(error)

    def __repr__(self) -> str:
        return f"<FakeMethod {self._function._name}>"


class _FakeService:
    """The service of a function as the fake container sees it.

    The options are those of the fake container, and the current run is the fake
    container's run, not a run of the app.  Everything else comes from the wrapped service.
    """

    def __init__(
        self, service: Service, options: FunctionOptions, get_run: Callable[[], Run | None]
    ) -> None:
        # No variant: the options of a fake container are its own, and not a change.
        self._inner: Service = service.with_options(options, variant="")
        self._get_run = get_run

    @property
    def app(self) -> App:
        app: App = self._inner.app
        return app

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def key(self) -> Hashable:
        return self._inner.key

    @property
    def options(self) -> FunctionOptions:
        return self._inner.options

    @property
    def is_variant(self) -> bool:
        return self._inner.is_variant

    def web_app(self) -> tuple[str | None, bool]:
        return self._inner.web_app()

    @property
    def mounts_volumes(self) -> bool:
        return self._inner.mounts_volumes

    @property
    def limits(self) -> Limits:
        return self._inner.limits

    def current_run(self) -> Run:
        run = self._get_run()
        if run is None:
            raise ExecutionError(
                f"the fake container of {self.name} is not in use any more; "
                "call its functions inside `with FakeContainer(...) as container:`"
            )
        return run

    @property
    def open_run(self) -> Run | None:
        return self._get_run()

    def maker(self, run: Run) -> MakePool:
        return self._inner.maker(run)

    def with_options(self, options: FunctionOptions, *, variant: str | None = None) -> _FakeService:
        return _FakeService(self._inner, options, self._get_run)

    def update_autoscaler(self, changes: Mapping[str, Any]) -> Limits:
        raise InvalidError(
            "a fake container has no autoscaler; "
            "call container.set_limit(...), or run the app: `with app.run(clock=clock):`"
        )


# -- what can be run ------------------------------------------------------------------------


def _methods_and_service(function: Any) -> tuple[dict[str, Function[Any, Any, Any]], Service]:
    """Return the functions that the container can run, by name, and their shared service."""
    if isinstance(function, Function):
        registered: Function[Any, Any, Any] = function
        return {registered._name: registered}, registered._service
    if isinstance(function, Obj):
        declared = function._cls._declared
        methods = {name: function._method(name) for name in declared.methods}
        if not methods:
            raise InvalidError(
                f"{declared.name} has no method to run; put @moorage.method() above one"
            )
        return methods, function._service
    if isinstance(function, (Cls, type)):
        shown = function.__name__
        registered_as = "" if isinstance(function, Cls) else "with @app.cls() above it, "
        raise InvalidError(
            f"a fake container runs an instance, got the class {shown}; "
            f"write {registered_as}FakeContainer({shown}(...))"
        )
    if not isinstance(function, PartialFunction) and not callable(function):
        raise InvalidError(
            f"a fake container runs a function, or an instance of a class of an app, "
            f"got {function!r}; write FakeContainer(function)"
        )
    name: str | None = None
    if Real.ismethod(function):  # a bound method of an object that no app knows
        name, function = function.__name__, functools.partial(function)
    elif not isinstance(function, PartialFunction) and not hasattr(function, "__name__"):
        # A functools.partial, or an object with __call__.
        inner = getattr(function, "func", None)
        name = str(getattr(inner, "__name__", type(function).__name__)).replace(
            "<lambda>", "partial"
        )
    made: Function[Any, Any, Any] = App().function(serialized=True, name=name)(function)
    return {made._name: made}, made._service


def _changed(options: FunctionOptions, given: FakeOptions) -> FunctionOptions:
    """Return `options`, changed by the fake container's options, for exactly one container."""
    most, target = given.get("max_inputs"), given.get("target_inputs")
    if most is not None or target is not None:
        changed = Concurrency(options.max_inputs if most is None else most, target).checked()
        options = options.merged(concurrency=changed)
    size, wait_ms = given.get("max_batch_size"), given.get("wait_ms")
    if size is not None or wait_ms is not None:
        if size is None or wait_ms is None:
            raise InvalidError(
                f"a batch needs max_batch_size and wait_ms, got {size} and {wait_ms}; "
                "write both, as max_batch_size=4, wait_ms=100"
            )
        options = options.merged(batching=checked_batching(size, wait_ms))
    names = ("retries", "timeout", "queue_timeout", "max_backlog", "on_full")
    options = changed_options(options, {}, {}, **{name: given.get(name) for name in names})
    options.check_queue_timeout()
    return options.merged(min_containers=1, max_containers=1, buffer_containers=0)


def _in_container(function: Function[Any, Any, Any], service: Service) -> Function[Any, Any, Any]:
    """Return a copy of `function` whose inputs run in the pool of `service`."""
    return Function._make(
        function._target, service, function._local, shown=repr(function), web=function._web
    )


def _submit(
    function: Function[Any, Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Submission[Any]:
    call = function.spawn(*args, **kwargs)
    return Submission(call, shown_call(function._name, args, kwargs))


# -- conditions and watches, called under the pool's lock -----------------------------------


def _when(
    condition: Callable[[Pool], bool], waiter: Waiter | AsyncWaiter, met: list[bool]
) -> Watch:
    """Return a watch that wakes `waiter` once `condition` is true or the container is left.

    If `condition` is true, the watch adds True to `met`; if the container is left first,
    `met` stays empty.
    """

    def watch(pool: Pool) -> Callable[[], object] | None:
        if condition(pool):
            met.append(True)
        return waiter.wake if met or not pool.is_open else None

    return watch


def _has_started(pool: Pool) -> bool:
    # Ask the fleet, not `tally.starts`: the watch runs while the pool moves the container
    # to READY, and the pool counts the start only after that.
    return pool.scaling.failed_starts > 0 or bool(pool.fleet.ready)


def _starts_once(pool: Pool) -> None:
    """Keep the pool from running the hooks again after a failed start.

    The thread or task that enters the container gets the error of the first start.
    """
    if pool.scaling.failed_starts and not pool.tally.starts:
        pool.scaling.start_again_at = pool.clock.now() + NEVER


def _is_idle(pool: Pool) -> bool:
    return not (
        pool.backlog.queued or pool.fleet.running or pool.attempts.waiting or pool.backlog.outside
    )


def _counted(pool: Pool) -> FakeStatistics:
    seen = pool.statistics()
    limits = [c.limit for c in seen.containers if c.state.value == "ready"]
    return FakeStatistics(
        running=seen.running,
        queued=seen.queued + seen.outside,
        finished=seen.succeeded,
        failed=seen.failed,
        cancelled=seen.cancelled,
        peak=seen.peak_inputs,
        limit=limits[0] if limits else seen.max_inputs,
        waiting=seen.waiting,
        abandoned=seen.abandoned,
    )
