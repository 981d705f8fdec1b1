"""The wall time of clocks: which date and time of day it is when a clock says `now`.

Owns `wall_offset` and `beginning`.  Schedules go by the wall time (``running/schedules.py``), and
`patch_time` gives the same time to ``time.time()`` (``patched_time.py``) and to
``datetime.now()`` (``patched_dates.py``).

The wall time of a virtual clock is the time at which the clock begins, and goes on with the clock.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from ...exception import InvalidError
from ..real import Real
from .clock import Clock

# Where virtual time begins if each run of a test must be the same: 2020-01-01 00:00 UTC.
SAME_EVERY_RUN: Final = datetime(2020, 1, 1, tzinfo=UTC)

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def wall_offset(clock: Clock) -> float:
    """Return the wall time, in seconds since 1970, minus ``clock.now()``.

    In real time the offset changes when the time of the computer is set.
    """
    return clock.begins_ns / 10**9 if clock.virtual else Real.wall() - clock.now()


def beginning(at: object) -> int:
    """Return the wall time at which a virtual clock begins, in nanoseconds since 1970.

    Args:
        at: a datetime; without a time zone it is in the time zone of this computer, as it is for
            ``datetime.timestamp``.  None: the present time, without a fraction of a second, so
            that sums of whole seconds stay exact.

    Raises:
        InvalidError: if `at` is no datetime, or none that this computer can handle.
    """
    if at is None:
        return int(Real.wall()) * 10**9
    advice = "write VirtualClock(at=datetime(2026, 1, 31, 12, tzinfo=UTC))"
    if not isinstance(at, datetime):
        raise InvalidError(f"at must be a datetime, got {at!r}; {advice}")
    try:
        passed = at.astimezone(UTC) - EPOCH
    except (OverflowError, OSError, ValueError) as error:
        raise InvalidError(f"at is out of range, got {at!r} ({error}); {advice}") from None
    return passed // timedelta(microseconds=1) * 1000
