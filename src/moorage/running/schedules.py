"""Schedules of a run: they call their functions while the run lasts.

Owns when a scheduled function is called.  ``app.py`` makes a `Scheduled` for each function with a
schedule; the beginning of a run starts them, and the run's drain or end stops them.

A schedule first fires one period after the run has begun.  Each time comes from the planned time
before, so that delays do not add up; times that have passed meanwhile are left out.  A firing is a
`spawn`: it waits in the queue as all inputs do, and an error of it is logged as theirs.

The timers fire on the thread of the run's clock.  The lock of `RunSchedules` is held while a call
is submitted, which runs no user code, so no call is submitted to a run that has ended.

Begin at `RunSchedules.start`, then `_fire`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from .. import config
from ..runtime import forking
from ..runtime.background import log
from ..runtime.clocks.clock import Clock
from ..runtime.clocks.timekeeper import Timer
from ..runtime.clocks.wall import wall_offset
from ..runtime.real import Real
from ..runtime.uninterruptible import uninterruptible

if TYPE_CHECKING:
    from ..schedule import Schedule

logger: Final = logging.getLogger("moorage")

# In real time, seconds after which a timer for a far time looks at the wall clock again: it may
# have been set, or the computer may have slept.
_LOOKS_AGAIN: Final = 600.0


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A function that a schedule calls."""

    name: str
    schedule: Schedule
    # Submits one call of the function, without arguments.  Must not block.
    spawn: Callable[[], object]


class RunSchedules:
    """The schedules of one run."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Real.Lock()
        # Guarded by the lock:
        self._ended = False
        self._timers: dict[Scheduled, Timer] = {}
        forking.know(self)

    def _after_fork(self) -> None:
        """In a forked child: the parent fires them."""
        self._lock = Real.Lock()
        self._ended = True

    @uninterruptible
    def start(self, scheduled: Iterable[Scheduled]) -> None:
        """Begin to call the functions, unless ``config.schedules`` is false.

        Raises:
            InvalidError: if a schedule is wrong, which strict mode finds only here.
            ImportError: if there is a `Cron`, and cronsim is not installed.
        """
        if not config.schedules:
            return
        now = self._clock.now()
        offset = wall_offset(self._clock)
        planned = [(one, one.schedule._next(now, now, offset)) for one in scheduled]
        with self._lock:
            for one, at in planned:
                self._set(one, at, offset)

    @uninterruptible
    def end(self) -> None:
        """Call nothing more."""
        with self._lock:
            self._ended = True
            timers = list(self._timers.values())
            self._timers.clear()
        for timer in timers:
            timer.cancel()

    def _set(self, one: Scheduled, at: float | None, offset: float) -> None:
        """Set the timer for a time of the clock.  Under the lock."""
        if at is None or self._ended:
            return
        when = at
        if not self._clock.virtual and one.schedule._by_the_wall:
            when = min(when, self._clock.now() + _LOOKS_AGAIN)
        self._timers[one] = self._clock.call_at(when, partial(self._fire, one, at, offset))

    @uninterruptible
    def _fire(self, one: Scheduled, at: float, offset: float) -> None:
        now, new_offset = self._clock.now(), wall_offset(self._clock)
        if not self._clock.virtual and one.schedule._by_the_wall:
            at += offset - new_offset  # the same wall time, if the wall clock was set
            offset = new_offset
        with self._lock:
            if self._ended:
                return
            if now < at:
                self._set(one, at, offset)
                return
            try:
                # No context of the thread of the clock: the call belongs to no input.
                Context().run(one.spawn)
            except Exception as error:
                text = "the schedule of %s could not call it"
                log(logger, logging.ERROR, text, one.name, exc_info=error)
            self._set(one, one.schedule._next(at, now, offset), offset)
