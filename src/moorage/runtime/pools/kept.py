"""Kept: the memory of a pool's key, which outlives the pool.

Owns, for one run, the memory of each key: what the autoscaler learned, the back-off after
failed starts, and the counts.  The run gives the memory to each pool of that key in turn, and
calls `Memory` under the run's lock.

Begin at `Memory.of`.

A memory stays while a pool uses it, while further starts are delayed after a failed one, and
while somebody has a handle on its key.  Of the other memories, those of the last `MOST` keys
stay.  The counts of a memory that is dropped, or that only a handle keeps, are added to the
totals of its family.  A family is a function, or a class with any parameters.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

from .autoscaler import Limits, Policy
from .pool_options import PoolOptions
from .scaling import Scaling
from .tally import Tally

# How many keys are kept although nothing uses them.
MOST: Final = 1000

# How many keys are examined, each time that a new key comes, to find keys to drop.
LOOKED_AT: Final = 16


class Kept:
    """The memory of one function, or of one class with one set of parameters, in one run.

    Guarded by the lock of the pool that uses it.  A key has one pool at a time.
    """

    __slots__ = ("family", "in_use", "options", "scaling", "tally")

    def __init__(
        self, limits: Limits, policy: Policy | None = None, *, family: Hashable = None
    ) -> None:
        self.family: Hashable = family
        self.options: PoolOptions | None = None  # of the latest pool of the key
        # Invariant: true while a pool that is not retired uses this memory.  A memory in use
        # does not fall out, so its counts are never added to the totals twice.
        self.in_use: bool = False
        self.scaling: Scaling = Scaling(limits, policy)
        self.tally: Tally = Tally()


class Memory:
    """The memories of one run, by key.  Guarded by the run's lock."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        # Least recently used first; memories that were examined and had to stay go to the end.
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()
        # Memories that fell out and whose keys are alive, because somebody has a handle.
        # Invariant: no key is both here and in `_kept`.
        self._of_handles: weakref.WeakKeyDictionary[Hashable, Kept] = weakref.WeakKeyDictionary()
        # For each family, the total counts of the memories that fell out.
        # Invariant: the counts of a key are either in this total or in its memory in `_kept`,
        # never in both.
        self._fallen: dict[Hashable, Tally] = {}

    def of(self, key: Hashable, limits: Limits, family: Hashable, now: float) -> Kept:
        """Return the memory of `key` for a new pool; make a memory if there is none."""
        kept = self._kept.get(key)
        if kept is None:
            kept = self._taken_back(key) or Kept(limits, family=family)
            self._make_room(now)  # before the key is added, so that it is not dropped itself
            self._kept[key] = kept
        else:
            self._kept.move_to_end(key)
        return kept

    def find(self, key: Hashable) -> Kept | None:
        """Return the memory of `key`; None if there is none."""
        kept = self._kept.get(key)
        if kept is None:
            try:
                kept = self._of_handles.get(key)
            except TypeError:
                pass  # a key without weak references never belongs to a handle
        return kept

    def fallen(self, family: Hashable) -> Tally:
        """Return the total counts of those keys of `family` whose memories fell out."""
        total = Tally()
        fallen = self._fallen.get(family)
        if fallen is not None:
            total.add(fallen)
        return total

    def of_family(self, family: Hashable) -> list[tuple[Hashable, Kept]]:
        """Return the keys of `family` whose memories did not fall out, with these memories."""
        return [(key, kept) for key, kept in self._kept.items() if kept.family == family]

    def _make_room(self, now: float) -> None:
        kept = self._kept
        for _ in range(LOOKED_AT):
            if len(kept) < max(1, self._most):
                return
            key, eldest = kept.popitem(last=False)
            if eldest.in_use or eldest.scaling.backs_off(now):
                kept[key] = eldest
            else:
                self._fall_out(key, eldest)

    def _fall_out(self, key: Hashable, kept: Kept) -> None:
        self._fallen.setdefault(kept.family, Tally()).add(kept.tally)
        try:
            self._of_handles[key] = kept
        except TypeError:
            pass  # a key without weak references never belongs to a handle

    def _taken_back(self, key: Hashable) -> Kept | None:
        try:
            kept = self._of_handles.pop(key, None)
        except TypeError:
            return None
        if kept is not None:
            self._fallen[kept.family].subtract(kept.tally)
        return kept
