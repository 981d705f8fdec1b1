"""Kept: what of a pool outlives it.

Owns, for one run, the memory of each key: what the autoscaler learned, the back-off after
failed starts, and the counts.  The run hands it to each pool of that key in turn.

A memory is kept while a pool uses it, while its start is backed off, and while somebody has
a handle on its key; apart from that the last `MOST` keys are kept.  The counts of what falls
out go to the totals of its family: its function, or its class with any parameters.

Start at `Memory.of`.
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

# Keys that nobody uses, and that are kept nevertheless.
MOST: Final = 1000

# Keys that are looked at for each one that comes, to find one that can go.
LOOKED_AT: Final = 16


class Kept:
    """The memory of one function, or of one set of parameters, in one run.

    Guarded by the lock of the pool that uses it; a key has one pool at a time.
    """

    __slots__ = ("family", "in_use", "options", "scaling", "tally")

    def __init__(
        self, limits: Limits, policy: Policy | None = None, *, family: Hashable = None
    ) -> None:
        self.family: Hashable = family
        self.options: PoolOptions | None = None  # of its last pool
        # Invariant: true while a pool uses it that is not retired.  What is in use does not
        # fall out, so no count is added to the totals twice.
        self.in_use: bool = False
        self.scaling: Scaling = Scaling(limits, policy)
        self.tally: Tally = Tally()


class Memory:
    """What is kept in one run, by key.  Guarded by the run's lock."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        # Those used last are at the end, but for those that were looked at and had to stay.
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()
        # Those that fell out and whose keys are alive, as somebody has a handle.
        # Invariant: no key is in both.
        self._of_handles: weakref.WeakKeyDictionary[Hashable, Kept] = weakref.WeakKeyDictionary()
        # Of each family, the counts of those that fell out.
        # Invariant: each count of a key is in here, or in its memory in `_kept`, but not in
        # both.
        self._fallen: dict[Hashable, Tally] = {}

    def of(self, key: Hashable, limits: Limits, family: Hashable, now: float) -> Kept:
        """The memory of `key`, for a pool that begins; a new one if there is none."""
        kept = self._kept.get(key)
        if kept is None:
            kept = self._taken_back(key) or Kept(limits, family=family)
            self._make_room(now)  # before it is there: it does not fall out for itself
            self._kept[key] = kept
        else:
            self._kept.move_to_end(key)
        return kept

    def find(self, key: Hashable) -> Kept | None:
        """The memory of `key`; None if there is none."""
        kept = self._kept.get(key)
        if kept is None:
            try:
                kept = self._of_handles.get(key)
            except TypeError:
                pass  # such a key is never a handle's
        return kept

    def fallen(self, family: Hashable) -> Tally:
        """The counts of those keys of a family that fell out."""
        total = Tally()
        fallen = self._fallen.get(family)
        if fallen is not None:
            total.add(fallen)
        return total

    def of_family(self, family: Hashable) -> list[tuple[Hashable, Kept]]:
        """The keys of a family that did not, each with its memory."""
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
            pass  # such a key is never a handle's

    def _taken_back(self, key: Hashable) -> Kept | None:
        try:
            kept = self._of_handles.pop(key, None)
        except TypeError:
            return None
        if kept is not None:
            self._fallen[kept.family].subtract(kept.tally)
        return kept
