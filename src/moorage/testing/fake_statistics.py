"""The counts of a fake container: `FakeStatistics`, and how they are read from a pool.

Owns the choice of the counts that a test compares.  The pool counts
(``runtime/pools/statistics.py``).

Begin at `counted`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..runtime.pools.pool import Pool


@dataclass(frozen=True, slots=True)
class FakeStatistics:
    """The counts of a `FakeContainer` at one moment.

    The counts are exact, because they are taken together under the pool's lock.  A test
    can compare them as a whole: ``FakeStatistics(running=2, queued=1, peak=2, limit=2)``
    is equal to the statistics if all other counts are 0.
    """

    running: int = 0  # inputs that hold a slot, or share the slot of their batch
    queued: int = 0  # inputs in the queue, and inputs outside of a full backlog
    finished: int = 0  # inputs that have a result
    failed: int = 0
    cancelled: int = 0
    peak: int = 0  # the most slots held at once; a batch holds one slot
    limit: int = 0  # the slots of the container
    waiting: int = 0  # inputs that failed and will be tried again
    abandoned: int = 0  # running inputs whose caller was answered already


def counted(pool: Pool) -> FakeStatistics:
    """Return the counts of this moment."""
    seen = pool.statistics()
    limits = [c.limit for c in seen.containers if c.state.value == "ready"]
    return FakeStatistics(
        running=seen.running,
        queued=seen.queued + seen.outside,
        finished=seen.succeeded,
        failed=seen.failed,
        cancelled=seen.cancelled,
        peak=seen.peak_inputs,
        limit=limits[0] if limits else seen.max_inputs,
        waiting=seen.waiting,
        abandoned=seen.abandoned,
    )
