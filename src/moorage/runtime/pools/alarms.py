"""Alarms: the deadlines of one pool, each with at most one timer.

Owns the timers.  The pool calls everything here under the pool's lock.  A timer fires on the
clock's thread, with no lock held, and calls `on_alarm`, which takes that lock: this call is
the alarm's *ring*.  An alarm knows no input and no container, so the code that handles a ring
must look through all that may be due.

The pool arms them: the execution timeout at each grant (`Pool._grant`, `Pool._takes_directly`,
`Pool.settle`), the start timeout in `Pool._boot`.  Begin at `Alarm.at`, then `Alarm.rang`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from functools import partial

from ..clocks.timekeeper import Callback, Timer

CallAt = Callable[[float, Callback], Timer]
"""Sets a timer of the pool's clock.  Arguments: the time, and what to call."""


class Cause(enum.Enum):
    """Why an alarm rings."""

    EXECUTION = "execution"  # the oldest held slot may have been held for `timeout`
    QUEUE = "queue"  # the first input of the queue may have waited for `queue_timeout`
    START = "start"  # the oldest start of a container may have taken `startup_timeout`
    END = "end"  # a cancelled async input may have had its time to end
    ABANDONED = "abandoned"  # an abandoned input may have held its slot for too long
    BATCH = "batch"  # the first batch of the queue may have waited for long enough
    SCALING = "scaling"  # the policy asked to be asked again at this time
    RETRY = "retry"  # the next attempt of a failed input may be due


class Alarm:
    """One deadline: at most one timer, for the earliest time that was asked for."""

    __slots__ = ("_call_at", "_ring", "timer")

    def __init__(self, call_at: CallAt, ring: Callback) -> None:
        self._call_at = call_at
        self._ring = ring
        # Invariant: None unless a timer is set whose ring the pool has not handled yet.  No
        # other timer of this alarm can still fire.
        self.timer: Timer | None = None

    def at(self, when: float) -> None:
        """Ring at `when`, or at an earlier time that was asked for before.

        The present timer may have fired already:
            1. a timer for time 5 fires, and its ring waits for the pool's lock,
            2. the thread that has the lock asks for time 6.  No new timer is set,
            3. the ring gets the lock.  Its handler looks at all that may be due, and asks
               again for what is not due yet: for time 6.
        """
        timer = self.timer
        if timer is not None:
            if timer.when <= when:
                return
            timer.cancel()
        self.timer = self._call_at(when, self._ring)

    def only_at(self, when: float | None) -> None:
        """Ring at `when` and at no other time; ring never if `when` is None."""
        timer = self.timer
        if timer is not None:
            if timer.when == when:
                return
            timer.cancel()
            self.timer = None
        if when is not None:
            self.timer = self._call_at(when, self._ring)

    def rang(self) -> None:
        """Forget the timer whose ring the pool handles now.

        The ring may come from an older timer than the present one:
            1. a timer fires, and its ring waits for the pool's lock,
            2. the thread that has the lock asks for an earlier time, which sets a new timer,
            3. the ring of the old timer gets the lock.  The new timer has yet to fire.
        """
        timer = self.timer
        if timer is not None and timer.callback is None:
            self.timer = None


class Alarms:
    """One alarm for each cause."""

    __slots__ = (
        "_of",
        "abandoned",
        "batch",
        "end",
        "execution",
        "queue",
        "retry",
        "scaling",
        "start",
    )

    def __init__(self, call_at: CallAt, on_alarm: Callable[[Cause], object]) -> None:
        # The same alarms as the attributes below.  The attributes save a look-up per input.
        self._of: dict[Cause, Alarm] = {
            cause: Alarm(call_at, partial(on_alarm, cause)) for cause in Cause
        }
        self.execution: Alarm = self._of[Cause.EXECUTION]
        self.queue: Alarm = self._of[Cause.QUEUE]
        self.start: Alarm = self._of[Cause.START]
        self.end: Alarm = self._of[Cause.END]
        self.abandoned: Alarm = self._of[Cause.ABANDONED]
        self.batch: Alarm = self._of[Cause.BATCH]
        self.scaling: Alarm = self._of[Cause.SCALING]
        self.retry: Alarm = self._of[Cause.RETRY]

    def heard(self, cause: Cause) -> None:
        """Note that the pool handles the ring of the alarm for `cause`."""
        self._of[cause].rang()

    def silence(self) -> None:
        """Cancel all timers.  A later `Alarm.at` sets a timer again."""
        for alarm in self._of.values():
            alarm.only_at(None)
