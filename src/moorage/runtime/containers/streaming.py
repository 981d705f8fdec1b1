"""Streams: how a generator hands its items to its reader, a bounded number ahead.

Owns the buffer between one producer (a generator that holds a slot) and one
reader.  Guarded by a lock of its own, a leaf: nothing is called while it is
held.  A full buffer makes the producer wait; closing the reader ends the
producer at its next item.
"""

from __future__ import annotations

import asyncio
import operator
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator
from contextvars import Context
from typing import Any, Final

from ...exception import InputCancellation
from .. import forking
from ..clocks.clock import Clock
from ..clocks.parking import park
from ..input import Call
from ..real import Real
from ..uninterruptible import uninterruptible

# Items a generator may be ahead of its reader.
AHEAD: Final = 16

Wake = Callable[[], object]


class Stream:
    """The hand-over of one generator input."""

    __slots__ = (
        "_born",
        "_clock",
        "_closed",
        "_ended",
        "_items",
        "_lock",
        "_on_full",
        "_producer",
        "_reader",
    )

    def __init__(self, clock: Clock, on_full: Callable[[], object] | None = None) -> None:
        self._clock = clock
        # Called, without a lock, when the producer is about to wait.
        self._on_full = on_full
        self._born = forking.process.number
        self._lock = Real.Lock()
        # Invariant: a producer waits only while the buffer is full and open, a
        # reader only while it is empty and neither ended nor closed.
        # A producer adds an item before it waits, so there may be AHEAD items, and no more.
        self._items: deque[Any] = deque()
        # How to wake who waits.  Invariant: taken out by whoever calls it, so each is called
        # once:
        #     1. the producer finds the buffer full, and leaves its wake, under the lock,
        #     2. the reader takes an item, and the wake out, under the lock,
        #     3. the reader calls the wake, without the lock.  If the producer does not wait
        #        yet, its waiter is set, and does not wait.
        self._producer: Wake | None = None
        self._reader: Wake | None = None
        self._ended = False  # no item comes any more; once true, for ever
        self._closed = False  # the reader has gone; once true, for ever

    # -- the reader's side ----------------------------------------------------

    def take_nowait(self, wake: Wake) -> tuple[bool, Any]:
        """``(True, item)``; else ``(False, None)``, and `wake` is called when there is news.

        Ask :attr:`ended` after a False: no item comes any more once it is true.
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
    def has_items(self) -> bool:
        return bool(self._items)

    @property
    def is_full(self) -> bool:
        """Whether the producer waits for the reader."""
        return self._producer is not None

    def close(self) -> None:
        """The reader has gone: the producer ends at its next item."""
        if self._born != forking.process.number:
            return
        with self._lock:
            self._closed = True
            items, self._items = self._items, deque()
            producer, self._producer = self._producer, None
        del items  # the user's objects die outside the lock
        if producer is not None:
            producer()

    # -- the producer's side --------------------------------------------------

    def end(self) -> None:
        """No more items; called when the input has its outcome."""
        with self._lock:
            self._ended = True
            reader, self._reader = self._reader, None
        if reader is not None:
            reader()

    def _offer(self, item: Any) -> bool:
        """Add `item`, whatever the size; false if the reader has gone."""
        if self._born != forking.process.number:
            forking.end_child(forking.stayed_behind("the reader of this generator"))
        with self._lock:
            if self._closed or self._ended:
                return False
            self._items.append(item)
            reader, self._reader = self._reader, None
        if reader is not None:
            reader()
        return True

    def _may_go_on(self, wake: Wake) -> bool:
        """True if there is room or the reader has gone; else `wake` is called when so."""
        with self._lock:
            if self._closed or len(self._items) < AHEAD:
                return True
            self._producer = wake
            return False

    def drive(self, generator: Generator[Any, Any, Any]) -> None:
        """Run a generator to its end on this worker thread, in this context."""
        try:
            # The user's code runs in these steps, and none of it in between.
            for item in generator:
                with uninterruptible:
                    goes_on = self._hand_over(item)
                del item
                if not goes_on:
                    return
        finally:
            try:
                _close(generator)
            except InputCancellation:
                # A strike on the way there, the only one: the user's code must end before
                # its slot is given back.  If it came out of that code, this does nothing.
                _close(generator)
                raise

    def _hand_over(self, item: Any) -> bool:
        """Add `item`, and wait until there is room for another; false if the reader has gone."""
        if not self._offer(item):
            return False
        del item
        while True:
            waiter = self._clock.make_waiter()
            if self._may_go_on(waiter.wake):
                return True
            if self._on_full is not None:
                self._on_full()
            park(self._clock, waiter)

    async def drive_async(self, generator: AsyncGenerator[Any, Any]) -> None:
        """Run an asynchronous generator to its end in this task."""
        loop = Real.get_running_loop()
        try:
            async for item in generator:
                if not self._offer(item):
                    return
                del item
                while True:
                    room = loop.create_future()
                    if self._may_go_on(_waker(loop, room)):
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


def _close(generator: Generator[Any, Any, Any]) -> None:
    close = getattr(generator, "close", None)
    if close is not None:  # an iterator that is no generator has none
        close()


def _waker(loop: asyncio.AbstractEventLoop, future: asyncio.Future[None]) -> Wake:
    def finish() -> None:
        if not future.done():
            future.set_result(None)

    def wake() -> None:
        try:
            loop.call_soon_threadsafe(finish, context=Context())
        except RuntimeError:
            pass  # the loop is closed, and its tasks with it

    return wake
