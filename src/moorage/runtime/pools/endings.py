"""Endings: inputs that should end and have not.

Owns two collections.  The first is of cancelled async inputs, each with the time at which its
caller is answered even if the input has not ended.  The second is of *abandoned* inputs,
whose callers were answered while their code still runs and holds a slot.  Pure: it has no
lock, no clock and no thread; the pool calls it under the pool's lock.

Begin at `Endings.expect`, then `Endings.overdue`; and at `Endings.abandon`.
"""

from __future__ import annotations

import heapq
from typing import Final

from ..containers.container import Container
from ..input import Input, InputState
from ..outcome import Outcome

# Seconds that an async input gets to end after its cancel or its timeout.  Then its caller is
# answered in any case: another input may block the loop, or the input's own clean-up may take
# long.
ENDS_WITHIN: Final = 0.1
# The same for an input that will be tried again after it has ended.
ENDS_FOR_RETRY_WITHIN: Final = 30.0

# If abandoned inputs hold all slots of a container, the container is given up after this many
# seconds.  A *strike* is an exception raised asynchronously in another thread, here to end a
# cancelled sync input; a struck thread needs far less time to end its input.
ALL_ABANDONED: Final = 1.0


class Endings:
    """The inputs of one pool that should end."""

    __slots__ = ("_count", "_ending", "abandoned")

    def __init__(self) -> None:
        # Cancelled async inputs, as a heap: (deadline, serial number, input, outcome that the
        # cancel asked for, whether the deadline was extended).  An input that has ended stays
        # in the heap until its deadline.  An input that was cancelled twice is in it twice.
        self._ending: list[tuple[float, int, Input, Outcome, bool]] = []
        # The last serial number.  Invariant: no two entries of the heap have the same serial
        # number, so entries with equal deadlines are never compared by their inputs.
        self._count = 0
        # Invariant: the ABANDONED inputs that hold a slot, each with the time at which it was
        # abandoned, oldest first.  Contains batches, but no members of batches.
        self.abandoned: dict[Input, float] = {}

    # -- cancelled async inputs -----------------------------------------------------------

    def expect(
        self, input: Input, outcome: Outcome, when: float, *, extended: bool = False
    ) -> None:
        """Expect `input`, which was cancelled with `outcome`, to end by `when`."""
        self._count += 1
        heapq.heappush(self._ending, (when, self._count, input, outcome, extended))

    def overdue(self, now: float) -> tuple[list[tuple[Input, Outcome, bool]], list[object]]:
        """Take out the entries whose deadline has passed.

        Returns:
            The inputs that still run, each with its outcome and whether its deadline was
            extended before; and all entries taken out, for the caller to drop with no lock
            held.
        """
        late: list[tuple[Input, Outcome, bool]] = []
        passed: list[object] = []
        while self._ending and self._ending[0][0] <= now:
            entry = heapq.heappop(self._ending)
            passed.append(entry)
            _, _, input, outcome, extended = entry
            # Otherwise the input has ended; its next attempt may even run by now.
            if input.state is InputState.RUNNING and input.cancellation is outcome:
                late.append((input, outcome, extended))
        return late, passed

    def next_overdue(self) -> float | None:
        """Return the earliest deadline; None if there is none."""
        return self._ending[0][0] if self._ending else None

    # -- abandoned ------------------------------------------------------------------------

    def abandon(self, input: Input, now: float) -> None:
        """Note that the caller of `input` was answered, while its code still runs."""
        self.abandoned[input] = now

    def ended(self, input: Input) -> None:
        """Note that the code of an abandoned `input` has ended."""
        del self.abandoned[input]

    def give_up_at(self, container: Container, most_held: float) -> float | None:
        """Return when to give up `container`; None if it has no abandoned input.

        An input whose client has left keeps all of its time: nobody waits for the input, and a
        container in place of this one would be started for nothing.

        Args:
            most_held: seconds that an abandoned input may hold a slot.
        """
        held = container.slots.held
        since = [self.abandoned[h] for h in held if isinstance(h, Input) and h in self.abandoned]
        if not since:
            return None
        when = min(since) + most_held
        if len(since) >= container.slots.limit and not any(_was_left(holder) for holder in held):
            when = min(when, max(since) + ALL_ABANDONED)
        return when

    def abandoned_in(self, container: Container) -> int:
        """Return how many slots of `container` are held by abandoned inputs."""
        return sum(holder in self.abandoned for holder in container.slots.held)


def _was_left(holder: object) -> bool:
    """Whether `holder` is a web request whose client has left."""
    call = getattr(holder, "call", None)  # a batch has none
    return bool(getattr(call, "is_left", False))
