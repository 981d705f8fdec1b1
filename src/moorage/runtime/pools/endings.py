"""Endings: inputs that should end and have not.

Owns two lists: the asynchronous inputs that were told to end, each with the time by which
its caller is answered without it; and the *abandoned* inputs, whose callers were answered
and whose code still holds a slot.  Pure: it has no lock, no clock and no thread; the pool
calls it under its own lock.

Start at `Endings.expect`, then `Endings.overdue`; and at `Endings.abandon`.
"""

from __future__ import annotations

import heapq
from typing import Final

from ..containers.container import Container
from ..input import Input, InputState
from ..outcome import Outcome

# Seconds that an asynchronous input gets to end after its cancel or its timeout, before
# its caller is answered without it: its loop may be blocked by a neighbour, or its own
# clean-up take long.
ENDS_WITHIN: Final = 0.1
# The same for an input that will be tried again once it has ended.
ENDS_FOR_RETRY_WITHIN: Final = 30.0

# Seconds after which a container is given up whose slots are all held by abandoned
# inputs: a struck thread needs far less to get out.
ALL_ABANDONED: Final = 1.0


class Endings:
    """The inputs of one pool that should end."""

    __slots__ = ("_count", "_ending", "abandoned")

    def __init__(self) -> None:
        # A heap: by when, and in which order they were told; the input, the outcome that
        # was asked for, and whether its time was extended.  An input that has ended stays
        # in it until its time is over, and an input that was told twice is in it twice.
        self._ending: list[tuple[float, int, Input, Outcome, bool]] = []
        # How often an input was told.  Invariant: no two entries of the heap have the same
        # number, so that two of one time are never compared by their inputs.
        self._count = 0
        # Invariant: the ABANDONED inputs that hold a slot, the first one first, and since
        # when each is.  Of a batch it is the batch that is here, and no member.
        self.abandoned: dict[Input, float] = {}

    # -- told to end --------------------------------------------------------------------

    def expect(
        self, input: Input, outcome: Outcome, when: float, *, extended: bool = False
    ) -> None:
        """`input` was told to end with `outcome`, and has until `when`."""
        self._count += 1
        heapq.heappush(self._ending, (when, self._count, input, outcome, extended))

    def overdue(self, now: float) -> tuple[list[tuple[Input, Outcome, bool]], list[object]]:
        """Take out those whose time is over.

        Returns:
            The inputs that still run, each with its outcome and whether its time was
            extended before; and all that was taken out, to be let go of with no lock held.
        """
        late: list[tuple[Input, Outcome, bool]] = []
        passed: list[object] = []
        while self._ending and self._ending[0][0] <= now:
            entry = heapq.heappop(self._ending)
            passed.append(entry)
            _, _, input, outcome, extended = entry
            # Else it has ended, and may even be tried again by now.
            if input.state is InputState.RUNNING and input.cancellation is outcome:
                late.append((input, outcome, extended))
        return late, passed

    def next_overdue(self) -> float | None:
        """By when the next one has to end; None if none was told to."""
        return self._ending[0][0] if self._ending else None

    # -- abandoned ------------------------------------------------------------------------

    def abandon(self, input: Input, now: float) -> None:
        """The caller of `input` was answered; its code runs on."""
        self.abandoned[input] = now

    def ended(self, input: Input) -> None:
        """The code of an abandoned input has ended."""
        del self.abandoned[input]

    def give_up_at(self, container: Container, patience: float) -> float | None:
        """When `container` is to be given up; None if it has no abandoned input.

        Args:
            patience: seconds that an abandoned input may hold a slot.
        """
        held = container.slots.held
        since = [self.abandoned[h] for h in held if isinstance(h, Input) and h in self.abandoned]
        if not since:
            return None
        when = min(since) + patience
        if len(since) >= container.slots.limit:
            when = min(when, max(since) + ALL_ABANDONED)
        return when

    def abandoned_in(self, container: Container) -> int:
        """How many slots of `container` are held by abandoned inputs."""
        return sum(holder in self.abandoned for holder in container.slots.held)
