"""Labels: the call of an input as text for people, such as ``fetch('a', 3)``.

Owns the formatting of arguments.  Runs no user code, because the engine may make a label
under the lock of a pool.  Any file may call this file.

Begin at `shown_call`, then `shown_argument`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

# The most characters of a text argument, and the most bits of an int, that a label shows.
LONGEST: Final = 24
LONGEST_INT: Final = 128

_name_of: Final = type.__dict__["__name__"].__get__


class Shown:
    """A placeholder for an argument, with the text that labels show for it."""

    __slots__ = ("shown",)

    def __init__(self, shown: str) -> None:
        self.shown: str = shown


def shown_call(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """Return a call as it is written in code: ``fetch('a', retry=True)``."""
    shown = [shown_argument(value) for value in args]
    shown += [f"{key}={shown_argument(value)}" for key, value in kwargs.items()]
    return f"{name}({', '.join(shown)})"


def shown_argument(value: object) -> str:
    """Return the text for one argument: numbers and short texts in full, other values by type."""
    kind = type(value)
    if kind is str or kind is bytes:
        some = cast("str | bytes", value)
        text = repr(some[:LONGEST])  # not the `repr` of the whole value, which may be large
        if len(text) <= LONGEST and len(some) <= LONGEST:
            return text
        return f"{text[: LONGEST - 4]}...{text[-1]}"
    if kind is int and cast(int, value).bit_length() > LONGEST_INT:
        return "<int>"  # the interpreter refuses to convert very long ints to text
    if value is None or kind is bool or kind is int or kind is float:
        return repr(value)
    # Not by isinstance, which reads the value's `__class__`, and so may run user code.
    return cast(Shown, value).shown if Shown in kind.__mro__ else f"<{type_name(kind)}>"


def type_name(kind: type) -> str:
    """Return the name of a class, without the `__name__` that a user's metaclass may define."""
    name: str = _name_of(kind)
    return name
