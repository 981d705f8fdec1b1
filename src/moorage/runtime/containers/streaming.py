"""Streams: how a generator passes its items to its reader, a bounded number ahead.

Owns the buffer between one producer (the generator of an input that holds a slot) and one
reader (the caller).  Items pass without a lock.  A lock guards who waits; it is a leaf: nothing is
called while it is held.  If the buffer is full, the producer waits; if the reader closes the
stream, the producer ends at its next item.

The lanes call `drive` and `drive_async`; the caller's side (``calling/``) calls `take_nowait`
and `close`.  Begin at `drive`, then `offer`, then `take_nowait`.
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
        "_clock",
        "_closed",
        "_ended",
        "_has_begun",
        "_lock",
        "_on_full",
        "_reader",
        "born",
        "items",
        "producer",
        "sent",
    )

    def __init__(self, clock: Clock, on_full: Callable[[], object] | None = None) -> None:
        self._clock = clock
        # Called without a lock, when the producer is about to wait.
        self._on_full = on_full
        self.born: int = forking.process.number
        self._lock = Real.Lock()
        # The items: appended by the producer, taken by the reader, without the lock.  A side that
        # is about to wait stores its wake under the lock, and looks once more when it has given the
        # lock back; the other side moves an item, and then looks for a wake.  So one of the two
        # sees what the other has done:
        #     1. the producer finds the buffer full,
        #     2. the reader takes an item, and finds no wake,
        #     3. the producer stores its wake, and finds room.
        # Invariant: the producer adds an item before it waits, so there are at most AHEAD items.
        self.items: deque[Any] = deque()
        # The functions that wake the producer and the reader; None for a side that does not
        # wait.  Invariant: whoever calls a wake removes it first, under the lock, so each wake is
        # called once.  If the side does not wait yet, its waiter is set already, and the wait
        # returns at once.
        self.producer: Wake | None = None
        self._reader: Wake | None = None
        # The first two are written under the lock.
        self._ended = False  # no further item comes; once true, it stays true
        self._closed = False  # the reader reads no more; once true, it stays true
        self._has_begun = False  # an item has come; once true, it stays true
        # Of a generator in another process only: see ``placing/remote.py``.
        self.sent: Any = None

    # -- the reader's side ----------------------------------------------------

    def take_nowait(self, wake: Wake | None = None) -> tuple[bool, Any]:
        """Take the next item: return ``(True, item)``, or ``(False, None)`` if there is none.

        After ``(False, None)`` look at :attr:`ended`: if it is true, no further item comes;
        else `wake`, if given, is called, once, when an item or the end comes.

        Raises:
            ExecutionError: in a forked child, for a stream of the parent.
        """
        if self.born != forking.process.number:
            raise forking.stayed_behind("this stream")
        try:
            item = self.items.popleft()
        except IndexError:
            if wake is None or not self._comes_while_stored(wake):
                return False, None
            item = self.items.popleft()  # nobody else takes any
        if self.producer is not None:
            self.let_go_on()
        return True, item

    def _comes_while_stored(self, wake: Wake) -> bool:
        """Store the reader's wake; true if there is an item, and `wake` will not be called."""
        with self._lock:
            if self._ended:
                return bool(self.items)
            self._reader = wake
        if not self.items:
            return False
        with self._lock:
            if self._reader is not wake:
                return False  # it is being called
            self._reader = None
        return True

    @uninterruptible
    def let_go_on(self) -> None:
        """Wake the producer, for which there is room."""
        with self._lock:
            producer, self.producer = self.producer, None
        if producer is not None:
            producer()

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def has_begun(self) -> bool:
        """True if any item has come, whether or not the reader has taken it."""
        return self._has_begun

    @property
    def has_items(self) -> bool:
        return bool(self.items)

    @property
    def buffered(self) -> int:
        """How many items the reader has not taken."""
        return len(self.items)

    def tell_full(self) -> None:
        """Tell that the producer is about to wait for the reader."""
        if self._on_full is not None:
            self._on_full()

    @property
    def is_full(self) -> bool:
        """True while the producer waits for the reader."""
        return self.producer is not None

    def close(self) -> None:
        """Close the reader's side: the producer ends at its next item.

        Does nothing in a forked child, for a stream of the parent.
        """
        if self.born != forking.process.number:
            return
        with self._lock:
            self._closed = True
            items, self.items = self.items, deque()
        del items  # outside the lock, because dropping them may run users' destructors
        self.let_go_on()

    # -- the producer's side --------------------------------------------------

    def end(self) -> None:
        """End the stream: no further item comes.  Called when the input has its outcome."""
        with self._lock:
            self._ended = True
        self._wake_reader()

    @uninterruptible
    def _wake_reader(self) -> None:
        with self._lock:
            reader, self._reader = self._reader, None
        if reader is not None:
            reader()

    def offer(self, item: Any) -> bool:
        """Add `item`, also to a full buffer; false if the stream is closed or has ended."""
        if self.born != forking.process.number:
            forking.end_child(forking.stayed_behind("the reader of this generator"))
        if self._closed or self._ended:
            return False
        self.items.append(item)
        self._has_begun = True
        if self._reader is not None:
            self._wake_reader()
        return True

    def may_go_on(self, wake: Wake) -> bool:
        """Return true if there is room or the stream is closed; else `wake` is called then."""
        with self._lock:
            if self._closed or len(self.items) < AHEAD:
                return True
            self.producer = wake
        if len(self.items) >= AHEAD:
            return False
        with self._lock:
            if self.producer is not wake:
                return False  # it is being called
            self.producer = None
        return True

    def drive(self, generator: Generator[Any, Any, Any]) -> None:
        """Run a sync generator to its end, on this worker thread and in this context."""
        try:
            # The user's code runs only in the steps of this loop.  A strike (see
            # ``guards/cells.py``) may hit the body, too: it may lose the item, of an input that is
            # cancelled.  What takes a lock is uninterruptible.
            for item in generator:
                kind: type = type(item)  # pyright: ignore[reportUnknownVariableType]
                if id(kind) in NOT_RUN:
                    raise _refused_item(item, is_async=False)
                if not self.offer(item):
                    return
                del item
                # As `may_go_on`, without the lock: while nothing is added, room only grows.
                if len(self.items) >= AHEAD:
                    self._wait_for_room()
        finally:
            try:
                _close(generator)
            except InputCancellation:
                # A strike landed on the way to the generator's `close`, or in the user's code
                # that `close` runs; no second strike comes.  The user's code must end before
                # its slot is released, so close again; this does nothing if it has ended.
                _close(generator)
                raise

    @uninterruptible
    def _wait_for_room(self) -> None:
        while True:
            waiter = self._clock.make_waiter()
            if self.may_go_on(waiter.wake):
                return
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
                while len(self.items) >= AHEAD:  # see `drive`
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
