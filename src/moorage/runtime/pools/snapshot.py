"""Snapshots: one pool at one moment, for people to read.

Owns what `Pool.snapshot` collects from the pool's leaves under the pool's lock.
``describing/text.py`` makes text of it afterwards.  The numbers for programs are in
`PoolStatistics`.

Begin at `PoolSnapshot`, then `take_snapshot`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..containers.container import Container, ContainerState
from ..input import Input, InputState
from .attempts import Attempts
from .autoscaler import Limits
from .backlog import Backlog
from .batches import Batches
from .batching import members_of
from .fleet import Fleet
from .pool_options import PoolOptions
from .probation import Probation
from .scaling import Scaling


@dataclass(frozen=True, slots=True)
class HeldSlot:
    """One slot, and the input or batch that holds it."""

    input: Input
    state: InputState
    granted_at: float
    runner: Any  # the task or the worker; None if the code has not begun
    cancelling: bool  # true if the input was cancelled or timed out, and has not ended yet
    members: int  # of a batch; 1 for an input that is not a batch
    settled: int  # members that have an outcome while the slot is held


@dataclass(frozen=True, slots=True)
class ContainerSnapshot:
    container: Container
    pid: int | None  # the process in which it is; None if that is this one, or has not begun
    state: ContainerState
    limit: int
    started_at: float
    idle_since: float | None
    takes_no_more: bool
    is_on_probation: bool  # see ``probation.py``
    loop_is_blocked: bool  # by a blocking call: the container gets no async inputs
    held: list[HeldSlot]  # in the order of the grants


@dataclass(frozen=True, slots=True)
class PoolSnapshot:
    """One pool.  All times are those of the pool's clock, in seconds."""

    name: str
    variant: str
    is_open: bool
    limits: Limits
    now: float
    queued: int  # including those that must run alone
    must_run_alone: int  # queued inputs that wait for the container on probation
    first: Input | None  # the first queued input
    max_backlog: int | None
    max_batch_size: int | None  # None unless the pool is batched
    batch_due_at: float | None  # when the first batch of the queue stops waiting for members
    outside: int  # inputs that wait for room in the backlog
    waiting: int  # inputs that wait for their next attempt
    next_attempt_at: float | None
    in_line: bool  # true if the pool waits for room in the capacity
    failed_starts: int  # in a row
    start_again_at: float
    containers: list[ContainerSnapshot]


def take_snapshot(
    options: PoolOptions,
    backlog: Backlog,
    fleet: Fleet,
    attempts: Attempts,
    batches: Batches | None,
    probation: Probation,
    scaling: Scaling,
    now: float,
    *,
    is_open: bool,
    in_line: bool,
) -> PoolSnapshot:
    """Return a snapshot of a pool with these leaves.  The caller holds the pool's lock."""
    first = backlog.first()
    due: float | None = None
    if batches is not None and first is not None:
        due = first.queued_at + batches.wait
    alone = probation.waiting
    return PoolSnapshot(
        name=options.name,
        variant=options.variant,
        is_open=is_open,
        limits=options.limits,
        now=now,
        queued=backlog.queued + len(alone),
        must_run_alone=len(alone),
        first=next(iter(alone), first),
        max_backlog=backlog.most,
        max_batch_size=None if batches is None else batches.size,
        batch_due_at=due,
        outside=backlog.outside,
        waiting=attempts.waiting,
        next_attempt_at=attempts.next_due(),
        in_line=in_line,
        failed_starts=scaling.failed_starts,
        start_again_at=scaling.start_again_at,
        containers=[
            _container_snapshot(container, fleet, container is probation.container)
            for container in fleet.containers
        ],
    )


def _container_snapshot(
    container: Container, fleet: Fleet, is_on_probation: bool
) -> ContainerSnapshot:
    return ContainerSnapshot(
        container=container,
        pid=getattr(container, "pid", None),
        state=container.state,
        limit=container.slots.limit,
        started_at=container.started_at,
        idle_since=container.idle_since,
        takes_no_more=container.takes_no_more,
        is_on_probation=is_on_probation,
        loop_is_blocked=container in fleet.blocked,
        held=[
            _held_slot(held, since)
            for held, since in container.slots.held.items()
            if isinstance(held, Input)
        ],
    )


def _held_slot(held: Input, since: float) -> HeldSlot:
    members = members_of(held)
    return HeldSlot(
        held,
        held.state,
        since,
        held.runner,
        held.cancellation is not None,
        len(members),
        sum(member.outcome is not None for member in members),
    )
