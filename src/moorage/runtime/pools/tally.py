"""The tally: what one function, or one set of parameters, has done so far.

Owns the counters that only grow.  A run keeps the tally of each key, so that it outlives
the pools of that key, and no count goes back when a pool is dropped.  Each pool guards the
tally with its own lock; of one key there is one pool at a time.

Start at `Tally.settled`.
"""

from __future__ import annotations

from typing import Final

from ..outcome import Failure, Outcome, Value


class Tally:
    """Counters.

    Invariant: ``accepted == queued + waiting + running - abandoned + succeeded + failed +
    cancelled``, with what is queued, waiting, running and abandoned now.
    """

    __slots__ = (
        "accepted",
        "batch_wait",
        "batches",
        "busy_seconds",
        "cancelled",
        "failed",
        "granted",
        "longest_batch_wait",
        "numbers",
        "peak_containers",
        "peak_inputs",
        "refused",
        "retries",
        "start_seconds",
        "starts",
        "succeeded",
    )

    def __init__(self) -> None:
        self.accepted: int = 0
        self.refused: int = 0
        self.succeeded: int = 0
        self.failed: int = 0
        self.cancelled: int = 0
        self.retries: int = 0  # attempts after the first
        self.granted: int = 0  # slots
        # The integral of the slots held over time, in seconds, is this plus the
        # number of slots held times the present time.
        self.busy_seconds: float = 0.0
        self.numbers: int = 0  # containers that were made; the last one's number
        self.starts: int = 0  # containers that became ready
        self.start_seconds: float = 0.0  # that those took to start, in all
        self.peak_containers: int = 0
        self.peak_inputs: int = 0  # in one container that has stopped
        self.batches: dict[int, int] = {}  # how many batches there were of each size
        self.batch_wait: float = 0.0  # seconds from the first member to the grant: their sum
        self.longest_batch_wait: float = 0.0

    def settled(self, outcome: Outcome) -> None:
        """Count one input that has its outcome."""
        if type(outcome) is Value:
            self.succeeded += 1
        elif type(outcome) is Failure:
            self.failed += 1
        else:
            self.cancelled += 1

    @property
    def unsettled(self) -> int:
        """Accepted inputs without an outcome."""
        return self.accepted - self.succeeded - self.failed - self.cancelled

    def batch_granted(self, size: int, waited: float) -> None:
        """Count a batch of `size` members whose first one waited for `waited` seconds."""
        self.batches[size] = self.batches.get(size, 0) + 1
        self.batch_wait += waited
        if waited > self.longest_batch_wait:
            self.longest_batch_wait = waited

    def add(self, other: Tally) -> None:
        """Count what `other` has counted too; for totals over several keys."""
        self._count(other, 1)
        self.peak_containers = max(self.peak_containers, other.peak_containers)
        self.peak_inputs = max(self.peak_inputs, other.peak_inputs)
        self.longest_batch_wait = max(self.longest_batch_wait, other.longest_batch_wait)

    def subtract(self, other: Tally) -> None:
        """Take an `add` back.  The peaks stay."""
        self._count(other, -1)

    def _count(self, other: Tally, sign: int) -> None:
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + sign * getattr(other, name))
        for size, count in other.batches.items():
            left = self.batches.get(size, 0) + sign * count
            if left:
                self.batches[size] = left
            else:
                self.batches.pop(size, None)  # there was none of this size

    def __repr__(self) -> str:
        return (
            f"<Tally: {self.accepted} accepted, {self.succeeded} succeeded, {self.failed} failed, "
            f"{self.cancelled} cancelled>"
        )


_SUMS: Final = (
    "accepted",
    "refused",
    "succeeded",
    "failed",
    "cancelled",
    "retries",
    "granted",
    "busy_seconds",
    "numbers",
    "starts",
    "start_seconds",
    "batch_wait",
)
