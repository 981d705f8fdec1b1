"""The parameters of an app's class, and the numbers of ``batched``.

Owns the mark that `parameter` leaves in a class body.  Begin at `parameter`.
"""

from __future__ import annotations

from typing import Any, TypeVar, overload

from .. import config
from ..arguments import meant
from ..exception import InvalidArgumentsError, InvalidError
from ..frames import hide_our_frames
from .marks import REQUIRED, Batching

T = TypeVar("T")


class Parameter:
    """The mark that ``parameter()`` leaves in a class body."""

    __slots__ = ("_name", "default", "init")

    def __init__(self, default: object, init: bool) -> None:
        self.default: object = default
        self.init: bool = init
        self._name = "the parameter"

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = f"the parameter {owner.__name__}.{name}"

    def __get__(self, instance: object, owner: type) -> object:
        """The default, on an instance that was not given a value."""
        if instance is None:
            return self
        if self.default is not REQUIRED:
            return self.default
        raise AttributeError(
            f"{self._name} has no default and no value was given; "
            "give it one, or set it in an enter hook"
        )


@overload
def parameter(*, default: T, init: bool = True) -> T: ...
@overload
def parameter(*, init: bool = True) -> Any: ...
@hide_our_frames
def parameter(*, default: object = REQUIRED, init: bool = True) -> Any:
    """A parameter of an app's class, given when an instance is made.

    Each set of values has its own pool of containers.  The types are str, int,
    bool and bytes.

    Args:
        default: its value when none is given; without one it must be given.
        init: False keeps it out of the constructor: an annotated attribute with
            a default, set by the enter hooks.
    """
    return Parameter(default, init)


def checked_batching(max_batch_size: int, wait_ms: int) -> Batching:
    """The two numbers of ``batched`` and ``with_batching``."""
    given: dict[str, object] = {"max_batch_size": max_batch_size, "wait_ms": wait_ms}
    for name, least, most in (("max_batch_size", 1, 1000), ("wait_ms", 0, 600_000)):
        value = given[name]
        nearest = meant(value, least, most)
        if nearest is None:
            nearest = least
        if not isinstance(value, (int, float)):
            raise InvalidArgumentsError(
                f"{name} must be a whole number, got {value!r}; write {name}={nearest}"
            )
        odd = isinstance(value, bool) or not isinstance(value, int)
        if not least <= value <= most or (odd and not config.strict):
            raise InvalidError(
                f"{name} must be a whole number from {least} to {most:,}, got {value!r}; "
                f"write {name}={nearest}"
            )
    return Batching(max_batch_size, wait_ms)
