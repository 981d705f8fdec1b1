"""The outbox: messages that wait to be written, and who writes them.

Owns the order of one end's messages.  Any thread puts messages in, also under a pool's lock; one
thread at a time makes frames of them and writes them, with no lock held.  While that thread makes
a frame, further messages gather, and go into the next frame together: the busier an end is, the
more messages a frame has.  A lock of its own guards the list; it is a leaf.

Begin at `Outbox.put`, then `Outbox.flush`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from ..runtime.real import Real
from ..runtime.uninterruptible import uninterruptible

M = TypeVar("M")


class Outbox(Generic[M]):
    """The messages of one end that are not written yet.

    Args:
        write: writes messages, in their order.  Called by one thread at a time, with no lock.
    """

    __slots__ = ("_is_written", "_lock", "_messages", "_waiting", "_write")

    def __init__(self, write: Callable[[list[M]], object]) -> None:
        self._write = write
        self._lock: threading.Lock = Real.Lock()
        self._messages: list[M] = []
        # Invariant: true if a thread is in `flush`, or is about to call it.
        self._is_written = False
        self._waiting: list[threading.Event] = []  # each is set when all is written

    def put(self, message: M) -> Callable[[], object] | None:
        """Add a message; return the effect that writes it, None if some thread does so."""
        with self._lock:
            self._messages.append(message)
            if self._is_written:
                return None
            self._is_written = True
            return self.flush

    @uninterruptible
    def send(self, message: M) -> None:
        """Add a message and write it, unless some other thread does so.  No lock held."""
        effect = self.put(message)
        if effect is not None:
            effect()

    @uninterruptible
    def flush(self) -> None:
        """Write all messages, also those that come meanwhile.  No lock held."""
        while True:
            with self._lock:
                messages = self._messages
                if not messages:
                    self._stop_writing()
                    return
                self._messages = []
            try:
                self._write(messages)
            except BaseException:
                # Whoever puts the next message must find a thread that writes it.
                with self._lock:
                    self._stop_writing()
                raise

    def _stop_writing(self) -> None:
        # Under the lock.
        self._is_written = False
        while self._waiting:
            self._waiting.pop().set()

    def wait_written(self, seconds: float) -> bool:
        """Wait until no thread writes; false if that takes longer than `seconds`.

        For an end that is about to close: `send` returns at once when some other thread writes,
        which may then not have begun with the message.
        """
        with self._lock:
            if not self._is_written:
                return True
            written = Real.Event()
            self._waiting.append(written)
        return written.wait(seconds)

    def renew(self) -> None:
        """In a forked child: nothing of the parent's is written here."""
        self._lock = Real.Lock()
        self._messages = []
        self._waiting = []
        self._is_written = True  # for ever: nobody writes
