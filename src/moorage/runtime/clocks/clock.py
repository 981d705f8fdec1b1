"""The clocks: the only place that reads time or waits with a limit.

Owns what a clock is, the real one, and the waiters that threads park on.
Everything above takes a clock as an argument.  Time is in seconds.
The virtual clock is in ``virtual_clock.py``.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Protocol

from ..real import Real
from .timekeeper import Callback, Timer, process_timekeeper

if TYPE_CHECKING:
    from .participants import Participants


class Waiter(Protocol):
    """A place for one thread to wait, once.  May be woken before, and more than once."""

    def wake(self) -> None: ...


class Clock(Protocol):
    """What the engine asks of time."""

    virtual: bool

    @property
    def participants(self) -> Participants | None:
        """Who takes part, if time is virtual; None in real time."""
        ...

    def now(self) -> float:
        """Seconds since some fixed point."""
        ...

    def call_at(self, when: float, callback: Callback) -> Timer:
        """Run `callback` at `when`, on a thread of the clock's.  It must not block."""
        ...

    def call_when_past(self, when: float, callback: Callback) -> Timer:
        """As :meth:`call_at`, but virtual time does not jump to `when` for its sake."""
        ...

    def make_waiter(self) -> Waiter:
        """A fresh waiter for :meth:`wait`."""
        ...

    def wait(self, waiter: Waiter, timeout: float | None = None) -> bool:
        """Block this thread until `waiter` is woken; false if `timeout` passes first."""
        ...

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """An event loop that lives in this clock's time."""
        ...


class RealWaiter:
    """A waiter that is one lock, which the waker releases."""

    __slots__ = ("lock",)

    def __init__(self) -> None:
        self.lock: threading.Lock = Real.Lock()
        self.lock.acquire()

    def wake(self) -> None:
        try:
            self.lock.release()
        except RuntimeError:
            pass  # woken before: once is enough


class RealClock:
    """Monotonic time and the process's timekeeper."""

    virtual = False
    participants: Participants | None = None
    now: staticmethod[[], float] = staticmethod(Real.monotonic)
    make_waiter = RealWaiter

    def call_at(self, when: float, callback: Callback) -> Timer:
        return process_timekeeper.call_at(when, callback)

    call_when_past = call_at

    def wait(self, waiter: Waiter, timeout: float | None = None) -> bool:
        assert isinstance(waiter, RealWaiter)
        if timeout is None:
            return waiter.lock.acquire()
        return waiter.lock.acquire(timeout=min(max(timeout, 0.0), threading.TIMEOUT_MAX))

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return Real.new_event_loop()

    def __repr__(self) -> str:
        return "<RealClock>"


system_clock: Final[Clock] = RealClock()


def acquire_in_turns(lock: threading.Lock) -> None:
    """Acquire a lock that is held for an instant only, without starting a convoy.

    A thread that blocks on a lock becomes its owner while it still waits for
    the interpreter, and so makes the next thread block, and so on: every
    acquire is a switch of threads from then on.  One that lets the others run
    and tries again is let in when the owner is out.
    """
    for _ in range(LOCK_TRIES):
        Real.sleep(0)
        if lock.acquire(False):
            return
    lock.acquire()


def acquire_within(lock: threading.Lock, seconds: float) -> bool:
    """Acquire a lock in real time; false if it is not let go in `seconds`."""
    return lock.acquire(timeout=seconds)


# Turns given to other threads before blocking.  One suffices mostly; with no
# GIL, where the owner runs on meanwhile, a few.
LOCK_TRIES: Final = 32


def join_threads(threads: Iterable[threading.Thread], timeout: float) -> list[threading.Thread]:
    """Join in real time, which virtual threads need too; return those that still live.

    `timeout` seconds in all.  The calling thread counts among those that live.
    """
    until = Real.monotonic() + timeout
    left: list[threading.Thread] = []
    for thread in threads:
        if thread is not Real.current_thread():
            if thread.ident is None:
                continue  # never started
            thread.join(max(0.0, until - Real.monotonic()))
        if thread.is_alive():
            left.append(thread)
    return left
