"""A probe that does not get in the way: for tests of cancels, strikes and speed."""

from __future__ import annotations

from typing import Any, TypeVar

from moorage.testing import Probe

T = TypeVar("T")


class Onlooker(Probe):
    """Wakes who waits in `wait_until`; records nothing, and no frame of it is around user code."""

    def look(self) -> None:
        """Something of the test's own has changed: ask the conditions again."""
        for wake in self._wakes:
            wake()

    def _record(self, *args: Any) -> None: ...

    def around(self, pool: Any, input: Any, function: Any) -> Any:
        return function


class Notes(list[T]):
    """What user code noted, for conditions of an onlooker: an append asks them again."""

    def __init__(self, onlooker: Onlooker) -> None:
        super().__init__()
        self._onlooker = onlooker

    def append(self, note: T) -> None:
        super().append(note)
        self._onlooker.look()
