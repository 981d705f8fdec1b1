"""The parameters of an app's class, and the numbers of ``batched``.

Owns `parameter`, which users write in a class body, the mark that it leaves there, and
`checked_batching`.  ``declarations.py`` reads the marks.

Begin at `parameter`.
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
        """Return the default, on an instance without a value of its own."""
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
    """Declare a parameter of an app's class: ``name: str = moorage.parameter()``.

    The caller gives the value when making an instance: ``C(name="x")``.  Each set of values
    has its own pool of containers.  The annotation must be str, int, bool or bytes.

    Args:
        default: the value if the caller gives none.  Without a default the caller must give a
            value.
        init: False keeps the parameter out of the constructor.  It is then an annotated
            attribute of any type with a default, which enter hooks may set.
    """
    return Parameter(default, init)


def checked_batching(max_batch_size: int, wait_ms: int) -> Batching:
    """Check the two numbers of ``batched`` and ``with_batching``.

    Raises:
        InvalidError: if a number is not whole or out of its range.
    """
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
