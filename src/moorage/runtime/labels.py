"""Labels: how an input was called, for people to read.

Owns how arguments are shown without running any code of the user's: a label may be made
under the lock of a pool.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

# Characters of an argument that are shown.
LONGEST: Final = 24


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
        text = repr(value)
        return text if len(text) <= LONGEST else f"{text[: LONGEST - 4]}...{text[-1]}"
    if value is None or kind is bool or kind is int or kind is float:
        return repr(value)
    return value.shown if isinstance(value, Shown) else f"<{kind.__name__}>"
