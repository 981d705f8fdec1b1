"""Maps: one call with many inputs, a window of them under way at a time.

Owns the window of undelivered results, their order, and what ends a map early.
How inputs are read is in ``feeding.py``.  The results' bookkeeping is guarded by
the pool's lock: it changes in the same step that settles an input.
"""

from __future__ import annotations

import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterator,
    Sequence,
)
from contextvars import Context
from typing import Any, Final, Generic, TypeVar

from ..exception import (
    Error,
    ExecutionError,
    InputCancellation,
    InputCancelledError,
    ResourceExhaustedError,
)
from ..frames import without_our_frames
from ..runtime.captured import capture
from ..runtime.clocks.clock import Clock
from ..runtime.guards.cells import strike_again
from ..runtime.input import Input, InputState, Target, next_call_number
from ..runtime.outcome import Value
from ..runtime.pools.pool import Pool
from ..runtime.real import Real
from ..runtime.uninterruptible import uninterruptible
from ..runtime.waiting.async_waiters import make_async_waiter
from ..runtime.waiting.callers import block_loop, park_for, wait_for
from ..serialize.serializing import SerializingTarget, serialize_inputs
from .feeding import AsyncFeeder, Rows, ThreadFeeder, are_plain, rows_of
from .waited import clean_up_soon, error_of, sits_in_step, warn_if_loop_runs, written

R_co = TypeVar("R_co", covariant=True)
Wake = Callable[[], object]

# Results delivered before the window moves on.  Sequences are read on, and the
# feeder woken, this often while a reader works through many results at once.
SLICE: Final = 128

# Inputs that a reader which feeds puts in before it passes on the first result.
FILLED: Final = 1000


class MapCall:
    """The call that the inputs of one map share.

    One reader takes the results; the reader or one feeder adds inputs.
    """

    __slots__ = (
        "closed",
        "context",
        "delivered",
        "done",
        "exhausted",
        "feeder_error",
        "feeder_wake",
        "forget",
        "handed_over",
        "kwargs",
        "last",
        "number",
        "pool",
        "reader_wake",
        "submitted",
        "taken",
        "target",
        "unsettled",
        "window",
    )

    def __init__(self, target: Target, pool: Pool, kwargs: dict[str, Any], window: int) -> None:
        self.number: int = next_call_number()
        self.target: Target = target
        self.context: Context = capture()
        self.kwargs: dict[str, Any] | None = kwargs or None
        self.pool: Pool = pool
        self.window: int = window
        # Guarded by the pool's lock.  Invariant: submitted - delivered <= window.
        self.submitted: int = 0
        self.taken: int = 0  # by the reader, which may hold some back to keep the order
        self.delivered: int = 0
        # Settled, in that order, not yet taken.  Invariant: empty once it is closed, as an
        # input leads to its call: what nobody reads would wait for the collector.
        self.done: list[Input] = []
        # Invariant: its inputs that are not settled.  So whoever closes the map finds them
        # without a look at the inputs of other calls.
        self.unsettled: set[Input] = set()
        self.forget: Callable[[Input], object] = self.unsettled.remove  # as each input asks
        self.handed_over: int = 0  # of the submitted ones, those that the pool has
        self.exhausted: bool = False
        self.feeder_error: BaseException | None = None
        self.reader_wake: Wake | None = None
        self.feeder_wake: Wake | None = None
        self.closed: bool = False
        self.last: Input | None = None  # submitted, where the backlog has a bound

    @property
    def clock(self) -> Clock:
        return self.pool.clock

    @property
    def drains(self) -> bool:
        return self.pool.drains

    def settled(self, input: Input, /) -> Wake | None:
        self.forget(input)
        if not self.closed:
            self.done.append(input)
        wake = self.reader_wake
        if wake is not None:
            # Once for all results that come before the reader looks.
            self.reader_wake = None
        return wake

    def is_bounded(self) -> bool:
        """Whether the backlog of the pool has a bound."""
        return self.pool.backlog.most is not None

    @uninterruptible
    def submit(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Hand over the inputs with these arguments.  Called by one thread or task."""
        first = self.submitted
        kwargs = self.kwargs
        inputs = [Input(self, first + i, row, kwargs) for i, row in enumerate(rows)]
        if type(self.target) is SerializingTarget:
            serialize_inputs(inputs, one_of_many=True)
        bounded = self.is_bounded()
        with self.pool.lock:
            self.submitted = first + len(inputs)
            self.unsettled.update(inputs)
            if bounded:
                self.last = inputs[-1]
        try:
            # Refused, if at all, at its beginning: once begun it waits for room.
            self.pool.submit(inputs, may_stand_outside=first > 0)
        except (ExecutionError, ResourceExhaustedError):
            # Not accepted: the run is being left, or the backlog is full.  The reader
            # must not wait for them.
            with self.pool.lock:
                self.submitted = first
                self.unsettled.difference_update(inputs)
            raise
        # Only a submit makes it stand outside: if it does not, it never will.
        if bounded and inputs[-1].state is InputState.OUTSIDE:
            self.pool.when_let_in(inputs[-1], self._go_on)
        self.handed_over = first + len(inputs)  # before the look at `closed`: see `_to_cancel`
        if self.closed:
            # The reader has gone meanwhile, and may have cancelled what there
            # was just before these came.
            self.last = None
            self.pool.cancel_all(inputs)

    @uninterruptible
    def take(self, wake: Wake) -> tuple[list[Input], bool]:
        """What has been settled, and whether that is all there will be.

        If there is nothing yet, `wake` is called when there is.
        """
        with self.pool.lock:
            # Never the list itself: results come into it as soon as the lock is let go.
            done, self.done = self.done, []
            # Closed by another thread or task: what it dropped never comes.
            end = self.closed
            if not end:
                if not done and (not self.exhausted or self.taken < self.submitted):
                    self.reader_wake = wake
                self.taken += len(done)
                end = self.exhausted and self.taken == self.submitted
                return done, end
        return [], True

    @uninterruptible
    def deliver(self, count: int) -> None:
        """The reader has passed on `count` more results: there is room for as many inputs."""
        feeder: Wake | None = None
        with self.pool.lock:
            self.delivered += count
            feeder, self.feeder_wake = self.feeder_wake, None
        if feeder is not None:
            feeder()

    @uninterruptible
    def room(self, wake: Wake | None = None) -> int:
        """How many inputs may be added; if none, `wake` is called when some may."""
        with self.pool.lock:
            if self.closed:
                return 0
            room = self.window - (self.submitted - self.delivered)
            fits = self.pool.room_in_backlog(self.target.is_async)
            if fits is not None:
                # One goes and stands outside if none fits, to have its turn in the line.
                outside = self.last is not None and self.last.state is InputState.OUTSIDE
                room = 0 if outside else min(room, max(1, fits))
            if room <= 0 and wake is not None:
                self.feeder_wake = wake
            return max(room, 0)

    @uninterruptible
    def _go_on(self) -> None:
        """The backlog let in what stood outside: more may be added, by whoever adds."""
        with self.pool.lock:
            feeder, self.feeder_wake = self.feeder_wake, None
            reader, self.reader_wake = self.reader_wake, None
        for wake in (feeder, reader):
            if wake is not None:
                wake()

    @uninterruptible
    def finish_feeding(self, error: BaseException | None = None) -> None:
        """There are no more inputs, or reading them raised `error`."""
        with self.pool.lock:
            self.exhausted = True
            self.feeder_error = error
            wake, self.reader_wake = self.reader_wake, None
        if wake is not None:
            wake()

    def _to_cancel(self) -> list[Input]:
        """The inputs that whoever closes the map cancels, in their order.  Under the pool's lock.

        Those that the pool does not have yet are left to the feeder:
            1. it notes the inputs in `unsettled`,
            2. the reader closes the map, and cancels all that the pool has,
            3. the feeder hands them over, finds the map closed, and cancels them.
        """
        handed_over = [input for input in self.unsettled if input.index < self.handed_over]
        return sorted(handed_over, key=lambda input: input.index)

    @uninterruptible
    def close(self) -> None:
        """The reader has gone: cancel what is left.  Once; more often is harmless."""
        if self.pool.forked:
            return
        with self.pool.lock:
            if self.closed:
                return
            self.closed = True
            feeder, self.feeder_wake = self.feeder_wake, None
            reader, self.reader_wake = self.reader_wake, None
            done = self._let_inputs_go()
            unsettled = self._to_cancel()
        done.clear()
        for wake in (feeder, reader):
            if wake is not None:
                wake()
        self.pool.cancel_all(unsettled)
        self.pool.close_call()

    @uninterruptible
    def finish(self) -> None:
        """All results are taken."""
        if self.pool.forked:
            return
        with self.pool.lock:
            if self.closed:
                return
            self.closed = True
            done = self._let_inputs_go()
        done.clear()
        self.pool.close_call()

    @uninterruptible
    def failed(self) -> None:
        """A result was an error that ends the map: what has not started is cancelled.

        What runs already runs on, and its results are dropped.
        """
        if self.pool.forked:
            return
        with self.pool.lock:
            if self.closed:
                return
            self.closed = True
            feeder, self.feeder_wake = self.feeder_wake, None
            done = self._let_inputs_go()
            unsettled = self._to_cancel()
        done.clear()
        if feeder is not None:
            feeder()
        self.pool.cancel_waiting(unsettled)
        self.pool.close_call()

    def _let_inputs_go(self) -> list[Input]:
        """It is closed: forget what nobody reads.  Under the lock, without which they die."""
        gone, self.done = self.done, []
        if self.last is not None:
            gone.append(self.last)
            self.last = None
        return gone


OpenMap = Callable[[], MapCall]
"""Makes the call, and keeps its pool open for it."""


class MapResults(Generic[R_co]):
    """The results of a map, for ``for`` or, made by ``map.aio``, for ``async for``.

    Lazy: nothing is read or started before the first step.  Closing or
    dropping it cancels what is left.
    """

    def __init__(
        self,
        open_map: OpenMap,
        iterables: tuple[Any, ...],
        *,
        ordered: bool,
        return_exceptions: bool,
        starred: bool = False,
        name: str = "map",
    ) -> None:
        # The generators hold no reference to self, so that dropping it drops them.
        self._reading: _Reading = _Reading(
            open_map, iterables, ordered, return_exceptions, starred, name
        )
        self._steps: Generator[R_co, None, None] = _results(self._reading)
        self._async_steps: AsyncGenerator[R_co, None] = _results_async(self._reading)

    def __iter__(self) -> Iterator[R_co]:
        return self._steps

    def __next__(self) -> R_co:
        try:
            return next(self._steps)
        except Exception as error:
            raise without_our_frames(error)

    def __aiter__(self) -> AsyncIterator[R_co]:
        return self._async_steps

    async def __anext__(self) -> R_co:
        try:
            return await anext(self._async_steps)
        except Exception as error:
            raise without_our_frames(error)

    def close(self) -> None:
        """Cancel what is left.  Harmless if it has ended or never began."""
        # First: a thread that sits in the next step cannot be closed from here.
        self._reading.close()
        if Real.getgeneratorstate(self._steps) != inspect.GEN_RUNNING:
            self._steps.close()

    async def aclose(self) -> None:
        """As `close`, for ``async for``."""
        # First: another task may sit in the next step, which ends then.
        self._reading.close()
        if not sits_in_step(self._async_steps):
            await self._async_steps.aclose()


class _Reading:
    """The reader of one map: all it does but waiting, be it blocking or awaiting."""

    def __init__(
        self,
        open_map: OpenMap,
        iterables: tuple[Any, ...],
        ordered: bool,
        return_exceptions: bool,
        starred: bool,
        name: str,
    ) -> None:
        self._open_map = open_map
        self.name = name  # of the way it was called
        self.iterables = iterables
        self._ordered = ordered
        self.starred = starred  # one iterable, whose elements are whole rows
        self.return_exceptions = return_exceptions
        self._call: MapCall | None = None  # once begun
        self._rows: Rows | None = None  # if the reader itself reads the inputs
        self._turn = 0  # the index of the next result, if they are ordered
        self._early: dict[int, Input] = {}  # those that came before their turn
        self._due: list[Input] = []  # in their turn, not yet passed on
        self._passed = 0  # to the reader, in the last slice
        self.ended = False

    def begin(self) -> MapCall:
        """Make the call, and decide whether this reader feeds it or a feeder does."""
        self._call = call = self._open_map()
        if are_plain(self.iterables) and not call.is_bounded():
            self._rows = Rows(rows_of(self.iterables, self.starred))
        return call

    @property
    def begun(self) -> bool:
        return self._call is not None

    @property
    def needs_feeder(self) -> bool:
        return self._rows is None

    def next_results(self, call: MapCall, wake: Wake) -> list[Input] | None:
        """The results whose turn it is, `SLICE` at most; none at the end.

        None if there is nothing yet: then `wake` is called when there may be.
        """
        passed, self._passed = self._passed, 0
        if passed:
            call.deliver(passed)
        while True:
            reads = self._rows is not None and not call.exhausted
            if reads and self._rows is not None:
                # The window is filled before a result is passed on: the user may work
                # on that result for long, and the containers would stand idle.
                while self._rows.feed(call, passed):
                    passed = 0
                    if call.done and call.submitted - call.delivered >= FILLED:
                        break  # a very wide window is filled on the way
                passed = 0
            if not self._due:
                done, end = call.take(wake)
                self._due = self._in_turn(done) if self._ordered else done
                if not self._due:
                    if end:
                        if call.closed:
                            raise InputCancelledError(
                                f"the results of a {self.name} were closed while another thread "
                                "or task waited for the next one; close them where they are read"
                            )
                        self.ended = True
                        return []
                    if done or (reads and not call.exhausted and call.room()):
                        continue  # look, or read, on rather than wait
                    return None
            results, self._due = self._due[:SLICE], self._due[SLICE:]
            self._passed = len(results)
            return results

    def _in_turn(self, done: list[Input]) -> list[Input]:
        early = self._early
        turn = self._turn
        due: list[Input] = []
        for input in done:
            if input.index == turn:
                due.append(input)
                turn += 1
                while early and turn in early:
                    due.append(early.pop(turn))
                    turn += 1
            else:
                early[input.index] = input
        self._turn = turn
        return due

    @property
    def clock(self) -> Clock | None:
        return None if self._call is None else self._call.clock

    def close(self) -> None:
        if self._call is not None:
            self._call.close()


def _results(reading: _Reading) -> Generator[Any, None, None]:
    if reading.begun:
        return  # read the other way already
    feeder: ThreadFeeder | None = None
    # On a container's loop its inputs must go elsewhere, until it runs again.
    unblock_loop = block_loop() if Real._get_running_loop() is not None else None
    try:
        # Uninterruptible regions, but while the reader has a result.
        with uninterruptible:
            try:
                call = reading.begin()
            except Error as error:
                raise without_our_frames(error)
            way = "await" if reading.name == "for_each" else "async for ... in"
            instead = f"{way} {{}}.{reading.name}.aio(...)"
            warn_if_loop_runs(written(call.target), f"{reading.name}(...)", instead)
            if reading.needs_feeder:
                feeder = ThreadFeeder(call, reading.iterables, reading.starred)
        while not reading.ended:
            with uninterruptible:
                results = _wait_results(reading, call)
            if unblock_loop is not None:
                unblock_loop = unblock_loop()
            for input in results:
                outcome = input.outcome
                if type(outcome) is Value:
                    yield outcome.value
                elif reading.return_exceptions:
                    yield error_of(outcome)
                else:
                    call.failed()
                    try:
                        raise error_of(outcome)
                    finally:
                        # They lead to the error, and its traceback to this frame.
                        del results, input, outcome
        if call.feeder_error is not None:
            raise call.feeder_error
        with uninterruptible:
            call.finish()
            if feeder is not None:
                feeder.join()
    except GeneratorExit:
        # Closed, or collected, maybe while some lock is held: take none here.
        try:
            clean_up_soon(reading.close, reading.clock)
        except (InputCancellation, KeyboardInterrupt):  # it would be lost with the reader
            clean_up_soon(reading.close, reading.clock)
            strike_again()
        raise
    except BaseException as error:
        try:
            reading.close()
        except InputCancellation:
            reading.close()
            raise
        raise without_our_frames(error)
    finally:
        if unblock_loop is not None:
            unblock_loop()


def _wait_results(reading: _Reading, call: MapCall) -> list[Input]:
    """The next results, as soon as there are any; none at the end."""
    while True:
        waiter = call.clock.make_waiter()
        results = reading.next_results(call, waiter.wake)
        if results is not None:
            return results
        park_for(call.pool, waiter, call)


async def _results_async(reading: _Reading) -> AsyncGenerator[Any, None]:
    if reading.begun:
        return
    feeder: ThreadFeeder | AsyncFeeder | None = None
    waits = False
    try:
        with uninterruptible:
            try:
                call = reading.begin()
            except Error as error:
                raise without_our_frames(error)
        if any(isinstance(iterable, AsyncIterable) for iterable in reading.iterables):
            feeder = AsyncFeeder(call, reading.iterables, reading.starred)
        elif reading.needs_feeder:
            feeder = ThreadFeeder(call, reading.iterables, reading.starred)
        while not reading.ended:
            waiter = make_async_waiter()
            results = reading.next_results(call, waiter.wake)
            if results is None:
                waits = True
                await wait_for(call.pool, waiter, call)
                waits = False
                continue
            for input in results:
                outcome = input.outcome
                if type(outcome) is Value:
                    yield outcome.value
                elif reading.return_exceptions:
                    yield error_of(outcome)
                else:
                    call.failed()
                    try:
                        raise error_of(outcome)
                    finally:
                        # They lead to the error, and its traceback to this frame.
                        del results, input, outcome
        if call.feeder_error is not None:
            raise call.feeder_error
    except GeneratorExit:
        clean_up_soon(reading.close, reading.clock)
        if isinstance(feeder, AsyncFeeder):
            feeder.cancel()
            if not waits:
                # Else the task itself is collected, and nothing can be awaited.
                await feeder.wait_ended()
        raise
    except BaseException as error:
        reading.close()
        if isinstance(feeder, AsyncFeeder):
            feeder.cancel()
            await feeder.wait_ended()
        raise without_our_frames(error)
    call.finish()
    if isinstance(feeder, AsyncFeeder):
        await feeder.wait_ended()
    elif feeder is not None:
        feeder.join()
