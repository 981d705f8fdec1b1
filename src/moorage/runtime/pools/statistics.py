"""Statistics: a pool in numbers, at one moment.

Owns the values that `Pool.statistics` gives to users, and how they are counted from the
pool's leaves.  The pool counts under its lock, so the numbers are exact.

Begin at `PoolStatistics`, then `count_pool`.
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
from .probation import Probation
from .scaling import Scaling
from .tally import Tally
from .web_tally import WebTally


@dataclass(frozen=True, slots=True)
class ContainerStatistics:
    """One container at one moment.

    `running`, `limit`, `target` and `peak` count inputs; in a batched pool they count batches.
    `running` is the number of slots held, including those of abandoned inputs.  `peak` is the
    most that ran at the same time.
    """

    number: int
    state: ContainerState
    running: int
    limit: int
    target: int
    peak: int
    # The process in which it is; None if that is this process, or has not begun.
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class BatchStatistics:
    """The batches of a batched pool.  All times are in seconds."""

    max_batch_size: int
    wait: float  # the longest time that the first member of a batch waits for others
    running: int  # batches that hold a slot and are not abandoned
    granted: int  # batches that have got a slot so far
    sizes: tuple[tuple[int, int], ...]  # (members, number of such batches), smallest first
    mean_wait: float  # from when the first member was queued to the grant of the slot
    longest_wait: float

    @property
    def mean_size(self) -> float:
        """The mean number of members of a batch; 0 before the first batch."""
        members = sum(size * count for size, count in self.sizes)
        return members / self.granted if self.granted else 0.0


@dataclass(frozen=True, slots=True)
class WebStatistics:
    """The web requests of a pool.  Requests count when they are over at the client's side."""

    # (class of the status, number of requests): ("2xx", 10).  "1xx" are WebSockets that were open
    # and are closed.  Requests that were refused for want of room are among the "5xx".
    requests: tuple[tuple[str, int], ...]
    left: int  # requests whose clients left before a response began
    bytes_in: int  # of bodies, and of messages of WebSockets
    bytes_out: int
    open_websockets: int

    @property
    def total(self) -> int:
        """The number of requests that are over."""
        return self.left + sum(count for _, count in self.requests)

    def count(self, status_class: str) -> int:
        """Return the number of requests of one class: ``count("5xx")``."""
        return dict(self.requests).get(status_class, 0)


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """One pool at one moment.  The pool counts under its lock, so the numbers are exact.

    ``accepted == queued + waiting + running - abandoned + succeeded + failed + cancelled``.
    These all count inputs, also in a batched pool.  `waiting` inputs failed and wait for
    their next attempt.  `running` inputs hold a slot, or a part of the slot of their batch.
    `abandoned` inputs are those of the running ones whose callers have an outcome.  Not
    counted as accepted are the `refused` inputs, and the inputs that are `outside` until
    the backlog has room.
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
    retries: int  # attempts after the first of each input
    # Slots held by abandoned inputs, or batches, in containers that were given up.
    abandoned_threads: int
    containers: tuple[ContainerStatistics, ...]
    containers_started: int
    peak_containers: int
    peak_inputs: int  # the most in one container at the same time; in a batched pool, batches
    wanted_containers: int  # the autoscaler's latest answer
    busy_seconds: float  # slot-seconds: the time that each slot was held, summed over all slots
    start_seconds: float  # from boot to ready, summed over all containers that became ready
    batches: BatchStatistics | None  # None unless the pool is batched
    # How the pool differs from the other pools of its name: the options that ``with_options``,
    # ``with_concurrency`` or ``with_batching`` changed, such as "timeout=1", and "#2" or another
    # number if that does not tell them apart.  "" for the function or class as declared.  No two
    # living pools of an app have the same `name` and `variant`.
    variant: str = ""
    web: WebStatistics | None = None  # None unless the pool has a web function
    lost_containers: int = 0  # containers that were gone before they had stopped
    # Times that an input went back to the queue because its container was lost.
    returned_inputs: int = 0


@dataclass(frozen=True, slots=True)
class ClassStatistics:
    """The totals of a class in one run, over all sets of parameters.

    Each number is exact, but the numbers are not all of the same moment.
    """

    name: str
    accepted: int
    refused: int
    succeeded: int
    failed: int
    cancelled: int
    retries: int  # attempts after the first of each input
    containers_started: int
    busy_seconds: float  # slot-seconds: the time that each slot was held, summed over all slots
    start_seconds: float  # from boot to ready, summed over all containers that became ready
    web: WebStatistics | None = None  # None unless the class has a web method that was used
    lost_containers: int = 0  # containers that were gone before they had stopped
    # Times that an input went back to the queue because its container was lost.
    returned_inputs: int = 0


def count_class(name: str, tally: Tally) -> ClassStatistics:
    """Return the statistics of a class; `tally` is the total of its sets of parameters."""
    return ClassStatistics(
        name=name,
        accepted=tally.accepted,
        refused=tally.refused,
        succeeded=tally.succeeded,
        failed=tally.failed,
        cancelled=tally.cancelled,
        retries=tally.retries,
        containers_started=tally.starts,
        # Adding and subtracting leaves small rounding errors, which may be negative.
        busy_seconds=max(0.0, tally.busy_seconds),
        start_seconds=tally.start_seconds,
        web=_count_web(tally),
        lost_containers=tally.lost_containers,
        returned_inputs=tally.returned_inputs,
    )


def count_pool(
    options: PoolOptions,
    backlog: Backlog,
    fleet: Fleet,
    attempts: Attempts,
    endings: Endings,
    probation: Probation,
    scaling: Scaling,
    tally: Tally,
    now: float,
) -> PoolStatistics:
    """Return the statistics of a pool with these leaves.  The caller holds the pool's lock."""
    running, abandoned = fleet.running, len(endings.abandoned)
    if options.batching is not None:
        # Abandoned batches too, whose container may be gone while their thread runs on.
        holders = dict.fromkeys([*fleet.holders(), *endings.abandoned])
        members = [
            member
            for holder in holders
            if isinstance(holder, Input)
            for member in members_of(holder)
        ]
        running, abandoned = len(members), sum(member.outcome is not None for member in members)
    return PoolStatistics(
        name=options.name,
        max_inputs=options.limits.max_inputs,
        target_inputs=options.limits.target_inputs,
        outside=backlog.outside,
        queued=backlog.queued + len(probation.waiting),
        waiting=attempts.waiting,
        running=running,
        abandoned=abandoned,
        # Not by `fleet.containers`: a container that stopped by force may still hold slots.
        abandoned_threads=sum(holder.container.given_up for holder in endings.abandoned),
        refused=tally.refused,
        accepted=tally.accepted,
        succeeded=tally.succeeded,
        failed=tally.failed,
        cancelled=tally.cancelled,
        retries=tally.retries,
        containers=tuple(
            ContainerStatistics(
                c.number,
                c.state,
                len(c.slots.held),
                c.slots.limit,
                c.target,
                c.slots.peak,
                getattr(c, "pid", None),  # of containers in other processes only
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
        variant=options.variant,
        web=_count_web(tally),
        lost_containers=tally.lost_containers,
        returned_inputs=tally.returned_inputs,
    )


def count_kept(kept: Kept, now: float) -> PoolStatistics | None:
    """Return the statistics of a key whose pool is gone; None if the key never had a pool."""
    options = kept.options
    if options is None:
        return None
    nothing = Backlog(), Fleet(), Attempts(None), Endings(), Probation(), Scaling(options.limits)
    return count_pool(options, *nothing, kept.tally, now)


def _count_web(tally: Tally) -> WebStatistics | None:
    web = tally.web
    if web is None:
        return None
    seen = WebTally()
    seen.add(web, 1)  # a copy, of one moment
    return WebStatistics(
        requests=tuple((f"{n}xx", count) for n, count in enumerate(seen.by_class) if count),
        left=seen.left,
        bytes_in=seen.bytes_in,
        bytes_out=seen.bytes_out,
        open_websockets=seen.open_websockets,
    )


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
