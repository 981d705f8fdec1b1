"""Bells: one thread waits for its bell, another thread rings it.

Owns `make_bell`.  A bell has the two methods of a lock that is locked already: the thread that
waits acquires it, and the thread that rings releases it, once for each wait.

Where the C library has semaphores, a bell is one of these and not a `threading.Lock`, because the
two differ in when they let go of the interpreter lock (GIL).  A thread that releases a lock keeps
the GIL, so the thread that it wakes has to sleep again at once:

    1. thread A releases the lock; the system wakes thread B,
    2. B wants the GIL, which A has, and sleeps,
    3. A waits for something else, and lets go of the GIL; the system wakes B a second time.

A call through `ctypes` lets go of the GIL first, so B wakes once.  Two threads that wake each other
in turns take half of the processor's time for it: 7 instead of 14 microseconds a round trip.

Begin at `Semaphore`.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Any, Final, Protocol

from .real import Real

# Bytes of a `sem_t`: 32 with glibc on 64 bits, and never more.
_SIZE: Final = 64


class Bell(Protocol):
    """The part of a lock that a bell has."""

    def acquire(self, *, timeout: float = -1.0) -> bool:
        """Wait until the bell is rung; false if `timeout` seconds pass first; -1 for no end."""
        ...

    def release(self) -> None:
        """Ring."""
        ...


def make_bell() -> Bell:
    """Return a bell that nobody has rung."""
    return _maker()()


def _locked() -> Bell:
    lock: threading.Lock = Real.Lock()
    lock.acquire()
    return lock


@cache
def _maker() -> Callable[[], Bell]:
    """Return what makes bells here; at the first bell, because `ctypes` takes time to import."""
    has_gil: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)
    if sys.platform != "linux" or not has_gil():
        return _locked
    try:
        import ctypes

        return _semaphores(ctypes)
    except (ImportError, AttributeError, OSError):  # a C library without `sem_clockwait`
        return _locked


def _semaphores(ctypes: Any) -> Callable[[], Bell]:
    library = ctypes.CDLL(None, use_errno=True)
    init, post, wait = library.sem_init, library.sem_post, library.sem_wait
    wait_until = library.sem_clockwait

    class Time(ctypes.Structure):  # type: ignore[misc]
        _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))

    def checked(result: int) -> bool:
        """Return true for success, false if a signal has come or the time is over."""
        if not result:
            return True
        number = ctypes.get_errno()
        if number not in (errno.EINTR, errno.ETIMEDOUT):
            raise OSError(number, os.strerror(number))
        return False

    class Semaphore:
        """A bell that lets go of the GIL before it rings."""

        __slots__ = ("_at", "_memory")

        def __init__(self) -> None:
            self._memory = ctypes.create_string_buffer(_SIZE)
            self._at = ctypes.c_void_p(ctypes.addressof(self._memory))
            checked(init(self._at, 0, 0))

        def release(self) -> None:
            post(self._at)

        def acquire(self, *, timeout: float = -1.0) -> bool:
            # After a signal its Python handler runs here, between two turns, and may raise.
            if timeout < 0.0:
                while wait(self._at):
                    checked(-1)
                return True
            end = Real.monotonic() + min(timeout, threading.TIMEOUT_MAX)
            whole = int(end)
            until = ctypes.byref(Time(whole, int((end - whole) * 1e9)))
            while not checked(wait_until(self._at, time.CLOCK_MONOTONIC, until)):
                if Real.monotonic() >= end:
                    return False
            return True

    return Semaphore
