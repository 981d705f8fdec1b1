"""A queue for a main thread that waits, which a signal wakes at once.

Owns `Events`.  A main thread that waits in ``queue.get`` misses a signal for as long as it waits:
    1. The thread has looked for signals, and has not gone to sleep yet.
    2. The signal comes.  Python notes it, and calls the handler when the thread runs next.
    3. The thread sleeps.
So the thread sleeps in a selector, on a socket to which Python writes as it notes a signal
(``signal.set_wakeup_fd``), and to which `Events.put` writes too.

Begin at `Events.next`.
"""

from __future__ import annotations

import selectors
import signal
from collections.abc import Generator
from contextlib import contextmanager
from queue import Empty
from typing import Any

from ..runtime.clocks.clock import system_clock
from ..runtime.real import Real


class Events:
    """A queue.  Any thread, and signal handlers, may put; one thread takes."""

    def __init__(self) -> None:
        # Its `put` may interrupt itself.
        self._items: Any = Real.SimpleQueue()
        # A byte to be read in `_ours` ends a wait.
        self._ours, self._its = Real.socketpair()
        self._ours.setblocking(False)
        self._its.setblocking(False)

    def put(self, item: object) -> None:
        """Put an item.  Nobody takes those that come after `close`."""
        self._items.put(item)
        try:
            self._its.send(b"\0")
        except OSError:  # there are bytes enough; or it is closed
            pass

    def next(self, seconds: float | None = None) -> Any:
        """Return the next item; None if `seconds` pass first.

        Raises:
            KeyboardInterrupt: at Ctrl-C, on the main thread.
        """
        until = None if seconds is None else system_clock.now() + seconds
        with self._signals_wake(), Real.DefaultSelector() as selector:
            selector.register(self._ours, selectors.EVENT_READ)
            while True:
                try:
                    return self._items.get_nowait()
                except Empty:
                    pass
                left = None if until is None else until - system_clock.now()
                if left is not None and left <= 0:
                    return None
                selector.select(left)
                self._read()

    def close(self) -> None:
        """Close the sockets.  Nobody takes items any more."""
        self._ours.close()
        self._its.close()

    @contextmanager
    def _signals_wake(self) -> Generator[None, None, None]:
        """Have each signal write to the socket, until the block ends."""
        if Real.current_thread() is not Real.main_thread():
            yield
            return
        before = signal.set_wakeup_fd(self._its.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)

    def _read(self) -> None:
        try:
            while self._ours.recv(4096):
                pass
        except OSError:  # nothing is left
            pass
