"""Schedules: when Modal would call a deployed function by itself.

Owns `Cron` and `Period`.  They are checked and kept; nothing in this process calls a function by
the clock.
"""

from __future__ import annotations

from typing import SupportsFloat, SupportsIndex

from .arguments import InvalidArgumentsError, InvalidValueError, lenient, unchecked


class Schedule:
    """The base of `Cron` and `Period`, the values of ``schedule`` in `App.function`."""

    def __init__(self, proto_message: object) -> None:
        self.proto_message: object = proto_message


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

    def __repr__(self) -> str:
        return f"Cron({self.cron_string!r}, timezone={self.timezone!r})"


_CRON = 'write Cron("0 9 * * 1") for Mondays at 9'


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
