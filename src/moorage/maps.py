"""Maps: one call with many inputs, a window of them under way at a time.

Owns how inputs are read (sequences by the caller in growing chunks, other
iterables by one feeder thread of the call), the window of undelivered results,
and their order.  The results' bookkeeping is guarded by the pool's lock: it
changes in the same step that settles an input.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import aclosing
from contextvars import Context, copy_context
from typing import Any, Final, Generic, TypeVar

from .calls import later, warn_if_loop_runs
from .exception import ExecutionError
from .runtime.cancellation import park
from .runtime.clock import VirtualClock, join_threads
from .runtime.input import Input, Target, next_call_number
from .runtime.outcome import Value
from .runtime.pool import Pool
from .runtime.waits import make_async_waiter

R_co = TypeVar("R_co", covariant=True)
Wake = Callable[[], object]

# The most inputs made before they are handed over.  The first chunk is one
# input, each further one twice as large, so that none waits for a chunk.
CHUNK: Final = 256

# Results delivered before the window moves on.  Sequences are read on, and the
# feeder woken, this often while a reader works through many results at once.
SLICE: Final = 128


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
        "kwargs",
        "number",
        "pool",
        "reader_wake",
        "submitted",
        "taken",
        "target",
        "window",
    )

    def __init__(self, target: Target, pool: Pool, kwargs: dict[str, Any], window: int) -> None:
        self.number: int = next_call_number()
        self.target: Target = target
        self.context: Context = copy_context()
        self.kwargs: dict[str, Any] | None = kwargs or None
        self.pool: Pool = pool
        self.window: int = window
        # Guarded by the pool's lock.  Invariant: submitted - delivered <= window.
        self.submitted: int = 0
        self.taken: int = 0  # by the reader, which may hold some back to keep the order
        self.delivered: int = 0
        self.done: list[Input] = []  # settled, in that order, not yet taken
        self.exhausted: bool = False
        self.feeder_error: BaseException | None = None
        self.reader_wake: Wake | None = None
        self.feeder_wake: Wake | None = None
        self.closed: bool = False

    def settled(self, input: Input, /) -> Wake | None:
        self.done.append(input)
        wake = self.reader_wake
        if wake is not None:
            # Once for all results that come before the reader looks.
            self.reader_wake = None
        return wake

    def submit(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Hand over the inputs with these arguments.  Called by one thread or task."""
        first = self.submitted
        kwargs = self.kwargs
        inputs = [Input(self, first + i, row, kwargs) for i, row in enumerate(rows)]
        with self.pool.lock:
            self.submitted = first + len(inputs)
        try:
            self.pool.submit(inputs)
        except ExecutionError:
            # Not accepted: the run is being left.  The reader must not wait for them.
            with self.pool.lock:
                self.submitted = first
            raise
        if self.closed:
            # The reader has gone meanwhile, and may have cancelled what there
            # was just before these came.
            self.pool.cancel_all(inputs)

    def take(self, wake: Wake, delivered: int) -> tuple[list[Input], bool]:
        """What has been settled, and whether that is all there will be.

        If there is nothing yet, `wake` is called when there is.  `delivered`:
        how many results the reader has passed on since it last said so.
        """
        with self.pool.lock:
            # Never the list itself: results come into it as soon as the lock is let go.
            done, self.done = self.done, []
            if not done and (not self.exhausted or self.taken < self.submitted):
                self.reader_wake = wake
            self.taken += len(done)
            end = self.exhausted and self.taken == self.submitted
        if delivered:
            self.deliver(delivered)
        return done, end

    def deliver(self, count: int) -> None:
        """The reader has passed on `count` more results: there is room for as many inputs."""
        feeder: Wake | None = None
        with self.pool.lock:
            self.delivered += count
            feeder, self.feeder_wake = self.feeder_wake, None
        if feeder is not None:
            feeder()

    def room(self, wake: Wake | None = None) -> int:
        """How many inputs may be added; if none, `wake` is called when some may."""
        with self.pool.lock:
            if self.closed:
                return 0
            room = self.window - (self.submitted - self.delivered)
            if room <= 0 and wake is not None:
                self.feeder_wake = wake
            return max(room, 0)

    def finish_feeding(self, error: BaseException | None = None) -> None:
        """There are no more inputs, or reading them raised `error`."""
        with self.pool.lock:
            self.exhausted = True
            self.feeder_error = error
            wake, self.reader_wake = self.reader_wake, None
        if wake is not None:
            wake()

    def close(self) -> None:
        """The reader has gone: cancel what is left.  Once; more often is harmless."""
        with self.pool.lock:
            if self.closed:
                return
            self.closed = True
            feeder, self.feeder_wake = self.feeder_wake, None
            done, self.done = self.done, []
        del done
        if feeder is not None:
            feeder()
        self.pool.cancel_call(self)
        self.pool.close_call()

    def finish(self) -> None:
        """All results are taken."""
        with self.pool.lock:
            if self.closed:
                return
            self.closed = True
        self.pool.close_call()

    def failed(self) -> None:
        """A result was an error that ends the map: what has not started is cancelled.

        What runs already runs on, and its results are dropped.
        """
        with self.pool.lock:
            if self.closed:
                return
            self.closed = True
            feeder, self.feeder_wake = self.feeder_wake, None
        if feeder is not None:
            feeder()
        self.pool.cancel_call(self, queued_only=True)
        self.pool.close_call()


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
    ) -> None:
        self._calls: list[MapCall] = []  # the one, once begun
        self._steps: Generator[R_co, None, None] = _results(
            open_map, self._calls, iterables, ordered, return_exceptions
        )
        self._async_steps: AsyncGenerator[R_co, None] = _results_async(
            open_map, self._calls, iterables, ordered, return_exceptions
        )

    def __iter__(self) -> Iterator[R_co]:
        return self._steps

    def __next__(self) -> R_co:
        return next(self._steps)

    def __aiter__(self) -> AsyncIterator[R_co]:
        return self._async_steps

    async def __anext__(self) -> R_co:
        return await anext(self._async_steps)

    def close(self) -> None:
        """Cancel what is left.  Harmless if it has ended or never began."""
        self._steps.close()
        for call in self._calls:
            call.close()

    async def aclose(self) -> None:
        """As `close`, for ``async for``."""
        await self._async_steps.aclose()
        for call in self._calls:
            call.close()


class _Order:
    """Puts inputs back in the order of their indices."""

    __slots__ = ("_early", "_next")

    def __init__(self) -> None:
        self._next = 0
        self._early: dict[int, Input] = {}

    def put(self, done: list[Input]) -> list[Input]:
        """Those of `done`, and of what came before, whose turn it is."""
        early = self._early
        turn = self._next
        out: list[Input] = []
        for input in done:
            if input.index == turn:
                out.append(input)
                turn += 1
                while early and turn in early:
                    out.append(early.pop(turn))
                    turn += 1
            else:
                early[input.index] = input
        self._next = turn
        return out


class _Rows:
    """Rows of arguments out of sequences, in growing chunks."""

    __slots__ = ("_chunk", "_rows")

    def __init__(self, rows: Iterator[tuple[Any, ...]]) -> None:
        self._rows = rows
        self._chunk = 1

    def feed(self, call: MapCall, at_least: int) -> None:
        """Add one chunk, and at least as many as were just taken, if the window has room."""
        room = call.room()
        if not room:
            return
        count = min(room, max(self._chunk, at_least))
        self._chunk = min(self._chunk * 2, CHUNK)
        rows: list[tuple[Any, ...]] = []
        try:
            for row in self._rows:
                rows.append(row)
                if len(rows) == count:
                    break
        finally:
            if rows:
                call.submit(rows)
        if len(rows) < count:
            call.finish_feeding()


def _results(
    open_map: OpenMap,
    calls: list[MapCall],
    iterables: tuple[Any, ...],
    ordered: bool,
    return_exceptions: bool,
) -> Generator[Any, None, None]:
    warn_if_loop_runs("map", "map.aio()")
    call = open_map()
    calls.append(call)
    clock = call.pool.clock
    order = _Order() if ordered else None
    rows: _Rows | None = None
    feeder: threading.Thread | None = None
    delivered = 0
    try:
        if all(isinstance(iterable, Sequence) for iterable in iterables):
            rows = _Rows(zip(*iterables, strict=False))
        else:
            feeder = _start_feeder(call, iterables)
        while True:
            if rows is not None and not call.exhausted:
                rows.feed(call, delivered)
            waiter = clock.make_waiter()
            done, end = call.take(waiter.wake, delivered)
            delivered = 0
            if not done and not end:
                if rows is not None and not call.exhausted and call.room():
                    continue  # read on, rather than wait
                park(clock, waiter)
                continue
            for input in done if order is None else order.put(done):
                if delivered == SLICE:
                    call.deliver(delivered)
                    if rows is not None and not call.exhausted:
                        rows.feed(call, delivered)
                    delivered = 0
                delivered += 1
                outcome = input.outcome
                if type(outcome) is Value:
                    yield outcome.value
                else:
                    assert outcome is not None and not isinstance(outcome, Value)
                    error = outcome.exception()
                    if not return_exceptions:
                        call.failed()
                        raise error
                    yield error
            if end:
                break
        if call.feeder_error is not None:
            raise call.feeder_error
    except GeneratorExit:
        # Closed, or collected, maybe while some lock is held: take none here.
        later(call.close)
        raise
    except BaseException:
        call.close()
        raise
    call.finish()
    if feeder is not None:
        join_threads([feeder], 1.0)


def _start_feeder(call: MapCall, iterables: tuple[Any, ...]) -> threading.Thread:
    clock = call.pool.clock
    virtual = clock if isinstance(clock, VirtualClock) else None
    name = f"moorage-feeder-{call.target.name}"

    def feed() -> None:
        error: BaseException | None = None
        if virtual is not None:
            virtual.bind_thread(thread)
        try:
            for row in zip(*iterables, strict=False):
                while True:
                    waiter = clock.make_waiter()
                    if call.room(waiter.wake):
                        break
                    if call.closed:
                        return
                    clock.wait(waiter)
                call.submit([row])
        except BaseException as caught:
            error = caught
        finally:
            for iterable in iterables:
                close = getattr(iterable, "close", None)
                if isinstance(iterable, Generator) and close is not None:
                    close()
            call.finish_feeding(error)
            if virtual is not None:
                virtual.end(thread)

    # In the caller's context: its iterables may read context variables.
    context = copy_context()
    thread = threading.Thread(target=context.run, args=(feed,), name=name, daemon=True)
    if virtual is not None:
        virtual.begin(thread, name)
    thread.start()
    return thread


async def _results_async(
    open_map: OpenMap,
    calls: list[MapCall],
    iterables: tuple[Any, ...],
    ordered: bool,
    return_exceptions: bool,
) -> AsyncGenerator[Any, None]:
    call = open_map()
    calls.append(call)
    order = _Order() if ordered else None
    rows: _Rows | None = None
    feeder: threading.Thread | None = None
    feeding: _AsyncFeeder | None = None
    delivered = 0
    waits = False
    try:
        if any(isinstance(iterable, AsyncIterable) for iterable in iterables):
            feeding = _AsyncFeeder(call, iterables)
        elif all(isinstance(iterable, Sequence) for iterable in iterables):
            rows = _Rows(zip(*iterables, strict=False))
        else:
            feeder = _start_feeder(call, iterables)
        while True:
            if rows is not None and not call.exhausted:
                rows.feed(call, delivered)
            waiter = make_async_waiter()
            done, end = call.take(waiter.wake, delivered)
            delivered = 0
            if not done and not end:
                if rows is not None and not call.exhausted and call.room():
                    continue  # read on, rather than wait
                waits = True
                await waiter.wait()
                waits = False
                continue
            for input in done if order is None else order.put(done):
                if delivered == SLICE:
                    call.deliver(delivered)
                    if rows is not None and not call.exhausted:
                        rows.feed(call, delivered)
                    delivered = 0
                delivered += 1
                outcome = input.outcome
                if type(outcome) is Value:
                    yield outcome.value
                else:
                    assert outcome is not None and not isinstance(outcome, Value)
                    error = outcome.exception()
                    if not return_exceptions:
                        call.failed()
                        raise error
                    yield error
            if end:
                break
        if call.feeder_error is not None:
            raise call.feeder_error
    except GeneratorExit:
        later(call.close)
        if feeding is not None:
            feeding.cancel()
            if not waits:
                # Else the task itself is collected, and nothing can be awaited.
                await feeding.wait_ended()
        raise
    except BaseException:
        call.close()
        if feeding is not None:
            feeding.cancel()
            await feeding.wait_ended()
        raise
    call.finish()
    if feeder is not None:
        join_threads([feeder], 1.0)
    if feeding is not None:
        await feeding.wait_ended()


class _AsyncFeeder:
    """A task on the loop of the reader that adds inputs from asynchronous sources."""

    def __init__(self, call: MapCall, iterables: tuple[Any, ...]) -> None:
        self._ended = make_async_waiter()
        self._cancel: Callable[[], object]
        coroutine = self._run(_feed_async(call, _zip_async(iterables)))
        if asyncio._get_running_loop() is not None:
            self._cancel = asyncio.create_task(coroutine).cancel
        else:
            # A system task, for there is no nursery here; the reader ends it.
            import trio

            scope = trio.CancelScope()
            self._cancel = scope.cancel

            async def feed() -> None:
                with scope:
                    await coroutine

            trio.lowlevel.spawn_system_task(feed, context=copy_context())

    async def _run(self, feed: Coroutine[Any, Any, None]) -> None:
        try:
            await feed
        finally:
            self._ended.wake()

    def cancel(self) -> None:
        """Stop reading.  The sources are closed in the task."""
        self._cancel()

    async def wait_ended(self) -> None:
        """Wait until the sources are closed, also in a caller that is being cancelled."""
        if asyncio._get_running_loop() is not None:
            await self._ended.wait()
        else:
            import trio

            with trio.CancelScope(shield=True):
                await self._ended.wait()


async def _feed_async(call: MapCall, rows: AsyncGenerator[tuple[Any, ...], None]) -> None:
    """Add inputs from asynchronous sources, and close them."""
    error: Exception | None = None
    try:
        async with aclosing(rows):
            async for row in rows:
                while True:
                    waiter = make_async_waiter()
                    if call.room(waiter.wake):
                        break
                    if call.closed:
                        return
                    await waiter.wait()
                call.submit([row])
    except Exception as caught:
        error = caught
    finally:
        call.finish_feeding(error)


async def _zip_async(
    iterables: tuple[Iterable[Any] | AsyncIterable[Any], ...],
) -> AsyncGenerator[tuple[Any, ...], None]:
    sources = [aiter(i) if isinstance(i, AsyncIterable) else iter(i) for i in iterables]
    try:
        while True:
            row: list[Any] = []
            for source in sources:
                try:
                    if isinstance(source, AsyncIterator):
                        row.append(await anext(source))
                    else:
                        row.append(next(source))
                except (StopAsyncIteration, StopIteration):
                    return
            yield tuple(row)
    finally:
        for source in sources:
            if isinstance(source, AsyncGenerator):
                await source.aclose()
            elif isinstance(source, Generator):
                source.close()
