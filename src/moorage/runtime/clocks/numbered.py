"""Numbered tasks and futures: what loops of a virtual clock make.

Owns `NumberedTask`, `NumberedFuture` and `InOrder`.  asyncio keeps tasks in sets: a TaskGroup its
children, ``asyncio.wait`` what it waits for, the loop's clean-up all tasks that are left.  A plain
task is hashed by its address, so the order in which these cancel or wake tasks differs from run
to run.  The hash of a numbered task is its number, in the order in which the tasks of one clock
were made.  ``virtual_loop.py`` makes them.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterator
from typing import Any


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
