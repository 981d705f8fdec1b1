"""Surveys: what the search for deadlocks reads of a pool.

Owns the quick looks, which end at the first input that surely gets on, and the exact survey
of one pool at one moment.  Each takes the pool's lock, reads the leaves of the pool, and
changes nothing; so it is called with no lock held.  Called by ``deadlock.py`` and
``waiting_graph.py``.

Start at `surely_served`, then `survey_of`.
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

    version: tuple[object, ...]  # another one once anything here has changed
    grows: bool  # no bound keeps the pool from starting a container; or it is being left
    in_line: bool  # the pool waits for room
    spare: int  # containers above `min_containers`
    queued: list[Input]  # and those that stand outside, behind them
    waiting: list[Input]  # for their next attempts
    # Each with its state, its limit, and who holds its slots.
    containers: list[tuple[Container, ContainerState, int, list[Input]]]


def survey_of(pool: Pool) -> Survey:
    """All that the graph needs to know of `pool`."""
    with pool.lock:
        return Survey(
            version=_version(pool),
            grows=pool.grows,
            in_line=pool.in_line,
            spare=pool.fleet.count - pool.options.limits.min_containers,
            queued=[*pool.backlog.inputs(), *pool.backlog.standing()],
            waiting=pool.attempts.inputs(),
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
    """Equal to that of a survey while all that the survey says is so."""
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
        fleet.running,
        pool.in_line,
        pool.options.limits,
        tuple((c.number, c.state, c.slots.limit) for c in fleet.containers),
    )


def surely_served(pool: Pool) -> list[list[Blocker]] | None:
    """None if a queued input surely gets a slot; else what keeps those that might help."""
    ways: list[list[Blocker]] = []
    with pool.lock:
        fleet = pool.fleet
        if not pool.backlog.queued or pool.grows:
            return None
        if fleet.starting and not fleet.blocked:
            return None
        for container in fleet.ready:
            held = container.slots.held
            if container in fleet.blocked or len(held) > container.slots.limit:
                continue  # more than one must get on
            if len(held) < container.slots.limit:
                return None
            # The youngest have had the least time to begin to wait.
            for holder in reversed(held):
                assert isinstance(holder, Input)
                found = blockers_of(holder)
                if not found:
                    return None
                ways.append(found)
    return ways


def surely_ends(pool: Pool, call: object) -> list[list[Blocker]] | None:
    """As `surely_served`, of those of `call` that are not queued: None if one surely ends."""
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
