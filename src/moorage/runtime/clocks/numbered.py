"""Numbered tasks and futures: what loops of a virtual clock make.

Owns `NumberedTask`, `NumberedFuture`, `InOrder` and `ChosenTimer`.  asyncio keeps tasks in sets:
a TaskGroup its children, ``asyncio.wait`` what it waits for, the loop's clean-up all tasks that
are left.  A plain task is hashed by its address, so the order in which these cancel or wake tasks
differs from run to run.  The hash of a numbered task is its number, in the order in which the
tasks of one clock were made.  ``virtual_loop.py`` makes them.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterator
from typing import Any

from .choices import Choices


class NumberedTask(asyncio.Task[Any]):
    """A task that is hashed and named by its number."""

    def __init__(self, coroutine: Any, *, loop: Any, name: str | None = None, **more: Any) -> None:
        # Before the constructor, which puts the task in a set.
        self.number: int = loop.next_number()
        super().__init__(coroutine, loop=loop, name=name or f"Task-{self.number}", **more)

    def __hash__(self) -> int:
        return self.number


class NumberedFuture(asyncio.Future[Any]):
    """A future that is hashed by its number."""

    def __init__(self, *, loop: Any) -> None:
        self.number: int = loop.next_number()
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self.number


class ChosenTimer(asyncio.TimerHandle):
    """A timer of a loop whose clock has a seed.

    asyncio promises no order of timers that are due at the same time, nor of a timer and a
    callback of ``call_soon``.  So the tie is chosen, and a timer may come a little later within
    its instant.
    """

    # `asyncio.TimerHandle` has slots; this class has a dict.
    choices: Choices
    tie: int
    put_off: int = 0  # how often

    def __lt__(self, other: Any) -> bool:
        if isinstance(other, ChosenTimer) and self.when() == other.when():
            return self.tie < other.tie
        return super().__lt__(other)

    def _run(self) -> None:
        if self.put_off < 3 and self.choices.one_in(3):
            self.put_off += 1
            loop: Any = getattr(self, "_loop")  # noqa: B009
            loop._ready.append(self)
            return
        super()._run()


class InOrder:
    """A weak set that keeps the order of arrival, for the async generators of a loop."""

    def __init__(self) -> None:
        self._items: dict[int, weakref.ref[Any]] = {}

    def add(self, item: Any) -> None:
        self._items[id(item)] = weakref.ref(item)

    def discard(self, item: Any) -> None:
        self._items.pop(id(item), None)

    def clear(self) -> None:
        self._items.clear()

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Any]:
        for ref in list(self._items.values()):
            item = ref()
            if item is not None:
                yield item
