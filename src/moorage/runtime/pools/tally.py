"""The tally: the counters of one function, or of one class with one set of parameters.

Owns the counters that only grow.  A run keeps the tally of each key, so that the tally
outlives the pools of that key, and no count goes back when a pool is dropped.  Each pool
guards the tally with the pool's lock; a key has one pool at a time.

Begin at `Tally.settled`.
"""

from __future__ import annotations

from typing import Final

from ..outcome import Failure, Outcome, Value
from .web_tally import WebTally


class Tally:
    """Counters, all cumulative.

    Invariant: ``accepted == queued + waiting + running - abandoned + succeeded + failed +
    cancelled``, where queued, waiting, running and abandoned are the numbers at present.
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
        "lost_containers",
        "numbers",
        "peak_containers",
        "peak_inputs",
        "refused",
        "retries",
        "returned_inputs",
        "start_seconds",
        "starts",
        "succeeded",
        "web",
    )

    def __init__(self) -> None:
        self.accepted: int = 0
        self.refused: int = 0
        self.succeeded: int = 0
        self.failed: int = 0
        self.cancelled: int = 0
        self.retries: int = 0  # attempts after the first of each input
        self.granted: int = 0  # slots granted: to inputs, or to batches in a batched pool
        # In seconds.  The integral over time of the held slots is this value plus the number
        # of slots held now times the present time: each grant subtracts its time, and each
        # release adds its time.
        self.busy_seconds: float = 0.0
        self.numbers: int = 0  # containers made so far: the number of the latest one
        self.starts: int = 0  # containers that became ready
        self.start_seconds: float = 0.0  # the seconds from boot to ready, summed over `starts`
        self.lost_containers: int = 0  # containers that were gone before they had stopped
        self.returned_inputs: int = 0  # times that an input went back to the queue by a loss
        self.peak_containers: int = 0
        self.peak_inputs: int = 0  # the most at once in one container that has stopped
        self.batches: dict[int, int] = {}  # size of batches -> number of batches
        self.batch_wait: float = 0.0  # seconds from first member to grant, summed over batches
        self.longest_batch_wait: float = 0.0
        self.web: WebTally | None = None  # None: no web function

    def settled(self, outcome: Outcome) -> None:
        """Count one input that got its final outcome."""
        if type(outcome) is Value:
            self.succeeded += 1
        elif type(outcome) is Failure:
            self.failed += 1
        else:
            self.cancelled += 1

    @property
    def unsettled(self) -> int:
        """The number of accepted inputs without a final outcome."""
        return self.accepted - self.succeeded - self.failed - self.cancelled

    def batch_granted(self, size: int, waited: float) -> None:
        """Count a batch of `size` members whose first member waited `waited` seconds."""
        self.batches[size] = self.batches.get(size, 0) + 1
        self.batch_wait += waited
        if waited > self.longest_batch_wait:
            self.longest_batch_wait = waited

    def add(self, other: Tally) -> None:
        """Add the counts of `other` to these, for totals over several keys."""
        self._count(other, 1)
        self.peak_containers = max(self.peak_containers, other.peak_containers)
        self.peak_inputs = max(self.peak_inputs, other.peak_inputs)
        self.longest_batch_wait = max(self.longest_batch_wait, other.longest_batch_wait)

    def subtract(self, other: Tally) -> None:
        """Undo an `add`.  The peaks stay."""
        self._count(other, -1)

    def _count(self, other: Tally, sign: int) -> None:
        if other.web is not None:
            self.web = self.web or WebTally()
            self.web.add(other.web, sign)
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + sign * getattr(other, name))
        for size, count in other.batches.items():
            left = self.batches.get(size, 0) + sign * count
            if left:
                self.batches[size] = left
            else:
                self.batches.pop(size, None)  # no batch of this size is left

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
    "lost_containers",
    "returned_inputs",
    "batch_wait",
)
