"""Labels: how an input was called, for people to read.

Owns how arguments are shown without running any code of the user's: a label may be made
under the lock of a pool.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

# Characters of an argument, and bits of a number, that are shown.
LONGEST: Final = 24
LONGEST_INT: Final = 128

_name_of: Final = type.__dict__["__name__"].__get__


class Shown:
    """Stands for an argument, and knows how that is shown."""

    __slots__ = ("shown",)

    def __init__(self, shown: str) -> None:
        self.shown: str = shown


def shown_call(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """A call as it is written: ``fetch('a', retry=True)``."""
    shown = [shown_argument(value) for value in args]
    shown += [f"{key}={shown_argument(value)}" for key, value in kwargs.items()]
    return f"{name}({', '.join(shown)})"


def shown_argument(value: object) -> str:
    """Numbers and short texts as they are, anything else by its type."""
    kind = type(value)
    if kind is str or kind is bytes:
        some = cast("str | bytes", value)
        text = repr(some[:LONGEST])  # it may be large
        if len(text) <= LONGEST and len(some) <= LONGEST:
            return text
        return f"{text[: LONGEST - 4]}...{text[-1]}"
    if kind is int and cast(int, value).bit_length() > LONGEST_INT:
        return "<int>"  # the interpreter refuses to write very long ones
    if value is None or kind is bool or kind is int or kind is float:
        return repr(value)
    # Not by isinstance, which asks the value for its class.
    return cast(Shown, value).shown if Shown in kind.__mro__ else f"<{type_name(kind)}>"


def type_name(kind: type) -> str:
    """Its name, by the interpreter: a metaclass may have code of the user's for that."""
    name: str = _name_of(kind)
    return name
