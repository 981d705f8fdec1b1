"""Choices: what is first within an instant of virtual time, chosen by a seed.

Owns the random numbers of one virtual clock that was made with a seed.  A clock without a seed has
no `Choices`, and everything happens in one defined order.  Each caller asks `pick` where an
order is not promised to anybody: which participant has the next turn (``turns.py``), which of the
timers of one instant fires first (``virtual_clock.py``, ``virtual_loop.py``), which of the inputs
granted together starts first (the lanes), and which of the results that came together wakes its
caller first (``waiting/async_waiters.py``).  Nobody asks it about the order of ``call_soon``,
which asyncio promises.

Only the participant that has the turn asks, so the same seed gives the same choices.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import MutableSequence
from typing import Any


class Choices:
    """The choices of one virtual clock."""

    __slots__ = ("_random", "order")

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        # A checksum of all choices until now: runs with equal sums had the same order.
        self.order: int = 0

    def pick(self, count: int) -> int:
        """Choose one of `count` things; return its index."""
        if count < 2:
            return 0
        chosen = self._random.randrange(count)
        self.order = zlib.crc32(b"%d/%d" % (chosen, count), self.order)
        return chosen

    def one_in(self, count: int) -> bool:
        """Return true once in `count` times."""
        return self.pick(count) == 0

    def shuffle(self, things: MutableSequence[Any]) -> None:
        """Bring `things` into an order that is chosen."""
        for last in range(len(things) - 1, 0, -1):
            chosen = self.pick(last + 1)
            things[last], things[chosen] = things[chosen], things[last]
