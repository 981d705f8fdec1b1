"""Choices: what is first within an instant of virtual time, chosen by a seed.

Owns the random numbers of one virtual clock that was made with a seed.  A clock without a seed has
no `Choices`, and everything happens in one defined order.  The sources of choice, each where
neither moorage nor asyncio promises an order:

- which participant has the next turn (``turns.py``), and whether an event loop lets another
  participant go on between two rounds of its callbacks (``participants.py``);
- which of the timers of one instant fires first (``clock_thread.py``, and for the timers of one
  event loop ``numbered.py``);
- which of the inputs granted together starts first (the lanes);
- which of the results that came together wakes its caller first (``waiting/async_waiters.py``);
- the order of tasks in a set (``numbered.py``);
- the lines at which sync code is switched (``preemption.py``).

No source changes the order of ``call_soon``, which asyncio promises.

Only the participant that has the turn asks, so the same seed gives the same choices.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import MutableSequence
from typing import Any


class Choices:
    """The choices of one virtual clock."""

    __slots__ = ("_random", "order", "salt", "together")

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        # A checksum of what the choices changed until now: runs with equal sums had the same
        # order.
        self.order: int = 0
        # Decides the order of tasks in sets.
        self.salt: int = self.draw(1 << 32)
        # How probable it is that timers of one instant fire together, in quarters: some races
        # need that everything runs at once, others that each step runs to its end.
        self.together: int = self.draw(5)

    def pick(self, count: int) -> int:
        """Choose one of `count` things, which is done first; return its index."""
        if count < 2:
            return 0
        chosen = self.draw(count)
        self.note(chosen)
        return chosen

    def draw(self, count: int) -> int:
        """Return a random number below `count`, which does not change the order by itself."""
        return self._random.randrange(count)

    def note(self, number: int) -> None:
        """Count `number` as a part of the order: the number of what comes next."""
        self.order = zlib.crc32(b"%d " % number, self.order)

    def also(self) -> bool:
        """Return whether one more timer of an instant fires together with those before it."""
        also = self.draw(4) < self.together
        self.note(also)
        return also

    def one_in(self, count: int) -> bool:
        """Return true once in `count` times."""
        return self.pick(count) == 0

    def shuffle(self, things: MutableSequence[Any]) -> None:
        """Bring `things` into an order that is chosen."""
        for last in range(len(things) - 1, 0, -1):
            chosen = self.pick(last + 1)
            things[last], things[chosen] = things[chosen], things[last]
