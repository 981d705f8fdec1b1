"""Views: one pool at one moment, as users, people and the search for knots see it.

Owns how the values of ``statistics.py`` and ``snapshot.py`` are read out of a pool.
Called by `Pool` only, under its lock; nothing is changed here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .batching import members_of
from .container import Container
from .input import Input, InputState
from .snapshot import ContainerSnapshot, HeldSlot, PoolSnapshot
from .statistics import BatchStatistics, ContainerStatistics, PoolStatistics, Survey

if TYPE_CHECKING:
    from .pool import Pool


def statistics_of(pool: Pool) -> PoolStatistics:
    running, abandoned = pool._running, len(pool._abandoned)
    if pool._batching is not None:
        members = pool._under_way()
        running, abandoned = len(members), sum(member.outcome is not None for member in members)
    return PoolStatistics(
        name=pool.options.name,
        max_inputs=pool.options.limits.max_inputs,
        target_inputs=pool.options.limits.target_inputs,
        outside=len(pool._outside),
        queued=pool._queued,
        waiting=pool._waiting,
        running=running,
        abandoned=abandoned,
        abandoned_threads=sum(
            holder in pool._abandoned
            for c in pool._containers
            if c.given_up
            for holder in c.slots.held
        ),
        refused=pool._refused,
        accepted=pool._accepted,
        succeeded=pool._succeeded,
        failed=pool._failed,
        cancelled=pool._cancelled,
        retries=pool._retries,
        containers=tuple(
            ContainerStatistics(
                c.number, c.state, len(c.slots.held), c.slots.limit, c.target, c.slots.peak
            )
            for c in pool._containers
        ),
        containers_started=pool._starts,
        peak_containers=pool._peak_containers,
        peak_inputs=max([pool._peak_inputs, *(c.slots.peak for c in pool._containers)]),
        wanted_containers=pool._wanted,
        busy_seconds=pool._busy_seconds + pool._running * pool._now(),
        start_seconds=pool._start_seconds,
        batches=_batch_statistics(pool),
    )


def _batch_statistics(pool: Pool) -> BatchStatistics | None:
    if pool._batching is None:
        return None
    return BatchStatistics(
        max_batch_size=pool._batching.max_batch_size,
        wait=pool._batching.wait,
        running=pool._running - len(pool._abandoned),
        granted=pool._granted,
        sizes=tuple(sorted(pool._batches.items())),
        mean_wait=pool._batch_wait / pool._granted if pool._granted else 0.0,
        longest_wait=pool._longest_batch_wait,
    )


def snapshot_of(pool: Pool) -> PoolSnapshot:
    attempts = [trials.timer.when for trials in pool._trials.values() if trials.timer]
    first = next((input for input in pool._queue if input.state is InputState.QUEUED), None)
    due: float | None = None
    if pool._batching is not None and first is not None:
        due = first.queued_at + pool._batching.wait
    return PoolSnapshot(
        name=pool.options.name,
        is_open=pool.is_open,
        limits=pool.options.limits,
        now=pool._now(),
        queued=pool._queued,
        first=first,
        max_backlog=pool._max_backlog,
        max_batch_size=None if pool._batching is None else pool._batch_size,
        batch_due_at=due,
        outside=len(pool._outside),
        waiting=pool._waiting,
        next_attempt_at=min(attempts, default=None),
        in_line=pool._waiting_for_room,
        failed_starts=pool._failed_starts,
        start_again_at=pool._start_again_at,
        containers=[_container_snapshot(pool, c) for c in pool._containers],
    )


def _container_snapshot(pool: Pool, container: Container) -> ContainerSnapshot:
    return ContainerSnapshot(
        container=container,
        state=container.state,
        limit=container.slots.limit,
        started_at=container.started_at,
        idle_since=container.idle_since,
        takes_no_more=container.takes_no_more,
        loop_is_held=container in pool._held_loops,
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


def version_of(pool: Pool) -> tuple[object, ...]:
    return (
        pool._state,
        pool._accepted,
        pool._succeeded,
        pool._failed,
        pool._cancelled,
        pool._retries,
        len(pool._abandoned),
        pool._queued,
        len(pool._outside),
        pool._running,
        pool._starts,
        pool._numbers,
        pool._waiting_for_room,
        pool.options.limits,
        tuple((c.number, c.state, c.slots.limit) for c in pool._containers),
    )


def survey_of(pool: Pool) -> Survey:
    return Survey(
        version=version_of(pool),
        grows=pool._grows(),
        in_line=pool._waiting_for_room,
        spare=len(pool._ready) + pool._starting - pool.options.limits.min_containers,
        queued=[
            *(input for input in pool._queue if input.state is InputState.QUEUED),
            *pool._outside,
        ],
        waiting=pool._waiting_inputs(),
        containers=[
            (
                container,
                container.state,
                container.slots.limit,
                [held for held in container.slots.held if isinstance(held, Input)],
            )
            for container in pool._containers
        ],
    )
