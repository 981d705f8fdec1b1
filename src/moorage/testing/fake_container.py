"""The fake container: one container around any function, controlled by a test.

Owns `FakeContainer`: how a test enters and leaves it, gives it inputs, looks at it and waits for
it.  A fake container opens its own run, with one pool that always has one container.  The engine
runs the inputs; this file starts the run, waits for states of the pool, and reads the pool.
Tests use it directly or through the fixture ``fake_container`` (``pytest_plugin.py``).

The parts: what can be run is in ``runnable.py``; the options in ``fake_options.py``; how inputs
come to this container, and not to their app, in ``fake_service.py``; ``submit`` and the methods
of a class in ``submitting.py``; the waits in ``watching.py``; the counts in
``fake_statistics.py``.

Begin at `FakeContainer.__enter__`, then `_begin`, then `_wait`.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, Generic, ParamSpec, TypeVar, Unpack, overload

from ..calling.waited import StreamReader
from ..calling.ways import Map, Remote, Starmap
from ..declaring.batch_types import OneInput
from ..declaring.partial import NotAFunction, PartialFunction
from ..declaring.targets import check_batched
from ..exception import Error, ExecutionError, InvalidError
from ..frames import hide_our_frames, without_our_frames
from ..functions import Function
from ..running.runs import Run, give_sigint_back
from ..runtime.clocks.clock_of_here import clock_of_here
from ..runtime.clocks.participants import Participants
from ..runtime.guards.interrupts import interrupts
from ..runtime.outcome import Failure, Raising
from ..runtime.pools.pool import Pool
from ..runtime.pools.statistics import PoolStatistics
from ..runtime.uninterruptible import uninterruptible
from ..runtime.waiting.async_waiters import run_in_thread
from ..with_aio import with_aio
from .events import Events, Timeline, seconds
from .fake_options import FakeOptions, changed, check_names
from .fake_service import FakeService, in_container
from .fake_statistics import FakeStatistics, counted
from .gates import Gate, GatePoint
from .probe import Probe, check_point
from .runnable import functions_of
from .submitting import FakeMethod, Submit, submit_of
from .watching import (
    Condition,
    has_started,
    is_idle,
    rest,
    rest_async,
    starts_once,
    wait_for,
    wait_for_async,
)

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
Y = TypeVar("Y")


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
    def __init__(self, function: OneInput[P, R_co], /, **options: Unpack[FakeOptions]) -> None: ...
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
        self: FakeContainer[..., Any], function: NotAFunction, /, **options: Unpack[FakeOptions]
    ) -> None: ...
    @hide_our_frames
    def __init__(self, function: Any, /, **options: Unpack[FakeOptions]) -> None:
        check_names(options)
        self._given_clock = options.get("clock")
        self._clock = self._given_clock  # the clock of the run; chosen by `_take_part`
        self._serialize = options.get("serialize", False)
        self._grace = options.get("grace")
        self._probe = Probe()
        functions, service = functions_of(function)
        self._service = FakeService(service, changed(service.options, options), self._get_run)
        self._functions: dict[str, Function[Any, Any, Any]] = {
            name: in_container(each, self._service) for name, each in functions.items()
        }
        if self._service.options.batching is not None:
            for each in self._functions.values():
                check_batched(each._target)
        # The function that `call` and `submit` run; None if there are several.
        self._only = next(iter(self._functions.values())) if len(functions) == 1 else None
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
            self._wait(has_started)
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
            await self._wait_async(has_started)
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
        self._probe.watch(self._pool, starts_once)
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
            self._last = counted(self._pool)
        self._run = self._pool = None
        self._probe.start_error = None
        self._probe.unwatch(starts_once)
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

    @property
    def submit(self) -> Submit[P, R_co]:
        """Submit one input without waiting: ``submit(...)`` or ``await submit.aio(...)``.

        Returns a handle to the input's state and result, a `Submission`.
        """
        return submit_of(self._function())

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
        return counted(self._pool_now)

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
        seen = counted(self._pool)
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
        await rest_async(self._pool_now)

    @with_aio(_wait_running_async)
    def wait_running(self, count: int) -> None:
        """Wait until `count` inputs run at once: hold a slot, or share the slot of their batch.

        In virtual time, this method returns after the code of all these inputs has reached
        its first wait.  In real time, that code may not have begun.

        Raises:
            InvalidError: if the container cannot run `count` inputs at once.
        """
        self._wait(self._enough(count), lambda: f"{count} running in {self!r}")
        rest(self._pool_now)

    async def _wait_idle_async(self) -> None:
        await self._wait_async(is_idle)

    @with_aio(_wait_idle_async)
    def wait_idle(self) -> None:
        """Wait until no input is queued, runs, or waits for a retry."""
        self._wait(is_idle, lambda: f"the end of all inputs in {self!r}")

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

    def _enough(self, count: int) -> Condition:
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

    def _wait(self, condition: Condition, about: Callable[[], str] | None = None) -> None:
        """Wait until `condition` is true; see `wait_for`.

        Raises:
            ExecutionError: if the container is left meanwhile.
        """
        if not wait_for(self._probe, self._pool_now, condition, about):
            raise without_our_frames(self._left())

    async def _wait_async(self, condition: Condition) -> None:
        """Wait as `_wait` does, in a task."""
        if not await wait_for_async(self._probe, self._pool_now, condition):
            raise without_our_frames(self._left())

    def _left(self) -> ExecutionError:
        return ExecutionError(
            f"the fake container of {self._service.name} was left while this call waited; "
            "wait inside `with FakeContainer(...) as container:`"
        )

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
