"""Bells: one thread waits for its bell, another thread rings it.

Owns `make_bell`.  A bell is like a lock that is locked already: the thread that waits acquires it,
and the thread that rings releases it, once for each wait.

Where the C library has semaphores, a bell is one of these and not a `threading.Lock`, because the
two differ in when they let go of the interpreter lock (GIL).  A thread that releases a lock keeps
the GIL, so the thread that it wakes has to sleep again at once:

    1. thread A releases the lock; the system wakes thread B,
    2. B wants the GIL, which A has, and sleeps,
    3. A waits for something else, and lets go of the GIL; the system wakes B a second time.

A call through `ctypes` lets go of the GIL first, so B wakes once.  Two threads that wake each other
in turns take half of the processor's time for it: 7 instead of 14 microseconds a round trip.

Begin at `Bell`, then `Semaphore`.
"""

from __future__ import annotations

import errno
import operator
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from ..real import Real

# Bytes of a `sem_t`: 32 with glibc on 64 bits, and never more.
_SIZE: Final = 64


class Bell:
    """What one thread rings and one thread waits for.

    All are callables in C, so the frame of the caller is the innermost one while it waits.

    Attributes:
        acquire: waits; gives true if the bell was rung, false if a signal has come, whose handler
            runs then: wait again.
        release: rings.
    """

    __slots__ = ("acquire", "release")

    def __init__(self, acquire: Callable[[], bool], release: Callable[[], object]) -> None:
        self.acquire: Callable[[], bool] = acquire
        self.release: Callable[[], object] = release

    def acquire_within(self, seconds: float, /) -> Callable[[], bool]:
        """Return what waits as `acquire` does, and at most for `seconds` from now."""
        raise NotImplementedError


class Locked(Bell):
    """A bell that is a lock."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        lock: threading.Lock = Real.Lock()
        lock.acquire()
        super().__init__(lock.acquire, lock.release)
        self._lock = lock

    def acquire_within(self, seconds: float, /) -> Callable[[], bool]:
        return partial(self._lock.acquire, timeout=min(seconds, threading.TIMEOUT_MAX))


def _maker() -> Callable[[], Bell]:
    """Return what makes bells here."""
    has_gil: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)
    if sys.platform != "linux" or not has_gil():
        return Locked
    try:
        import ctypes

        return _semaphores(ctypes)
    except (ImportError, AttributeError, OSError):  # a C library without `sem_clockwait`
        return Locked


def _semaphores(ctypes: Any) -> Callable[[], Bell]:
    library = ctypes.CDLL(None)
    # Keeps the GIL: a container that starts makes bells, and need not wait for other threads.
    init = ctypes.PyDLL(None).sem_init
    post, wait, wait_until = library.sem_post, library.sem_wait, library.sem_clockwait
    wait.restype = wait_until.restype = operator.not_  # they return 0 if the bell was rung

    class Time(ctypes.Structure):  # type: ignore[misc]
        _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))

    class Semaphore(Bell):
        """A bell that lets go of the GIL before it rings."""

        __slots__ = ("_memory",)

        def __init__(self) -> None:
            memory = ctypes.create_string_buffer(_SIZE)
            if init(memory, 0, 0):
                raise OSError(errno.EINVAL, "sem_init failed")
            # The memory is passed as a pointer, and kept as long as somebody is about to ring.
            super().__init__(partial(wait, memory), partial(post, memory))
            self._memory = memory

        def acquire_within(self, seconds: float, /) -> Callable[[], bool]:
            end = Real.monotonic() + min(seconds, threading.TIMEOUT_MAX)
            until = Time(int(end), int(end % 1.0 * 1e9))
            return partial(wait_until, self._memory, time.CLOCK_MONOTONIC, ctypes.byref(until))

    return Semaphore


# Chosen here and not at the first bell: if the process forked meanwhile, the child would wait for
# that import.
make_bell: Final[Callable[[], Bell]] = _maker()
"""Return a bell that nobody has rung."""
