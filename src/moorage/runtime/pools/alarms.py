"""Alarms: the deadlines of one pool, each with at most one timer.

Owns the timers.  The pool calls everything here under its own lock; a timer rings on the
clock's thread, with no lock held, and calls the one callable that the alarms were given.
An alarm knows no input and no container: whoever is rung looks at what there is.

Start at `Alarm.at`, then `Alarm.rang`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from functools import partial

from ..clocks.timekeeper import Callback, Timer

CallAt = Callable[[float, Callback], Timer]
"""Sets a timer of the pool's clock: when, and what to call."""


class Cause(enum.Enum):
    """Why an alarm rings."""

    EXECUTION = "execution"  # the eldest slot may have been held for `timeout`
    QUEUE = "queue"  # the first input of the queue may have waited for `queue_timeout`
    START = "start"  # the eldest container that starts may have taken `startup_timeout`
    END = "end"  # an input that was told to end may have had its time
    ABANDONED = "abandoned"  # an answered input may have held its slot for too long
    BATCH = "batch"  # the first batch of the queue may have waited for long enough
    SCALING = "scaling"  # the policy wants to be asked
    RETRY = "retry"  # a failed input may be due for its next attempt


class Alarm:
    """One deadline: at most one timer, for the earliest time that was asked for."""

    __slots__ = ("_call_at", "_ring", "timer")

    def __init__(self, call_at: CallAt, ring: Callback) -> None:
        self._call_at = call_at
        self._ring = ring
        # Invariant: None unless a timer is set whose ring the pool has not heard yet.  No
        # other timer of this alarm is still to fire.
        self.timer: Timer | None = None

    def at(self, when: float) -> None:
        """Ring at `when`, or at an earlier time that was asked for before.

        The present timer may have fired already:
            1. a timer for 5 fires, and its ring waits for the pool's lock,
            2. whoever has the lock asks for 6, and no timer is set,
            3. the ring is heard.  Whoever hears it looks at all that may be due, and asks
               again for what is not: for 6.
        """
        timer = self.timer
        if timer is not None:
            if timer.when <= when:
                return
            timer.cancel()
        self.timer = self._call_at(when, self._ring)

    def only_at(self, when: float | None) -> None:
        """Ring at `when` and at no other time; never, if it is None."""
        timer = self.timer
        if timer is not None:
            if timer.when == when:
                return
            timer.cancel()
            self.timer = None
        if when is not None:
            self.timer = self._call_at(when, self._ring)

    def rang(self) -> None:
        """The pool has heard a ring: forget the timer that it came from.

        Not every ring is that of the present timer:
            1. a timer fires, and its ring waits for the pool's lock,
            2. whoever has the lock asks for an earlier time, and sets a new timer,
            3. the ring of the old timer is heard.  The new timer is still to fire.
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
        # The same alarms as the attributes below, which spare each input the look-up.
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
        """The pool has heard the ring of one alarm."""
        self._of[cause].rang()

    def silence(self) -> None:
        """Let no alarm ring any more, unless it is asked for anew."""
        for alarm in self._of.values():
            alarm.only_at(None)
