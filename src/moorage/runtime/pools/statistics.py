"""A pool in numbers, at one moment.

Owns the values that `Pool.statistics` gives to users, and how they are counted from the
pool's leaves: under the pool's lock, and so exactly.

Start at `PoolStatistics`, then `count_pool`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..containers.container import ContainerState
from ..input import Input
from .attempts import Attempts
from .backlog import Backlog
from .batching import BatchOptions, members_of
from .endings import Endings
from .fleet import Fleet
from .kept import Kept
from .pool_options import PoolOptions
from .scaling import Scaling
from .tally import Tally


@dataclass(frozen=True, slots=True)
class ContainerStatistics:
    """One container at one moment.  Inputs as counts; in a batched pool, batches."""

    number: int
    state: ContainerState
    running: int
    limit: int
    target: int
    peak: int


@dataclass(frozen=True, slots=True)
class BatchStatistics:
    """The batches of a batched pool.  Times in seconds."""

    max_batch_size: int
    wait: float  # that the first member of a batch waits for others, at the most
    running: int  # batches that hold a slot and are not abandoned
    granted: int  # that got a slot, over all time
    sizes: tuple[tuple[int, int], ...]  # (members, how many such batches), smallest first
    mean_wait: float  # from the first member's coming to the grant of the slot
    longest_wait: float

    @property
    def mean_size(self) -> float:
        """Members for each batch, 0 before the first one."""
        members = sum(size * count for size, count in self.sizes)
        return members / self.granted if self.granted else 0.0


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """One pool at one moment, counted under its lock and so exact.

    ``accepted == queued + waiting + running - abandoned + succeeded + failed + cancelled``:
    `waiting` inputs failed and will be tried again; `abandoned` ones have been
    answered, and still hold a slot, or their part of a batch's.  Not accepted are the
    `refused` ones, and those that stand `outside` until the backlog has room.
    """

    name: str
    max_inputs: int
    target_inputs: int
    outside: int
    queued: int
    waiting: int
    running: int
    abandoned: int
    refused: int
    accepted: int
    succeeded: int
    failed: int
    cancelled: int
    retries: int  # attempts after the first
    abandoned_threads: int  # of the abandoned inputs, in containers given up for it
    containers: tuple[ContainerStatistics, ...]
    containers_started: int
    peak_containers: int
    peak_inputs: int  # in one container, over all that there were; of a batched pool, batches
    wanted_containers: int  # by the autoscaler, when it was last asked
    busy_seconds: float  # of all slots, for as long as they were held
    start_seconds: float  # of all containers that became ready, from their boot on
    batches: BatchStatistics | None  # None unless the pool is batched


@dataclass(frozen=True, slots=True)
class ClassStatistics:
    """What a class has done in a run, over all sets of parameters.

    Each count is exact; they are not all of one moment.
    """

    name: str
    accepted: int
    refused: int
    succeeded: int
    failed: int
    cancelled: int
    retries: int  # attempts after the first
    containers_started: int
    busy_seconds: float  # of all slots, for as long as they were held
    start_seconds: float  # of all containers that became ready, from their boot on


def count_class(name: str, tally: Tally) -> ClassStatistics:
    """The statistics of a class whose sets of parameters have this tally in all."""
    return ClassStatistics(
        name=name,
        accepted=tally.accepted,
        refused=tally.refused,
        succeeded=tally.succeeded,
        failed=tally.failed,
        cancelled=tally.cancelled,
        retries=tally.retries,
        containers_started=tally.starts,
        # Adding and subtracting leaves tiny errors.
        busy_seconds=max(0.0, tally.busy_seconds),
        start_seconds=tally.start_seconds,
    )


def count_pool(
    options: PoolOptions,
    backlog: Backlog,
    fleet: Fleet,
    attempts: Attempts,
    endings: Endings,
    scaling: Scaling,
    tally: Tally,
    now: float,
) -> PoolStatistics:
    """The statistics of a pool with these leaves.  Under its lock."""
    running, abandoned = fleet.running, len(endings.abandoned)
    if options.batching is not None:
        members = [
            member
            for holder in fleet.holders()
            if isinstance(holder, Input)
            for member in members_of(holder)
        ]
        running, abandoned = len(members), sum(member.outcome is not None for member in members)
    return PoolStatistics(
        name=options.name,
        max_inputs=options.limits.max_inputs,
        target_inputs=options.limits.target_inputs,
        outside=backlog.outside,
        queued=backlog.queued,
        waiting=attempts.waiting,
        running=running,
        abandoned=abandoned,
        abandoned_threads=sum(
            endings.abandoned_in(container) for container in fleet.containers if container.given_up
        ),
        refused=tally.refused,
        accepted=tally.accepted,
        succeeded=tally.succeeded,
        failed=tally.failed,
        cancelled=tally.cancelled,
        retries=tally.retries,
        containers=tuple(
            ContainerStatistics(
                c.number, c.state, len(c.slots.held), c.slots.limit, c.target, c.slots.peak
            )
            for c in fleet.containers
        ),
        containers_started=tally.starts,
        peak_containers=tally.peak_containers,
        peak_inputs=max([tally.peak_inputs, *(c.slots.peak for c in fleet.containers)]),
        wanted_containers=scaling.wanted,
        busy_seconds=tally.busy_seconds + fleet.running * now,
        start_seconds=tally.start_seconds,
        batches=_count_batches(options.batching, fleet, endings, tally),
    )


def count_kept(kept: Kept, now: float) -> PoolStatistics | None:
    """The statistics of a key whose pool is gone; None if it never had one."""
    options = kept.options
    if options is None:
        return None
    nothing = Backlog(), Fleet(), Attempts(None), Endings(), Scaling(options.limits)
    return count_pool(options, *nothing, kept.tally, now)


def _count_batches(
    batching: BatchOptions | None, fleet: Fleet, endings: Endings, tally: Tally
) -> BatchStatistics | None:
    if batching is None:
        return None
    return BatchStatistics(
        max_batch_size=batching.max_batch_size,
        wait=batching.wait,
        running=fleet.running - len(endings.abandoned),
        granted=tally.granted,
        sizes=tuple(sorted(tally.batches.items())),
        mean_wait=tally.batch_wait / tally.granted if tally.granted else 0.0,
        longest_wait=tally.longest_batch_wait,
    )
