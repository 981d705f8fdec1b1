"""Coroutines that code of ours drives by hand, and where the chain of awaits goes on behind them.

Owns `ByHand`.  A coroutine that a generator of ours drives with ``send`` is not in the chain of
awaits that the interpreter shows (``cr_await`` and its like): the chain ends at the generator.
The files that follow awaits (``places.py``, ``waiting/awaited.py``) go on at `ByHand.awaited`.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Self


class ByHand:
    """What ``__await__`` returns: runs `steps`, a generator that drives `awaited` by hand."""

    __slots__ = ("_steps", "awaited")

    def __init__(self, steps: Generator[Any, Any, Any], awaited: object) -> None:
        self._steps = steps
        self.awaited: object = awaited

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        return next(self._steps)

    def send(self, value: Any) -> Any:
        return self._steps.send(value)

    def throw(self, *error: Any) -> Any:
        return self._steps.throw(*error)

    def close(self) -> None:
        self._steps.close()
