"""Feeding: how a map reads its inputs from the iterables that the user gave.

Owns the three ways of feeding.  ``maps.py`` chooses the way.  Begin at `Rows.feed`, then
`ThreadFeeder`, then `AsyncFeeder`.

- `Rows`: the reader of the results feeds plain sequences (lists, tuples, ranges) itself, in
  growing chunks.  The reader fills the window before it passes a result on, because the
  reader feeds nothing while the user works on that result.
- `ThreadFeeder`: one thread of the call feeds other iterables, because reading them may take
  time.  The thread also feeds plain sequences if the backlog has a bound, because room in the
  backlog comes and goes while the reader is busy.
- `AsyncFeeder`: a task on the reader's loop feeds async iterables.

All three read in the caller's context (the thread and the task in a copy of it) and only as
far as the window of the call allows.  The thread and the task read one row more, which waits
for room.  The thread and the task close the user's generators at the end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import aclosing
from itertools import islice
from typing import Any, Final, Protocol

from ..exception import ExecutionError, InvalidArgumentsError, RemoteError
from ..runtime.captured import capture
from ..runtime.clocks.clock import Clock, join_threads
from ..runtime.forking import UserCode
from ..runtime.input import Target
from ..runtime.outcome import Failure, failure_as_it_is, failure_of
from ..runtime.real import Real
from ..runtime.waiting.async_waiters import make_async_waiter

# The most inputs in one chunk: they are made first, and then submitted together.  The first
# chunk is one input, and each further chunk is twice as large, so that the first inputs start
# at once.
CHUNK: Final = 256

Row = tuple[Any, ...]
"""The positional arguments of one input."""


class Fed(Protocol):
    """The call of a map, as its feeder sees it: see ``maps.MapCall``."""

    @property
    def closed(self) -> bool: ...
    @property
    def drains(self) -> bool:
        """Whether the pool refuses new inputs while it finishes the accepted ones."""
        ...

    @property
    def clock(self) -> Clock: ...
    @property
    def target(self) -> Target: ...
    def is_bounded(self) -> bool: ...
    def room(self, wake: Callable[[], object] | None = None, /) -> int: ...
    def submit(self, rows: Sequence[Row], /) -> None: ...
    def finish_feeding(self, failure: Failure | None = None, /) -> None: ...


def rows_of(iterables: tuple[Iterable[Any], ...], starred: bool) -> Iterator[Row]:
    """Iterate over the rows: tuples of ``zip``, or if `starred`, the only iterable's elements."""
    return map(_row, iterables[0]) if starred else zip(*iterables, strict=False)


def _row(element: Any) -> Row:
    try:
        return tuple(element)
    except TypeError:
        if isinstance(element, Iterable):
            raise  # The user's ``__iter__`` or ``__next__`` raised it.
    raise InvalidArgumentsError(
        f"starmap takes rows of arguments, got the element {element!r}; "
        f"write ({element!r},) for a row of one, or map instead of starmap"
    )


def _way_to_iterate(kind: type[object]) -> object:
    return getattr(kind, "__iter__", None)


# The ``__iter__`` methods that run no user code and never wait.  A subclass that does not
# override ``__iter__`` counts too.
_PLAIN: Final = frozenset(map(_way_to_iterate, (list, tuple, range, str, bytes, bytearray, deque)))


def are_plain(iterables: tuple[object, ...]) -> bool:
    """Whether all of `iterables` are sequences: reading them never waits, and runs no user code."""
    return all(_way_to_iterate(type(iterable)) in _PLAIN for iterable in iterables)


class Rows:
    """Feeds rows of arguments from plain sequences, in growing chunks."""

    __slots__ = ("_chunk", "_rows")

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows: Iterator[Row] = rows
        self._chunk: int = 1

    def feed(self, call: Fed, at_least: int) -> bool:
        """Submit one chunk of inputs, if the window has room.

        Args:
            at_least: how many results the reader has just passed on; the chunk has no fewer
                inputs, if there is room.

        Returns:
            Whether there may be more rows and the window has room for them.
        """
        room = call.room()
        if not room:
            return False
        count = min(room, max(self._chunk, at_least))
        self._chunk = min(self._chunk * 2, CHUNK)
        rows: list[Row] = []
        refused = False
        failure: Failure | None = None
        try:
            # If a row cannot be read, `extend` keeps the rows before that row.
            rows.extend(islice(self._rows, count))
        except Exception as error:
            # The reader raises it after the results of the rows that come before.
            failure = failure_as_it_is(error)
        finally:
            try:
                if rows:
                    call.submit(rows)
            except ExecutionError as error:
                if not call.drains:
                    raise
                # The pool finishes the inputs that it accepted, so their results come before
                # this error.
                call.finish_feeding(Failure(error))
                refused = True
        if refused:
            return False
        if len(rows) < count:
            call.finish_feeding(failure)
            return False
        return count < room


class ThreadFeeder:
    """A thread of the call that reads any iterables.

    The thread ends when the iterables end, or when the call is closed.
    """

    def __init__(self, call: Fed, iterables: tuple[Iterable[Any], ...], starred: bool) -> None:
        self._call = call
        self._iterables = iterables
        self._starred = starred
        # The most rows in one chunk.  Reading one more row of an iterable that is not plain
        # may take long, and the rows before it must not wait for that row.
        self._most = CHUNK if are_plain(iterables) else 1
        clock = call.clock
        self._clock = clock
        self._virtual = clock.participants
        name = f"moorage-feeder-{call.target.name}"
        # In the caller's context, because the iterables may read context variables.
        self._thread = Real.Thread(target=capture().run, args=(self._main,), name=name, daemon=True)
        if self._virtual is not None:
            self._virtual.begin(self, name)
        self._thread.start()

    def _main(self) -> None:
        if self._virtual is not None:
            self._virtual.bind_thread(self)
        failure: Failure | None = None
        try:
            with UserCode():
                self._feed()
        except BaseException as caught:
            failure = failure_as_it_is(caught)
        finally:
            self._call.finish_feeding(failure)
            if self._virtual is not None:
                self._virtual.end(self)

    def _feed(self) -> None:
        call = self._call
        rows = rows_of(self._iterables, self._starred)
        # The first chunk is one input, as in `Rows`: a full backlog then refuses that input
        # alone.
        chunk = 1
        try:
            for row in rows:
                while True:
                    waiter = self._clock.make_waiter()
                    room = call.room(waiter.wake)
                    if room:
                        break
                    if call.closed:
                        return
                    self._clock.wait(waiter)
                chunk_rows = [row]
                try:
                    chunk_rows.extend(islice(rows, min(room, chunk) - 1))
                finally:
                    # A row that cannot be read ends the map.  `extend` keeps the rows before
                    # that row, and they run.
                    call.submit(chunk_rows)
                chunk = min(chunk * 2, self._most)
        finally:
            for iterable in self._iterables:
                if isinstance(iterable, Generator):
                    iterable.close()

    def join(self) -> None:
        """Wait for the thread's end.  Called when the thread has ended or is about to end."""
        join_threads([self._thread], 1.0)


class AsyncFeeder:
    """A task on the reader's loop that submits inputs from async iterables."""

    def __init__(self, call: Fed, iterables: tuple[Any, ...], starred: bool) -> None:
        self._call = call
        self._starred = starred
        self._ended = make_async_waiter()
        self._cancel: Callable[[], object]
        if Real._get_running_loop() is not None:
            task = Real.create_task(self._run(iterables), context=capture())
            # The callback also runs for a task that was cancelled before its first step.
            task.add_done_callback(self._task_ended)
            self._cancel = task.cancel
        else:
            # A system task, because there is no nursery here.  The reader ends the task.
            import trio

            scope = trio.CancelScope()
            self._cancel = scope.cancel

            async def feed() -> None:
                with scope:
                    await self._run(iterables)

            trio.lowlevel.spawn_system_task(feed, context=capture())

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() and not self._call.closed:
            # User code cancelled the task before its first step, so not all inputs were read.
            self._call.finish_feeding(Failure(RemoteError(_CUT_SHORT)))
        self._ended.wake()

    async def _run(self, iterables: tuple[Any, ...]) -> None:
        try:
            await _feed_async(self._call, rows_of_async(iterables, self._starred))
        finally:
            self._ended.wake()

    def cancel(self) -> None:
        """Stop reading.  The task closes the iterables."""
        self._cancel()

    async def wait_ended(self) -> None:
        """Wait until the task has closed the iterables, also if the caller is being cancelled."""
        if Real._get_running_loop() is not None:
            await self._ended.wait()
        else:
            import trio

            with trio.CancelScope(shield=True):
                await self._ended.wait()


async def _feed_async(call: Fed, rows: AsyncGenerator[tuple[Any, ...], None]) -> None:
    """Submit an input for each row, as the window has room; close `rows` at the end."""
    failure: Failure | None = None
    # How many inputs surely have room.  Only this task adds to the window, so room in the
    # window stays.  Other calls may fill a backlog that has a bound, so there it is asked
    # before each input.
    left = 0
    try:
        async with aclosing(rows):
            async for row in rows:
                left -= 1
                while left <= 0 or call.closed:
                    waiter = make_async_waiter()
                    room = call.room(waiter.wake)
                    if room:
                        left = 1 if call.is_bounded() else room
                        break
                    if call.closed:
                        return
                    await waiter.wait()
                call.submit([row])
    except _cancelled_here():
        failure = Failure(RemoteError(_CUT_SHORT))
        raise
    except BaseException as caught:
        failure = failure_of(caught)
    finally:
        call.finish_feeding(failure)


def _cancelled_here() -> type[BaseException]:
    """The exception that cancels a task of this loop: that of asyncio or of trio."""
    if Real._get_running_loop() is not None:
        return asyncio.CancelledError
    import trio

    return trio.Cancelled


# The error of a map whose feeding task user code cancelled.  If the reader cancelled the task,
# the reader does not look at the error any more.
_CUT_SHORT: Final = (
    "reading the inputs of a map was cancelled before their end; "
    "cancel the task that reads the results instead"
)


async def rows_of_async(
    iterables: tuple[Iterable[Any] | AsyncIterable[Any], ...], starred: bool
) -> AsyncGenerator[Row, None]:
    """As `rows_of`, but some iterables may be async.  Closes the user's generators at the end."""
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
            yield _row(row[0]) if starred else tuple(row)
    finally:
        for source in sources:
            if isinstance(source, AsyncGenerator):
                await source.aclose()
            elif isinstance(source, Generator):
                source.close()
