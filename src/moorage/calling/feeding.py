"""Feeding: how the inputs of a map are read from what the user gave.

Owns the three ways of feeding:

- The reader of the results itself feeds plain sequences (lists, tuples, ranges), in
  growing chunks.  It fills the window before it passes a result on, because it feeds
  nothing while the user works on that result.
- One thread of the call feeds other iterables, because reading them may take time.  It
  also feeds plain sequences if the backlog has a bound: the room there comes and goes
  while the reader is busy.
- A task on the reader's loop feeds asynchronous iterables.

All three read no further than the window of the call allows (the two others than the
reader one row further, which waits for room), in a copy of the caller's context, and
close the user's generators at the end.  ``maps.py`` chooses the way; begin at
`Rows.feed` and `ThreadFeeder`.
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
from ..runtime.outcome import failure_of, user_frames
from ..runtime.real import Real
from ..runtime.waiting.async_waiters import make_async_waiter

# The most inputs made before they are handed over.  The first chunk is one
# input, each further one twice as large, so that none waits for a chunk.
CHUNK: Final = 256

Row = tuple[Any, ...]
"""The positional arguments of one input."""


class Fed(Protocol):
    """What a feeder asks of the call it feeds."""

    @property
    def closed(self) -> bool: ...
    @property
    def drains(self) -> bool:
        """Whether inputs are refused while those that were accepted are finished."""
        ...

    @property
    def clock(self) -> Clock: ...
    @property
    def target(self) -> Target: ...
    def is_bounded(self) -> bool: ...
    def room(self, wake: Callable[[], object] | None = None, /) -> int: ...
    def submit(self, rows: Sequence[Row], /) -> None: ...
    def finish_feeding(self, error: BaseException | None = None, /) -> None: ...


def rows_of(iterables: tuple[Iterable[Any], ...], starred: bool) -> Iterator[Row]:
    """One row from each step of all, or, starred, each element of the one as a row."""
    return map(_row, iterables[0]) if starred else zip(*iterables, strict=False)


def _row(element: Any) -> Row:
    try:
        return tuple(element)
    except TypeError:
        if isinstance(element, Iterable):
            raise  # of the user's own code
    raise InvalidArgumentsError(
        f"starmap takes rows of arguments, got the element {element!r}; "
        f"write ({element!r},) for a row of one, or map instead of starmap"
    )


def _way_to_iterate(kind: type[object]) -> object:
    return getattr(kind, "__iter__", None)


# Ways to iterate that run no user code and never wait.  A subclass that leaves the
# iteration alone has the same.
_PLAIN: Final = frozenset(map(_way_to_iterate, (list, tuple, range, str, bytes, bytearray, deque)))


def are_plain(iterables: tuple[object, ...]) -> bool:
    """Whether all of `iterables` are sequences that are read at no cost."""
    return all(_way_to_iterate(type(iterable)) in _PLAIN for iterable in iterables)


class Rows:
    """Rows of arguments out of plain sequences, in growing chunks."""

    __slots__ = ("_chunk", "_rows")

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows: Iterator[Row] = rows
        self._chunk: int = 1

    def feed(self, call: Fed, at_least: int) -> bool:
        """Add one chunk, and at least as many as were just taken, if the window has room.

        Returns:
            Whether there are more rows, and the window has room for them.
        """
        room = call.room()
        if not room:
            return False
        count = min(room, max(self._chunk, at_least))
        self._chunk = min(self._chunk * 2, CHUNK)
        rows: list[Row] = []
        refused = False
        failure: Exception | None = None
        try:
            for row in self._rows:
                rows.append(row)
                if len(rows) == count:
                    break
        except Exception as error:
            # The results of the rows before it come first.
            failure = error.with_traceback(user_frames(error.__traceback__))
        finally:
            try:
                if rows:
                    call.submit(rows)
            except ExecutionError as error:
                if not call.drains:
                    raise
                # Those that were accepted are finished: their results come first.
                call.finish_feeding(error)
                refused = True
        if refused:
            return False
        if len(rows) < count:
            call.finish_feeding(failure)
            return False
        return count < room


class ThreadFeeder:
    """A thread of the call that reads any iterables.  It ends with them, or with the call."""

    def __init__(self, call: Fed, iterables: tuple[Iterable[Any], ...], starred: bool) -> None:
        self._call = call
        self._iterables = iterables
        self._starred = starred
        # The most rows handed over at once.  Reading one more row of what is not plain
        # may take long, and the rows before it must not wait for it.
        self._most = CHUNK if are_plain(iterables) else 1
        clock = call.clock
        self._clock = clock
        self._virtual = clock.participants
        name = f"moorage-feeder-{call.target.name}"
        # In the caller's context: its iterables may read context variables.
        self._thread = Real.Thread(target=capture().run, args=(self._main,), name=name, daemon=True)
        if self._virtual is not None:
            self._virtual.begin(self, name)
        self._thread.start()

    def _main(self) -> None:
        if self._virtual is not None:
            self._virtual.bind_thread(self)
        error: BaseException | None = None
        try:
            with UserCode():
                self._feed()
        except BaseException as caught:
            error = caught.with_traceback(user_frames(caught.__traceback__))
        finally:
            self._call.finish_feeding(error)
            if self._virtual is not None:
                self._virtual.end(self)

    def _feed(self) -> None:
        call = self._call
        rows = rows_of(self._iterables, self._starred)
        # The first chunk is one input, as in `Rows`: a full backlog refuses it alone.
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
                    # A row that cannot be read ends the map; the rows before it, which
                    # `extend` keeps, are run.
                    call.submit(chunk_rows)
                chunk = min(chunk * 2, self._most)
        finally:
            for iterable in self._iterables:
                if isinstance(iterable, Generator):
                    iterable.close()

    def join(self) -> None:
        """Wait for its end, which has come, or is about to."""
        join_threads([self._thread], 1.0)


class AsyncFeeder:
    """A task on the loop of the reader that adds inputs from asynchronous sources."""

    def __init__(self, call: Fed, iterables: tuple[Any, ...], starred: bool) -> None:
        self._call = call
        self._starred = starred
        self._ended = make_async_waiter()
        self._cancel: Callable[[], object]
        if Real._get_running_loop() is not None:
            task = Real.create_task(self._run(iterables), context=capture())
            # Also of a task that was cancelled before its first step.
            task.add_done_callback(self._task_ended)
            self._cancel = task.cancel
        else:
            # A system task, for there is no nursery here; the reader ends it.
            import trio

            scope = trio.CancelScope()
            self._cancel = scope.cancel

            async def feed() -> None:
                with scope:
                    await self._run(iterables)

            trio.lowlevel.spawn_system_task(feed, context=capture())

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() and not self._call.closed:
            # Before its first step, by somebody else: what was read is not all.
            self._call.finish_feeding(RemoteError(_CUT_SHORT))
        self._ended.wake()

    async def _run(self, iterables: tuple[Any, ...]) -> None:
        try:
            await _feed_async(self._call, rows_of_async(iterables, self._starred))
        finally:
            self._ended.wake()

    def cancel(self) -> None:
        """Stop reading.  The sources are closed in the task."""
        self._cancel()

    async def wait_ended(self) -> None:
        """Wait until the sources are closed, also in a caller that is being cancelled."""
        if Real._get_running_loop() is not None:
            await self._ended.wait()
        else:
            import trio

            with trio.CancelScope(shield=True):
                await self._ended.wait()


async def _feed_async(call: Fed, rows: AsyncGenerator[tuple[Any, ...], None]) -> None:
    """Add inputs from asynchronous sources, and close them."""
    error: BaseException | None = None
    # Inputs that surely have room: only this adds to the window, which others never fill, as
    # they do a backlog that has a bound.
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
        error = RemoteError(_CUT_SHORT)
        raise
    except BaseException as caught:
        error = failure_of(caught).exception()
    finally:
        call.finish_feeding(error)


def _cancelled_here() -> type[BaseException]:
    """What a task of this loop is cancelled with."""
    if Real._get_running_loop() is not None:
        return asyncio.CancelledError
    import trio

    return trio.Cancelled


# Unless the reader ended it, which then looks at it no more.
_CUT_SHORT: Final = (
    "reading the inputs of a map was cancelled before their end; "
    "cancel the task that reads the results instead"
)


async def rows_of_async(
    iterables: tuple[Iterable[Any] | AsyncIterable[Any], ...], starred: bool
) -> AsyncGenerator[Row, None]:
    """As `rows_of`, where some are asynchronous; closes the user's generators."""
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
