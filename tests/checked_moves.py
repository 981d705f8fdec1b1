"""Every write of an input's or a container's state goes along its table of moves.

`install` puts a descriptor in the place of the attribute ``state`` of `Input` and of the
kinds of containers, for the whole test session; production code has plain attributes.
A write that the table does not have goes through all the same, and is kept in
`violations`: an error would land in a thread of the engine, and be lost there.
``conftest.py`` installs it, and fails the test after which there are any.
"""

from __future__ import annotations

import enum
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

from moorage.runtime.containers.container import CONTAINER_MOVES
from moorage.runtime.containers.local import LocalContainer
from moorage.runtime.input import MOVES, Input

Moves = Mapping[Any, frozenset[Any]]

# Each with its kind, the move and the line that made it.  Appended to by any thread.
violations: list[str] = []


class CheckedState:
    """A descriptor over `slot`, or over the instance's dictionary, that looks at each write."""

    def __init__(self, moves: Moves, slot: Any = None) -> None:
        self.moves = moves
        self.slot = slot

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        if self.slot is not None:
            return self.slot.__get__(instance, owner)
        try:
            return instance.__dict__["state"]
        except KeyError:
            raise AttributeError("state") from None

    def __set__(self, instance: Any, state: enum.Enum) -> None:
        before = getattr(instance, "state", None)
        if before is not None and before is not state and state not in self.moves[before]:
            frame = sys._getframe(1)
            code = frame.f_code
            violations.append(
                f"{type(instance).__name__}: {before.name} -> {state.name} "
                f"in {code.co_qualname} ({code.co_filename.rpartition('/')[2]}:{frame.f_lineno})"
            )
        if self.slot is not None:
            self.slot.__set__(instance, state)
        else:
            instance.__dict__["state"] = state


def install() -> None:
    """Look at all writes from now on, of this process."""
    check_writes(Input, MOVES)
    check_writes(LocalContainer, CONTAINER_MOVES)


def check_writes(of: type, moves: Moves) -> None:
    """Look at the writes of the state of what is of this class."""
    known = of.__dict__.get("state")
    if not isinstance(known, CheckedState):
        kind: Any = of
        kind.state = CheckedState(moves, known)


def take_violations() -> list[str]:
    """Those since the last time, each once, with how often it came."""
    found = violations[:]
    del violations[: len(found)]
    return [f"{text}, {times} times" for text, times in Counter(found).items()]
