"""Idle threads: the stack that parked threads lie on, and the alarm that ends them.

Owns that stack, and one timer while some thread on it may end: threads that have had
nothing to do for `IDLE_FOR` seconds are dismissed.  The time is real, also for a pool
in virtual time, because threads are a resource of the process; a dismissed thread takes
no part in virtual time, so no virtual clock is held up or moved.

The owner (a thread lane, an executor) pushes and pops :attr:`IdleThreads.stack` itself,
under the lock that it passes in: that is on the way of each input.  It pops the last
one, so the threads at the bottom are those that are not needed.  Begin at `parked` and
`_dismiss`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final, Generic, Protocol, TypeVar

from ..clocks.clock import system_clock
from ..clocks.timekeeper import Timer

# Seconds without work after which a thread ends.
IDLE_FOR: Final = 10.0


class Parking(Protocol):
    """What one thread parks on."""

    bell: threading.Lock  # held while it is parked; released once, by whoever took it off
    stays: bool  # it never ends for having nothing to do
    # When it parked last.  Written by its own thread, read by the alarm.
    parked_at: float
    # Whether it was rung to end.  Written under the lock, before the bell is released;
    # read by its own thread when it has acquired the bell.
    dismissed: bool


P = TypeVar("P", bound=Parking)


def _nobody(threads: Sequence[object]) -> None: ...


class IdleThreads(Generic[P]):
    """The parked threads of one owner.

    Dismissing a thread loses no wake-up:
        1. a thread pushes itself onto the stack, under the lock, and waits for its bell;
        2. the alarm takes it off and marks it as dismissed, under the lock, and calls
           the owner, who counts it no more;
        3. work that comes before 2 pops and rings that thread, which the alarm then does
           not find; work that comes after 2 does not find it, and rings or makes another;
        4. the alarm rings its bell; the thread sees that it is dismissed, and ends
           without a look at the work.
    """

    __slots__ = ("_alarm", "_dismissed", "_lock", "_stopped", "stack")

    def __init__(self, lock: threading.Lock, dismissed: Callable[[Sequence[P]], object]) -> None:
        self._lock = lock
        # Called under the lock, with those that end.
        self._dismissed: Callable[[Sequence[P]], object] = dismissed
        # All below guarded by the lock.  The last one parked last.
        self.stack: list[P] = []
        # Invariant: if there is a thread on the stack that may end, there is an alarm,
        # or that thread is about to set one in `parked`.
        self._alarm: Timer | None = None
        self._stopped = False

    def parked(self, thread: P) -> None:
        """`thread` lies on the stack, and is about to wait for its bell.

        Called by that thread, without the lock, after it has woken everybody else.
        """
        if thread.stays:
            return
        thread.parked_at = system_clock.now()
        # Read without the lock.  The thread was pushed under it, before: an alarm that
        # has gone off since then has seen the thread, and set the next one; and one that
        # went off earlier has left None here.
        if self._alarm is None:
            with self._lock:
                if self._alarm is None and not self._stopped:
                    self._set_alarm(thread.parked_at + IDLE_FOR)

    def stop(self) -> list[P]:
        """Dismiss nobody any more; take all off the stack, for the owner to ring.

        Under the lock.
        """
        self._stopped = True
        self._dismissed = _nobody  # the owner refers to this: no cycle stays
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        threads, self.stack[:] = self.stack[:], []
        return threads

    def _set_alarm(self, when: float) -> None:
        try:
            self._alarm = system_clock.call_at(when, self._dismiss)
        except RuntimeError:
            pass  # there is no thread for the timekeeper; the next one that parks tries again

    def _dismiss(self) -> None:
        """On the timekeeper's thread: end the threads that have been idle for long enough."""
        now = system_clock.now()
        with self._lock:
            self._alarm = None
            if self._stopped:
                return
            # One that has parked at this moment may still bear the time when it parked
            # before, and is dismissed too early; nothing is lost by that.
            ended = [
                thread
                for thread in self.stack
                if not thread.stays and thread.parked_at + IDLE_FOR <= now
            ]
            for thread in ended:
                thread.dismissed = True
            if ended:
                self.stack[:] = [thread for thread in self.stack if not thread.dismissed]
                self._dismissed(ended)
            left = [thread.parked_at for thread in self.stack if not thread.stays]
            if left:
                # A thread that has never parked before has no time yet.
                self._set_alarm(min([now, *left]) + IDLE_FOR)
        for thread in ended:
            thread.bell.release()
