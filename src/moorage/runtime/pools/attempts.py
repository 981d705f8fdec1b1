"""Attempts: which inputs failed or were lost before, and when failed inputs are tried again.

Owns the history of inputs that are not settled: the errors of earlier attempts, how often the
input was lost with its container, and the time of the next attempt.  Pure: it has no lock, no
clock and no thread; the pool calls it under the pool's lock.

Begin at `Attempts.may_follow`, then `Attempts.failed` and `Attempts.due`.
"""

from __future__ import annotations

import heapq

from ..input import Input, InputState
from ..outcome import Failure, Outcome
from .pool_options import RetryPolicy

WAITING = InputState.WAITING


class Attempts:
    """The inputs of one pool that have a history and are not settled.

    Args:
        policy: how often, and after which pause, an input is tried again; None for never.
        discarded: receives the settled inputs that are taken out of the heap.  The owner of
            the list frees them outside the lock, because dropping them may run users'
            destructors.
    """

    __slots__ = ("_discarded", "_due", "_policy", "errors", "losses", "waiting")

    def __init__(self, policy: RetryPolicy | None, discarded: list[Input] | None = None) -> None:
        self._policy = policy
        self._discarded: list[Input] = [] if discarded is None else discarded
        # Invariant: the inputs that failed, or that a loss of their container put back in the
        # queue, and that are not settled.  Each has its errors, oldest first.  Each such input
        # is WAITING, or its next attempt is queued or running.
        self.errors: dict[Input, list[BaseException]] = {}
        # How often each input was lost with its container.  A loss that cannot be the input's
        # fault does not count.
        # Invariant: each of these inputs is in `errors`, and no number is 0.
        self.losses: dict[Input, int] = {}
        # A heap of the next attempts, by time.  Equal times are ordered by call and index,
        # which gives the same order in each run.  Inputs that were cancelled, and so are
        # settled, stay in the heap until they come to its top.
        # Invariant: each WAITING input is in the heap, and no input is in it twice.  So two
        # entries always differ before their inputs are compared, which have no order.
        self._due: list[tuple[float, int, int, Input]] = []
        # Invariant: the number of WAITING inputs.  One less between `leave` and the write of
        # the input's state; both happen in one event.
        self.waiting: int = 0

    def may_follow(self, input: Input, outcome: Outcome) -> bool:
        """Return true if `input`, whose attempt ended with `outcome`, may be tried again."""
        policy = self._policy
        if policy is None or type(outcome) is not Failure or input.call.target.is_generator:
            return False
        if getattr(input.call, "is_web", False):
            return False  # the client has a part of the response, or all of it
        return len(self.errors.get(input, ())) < policy.max_retries

    def returned(self, input: Input) -> None:
        """Note that a loss of its container put `input` back in the queue."""
        self.errors.setdefault(input, [])

    def lost(self, input: Input) -> int:
        """Count one loss of `input`, which may have caused it; return how many there were."""
        self.errors.setdefault(input, [])
        times = self.losses[input] = self.losses.get(input, 0) + 1
        return times

    def failed(self, input: Input, error: BaseException, now: float) -> float:
        """Note that an attempt of `input` failed; make the input wait for its next attempt.

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

    def count(self, input: Input) -> int:
        """Return how many attempts of `input`, which is not settled, have failed."""
        return len(self.errors.get(input, ()))

    def due(self, now: float) -> list[Input]:
        """Take out and return the inputs whose next attempt is due.

        They do not count as `waiting` any more; the caller changes their state.
        """
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
        """Return when the next attempt is due; None if no input waits for one."""
        while self._due and self._due[0][-1].state is not WAITING:
            self._discarded.append(heapq.heappop(self._due)[-1])
        return self._due[0][0] if self._due else None

    def leave(self, input: Input) -> None:
        """Stop counting `input`, which is WAITING and is about to be settled."""
        self.waiting -= 1

    def with_earlier(self, input: Input, failure: Failure) -> Failure:
        """Return `failure` for `input`, with the errors of its earlier attempts.

        Several inputs may share `failure`: it is not changed.
        """
        errors = self.errors.get(input)
        return failure if not errors else failure.after(tuple(errors))

    def ended(self, input: Input) -> list[BaseException] | None:
        """Forget `input`, which is settled.

        Returns:
            Its errors.  The caller drops them with no lock held, because they are the user's
            objects.
        """
        self.losses.pop(input, None)
        return self.errors.pop(input, None)

    def inputs(self) -> list[Input]:
        """Return the inputs that wait for their next attempts."""
        return [input for input in self.errors if input.state is WAITING]
