"""Surveys: what the search for deadlocks reads of a pool.

Owns the quick checks, which end at the first input that surely makes progress, and the exact
survey of one pool at one moment.  Each function takes the pool's lock, reads the parts of the
pool, and changes nothing, so its caller must not hold a pool's lock.  ``deadlock.py`` and
``waiting_graph.py`` call this file.

Begin at `surely_served`, then `survey_of`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..containers.container import Container, ContainerState
from ..input import Input
from ..pools.batching import members_of
from .waits import Blocker, blockers_of

if TYPE_CHECKING:
    from ..pools.pool import Pool


@dataclass(frozen=True, slots=True)
class Survey:
    """One pool at one moment."""

    version: tuple[object, ...]  # differs after any change of the fields below
    grows: bool  # no bound keeps the pool from starting a container; or its run is being left
    in_line: bool  # the pool waits for room for a container, in the line of the capacity
    spare: int  # containers above `min_containers`; may be negative
    queued: list[Input]  # the backlog in order, then the inputs that wait for room in it
    waiting: list[Input]  # the inputs that wait for their next attempts
    alone: list[Input]  # queued inputs that only the container on probation may run
    alone_in: Container | None  # that container; None if the pool has not chosen one yet
    # Each container with its state, its limit, and the inputs that hold its slots.
    containers: list[tuple[Container, ContainerState, int, list[Input]]]


def survey_of(pool: Pool) -> Survey:
    """Return the survey of `pool`: all that the graph needs to know."""
    with pool.lock:
        return Survey(
            version=_version(pool),
            grows=pool.grows,
            in_line=pool.in_line,
            spare=pool.fleet.count - pool.options.limits.min_containers,
            queued=[*pool.backlog.inputs(), *pool.backlog.standing()],
            waiting=pool.attempts.inputs(),
            alone=list(pool.probation.waiting),
            alone_in=pool.probation.container,
            containers=[
                (
                    container,
                    container.state,
                    container.slots.limit,
                    [holder for holder in container.slots.held if isinstance(holder, Input)],
                )
                for container in pool.fleet.containers
            ],
        )


def version_of(pool: Pool) -> tuple[object, ...]:
    """Return the version of `pool`; equal to a survey's as long as that survey holds."""
    with pool.lock:
        return _version(pool)


def _version(pool: Pool) -> tuple[object, ...]:
    tally, fleet = pool.tally, pool.fleet
    return (
        pool.is_open,
        tally.accepted,
        tally.unsettled,
        tally.retries,
        tally.numbers,
        tally.starts,
        len(pool.endings.abandoned),
        pool.backlog.queued,
        pool.backlog.outside,
        len(pool.probation.waiting),
        pool.probation.container,
        tally.returned_inputs,
        fleet.running,
        pool.in_line,
        pool.options.limits,
        tuple((c.number, c.state, c.slots.limit) for c in fleet.containers),
    )


def surely_served(pool: Pool) -> list[list[Blocker]] | None:
    """Return None if a queued input surely gets a slot, or if no input is queued.

    Otherwise return, for each input whose end would free a slot for the queue, its blockers.
    """
    ways: list[list[Blocker]] = []
    with pool.lock:
        fleet = pool.fleet
        if pool.probation.waiting:
            return []  # the quick check knows nothing of probation
        if not pool.backlog.queued or pool.grows:
            return None
        if fleet.starting and not fleet.blocked:
            return None
        for container in fleet.ready:
            held = container.slots.held
            if container in fleet.blocked or len(held) > container.slots.limit:
                # The container is blocked, or above a lowered limit: then more than one input
                # must end before the queue gets a slot.
                continue
            if len(held) < container.slots.limit:
                return None
            # The youngest first: they have had the least time to begin a wait.
            for holder in reversed(held):
                assert isinstance(holder, Input)
                found = blockers_of(holder)
                if not found:
                    return None
                ways.append(found)
    return ways


def surely_ends(pool: Pool, call: object) -> list[list[Blocker]] | None:
    """Return None if an input of `call` that is not queued surely ends.

    Otherwise return, for each holder of a slot with an input of `call`, its blockers.
    """
    ways: list[list[Blocker]] = []
    with pool.lock:
        if any(input.call is call for input in pool.attempts.inputs()):
            return None
        for holder in pool.fleet.holders():
            assert isinstance(holder, Input)
            if any(input.call is call for input in members_of(holder)):
                found = blockers_of(holder)
                if not found:
                    return None
                ways.append(found)
    return ways
