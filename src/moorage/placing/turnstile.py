"""Turnstiles: a thread that waits for what comes reads it itself, in place of the post.

Owns `Turnstile`, which keeps the post from reading at one end while some other thread reads there,
and `ReadingSelector`, with which an event loop does so.  A result, or an input, that comes one at a
time then needs no second thread to wake the one that wants it: a wake takes longer than most of
what this library does for a call.

Begin at `Turnstile`, then ``Channel.read_until``.
"""

from __future__ import annotations

import math
import os
import select
import selectors
import socket
import threading
from collections.abc import Callable
from typing import Any, Final

from ..runtime import forking
from ..runtime.real import Real

# False where the system has no epoll: there the post reads all.
has_turnstiles: Final[bool] = hasattr(select, "epoll") and hasattr(os, "eventfd")


class Turnstile:
    """Tells the post that an end is readable, unless some other thread reads there.

    The post waits for an epoll of one socket.  A thread that reads in place of the post shuts it,
    and ends its turn before it does anything else: a system call each, and no thread has to wake.

    Attributes:
        lock: held by the thread that reads.
    """

    __slots__ = ("__weakref__", "_also", "_bell", "_end", "_epoll", "_fileno", "_waits", "lock")

    def __init__(self, end: socket.socket) -> None:
        self.lock: threading.Lock = Real.Lock()
        self._end = end.fileno()
        self._epoll: Any = Real.epoll()
        self._epoll.register(self._end, select.EPOLLIN)
        self._fileno: int = self._epoll.fileno()
        self._bell: int = Real.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._also = -1
        self._waits: Any = Real.poll()
        self._waits.register(self._end, select.POLLIN)
        self._waits.register(self._bell, select.POLLIN)
        forking.know(self)

    def _after_fork(self) -> None:
        """In a forked child, where no thread reads any more."""
        self.lock = Real.Lock()

    def fileno(self) -> int:
        return self._fileno

    def shut(self) -> None:
        """Keep the post from reading."""
        self._epoll.modify(self._end, 0)

    def end_turn(self) -> None:
        """Have the post read, and release the lock."""
        try:
            self._epoll.modify(self._end, select.EPOLLIN)
        finally:
            self.lock.release()

    @property
    def is_closed(self) -> bool:
        """Whether there is nothing to read any more.  Under the lock."""
        return self._fileno < 0

    def wait(self, seconds: float | None = None, also: int = -1) -> bool | None:
        """Wait until the end is readable, or the thread is woken; return whether it is readable.

        Args:
            seconds: how long to wait; None for as long as it takes.
            also: a descriptor that ends the wait too.

        Returns:
            None if nothing has happened in that time.
        """
        if also != self._also:
            self._wait_also(also)
        found = self._waits.poll(None if seconds is None else math.ceil(seconds * 1000))
        for descriptor, _ in found:
            if descriptor == self._end:
                return True
        if not found:
            return None
        if any(descriptor == self._bell for descriptor, _ in found):
            Real.eventfd_read(self._bell)
        return False

    def _wait_also(self, also: int) -> None:
        if self._also >= 0:
            self._waits.unregister(self._also)
        if also >= 0:
            self._waits.register(also, select.POLLIN)
        self._also = also

    def wake(self) -> None:
        """Wake the thread that waits, or the next one."""
        Real.eventfd_write(self._bell, 1)

    def close(self) -> None:
        self._fileno = -1
        self._epoll.close()
        Real.close(self._bell)


if has_turnstiles:

    class ReadingSelector(selectors.EpollSelector):
        """The selector of an event loop that reads a channel itself while it has nothing to do.

        Args:
            is_quiet: whether that is worth it now.
            read_once: see `Channel.read_once`.
        """

        def __init__(
            self, is_quiet: Callable[[], bool], read_once: Callable[[int, float | None], object]
        ) -> None:
            super().__init__()
            self._is_quiet = is_quiet
            self._read_once = read_once

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            if (timeout is None or timeout > 0) and self._is_quiet():
                self._read_once(self.fileno(), timeout)
                timeout = 0
            return super().select(timeout)
