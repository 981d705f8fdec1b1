"""The wall time of clocks: which date and time of day it is when a clock says `now`.

Owns `wall_offset`.  Schedules go by it (``running/schedules.py``), and `patch_time` gives the same
time to ``time.time()`` (``patched_time.py``).
"""

from __future__ import annotations

from typing import Final

from ..real import Real
from .clock import Clock

# The wall time when virtual time is 0: 2020-01-01 00:00 UTC.
EPOCH: Final = 1577836800


def wall_offset(clock: Clock) -> float:
    """Return the wall time, in seconds since 1970, minus ``clock.now()``.

    In real time the offset changes when the time of the computer is set.
    """
    return EPOCH if clock.virtual else Real.wall() - clock.now()
