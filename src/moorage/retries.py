"""Retries: how often a failed input is tried again, and after which pause.

Owns the retry policy as a value, and the check of the argument ``retries=``.  Nothing here
waits: ``runtime/pools/attempts.py`` calls `Retries.delay`, under the pool's lock, and sets a
timer.  Begin at `Retries`, then `retry_policy`.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Final

from . import config
from .exception import InvalidArgumentsError, InvalidError
from .frames import hide_our_frames

# The shortest pause in strict mode, in seconds: Modal never retries sooner.
_STRICT_FLOOR: Final = 1.0
# The upper limit of both delays, in seconds.
_LONGEST: Final = 60.0


class Retries:
    """A retry policy: how many retries, and the pauses before them.

    The pause before retry ``n`` (from 1 on) is
    ``initial_delay * backoff_coefficient ** (n - 1)`` seconds, but at most ``max_delay``.  With
    a ``backoff_coefficient`` of 1.0 all pauses are equal.

    Args:
        max_retries: the most retries after the first attempt; 0 means no retries.
        backoff_coefficient: the factor from one pause to the next, from 1.0 to 10.0.
        initial_delay: seconds before the first retry, from 0 to 60.
        max_delay: the longest pause in seconds, from 1 to 60.

    Raises:
        InvalidError: if a value is out of its range.
        TypeError: if a value is not a number.  Outside of strict mode this error is also an
            `InvalidError`, and is raised too if ``max_retries`` is not an int.
    """

    max_retries: int
    backoff_coefficient: float
    initial_delay: timedelta
    max_delay: timedelta

    @hide_our_frames
    def __init__(
        self,
        *,
        max_retries: int,
        backoff_coefficient: float = 2.0,
        initial_delay: float = 1.0,
        max_delay: float = 60.0,
    ) -> None:
        _check_number("max_retries", max_retries, whole=True)
        if max_retries < 0:
            raise InvalidError(
                f"max_retries must not be negative, got {max_retries}; write max_retries=0 for none"
            )
        _check_number("max_delay", max_delay)
        if not 1.0 <= max_delay <= _LONGEST:
            raise InvalidError(
                f"max_delay must be from 1 to 60 seconds, got {max_delay}; write max_delay=60"
            )
        _check_number("initial_delay", initial_delay)
        if not 0.0 <= initial_delay <= _LONGEST:
            raise InvalidError(
                f"initial_delay must be from 0 to 60 seconds, got {initial_delay}; "
                "write initial_delay=1"
            )
        _check_number("backoff_coefficient", backoff_coefficient)
        if not 1.0 <= backoff_coefficient <= 10.0:
            raise InvalidError(
                "backoff_coefficient must be from 1.0 (a fixed pause) to 10.0, "
                f"got {backoff_coefficient}; write backoff_coefficient=2"
            )
        self.max_retries = max_retries
        self.backoff_coefficient = backoff_coefficient
        self.initial_delay = timedelta(seconds=initial_delay)
        self.max_delay = timedelta(seconds=max_delay)

    def delay(self, attempt: int) -> float:
        """Return the seconds to wait before retry number ``attempt``; the first retry is 1.

        In strict mode the pause is at least 1 second, as in Modal.

        A subclass may override this.  moorage then calls it when the options are checked, once
        for each of the first 100 retries; later retries have the last of these pauses.

        Raises:
            ValueError: if ``attempt`` is below 1.
        """
        if attempt < 1:
            raise ValueError(f"attempt counts retries from 1, got {attempt}")
        initial = self.initial_delay.total_seconds()
        longest = self.max_delay.total_seconds()
        try:
            seconds = min(initial * self.backoff_coefficient ** (attempt - 1), longest)
        except OverflowError:  # the power is too large for a float
            seconds = longest if initial else 0.0
        return max(seconds, _STRICT_FLOOR) if config.strict else seconds

    def _key(self) -> tuple[object, ...]:
        return (self.max_retries, self.backoff_coefficient, self.initial_delay, self.max_delay)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Retries) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return (
            f"Retries(max_retries={self.max_retries}, "
            f"backoff_coefficient={self.backoff_coefficient}, "
            f"initial_delay={self.initial_delay.total_seconds():g}, "
            f"max_delay={self.max_delay.total_seconds():g})"
        )


class _FixedPauses(Retries):
    """The pauses of a user's subclass of `Retries`, read once.

    A pool calls `delay` under its lock, where no user code may run.
    """

    def __init__(self, policy: Retries, function_name: str) -> None:
        self.max_retries = policy.max_retries
        self.backoff_coefficient = policy.backoff_coefficient
        self.initial_delay = policy.initial_delay
        self.max_delay = policy.max_delay
        self._pauses: tuple[float, ...] = tuple(
            policy.delay(attempt) for attempt in range(1, min(policy.max_retries, _MOST_READ) + 1)
        )
        for attempt, pause in enumerate(self._pauses, 1):
            _check_number("delay", pause)
            if not 0.0 <= pause < math.inf:
                raise InvalidError(
                    f"{type(policy).__name__}.delay({attempt}), of the retries of "
                    f"{function_name!r}, gave {pause}; return seconds, from 0 on"
                )

    def delay(self, attempt: int) -> float:
        return self._pauses[min(attempt, len(self._pauses)) - 1]

    def _key(self) -> tuple[object, ...]:
        return (*super()._key(), self._pauses)


# The most pauses that are read from a subclass.  All later pauses are equal to the last.
_MOST_READ: Final = 100


def retry_policy(retries: int | Retries | None, function_name: str) -> Retries | None:
    """Turn the argument ``retries=`` into a policy.

    An int means that many retries, with pauses of 1 second.  The pauses of a subclass of
    `Retries` are read here, once.

    Raises:
        InvalidError: if ``retries`` is negative, or is not an int, a `Retries` or None; or if
            the ``delay`` of a subclass does not return finite seconds from 0 on.
        TypeError: in strict mode for True and False, for a `Retries` whose ``max_retries`` is
            not an int, and for a pause that is not a number.
    """
    if retries is None:
        return None
    if isinstance(retries, Retries):
        if config.strict:
            _check_int(retries.max_retries)
        return (
            retries
            if type(retries) in (Retries, _FixedPauses)
            else _FixedPauses(retries, function_name)
        )
    if isinstance(retries, bool):
        _check_int(retries)
    if not isinstance(retries, int):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidError(
            f"retries of {function_name!r} must be an int or modal.Retries, "
            f"got {retries!r}; write retries=3 or retries=modal.Retries(max_retries=3)"
        )
    return Retries(max_retries=retries, backoff_coefficient=1.0)


def _check_int(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong_type(f"max_retries must be an int, got {value!r}; write a number, e.g. 3")


def _check_number(name: str, value: object, *, whole: bool = False) -> None:
    # Both modes refuse a value that cannot be compared with a number.  Modal accepts True and 2.5
    # here, so strict mode does too.
    if not isinstance(value, (int, float)):
        raise _wrong_type(f"{name} must be a number, got {value!r}")
    if whole and not config.strict:
        _check_int(value)


def _wrong_type(message: str) -> TypeError:
    return TypeError(message) if config.strict else InvalidArgumentsError(message)
