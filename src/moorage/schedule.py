"""Schedules: when a function is called by itself, while a run lasts.

Owns `Cron` and `Period`, and which time follows which.  ``running/schedules.py`` calls the
functions.

Begin at `Period._next`, then `Cron._next`.
"""

from __future__ import annotations

import calendar
import importlib
import math
from datetime import UTC, datetime, timedelta
from typing import Any, SupportsFloat, SupportsIndex
from zoneinfo import ZoneInfo, available_timezones

from .arguments import InvalidArgumentsError, InvalidValueError, lenient, unchecked
from .exception import InvalidError


class Schedule:
    """The base of `Cron` and `Period`, the values of ``schedule`` in `App.function`."""

    def __init__(self, proto_message: object) -> None:
        self.proto_message: object = proto_message

    # Whether times come from the calendar, and so from the wall time.
    _by_the_wall: bool = True

    def _next(self, planned: float, now: float, offset: float) -> float | None:
        """Return the first time after `now`; None for never.

        Args:
            planned: the time before; at first the time at which the run began.
            now: what the clock says.
            offset: the wall time minus the time of the clock.

        Raises:
            InvalidError: if the schedule is wrong, which strict mode finds only here.
        """
        return None


class Cron(Schedule):
    """A schedule in cron syntax, e.g. ``Cron("0 9 * * 1")``: Mondays at 9.

    Raises:
        InvalidError: also a TypeError; if an argument is not a str.
    """

    def __init__(self, cron_string: str, timezone: str = "UTC") -> None:
        for name, value in (("cron_string", cron_string), ("timezone", timezone)):
            given = unchecked(value)
            # Modal accepts bytes and None here, and fails later.
            if given is None or isinstance(given, bytes):
                lenient(f"{name} of Cron must be a str, got {given!r}; {_CRON}")
            elif not isinstance(given, str):
                raise InvalidArgumentsError(f"{name} of Cron must be a str, got {given!r}; {_CRON}")
        text = unchecked(cron_string)
        if isinstance(text, str) and not text.startswith("@") and len(text.split()) != 5:
            lenient(f"a line of cron has 5 fields, got {cron_string!r}; {_CRON}")
        self.cron_string = cron_string
        self.timezone = timezone
        try:
            self._simulated(0.0)
        except ImportError:
            pass  # found when a run begins
        except InvalidError as error:
            lenient(str(error))

    def _next(self, planned: float, now: float, offset: float) -> float | None:
        try:
            found: datetime | None = next(self._simulated(now + offset), None)
        except ImportError:
            raise ImportError(
                "Cron needs cronsim, which is not installed; "
                'write pip install "moorage[resources]", or moorage.config.schedules = False'
            ) from None
        return None if found is None else found.timestamp() - offset

    def _simulated(self, wall: float) -> Any:
        """Return an iterator of the times after `wall`, as Debian's cron has them."""
        cronsim: Any = importlib.import_module("cronsim")
        text = _ALIASES.get(str(self.cron_string), str(self.cron_string))
        if len(text.split()) != 5:  # cronsim takes six for seconds
            raise InvalidError(f"a line of cron has 5 fields, got {self.cron_string!r}; {_CRON}")
        try:
            # UTC needs no database.
            zone = UTC if self.timezone == "UTC" else ZoneInfo(self.timezone)
        except (OSError, ValueError, KeyError, TypeError):
            advice = 'write timezone="Europe/Berlin"'
            if not available_timezones():
                advice = "this system has no such database, so write pip install tzdata"
            raise InvalidError(
                f"timezone of Cron must be a name of the IANA database, got {self.timezone!r}; "
                f"{advice}"
            ) from None
        try:
            return cronsim.CronSim(text, datetime.fromtimestamp(wall, zone))
        except cronsim.CronSimError as error:
            raise InvalidError(
                f"{self.cron_string!r} is no line of cron ({error}); {_CRON}"
            ) from None

    def __repr__(self) -> str:
        return f"Cron({self.cron_string!r}, timezone={self.timezone!r})"


_CRON = 'write Cron("0 9 * * 1") for Mondays at 9'
_ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


class Period(Schedule):
    """A schedule that repeats after a fixed time, e.g. ``Period(days=1)``.

    All arguments are whole numbers, except `seconds`, which may have a fraction.

    Raises:
        InvalidError: also a TypeError or ValueError; if an argument is not such a number.
    """

    def __init__(
        self,
        *,
        years: int = 0,
        months: int = 0,
        weeks: int = 0,
        days: int = 0,
        hours: int = 0,
        minutes: int = 0,
        seconds: float = 0,
    ) -> None:
        whole = {
            "years": years,
            "months": months,
            "weeks": weeks,
            "days": days,
            "hours": hours,
            "minutes": minutes,
        }
        self._parts: dict[str, float | None] = {**whole, "seconds": seconds}
        for name, value in whole.items():
            _check_whole(name, value)
        given = unchecked(seconds)
        if given is not None and not isinstance(given, (SupportsFloat, SupportsIndex)):
            raise InvalidArgumentsError(
                f"seconds of Period must be a number, got {given!r}; write Period(seconds=30)"
            )
        negative = [name for name, value in self._parts.items() if value is not None and value < 0]
        if negative:
            lenient(f"{negative[0]} of Period must not be negative; write Period(days=1)")
        if not any(self._parts.values()):
            lenient("Period() needs a length, got none; write Period(days=1)")
        parts = {name: float(value or 0) for name, value in self._parts.items()}
        self._months = int(parts["years"] * 12 + parts["months"])
        self._days = int(parts["weeks"] * 7 + parts["days"])
        self._seconds = parts["hours"] * 3600 + parts["minutes"] * 60 + parts["seconds"]
        self._by_the_wall = bool(self._months or self._days)

    def _next(self, planned: float, now: float, offset: float) -> float | None:
        if min(self._months, self._days, self._seconds) < 0 or not math.isfinite(self._seconds):
            return None  # strict mode accepts such a Period, as Modal does
        if not self._by_the_wall:
            if not self._seconds:
                return None
            found = planned + self._seconds
            if found <= now:  # leave out what has passed
                found += math.floor((now - found) / self._seconds + 1) * self._seconds
            return found
        try:
            while planned <= now:
                planned = self._after(planned + offset) - offset
                if planned > now:
                    return planned
            return self._after(planned + offset) - offset
        except (OverflowError, ValueError):
            return None  # after the year 9999

    def _after(self, wall: float) -> float:
        """Return the time one period later, by the calendar in UTC."""
        at = datetime.fromtimestamp(wall, UTC)
        months = at.year * 12 + at.month - 1 + self._months
        year, month = months // 12, months % 12 + 1
        day = min(at.day, calendar.monthrange(year, month)[1])
        at = at.replace(year=year, month=month, day=day) + timedelta(days=self._days)
        return at.timestamp() + self._seconds

    def __repr__(self) -> str:
        parts = [f"{name}={value!r}" for name, value in self._parts.items() if value]
        return f"Period({', '.join(parts)})"


def _check_whole(name: str, value: object) -> None:
    advice = f"write Period({name}=1)"
    if value is None:
        return  # None means 0, as in Modal
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise InvalidArgumentsError(
            f"{name} of Period must be a whole number, got {value!r}; {advice}"
        )
    if not -(2**31) <= value.__index__() < 2**31:
        raise InvalidValueError(f"{name} of Period is out of range, got {value!r}; {advice}")
