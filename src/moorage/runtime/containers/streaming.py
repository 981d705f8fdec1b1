"""Streams: how a generator passes its items to its reader, a bounded number ahead.

Owns the buffer between one producer (the generator of an input that holds a slot) and one
reader (the caller).  A lock of its own guards the buffer; the lock is a leaf: nothing is called
while it is held.  If the buffer is full, the producer waits; if the reader closes the stream,
the producer ends at its next item.

The lanes call `drive` and `drive_async`; the caller's side (``calling/``) calls `take_nowait`
and `close`.  Begin at `drive`, then `_hand_over`, then `take_nowait`.
"""

from __future__ import annotations

import asyncio
import operator
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator
from contextvars import Context
from types import AsyncGeneratorType
from typing import Any, Final

from ...exception import InputCancellation, InvalidError
from .. import forking
from ..clocks.clock import Clock
from ..clocks.parking import park
from ..input import Call
from ..kinds import NOT_RUN, refused_part
from ..real import Real
from ..uninterruptible import uninterruptible

# How many items a generator may be ahead of its reader.
AHEAD: Final = 16

Wake = Callable[[], object]


class Stream:
    """The buffer of one generator input."""

    __slots__ = (
        "_born",
        "_clock",
        "_closed",
        "_ended",
        "_has_begun",
        "_items",
        "_lock",
        "_on_full",
        "_producer",
        "_reader",
        "sent",
    )

    def __init__(self, clock: Clock, on_full: Callable[[], object] | None = None) -> None:
        self._clock = clock
        # Called without a lock, when the producer is about to wait.
        self._on_full = on_full
        self._born = forking.process.number
        self._lock = Real.Lock()
        # The lock guards all fields below.
        # Invariant: the producer waits only while the buffer is full and not closed; the reader
        # waits only while the buffer is empty and the stream neither ended nor closed.
        # The producer adds an item before it waits, so the buffer has at most AHEAD items.
        self._items: deque[Any] = deque()
        # The functions that wake the producer and the reader; None for a side that does not
        # wait.  Invariant: the side that calls a wake removes it first, under the lock, so each
        # wake is called once:
        #     1. the producer finds the buffer full, and stores its wake, under the lock,
        #     2. the reader takes an item, and removes the wake, under the lock,
        #     3. the reader calls the wake, without the lock.  If the producer does not wait
        #        yet, its waiter is set already, and the wait returns at once.
        self._producer: Wake | None = None
        self._reader: Wake | None = None
        self._ended = False  # no further item comes; once true, it stays true
        self._closed = False  # the reader reads no more; once true, it stays true
        self._has_begun = False  # an item has come; once true, it stays true
        # Of a generator in another process only: see ``placing/remote.py``.
        self.sent: Any = None

    # -- the reader's side ----------------------------------------------------

    def take_nowait(self, wake: Wake) -> tuple[bool, Any]:
        """Take the next item: return ``(True, item)``, or ``(False, None)`` if there is none.

        After ``(False, None)`` look at :attr:`ended`: if it is true, no further item comes;
        else `wake` is called, once, when an item or the end comes.

        Raises:
            ExecutionError: in a forked child, for a stream of the parent.
        """
        producer: Wake | None = None
        if self._born != forking.process.number:
            raise forking.stayed_behind("this stream")
        with self._lock:
            if self._items:
                item = self._items.popleft()
                if self._producer is not None:
                    producer, self._producer = self._producer, None
            else:
                if not self._ended:
                    self._reader = wake
                return False, None
        if producer is not None:
            producer()
        return True, item

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def has_begun(self) -> bool:
        """True if any item has come, whether or not the reader has taken it."""
        return self._has_begun

    @property
    def has_items(self) -> bool:
        return bool(self._items)

    @property
    def buffered(self) -> int:
        """How many items the reader has not taken."""
        return len(self._items)

    def tell_full(self) -> None:
        """Tell that the producer is about to wait for the reader."""
        if self._on_full is not None:
            self._on_full()

    @property
    def is_full(self) -> bool:
        """True while the producer waits for the reader."""
        return self._producer is not None

    def close(self) -> None:
        """Close the reader's side: the producer ends at its next item.

        Does nothing in a forked child, for a stream of the parent.
        """
        if self._born != forking.process.number:
            return
        with self._lock:
            self._closed = True
            items, self._items = self._items, deque()
            producer, self._producer = self._producer, None
        del items  # outside the lock, because dropping them may run users' destructors
        if producer is not None:
            producer()

    # -- the producer's side --------------------------------------------------

    def end(self) -> None:
        """End the stream: no further item comes.  Called when the input has its outcome."""
        with self._lock:
            self._ended = True
            reader, self._reader = self._reader, None
        if reader is not None:
            reader()

    def offer(self, item: Any) -> bool:
        """Add `item`, also to a full buffer; false if the stream is closed or has ended."""
        if self._born != forking.process.number:
            forking.end_child(forking.stayed_behind("the reader of this generator"))
        with self._lock:
            if self._closed or self._ended:
                return False
            self._items.append(item)
            self._has_begun = True
            reader, self._reader = self._reader, None
        if reader is not None:
            reader()
        return True

    def may_go_on(self, wake: Wake) -> bool:
        """Return true if there is room or the stream is closed; else store `wake` for then."""
        with self._lock:
            if self._closed or len(self._items) < AHEAD:
                return True
            self._producer = wake
            return False

    def drive(self, generator: Generator[Any, Any, Any]) -> None:
        """Run a sync generator to its end, on this worker thread and in this context."""
        try:
            # The user's code runs only in the steps of this loop.  The body is the engine's, so
            # it is uninterruptible: a strike (see ``guards/cells.py``) must not hit it.
            for item in generator:
                kind: type = type(item)  # pyright: ignore[reportUnknownVariableType]
                if id(kind) in NOT_RUN:
                    raise _refused_item(item, is_async=False)
                with uninterruptible:
                    goes_on = self._hand_over(item)
                del item
                if not goes_on:
                    return
        finally:
            try:
                _close(generator)
            except InputCancellation:
                # A strike landed on the way to the generator's `close`, or in the user's code
                # that `close` runs; no second strike comes.  The user's code must end before
                # its slot is released, so close again; this does nothing if it has ended.
                _close(generator)
                raise

    def _hand_over(self, item: Any) -> bool:
        """Add `item`, then wait for room for the next; false if the stream takes no more."""
        if not self.offer(item):
            return False
        del item
        while True:
            waiter = self._clock.make_waiter()
            if self.may_go_on(waiter.wake):
                return True
            if self._on_full is not None:
                self._on_full()
            park(self._clock, waiter)

    async def drive_async(self, generator: AsyncGenerator[Any, Any]) -> None:
        """Run an async generator to its end, in this task."""
        loop = Real.get_running_loop()
        try:
            async for item in generator:
                kind: type = type(item)  # pyright: ignore[reportUnknownVariableType]
                if id(kind) in NOT_RUN:
                    raise _refused_item(item, is_async=True)
                if not self.offer(item):
                    return
                del item
                while True:
                    room = loop.create_future()
                    if self.may_go_on(_waker(loop, room)):
                        break
                    if self._on_full is not None:
                        self._on_full()
                    await room
        finally:
            aclose = getattr(generator, "aclose", None)
            if aclose is not None:
                await aclose()


stream_of: Final[Callable[[Call], Stream]] = operator.attrgetter("stream")
"""The stream of a call.  Only a call whose target is a generator has one."""


def _refused_item(item: object, *, is_async: bool) -> InvalidError:
    kind = type(item)
    if kind is AsyncGeneratorType:
        listed = "async for item in ...: yield item"
    else:
        listed = "for item in ...: yield item" if is_async else "yield from ..."
    return refused_part("an item that the generator yielded", "yield await ...", listed, item)


def _close(generator: Generator[Any, Any, Any]) -> None:
    close = getattr(generator, "close", None)
    if close is not None:  # an iterator that is not a generator has no `close`
        close()


def _waker(loop: asyncio.AbstractEventLoop, future: asyncio.Future[None]) -> Wake:
    def finish() -> None:
        if not future.done():
            future.set_result(None)

    def wake() -> None:
        try:
            loop.call_soon_threadsafe(finish, context=Context())
        except RuntimeError:
            pass  # the loop is closed, so its tasks have ended

    return wake
