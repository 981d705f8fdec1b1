"""The channel: one end of a socket that carries frames.

Owns the socket, the frames that the kernel has not taken yet, and the bytes of a frame that has not
come whole.  No call blocks: what does not fit is written later, by the post.  So an end that does
not read stops nobody but itself.

A lock of its own guards the writing side; it is a leaf.  The post's thread reads, or a thread that
has nothing else to do and reads in its place (`read_until`): what comes for that thread then needs
no other thread to wake it.

Begin at `Carrier`, which says what an end needs; then `Channel.send` and `Channel.on_readable`.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

from ..runtime.clocks.clock import RealWaiter
from ..runtime.real import Real
from ..runtime.thread_state import thread_state
from .frames import Buffer, Frame, FrameReader
from .turnstile import Turnstile, has_turnstiles

T = TypeVar("T")

# Bytes that are read at once: few at first, because memory for many takes longer to get than most
# frames take to read.  And the most parts that are written at once.
READ_FIRST: Final = 16 * 1024
READ: Final = 256 * 1024
PARTS: Final = 64

# Bytes that the kernel may keep of what was written and not read.  The more, the fewer turns of the
# two posts a large frame takes.
BUFFER: Final = 1024 * 1024

# Seconds for which a caller reads what comes for it.  A signal that comes just before its thread
# sleeps ends the wait only then.
READS_FOR: Final = 0.05

# How often one channel is read before the others get a turn.
TURNS: Final = 8

Received = Callable[[int, int, memoryview], object]
"""Is given the kind, the number of words and the body of a frame that has come."""


class Carrier(Protocol):
    """What an end needs of what carries its frames."""

    @property
    def begun(self) -> int:
        """The highest mark of a frame of which at least one byte has left this process."""
        ...

    def send(self, parts: Sequence[Buffer], mark: int = 0, /) -> None:
        """Write a frame, now or later.  Never blocks; does nothing once the carrier is closed.

        Args:
            parts: the frame.
            mark: see `begun`; the marks of the frames grow.
        """
        ...

    def keep(self) -> None:
        """Copy what is not written of the frames: their owner may change them from now on."""
        ...

    def read_for(self, waiter: RealWaiter, kind: int, /) -> None:
        """Read frames of `kind` on this thread until `waiter` is woken, for a moment at most."""
        ...

    def close(self) -> None:
        """Write and read nothing more.  After the return, `begun` does not change."""
        ...


class Post(Protocol):
    """What a channel needs of the post: see ``post.py``."""

    def add(self, channel: Channel, /) -> None: ...
    def wants_to_write(self, channel: Channel, /) -> None: ...
    def remove(self, channel: Channel, /) -> None: ...
    def do(self, work: Callable[[], object], /) -> None: ...
    def guarded(self, work: Callable[[], object], /) -> None: ...


class Channel:
    """One end of a stream socket.

    Args:
        end: the socket, which the channel closes.
        post: reads for this end.
        received: called for each frame, on the thread that reads.
        gone: called once, after the last frame, on the thread that reads: the other end is gone.
    """

    def __init__(
        self, end: socket.socket, post: Post, received: Received, gone: Callable[[], object]
    ) -> None:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        self._end = end
        self._post = post
        self._received = received
        self._gone = gone
        self._reader = FrameReader()
        self._lock: threading.Lock = Real.Lock()
        # Guarded by `_lock`:
        # The frames that the kernel has not taken, each with its mark, and with the mark 0 as soon
        # as it has taken a part of it.
        self._unsent: deque[tuple[int, list[memoryview]]] = deque()
        self._closed = False
        self._closes = False  # as soon as all is written
        self.begun: int = 0
        # Of the thread that reads:
        self.has_ended: bool = False
        # Of an end at which other threads may read; None of any other end.
        self._turnstile: Turnstile | None = None
        # Frames that have come and that the post is to take, before it reads: see `read_for`.
        self._left: deque[Frame] = deque()

    def begin(self) -> None:
        """Let the post read for this end."""
        self._post.add(self)

    def fileno(self) -> int:
        return self._end.fileno()

    def read_fileno(self) -> int:
        """Return the descriptor that is readable when the post is to read."""
        return self._end.fileno() if self._turnstile is None else self._turnstile.fileno()

    # -- writing: any thread ----------------------------------------------------------

    def send(self, parts: Sequence[Buffer], mark: int = 0) -> None:
        with self._lock:
            if self._closed:
                return
            unsent = self._unsent
            waits = bool(unsent)
            unsent.append((mark, [memoryview(part) for part in parts]))
            if waits:
                return  # the post writes
            self._write()
            waits = bool(unsent)
        if waits:
            self._post.wants_to_write(self)

    def on_writable(self) -> bool:
        """Write what the kernel takes; return whether something is left.  On the post's thread."""
        with self._lock:
            if not self._closed:
                self._write()
            left = bool(self._unsent)
            ends = self._closes and not left
        if ends:
            self.close()
        return left

    def _write(self) -> None:
        unsent = self._unsent
        while unsent:
            mark, frame = unsent[0]
            try:
                count = self._end.sendmsg(frame[:PARTS])
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                unsent.clear()  # the other end is gone: `on_readable` finds that out
                return
            if count:
                if mark:
                    self.begun = mark
                    unsent[0] = (0, frame)
                while frame and count >= frame[0].nbytes:
                    count -= frame.pop(0).nbytes
                if count:
                    frame[0] = frame[0][count:]
            if not frame:
                unsent.popleft()

    def keep(self) -> None:
        with self._lock:
            for _, frame in self._unsent:
                frame[:] = [
                    part if type(part.obj) is bytes else memoryview(bytes(part)) for part in frame
                ]

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._unsent.clear()
            if self._turnstile is not None:
                self._turnstile.wake()
        self._post.remove(self)

    def close_when_written(self) -> None:
        """Close this end as soon as all frames are written.  Never blocks."""
        with self._lock:
            self._closes = True
            left = bool(self._unsent)
        if not left:
            self.close()

    def shut(self) -> None:
        """Close the socket.  Called by the post, which has forgotten its number."""
        if self._turnstile is None:
            self._end.close()
            return
        with self._turnstile.lock:  # `close` has woken who has it
            self._turnstile.close()
            self._end.close()

    def renew(self) -> None:
        """In a forked child: this end belongs to the parent."""
        self._lock = Real.Lock()
        self._closed = True
        if self._turnstile is not None:
            self._turnstile.close()
        self._end.close()

    # -- reading: one thread at a time ----------------------------------------------------

    def open_turnstile(self) -> None:
        """Let other threads read in place of the post, where the system can.  Before `begin`."""
        if has_turnstiles:
            self._turnstile = Turnstile(self._end)

    def read_until(self, is_done: Callable[[], bool]) -> bool:
        """Read in place of the post until `is_done`, or until the end is closed.

        Return false at once if some other thread reads now.  `interrupt` has `is_done` asked.
        """
        turnstile = self._take_turn()
        if turnstile is None:
            return False
        try:
            while not is_done() and not self._closed:
                if turnstile.wait():
                    self._read_guarded()
        finally:
            turnstile.end_turn()
        return True

    def read_once(
        self, also: int, seconds: float | None, around: Callable[[Callable[[], object]], object]
    ) -> None:
        """Read in place of the post, once, unless `also` is readable first.

        Args:
            also: a descriptor.
            seconds: how long to wait; None for as long as it takes.
            around: is given what reads, when there is something.
        """
        turnstile = self._take_turn()
        if turnstile is None:
            return
        try:
            if not self._closed and turnstile.wait(seconds, also):
                around(self._read_guarded)
        finally:
            turnstile.end_turn()

    def read_for(self, waiter: RealWaiter, kind: int) -> None:
        """Read in place of the post until `waiter` is woken, for `READS_FOR` seconds at most.

        Takes frames of `kind` only, and leaves others to the post.  Returns at once if some other
        thread reads.  For a thread that waits in a region (``uninterruptible.py``): what may end
        its wait may end the wait here.
        """
        turnstile, guard = self._take_turn(), thread_state.guard
        if turnstile is None:
            return
        try:
            while not waiter.is_woken and not self._closed:
                if guard is not None:
                    guard.begin_wait(waiter)
                try:
                    found = turnstile.wait(READS_FOR)
                finally:
                    if guard is not None:
                        guard.end_wait()
                if not found or not as_the_post(lambda: self._read_some(kind)):
                    return  # perhaps it was woken, because the post needs the turnstile
        finally:
            turnstile.end_turn()

    def _take_turn(self) -> Turnstile | None:
        """Keep the post from reading, until `Turnstile.end_turn`; None if that must not be.

        Nor may any other thread read, then.  The post itself reads what a thread has left to it,
        and the rest of a large frame.
        """
        turnstile = self._turnstile
        if turnstile is None or not turnstile.lock.acquire(False):
            return None
        if turnstile.is_closed or self._left or self._reader.large is not None:
            turnstile.lock.release()
            return None
        turnstile.shut()
        return turnstile

    def _read_some(self, kind: int) -> bool:
        """Take frames of `kind`; return false if something is left for the post."""
        left = self._left
        try:
            data = self._end.recv(READ_FIRST)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False
        if not data:
            return False  # the post finds that out, too
        try:
            left.extend(self._reader.take(data))
            while left and left[0][0] == kind:
                self._received(*left.popleft())
        except Exception as error:
            # It is no error of the caller who reads here, and the post cannot find it out: what
            # has come is read.
            self._post.do(partial(self._fail, error))
            return False
        if left:
            self._post.do(self.on_readable)
        return not left and self._reader.large is None

    def interrupt(self) -> None:
        """Wake the thread that is in `read_until`, or the next one."""
        with self._lock:
            if self._turnstile is not None and not self._closed:
                self._turnstile.wake()

    def on_readable(self) -> None:
        """Read all that has come.  On the post's thread."""
        turnstile = self._turnstile
        if turnstile is None:
            self._read()
        # If a thread reads, it has just begun, or is about to end.  It ends if frames are left.
        elif turnstile.lock.acquire(False) or (self._left and turnstile.lock.acquire()):
            try:
                self._read()
            finally:
                turnstile.lock.release()

    def _read_guarded(self) -> None:
        as_the_post(lambda: self._post.guarded(self._read))

    def _read(self) -> None:
        goes_on = False
        try:
            goes_on = self._drain(TURNS)
        finally:
            # Also after an error: what is not understood is the end, or somebody waits for ever.
            if not goes_on:
                self._end_here()

    def _drain(self, most: int | None) -> bool:
        """Read until there is no more; return false if there never will be more.

        Args:
            most: how often to read, so that an end that writes without pause does not keep the
                post from the others; None for as often as there is something.
        """
        reader, left = self._reader, self._left
        count = 0
        size = READ_FIRST
        while left:
            self._received(*left.popleft())
        while not self._closed and (most is None or count < most):
            count += 1
            large = reader.large
            try:
                if large is None:
                    data = self._end.recv(size)
                    if not data:
                        return False
                    frames, is_all = reader.take(data), len(data) < size
                    size = READ
                else:
                    filled = self._end.recv_into(large)
                    if not filled:
                        return False
                    frames, is_all = reader.filled(filled), filled < len(large)
            except (BlockingIOError, InterruptedError):
                return True
            except OSError:
                return False
            for kind, words, body in frames:
                self._received(kind, words, body)
            if is_all and most is not None:
                return True  # the post is told of what comes now
        return True

    def is_lost(self) -> None:
        """Note that the other end is gone, whatever holds its socket.  On the post's thread.

        What the other end has written before counts, so all of it is read first.
        """
        self.interrupt()
        with contextlib.nullcontext() if self._turnstile is None else self._turnstile.lock:
            try:
                self._drain(None)
            finally:
                self._end_here()

    def _fail(self, error: Exception) -> None:
        """End here, because what has come is not understood.  On the post's thread."""
        assert self._turnstile is not None
        with self._turnstile.lock:
            try:
                raise error
            finally:
                self._end_here()

    def _end_here(self) -> None:
        if not self.has_ended:
            self.has_ended = True
            self.close()  # or the selector would say again and again that it has ended
            self._gone()


def as_the_post(read: Callable[[], T]) -> T:
    """Do what the post does on another thread: as there, no finalizer waits, and others log."""
    state = thread_state
    state.reads_for_all = state.keeps_time = True
    try:
        return read()
    finally:
        state.reads_for_all = state.keeps_time = False
