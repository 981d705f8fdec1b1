"""Maps: one call with many inputs, of which a window is submitted at a time.

Owns the window of undelivered results, the order of the results, and what ends a map early.
``ways.py`` makes the `MapResults`; ``feeding.py`` reads the inputs; ``functions.py``
(`_open_map`) chooses the size of the window.  The pool's lock guards the counts and lists of
results, because settling an input changes them under that lock.

Begin at `MapCall.room`, which keeps the window, then `MapResults`, `_results` and
`_Reading.next_results`.
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
    DeserializationError,
    Error,
    ExecutionError,
    InputCancellation,
    InputCancelledError,
    ResourceExhaustedError,
)
from ..frames import without_our_frames
from ..placing.shipping import pack_call
from ..runtime.captured import capture
from ..runtime.clocks.clock import Clock
from ..runtime.context import running_input
from ..runtime.guards.cells import strike_again
from ..runtime.input import Input, InputState, Target, make_input, next_call_number
from ..runtime.outcome import Failure, Raising, Value
from ..runtime.pools.pool import Pool
from ..runtime.real import Real
from ..runtime.uninterruptible import uninterruptible
from ..runtime.waiting.async_waiters import make_async_waiter
from ..runtime.waiting.callers import block_loop, is_unknown, park_for, wait_for
from ..runtime.waiting.deadlock import check_pool
from ..runtime.waiting.waits import open_streams
from ..serialize.serializing import SerializingTarget, serialize_inputs
from .feeding import AsyncFeeder, Rows, ThreadFeeder, are_plain, rows_of
from .graph import CanBeNoted, notable
from .registry import registry
from .waited import clean_up_soon, error_of, sits_in_step, warn_if_loop_runs, written

R_co = TypeVar("R_co", covariant=True)
Wake = Callable[[], object]

# The most results in one slice.  After each slice the window moves on: the reader submits more
# of a sequence, or wakes the feeder.  So the window also moves while the reader works through
# many results that are there at once.  A slice of a narrow window is at most a quarter of the
# window, so that the containers do not wait while the reader works through a whole window.
SLICE: Final = 128

# A reader that feeds submits this many inputs before it passes on the first result, or as many
# as the window allows.
FILLED: Final = 1000


@notable
class MapCall(CanBeNoted):
    """The call that the inputs of one map share.

    One reader takes the results.  The reader or one feeder submits the inputs.
    """

    __slots__ = (
        "closed",
        "context",
        "delivered",
        "done",
        "exhausted",
        "feeder_error",
        "feeder_wake",
        "graph",
        "handed_over",
        "kwargs",
        "last",
        "number",
        "pending",
        "pool",
        "reader_wake",
        "slice",
        "submitted",
        "taken",
        "target",
        "wanted",
        "window",
    )

    def __init__(self, target: Target, pool: Pool, kwargs: dict[str, Any], window: int) -> None:
        self.number: int = next_call_number()
        self.target: Target = target
        self.context: Context = capture()
        self.kwargs: dict[str, Any] | None = kwargs or None
        self.pool: Pool = pool
        self.window: int = window
        self.slice: int = min(SLICE, max(1, window // 4))  # the most results in one slice
        # Guarded by the pool's lock.  Invariant: submitted - delivered <= window.
        self.submitted: int = 0
        # Results that the reader has taken.  The reader may keep some of them back, to pass
        # results on in order.
        self.taken: int = 0
        self.delivered: int = 0  # results that the reader has passed on
        # Inputs that are settled and not taken, in the order in which they settled.  Invariant:
        # empty once the map is closed, because an input refers to its call and back: unread
        # inputs would be a cycle, and stay until a garbage collection.
        self.done: list[Input] = []
        # Invariant: the inputs of this map that are not settled, and those in `done`, which leave
        # the set all at once when they are taken.  So closing the map finds its inputs without a
        # search through the inputs of other calls.
        self.pending: set[Input] = set()
        # How many of the submitted inputs the pool has.  Written without the lock by `submit`.
        self.handed_over: int = 0
        self.exhausted: bool = False  # no more inputs come
        self.feeder_error: Failure | None = None  # why reading the inputs failed
        self.reader_wake: Wake | None = None  # set while the reader waits for results
        # The index of the only result that ends that wait; None if any does.  A reader that passes
        # results on in order can do nothing with those that come before their turn, and each
        # wake-up costs as much as many inputs.
        self.wanted: int | None = None
        self.feeder_wake: Wake | None = None  # set while the feeder waits for room
        self.closed: bool = False  # the reader takes no more results
        # The input that was submitted last.  Set only if the backlog has a bound.
        self.last: Input | None = None

    @property
    def clock(self) -> Clock:
        return self.pool.clock

    @property
    def drains(self) -> bool:
        return self.pool.drains

    def settled(self, input: Input, /) -> Wake | None:
        if self.closed:
            self.pending.discard(input)
        else:
            self.done.append(input)
        wake = self.reader_wake
        if wake is not None:
            wanted = self.wanted
            if wanted is not None and wanted != input.index and not open_streams:
                return None
            # One wake is enough for all results that come until the reader takes them.
            self.reader_wake = None
        return wake

    def is_bounded(self) -> bool:
        """Return whether the pool's backlog has a bound."""
        return self.pool.backlog.most is not None

    @uninterruptible
    def submit(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Submit inputs with these arguments to the pool.

        Only one thread or task calls this: the feeder, or the reader if it feeds.
        """
        first = self.submitted
        kwargs = self.kwargs
        inputs = [make_input(self, row, kwargs, index) for index, row in enumerate(rows, first)]
        if type(self.target) is SerializingTarget:
            serialize_inputs(inputs, one_of_many=True)
        elif self.pool.options.is_placed:
            pack_call(inputs, one_of_many=True)
        bounded = self.is_bounded()
        with self.pool.lock:
            self.submitted = first + len(inputs)
            self.pending.update(inputs)
            if bounded:
                self.last = inputs[-1]
        caller = self.context.get(running_input, None)
        is_noted = caller is not None and registry.add_nested(caller, self, inputs)
        try:
            # A full backlog may refuse the first inputs of a map.  Later inputs wait outside
            # for room.
            self.pool.submit(inputs, may_stand_outside=first > 0)
        except (ExecutionError, ResourceExhaustedError):
            # The pool did not accept these inputs, because the run is being left or the backlog
            # is full.  The reader must not wait for their results.
            with self.pool.lock:
                self.submitted = first
                self.pending.difference_update(inputs)
            if is_noted:
                registry.drop_nested(self, inputs)
            raise
        # Only `Pool.submit` puts an input outside: an input that is not outside now never will
        # be.
        if bounded and inputs[-1].state is InputState.OUTSIDE:
            self.pool.when_let_in(inputs[-1], self._on_let_in)
        self.handed_over = first + len(inputs)  # before `closed` is read: see `_to_cancel`
        if self.closed:
            # The map was closed while these inputs were being submitted, so `close` may have
            # missed them.  They are cancelled here.
            self.last = None
            self.pool.cancel_all(inputs)

    @uninterruptible
    def take(self, wake: Wake, wanted: int | None) -> tuple[list[Input], bool]:
        """Take the settled inputs; also return whether no more results come after them.

        If there is none yet and more may come, `wake` is called when there is one.

        Args:
            wanted: the index of the only result for which `wake` is called; None for any.
        """
        with self.pool.lock:
            # The list is replaced, not shared: new results come into `self.done` as soon as the
            # lock is released.
            done, self.done = self.done, []
            # True if another thread or task closed the map.  Then the dropped results never
            # come, so the reader must not wait for them.
            end = self.closed
            if not end:
                if not done and (not self.exhausted or self.taken < self.submitted):
                    self.reader_wake, self.wanted = wake, wanted
                self.taken += len(done)
                self.pending.difference_update(done)
                end = self.exhausted and self.taken == self.submitted
                return done, end
        return [], True

    @uninterruptible
    def deliver(self, count: int) -> None:
        """Note that the reader has passed on `count` more results, and wake the feeder.

        The window then has room for `count` more inputs.
        """
        feeder: Wake | None = None
        with self.pool.lock:
            self.delivered += count
            feeder, self.feeder_wake = self.feeder_wake, None
        if feeder is not None:
            feeder()

    @uninterruptible
    def room(self, wake: Wake | None = None) -> int:
        """Return how many inputs may be submitted now.

        If 0 and the map is open, `wake` is called when there may be room.
        """
        with self.pool.lock:
            if self.closed:
                return 0
            room = self.window - (self.submitted - self.delivered)
            fits = self.pool.room_in_backlog(self.target.is_async)
            if fits is not None:
                # If no input fits into the backlog, one is submitted and stands outside, so that
                # this map has its turn among the inputs that stand outside.
                outside = self.last is not None and self.last.state is InputState.OUTSIDE
                room = 0 if outside else min(room, max(1, fits))
            waits = room <= 0 and wake is not None
            if waits:
                self.feeder_wake = wake
        if waits:
            # The reader may have begun its wait before the feeder submitted an input.
            check_pool(self.pool)
        return max(room, 0)

    @uninterruptible
    def _on_let_in(self) -> None:
        """Wake the feeder and the reader: the backlog has accepted the input that stood outside.

        One of the two submits more inputs.
        """
        with self.pool.lock:
            feeder, self.feeder_wake = self.feeder_wake, None
            reader, self.reader_wake = self.reader_wake, None
        for wake in (feeder, reader):
            if wake is not None:
                wake()

    @uninterruptible
    def finish_feeding(self, failure: Failure | None = None) -> None:
        """Note that no more inputs come, because there are no more or reading raised `failure`."""
        with self.pool.lock:
            self.exhausted = True
            self.feeder_error = failure
            wake, self.reader_wake = self.reader_wake, None
        if wake is not None:
            wake()

    def _to_cancel(self) -> list[Input]:
        """Return the inputs to cancel when the map is closed, in their order.

        Under the pool's lock.  Inputs that the pool does not have yet are not among them,
        because the feeder cancels those:

            1. the feeder adds the inputs to `pending`,
            2. the reader closes the map, and cancels all inputs that the pool has,
            3. the feeder submits its inputs, sees that the map is closed, and cancels them.
        """
        pending = (each for each in self.pending if each.outcome is None)
        handed_over = [input for input in pending if input.index < self.handed_over]
        return sorted(handed_over, key=lambda input: input.index)

    @uninterruptible
    def close(self) -> None:
        """Cancel the inputs that are not settled: the reader takes no more results.

        Further calls do nothing.
        """
        if self.pool.forked:
            return
        with self.pool.lock:
            if self.closed:
                return
            self.closed = True
            feeder, self.feeder_wake = self.feeder_wake, None
            reader, self.reader_wake = self.reader_wake, None
            done = self._take_unread()
            unsettled = self._to_cancel()
        done.clear()
        for wake in (feeder, reader):
            if wake is not None:
                wake()
        self.pool.cancel_all(unsettled)
        self.pool.close_call()

    @uninterruptible
    def finish(self) -> None:
        """Close the map after the reader has taken all results."""
        if self.pool.forked:
            return
        with self.pool.lock:
            if self.closed:
                return
            self.closed = True
            done = self._take_unread()
        done.clear()
        self.pool.close_call()

    @uninterruptible
    def failed(self) -> None:
        """Close the map after an error that ends it, and cancel the inputs that do not run.

        Running inputs go on, and their results are dropped.
        """
        if self.pool.forked:
            return
        with self.pool.lock:
            if self.closed:
                return
            self.closed = True
            feeder, self.feeder_wake = self.feeder_wake, None
            done = self._take_unread()
            unsettled = self._to_cancel()
        done.clear()
        if feeder is not None:
            feeder()
        self.pool.cancel_waiting(unsettled)
        self.pool.close_call()

    def _take_unread(self) -> list[Input]:
        """Remove the inputs that nobody reads from a map that was closed.  Under the pool's lock.

        The caller drops the inputs after releasing the lock, because dropping them may run
        users' destructors.
        """
        gone, self.done = self.done, []
        self.pending.difference_update(gone)
        if self.last is not None:
            gone.append(self.last)
            self.last = None
        return gone


OpenMap = Callable[[], MapCall]
"""Makes the call of a map, and keeps the pool open for it: see `Pool.open_call`."""


class MapResults(Generic[R_co]):
    """The results of a map: for ``for``, or for ``async for`` if ``map.aio`` made them.

    Lazy: no input is read or started before the first step.  Closing or dropping the results
    cancels the inputs that are not settled.
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
        # The generators hold no reference to self, so dropping the results drops the generators.
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
        """Cancel the inputs that are not settled.

        Does nothing if the map has ended or never began.
        """
        # Before the generator is closed: a generator in whose step another thread waits
        # cannot be closed.  Closing the map ends that step.
        self._reading.close()
        if Real.getgeneratorstate(self._steps) != inspect.GEN_RUNNING:
            self._steps.close()

    async def aclose(self) -> None:
        """As `close`, for ``async for``."""
        # Before the generator is closed: another task may wait in a step of the generator.
        # Closing the map ends that step.
        self._reading.close()
        if not sits_in_step(self._async_steps):
            await self._async_steps.aclose()


class _Reading:
    """The reader of one map, without its waits: `_results` blocks, `_results_async` awaits."""

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
        self.name = name  # how the user called it: "map", "starmap" or "for_each"
        self.iterables = iterables
        self._ordered = ordered
        self.starred = starred  # there is one iterable, and its elements are whole rows
        self.return_exceptions = return_exceptions
        # Only the thread or task that reads the results writes the fields below; `close` reads
        # `_call` from any thread.
        self._call: MapCall | None = None  # set by `begin`
        self._rows: Rows | None = None  # set if the reader itself feeds
        self._turn = 0  # the index of the next result, if the results are ordered
        self._early: dict[int, Input] = {}  # results that came before their turn, by index
        self._due: list[Input] = []  # results whose turn it is, not yet passed on
        self._passed = 0  # how many results the last slice had
        self.ended = False

    def begin(self) -> MapCall:
        """Make the call, and decide whether the reader or a feeder feeds it."""
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
        """Return the results whose turn it is, at most `call.slice`; an empty list at the end.

        None if there is no result yet: then `wake` is called when there may be one.

        Raises:
            InputCancelledError: if another thread or task closed the results.
        """
        passed, self._passed = self._passed, 0
        if passed:
            call.deliver(passed)
        while True:
            reads = self._rows is not None and not call.exhausted
            if reads and self._rows is not None:
                # Fill the window before passing a result on: the user may work on that result
                # for a long time, and the containers would be idle meanwhile.
                while self._rows.feed(call, passed):
                    passed = 0
                    if call.done and call.submitted - call.delivered >= FILLED:
                        break  # the rest of a very wide window is filled between slices
                passed = 0
            if not self._due:
                # What is done stays there until `take`, which begins no wait then.
                in_order = not call.done and self._waits_in_order()
                done, end = call.take(wake, self._turn if in_order else None)
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
                        continue  # there are results, or room for more inputs: do not wait
                    return None
            results, self._due = self._due[: call.slice], self._due[call.slice :]
            self._passed = len(results)
            return results

    def _waits_in_order(self) -> bool:
        """Whether only the result whose turn it is ends a wait.

        Not where the wait may be a part of a deadlock: there each result that comes has the wait
        begin anew, and with the beginning of a wait a deadlock is searched for.

            1. an input waits for the results of two others, A and then B,
            2. A waits for a slot that the input holds: no deadlock, for B may change something,
            3. B ends, and nothing else begins to wait.
        """
        return self._ordered and is_unknown() and running_input.get(None) is None

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


def _value_or_error(outcome: Value) -> Any:
    """Return a value; if another process has written it and it cannot be read, the error."""
    try:
        return outcome.value
    except DeserializationError as error:
        return without_our_frames(error)


def _results(reading: _Reading) -> Generator[Any, None, None]:
    if reading.begun:
        return  # ``async for`` has read the results already
    feeder: ThreadFeeder | None = None
    # On a container's loop: this read blocks the loop, so async inputs must go to other
    # containers until the loop runs again.
    unblock_loop = block_loop() if Real._get_running_loop() is not None else None
    try:
        # All of this is uninterruptible, except while the user works on a result.
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
                    yield _value_or_error(outcome) if reading.return_exceptions else outcome.value
                elif reading.return_exceptions:
                    yield error_of(outcome)
                else:
                    call.failed()
                    failed = outcome
                    # The error's traceback keeps this frame, which must not keep the results.
                    del results, input, outcome
                    with Raising() as raising:
                        raise raising(failed)
        if call.feeder_error is not None:
            with Raising() as raising:
                raise raising(call.feeder_error)
        with uninterruptible:
            call.finish()
            if feeder is not None:
                feeder.join()
    except GeneratorExit:
        # The results were closed, or a garbage collection dropped them: maybe while this
        # thread holds some lock.  So this code must take no lock.
        try:
            clean_up_soon(reading.close, reading.clock)
        except (InputCancellation, KeyboardInterrupt):
            # A cancellation arrives as a strike: an exception that another thread raises
            # asynchronously in this one.  In a finalizer it is lost, so it is sent again.
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
    """Wait for the next results; an empty list at the end."""
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
    waits = False  # this generator is suspended in `wait_for`, not at a yield
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
                    yield _value_or_error(outcome) if reading.return_exceptions else outcome.value
                elif reading.return_exceptions:
                    yield error_of(outcome)
                else:
                    call.failed()
                    failed = outcome
                    # The error's traceback keeps this frame, which must not keep the results.
                    del results, input, outcome
                    with Raising() as raising:
                        raise raising(failed)
        if call.feeder_error is not None:
            with Raising() as raising:
                raise raising(call.feeder_error)
    except GeneratorExit:
        clean_up_soon(reading.close, reading.clock)
        if isinstance(feeder, AsyncFeeder):
            feeder.cancel()
            if not waits:
                # If the generator was suspended in `wait_for`, a garbage collection drops its
                # whole task, and nothing can be awaited.
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
