"""Coroutines that code of ours drives by hand, and where the chain of awaits goes on behind them.

Owns `ByHand`.  A coroutine that a generator of ours drives with ``send`` is not in the chain of
awaits that the interpreter shows (``cr_await`` and its like): the chain ends at the generator.
``places.py``, which wants the lines of a user, goes on at `ByHand.awaited`; ``waiting/awaited.py``,
which asks what may wake the task, goes on at `ByHand.waits_in`.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Self, cast


class ByHand:
    """What ``__await__`` returns, or what is awaited: `steps`, which drive `awaited` by hand."""

    __slots__ = ("_steps", "awaited")

    def __init__(self, steps: Generator[Any, Any, Any], awaited: object) -> None:
        self._steps = steps
        self.awaited: object = awaited

    @property
    def waits_in(self) -> object:
        """What is suspended: the awaited object, or what `steps` awaits beside it, as a gate."""
        beside: object = cast(Any, self._steps).gi_yieldfrom
        return self.awaited if beside is None else beside

    def __iter__(self) -> Self:
        return self

    def __await__(self) -> Generator[Any, Any, Any]:
        return cast("Generator[Any, Any, Any]", self)

    def __next__(self) -> Any:
        return next(self._steps)

    def send(self, value: Any) -> Any:
        return self._steps.send(value)

    def throw(self, *error: Any) -> Any:
        try:
            return self._steps.throw(*error)
        finally:
            del error  # its traceback refers to this frame: a cycle

    def close(self) -> None:
        self._steps.close()
