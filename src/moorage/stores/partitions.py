"""Partitions: the items of a queue, as bytes, in the order in which they were put.

Owns `Items`, the small protocol behind ``lines.py``, and `MemoryItems`, which holds them in this
process.  ``sqlite_items.py`` holds them in a file.  This file knows nobody who waits, and no time.
The lock of the queue's `Lines` guards the items.

Each item has a number, which rises with each put.  An item that is put back keeps its number, so
that it goes back to its place.

Begin at `Items`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Final, Protocol

Item = tuple[int, bytes]
"""The number of an item, and its bytes."""

# The most items of a partition, as in Modal.  Programs rely on it: a full queue holds them back.
MOST_ITEMS: Final = 5000


class Items(Protocol):
    """The items of one queue, by the keys of their partitions."""

    outlives: bool  # whether another process may read the items
    shared: bool  # whether other processes may put and take

    def add(self, key: bytes, values: Sequence[bytes], ttl: float, /) -> list[int]:
        """Add items at the end, in one step, and return their numbers; empty if there is no room.

        The partition then expires `ttl` seconds from now, if this object keeps the time.
        """
        ...

    def next_number(self) -> int:
        """Return the number of an item that is handed over without being added.

        Not called if `shared`.
        """
        ...

    def take(self, key: bytes, most: int, /) -> list[Item]:
        """Remove up to `most` items from the front, and return them."""
        ...

    def put_back(self, key: bytes, items: Sequence[Item], /) -> None:
        """Put items that were taken back to their places."""
        ...

    def withdraw(self, key: bytes, numbers: Sequence[int], /) -> bool:
        """Remove these items, if all of them are there; else change nothing."""
        ...

    def after(self, key: bytes, number: int, /) -> Item | None:
        """Return the first item with a higher number; None if there is none."""
        ...

    def count(self, key: bytes, /) -> int: ...
    def size(self, key: bytes, /) -> int:
        """Return how many bytes the items of a partition have."""
        ...

    def total(self) -> int: ...
    def keys(self) -> list[bytes]:
        """Return the keys of the partitions that have items."""
        ...

    def clear(self, key: bytes, /) -> None: ...
    def end(self) -> None:
        """Free all items: the queue was deleted."""
        ...

    def begin_waits(self) -> bool:
        """Tell whether this process may wait for items and room; asked if `shared`."""
        ...

    def end_waits(self) -> None:
        """Nobody of this process waits any more; called if `shared`."""
        ...


class MemoryItems:
    """The items of one queue, in this process.  See `Items`."""

    __slots__ = ("_number", "_partitions")

    outlives = False
    shared = False

    def __init__(self) -> None:
        self._number = 0
        # Invariant: the numbers in a deque rise.  A partition without items is not here, except
        # the default partition.
        self._partitions: dict[bytes, deque[Item]] = {b"": deque()}

    def add(self, key: bytes, values: Sequence[bytes], ttl: float) -> list[int]:
        items = self._partitions.get(key)
        if items is None:
            items = self._partitions[key] = deque()
        if len(items) + len(values) > MOST_ITEMS:
            return []
        number = self._number
        if len(values) == 1:
            self._number = number = number + 1
            items.append((number, values[0]))
            return [number]
        numbers = list(range(number + 1, number + 1 + len(values)))
        items.extend(zip(numbers, values, strict=True))
        self._number = number + len(values)
        return numbers

    def next_number(self) -> int:
        self._number = number = self._number + 1
        return number

    def take(self, key: bytes, most: int) -> list[Item]:
        items = self._partitions.get(key)
        if not items:
            return []
        if most == 1:
            taken = [items.popleft()]
        else:
            taken = [items.popleft() for _ in range(min(most, len(items)))]
        if not items and key:
            del self._partitions[key]
        return taken

    def put_back(self, key: bytes, items: Sequence[Item]) -> None:
        there = self._partitions.setdefault(key, deque())
        if not there or items[-1][0] < there[0][0]:
            there.extendleft(reversed(items))
        else:  # items that come after them were put back before
            merged = sorted([*there, *items])
            there.clear()
            there.extend(merged)

    def withdraw(self, key: bytes, numbers: Sequence[int]) -> bool:
        items = self._partitions.get(key)
        if not items or not numbers:
            return False
        at = self._index_after(items, numbers[0] - 1)
        # They were put in one step, so they stand together.
        if [number for number, _ in islice(items, at, at + len(numbers))] != list(numbers):
            return False
        for _ in numbers:
            del items[at]
        if not items and key:
            del self._partitions[key]
        return True

    def after(self, key: bytes, number: int) -> Item | None:
        items = self._partitions.get(key)
        if not items:
            return None
        at = self._index_after(items, number)
        return items[at] if at < len(items) else None

    @staticmethod
    def _index_after(items: deque[Item], number: int) -> int:
        """Return the index of the first item with a number above `number`."""
        # The numbers rise by at least 1 from item to item, so this is not too low.
        at = min(len(items), max(0, number - items[0][0] + 1))
        while at and items[at - 1][0] > number:
            at -= 1
        return at

    def count(self, key: bytes) -> int:
        items = self._partitions.get(key)
        return len(items) if items else 0

    def size(self, key: bytes) -> int:
        return sum(len(value) for _, value in self._partitions.get(key, ()))

    def total(self) -> int:
        return sum(len(items) for items in self._partitions.values())

    def keys(self) -> list[bytes]:
        return [key for key, items in self._partitions.items() if items]

    def clear(self, key: bytes) -> None:
        items = self._partitions.get(key)
        if items is not None:
            items.clear()
            if key:
                del self._partitions[key]

    def end(self) -> None:
        self._partitions = {b"": deque()}

    def begin_waits(self) -> bool:
        return True

    def end_waits(self) -> None: ...
