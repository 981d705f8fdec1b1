"""Attempts: which failed inputs are tried again, and when.

Owns what an input that failed has been through, and the times of the next attempts.
Pure: it has no lock, no clock and no thread; the pool calls it under its own lock.

Start at `Attempts.may_follow`, then `Attempts.failed` and `Attempts.due`.
"""

from __future__ import annotations

import heapq

from ..input import Input, InputState
from ..outcome import Failure, Outcome
from .pool_options import RetryPolicy

WAITING = InputState.WAITING


class Attempts:
    """The inputs of one pool that failed and are not settled.

    Args:
        policy: how often, and after which pause, an input is tried again; None for never.
        discarded: gets the settled inputs that are taken out of the heap.  Whoever has the
            list lets go of them with no lock held: a user's objects may die with them.
    """

    __slots__ = ("_discarded", "_due", "_policy", "errors", "waiting")

    def __init__(self, policy: RetryPolicy | None, discarded: list[Input] | None = None) -> None:
        self._policy = policy
        self._discarded: list[Input] = [] if discarded is None else discarded
        # Invariant: the inputs that failed and are not settled, each with its errors, the
        # first one first.  They are WAITING, or are tried again now.
        self.errors: dict[Input, list[BaseException]] = {}
        # A heap of next attempts: when, and of equal times the order of the calls, which
        # is the same on each run.  Settled inputs, which were cancelled, stay in the heap
        # until they come to its top.
        # Invariant: each WAITING input is in the heap, and none is in it twice.  So no two
        # entries are equal in all but the input, which has no order.
        self._due: list[tuple[float, int, int, Input]] = []
        # Invariant: how many inputs are WAITING.  Between `leave` and the write of the
        # state one fewer; both are made in one step.
        self.waiting: int = 0

    def may_follow(self, input: Input, outcome: Outcome) -> bool:
        """Whether `input`, whose attempt came to `outcome`, may be tried again."""
        policy = self._policy
        if policy is None or type(outcome) is not Failure or input.call.target.is_generator:
            return False
        return len(self.errors.get(input, ())) < policy.max_retries

    def failed(self, input: Input, error: BaseException, now: float) -> float:
        """An attempt of `input` failed, and another may follow: let it wait for that.

        Returns:
            When the next attempt is due.
        """
        assert self._policy is not None
        errors = self.errors.setdefault(input, [])
        errors.append(error)
        input.state = WAITING
        self.waiting += 1
        when = now + self._policy.delay(len(errors))
        heapq.heappush(self._due, (when, input.call.number, input.index, input))
        return when

    def due(self, now: float) -> list[Input]:
        """Take out the inputs whose next attempt is due; they are WAITING no more."""
        due: list[Input] = []
        while self._due and self._due[0][0] <= now:
            input = heapq.heappop(self._due)[-1]
            if input.state is WAITING:
                self.waiting -= 1
                due.append(input)
            else:
                self._discarded.append(input)
        return due

    def next_due(self) -> float | None:
        """When the next attempt is due; None if no input waits for one."""
        while self._due and self._due[0][-1].state is not WAITING:
            self._discarded.append(heapq.heappop(self._due)[-1])
        return self._due[0][0] if self._due else None

    def leave(self, input: Input) -> None:
        """`input` is WAITING and is about to be settled: count it no more."""
        self.waiting -= 1

    def earlier(self, input: Input) -> tuple[BaseException, ...]:
        """The errors of the attempts of `input` so far."""
        return tuple(self.errors.get(input, ()))

    def ended(self, input: Input) -> list[BaseException] | None:
        """`input` is settled: forget it.

        Returns:
            Its errors, to be let go of with no lock held, as they are the user's.
        """
        return self.errors.pop(input, None)

    def inputs(self) -> list[Input]:
        """The inputs that wait for their next attempts."""
        return [input for input in self.errors if input.state is WAITING]
