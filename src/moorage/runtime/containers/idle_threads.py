"""Idle threads: the stack of the parked threads of one owner, and the alarm that ends them.

Owns that stack.  Owns one timer while a thread on the stack may end: threads that have had
no work for `IDLE_FOR` seconds are *dismissed*, which means that they end.  The owner is a
thread lane or a ``LoopExecutor``.  Begin at `parked`, then `_dismiss`.

The owner pushes and pops :attr:`IdleThreads.stack` itself, under the lock that it passes in,
because this happens for each input.  The owner pops the thread that parked last, so the
threads at the bottom of the stack are those that are not needed.

Time is real, also for a pool on a virtual clock, because threads are a resource of the
process.  A parked thread takes no part in virtual time, so to dismiss it neither delays nor
advances a virtual clock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final, Generic, Protocol, TypeVar

from ..clocks.bells import Bell
from ..clocks.clock import system_clock
from ..clocks.timekeeper import Timer

# Seconds without work after which a thread ends.
IDLE_FOR: Final = 10.0


class Parking(Protocol):
    """The state of one thread that parks."""

    # Held while the thread is parked.  The thread that took this one off the stack releases
    # the bell, once, to wake it.
    bell: Bell
    stays: bool  # true if the thread never ends for being idle
    # When the thread parked last.  Written by the thread itself, read by the alarm.
    parked_at: float
    # True if the thread must end.  Written under the lock, before the bell is released; read
    # by the thread itself after it has acquired the bell.
    dismissed: bool


P = TypeVar("P", bound=Parking)


def _ignore(threads: Sequence[object]) -> None: ...


class IdleThreads(Generic[P]):
    """The parked threads of one owner.

    No wake-up is lost when a thread is dismissed:
        1. a thread pushes itself onto the stack, under the lock, and waits for its bell;
        2. the alarm takes the thread off the stack and marks it as dismissed, under the
           lock, and calls the owner, which does not count the thread any more;
        3. if work comes before 2, the owner pops and rings the thread, and the alarm does
           not find it; if work comes after 2, the owner does not find the thread, and rings
           or makes another thread;
        4. the alarm rings the thread's bell; the thread sees that it is dismissed, and ends
           without a look at the work.
    """

    __slots__ = ("_alarm", "_dismissed", "_lock", "_stopped", "stack")

    def __init__(self, lock: threading.Lock, dismissed: Callable[[Sequence[P]], object]) -> None:
        self._lock = lock
        # Called under the lock, with the threads that end.
        self._dismissed: Callable[[Sequence[P]], object] = dismissed
        # The lock guards all fields below.
        # The thread that parked last is the last item.
        self.stack: list[P] = []
        # Invariant: if a thread on the stack may end, an alarm is set, or that thread is about
        # to set one in `parked`.  (Or no alarm can be set: see `_set_alarm`.)
        self._alarm: Timer | None = None
        self._stopped = False

    def parked(self, thread: P) -> None:
        """Note the time at which `thread` parks, and set the alarm if none is set.

        Called by `thread` itself, without the lock, when it is on the stack, has carried out
        its effects, and is about to wait for its bell.
        """
        if thread.stays:
            return
        thread.parked_at = system_clock.now()
        # Read without the lock.  The thread was pushed under the lock before.  An alarm that
        # rang after that has seen the thread and set the next alarm; an alarm that rang
        # before has left None here, or set an alarm for other threads.
        if self._alarm is None:
            with self._lock:
                if self._alarm is None and not self._stopped:
                    self._set_alarm(thread.parked_at + IDLE_FOR)

    def stop(self) -> list[P]:
        """Dismiss no thread any more; return all threads of the stack, for the owner to ring.

        Called under the lock.  The stack is empty afterwards.
        """
        self._stopped = True
        self._dismissed = _ignore  # drop the owner, which refers to this object: a cycle
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        threads, self.stack[:] = self.stack[:], []
        return threads

    def _set_alarm(self, when: float) -> None:
        try:
            self._alarm = system_clock.call_at(when, self._dismiss)
        except RuntimeError:
            pass  # the timekeeper's thread cannot start; the next thread that parks tries again

    def _dismiss(self) -> None:
        """End the threads that have been idle for `IDLE_FOR`.  On the timekeeper's thread."""
        now = system_clock.now()
        with self._lock:
            self._alarm = None
            if self._stopped:
                return
            # A thread that parks at this moment may still have the time at which it parked
            # before, and is then dismissed too early.  This does no harm.
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
                # A thread that parks for the first time may have no time yet (infinity).
                self._set_alarm(min([now, *left]) + IDLE_FOR)
        for thread in ended:
            thread.bell.release()
