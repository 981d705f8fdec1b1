"""Retries: how often a failed input is tried again, and after which pause.

Owns the policy as a value, and the check of ``retries=``.  Nothing here waits: the pool asks
:meth:`Retries.delay`, under its lock, and sets a timer.

Begin at `Retries`, then `retry_policy`.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Final

from . import config
from .exception import InvalidArgumentsError, InvalidError
from .frames import hide_our_frames

# Seconds.  Modal never retries sooner; moorage keeps to that in strict mode only.
_STRICT_FLOOR: Final = 1.0
_LONGEST: Final = 60.0


class Retries:
    """A retry policy: a number of retries, with pauses that may grow.

    The pause before retry ``n`` is ``initial_delay * backoff_coefficient ** (n - 1)`` seconds,
    at most ``max_delay``.  With a coefficient of 1.0 all pauses are equal.

    Args:
        max_retries: attempts after the first one; 0 means no retries.
        backoff_coefficient: the growth of the pauses, from 1.0 to 10.0.
        initial_delay: seconds before the first retry, from 0 to 60.
        max_delay: the longest pause in seconds, from 1 to 60.

    Raises:
        InvalidError: if a value is out of its range.
        TypeError: if a value is not a number.  Without strict mode this error is also an
            InvalidError, and ``max_retries`` must be an int.
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
        """Return the seconds to wait before a retry; ``attempt=1`` is the first retry.

        In strict mode at least 1 s, as in Modal.

        Raises:
            ValueError: if ``attempt`` is below 1.
        """
        if attempt < 1:
            raise ValueError(f"attempt counts retries from 1, got {attempt}")
        initial = self.initial_delay.total_seconds()
        longest = self.max_delay.total_seconds()
        try:
            seconds = min(initial * self.backoff_coefficient ** (attempt - 1), longest)
        except OverflowError:  # a growing pause after very many retries
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


class _Asked(Retries):
    """The pauses of a user's subclass of `Retries`, asked in advance, once.

    A pool asks for pauses under its lock, where no user code may run.
    """

    def __init__(self, policy: Retries, function_name: str) -> None:
        self.max_retries = policy.max_retries
        self.backoff_coefficient = policy.backoff_coefficient
        self.initial_delay = policy.initial_delay
        self.max_delay = policy.max_delay
        self._pauses: tuple[float, ...] = tuple(
            policy.delay(attempt) for attempt in range(1, min(policy.max_retries, _ASKED) + 1)
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


# The most pauses that a subclass is asked for; every later pause equals the last of them.
_ASKED: Final = 100


def retry_policy(retries: int | Retries | None, function_name: str) -> Retries | None:
    """Turn the argument ``retries=`` into a policy; an int is a count of retries, 1 s apart.

    A subclass of ``Retries`` is asked for its pauses here, once.

    Raises:
        InvalidError: if `retries` is negative, or not an int, a ``Retries`` or None; or if a
            subclass returns a value that is not a pause.
        TypeError: in strict mode for True and False, and for a ``Retries`` whose
            ``max_retries`` is not an int.
    """
    if retries is None:
        return None
    if isinstance(retries, Retries):
        if config.strict:
            _check_int(retries.max_retries)
        return retries if type(retries) in (Retries, _Asked) else _Asked(retries, function_name)
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
    # Values that cannot be compared are refused in both modes; Modal accepts True and 2.5 here.
    if not isinstance(value, (int, float)):
        raise _wrong_type(f"{name} must be a number, got {value!r}")
    if whole and not config.strict:
        _check_int(value)


def _wrong_type(message: str) -> TypeError:
    return TypeError(message) if config.strict else InvalidArgumentsError(message)
