"""Watching: how a test waits for a state of a fake container's pool.

Owns the waits, blocking and in a task, and the conditions.  A probe (``probe.py``) evaluates
the conditions under the pool's lock, after each event of the pool.  `FakeContainer`
(``fake_container.py``) calls this file.

Begin at `wait_for`, then `_when`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..runtime.clocks.clock import Waiter
from ..runtime.clocks.parking import park
from ..runtime.clocks.virtual_clock import VirtualWaiter
from ..runtime.pools.pool import Pool
from ..runtime.uninterruptible import uninterruptible
from ..runtime.waiting.async_waiters import AsyncWaiter, make_async_waiter, wait_in
from .probe import Probe, Watch

Condition = Callable[[Pool], bool]
"""Called under the pool's lock: it must not wait and must not run user code."""

# Seconds from now to a start that must not happen.
NEVER: Final = 1e9


def wait_for(
    probe: Probe, pool: Pool, condition: Condition, about: Callable[[], str] | None = None
) -> bool:
    """Block until `condition` is true; return false if the container was left first.

    Args:
        about: says what the wait is for, if virtual time gets stuck.
    """
    waiter = pool.clock.make_waiter()
    if isinstance(waiter, VirtualWaiter):
        waiter.about = about
    met: list[bool] = []
    watch = _when(condition, waiter, met)
    probe.watch(pool, watch)
    try:
        with uninterruptible:
            park(pool.clock, waiter)
    finally:
        probe.unwatch(watch)
    return bool(met)


async def wait_for_async(probe: Probe, pool: Pool, condition: Condition) -> bool:
    """Wait as `wait_for` does, in a task."""
    waiter = make_async_waiter()
    met: list[bool] = []
    watch = _when(condition, waiter, met)
    probe.watch(pool, watch)
    try:
        await wait_in(pool.clock, waiter)
    finally:
        probe.unwatch(watch)
    return bool(met)


def rest(pool: Pool) -> None:
    """In virtual time, wait until all other participants wait."""
    clock = pool.clock
    if clock.virtual:
        with uninterruptible:
            park(clock, clock.make_waiter(), 0.0)


async def rest_async(pool: Pool) -> None:
    """Wait as `rest` does, in a task."""
    clock = pool.clock
    if clock.virtual:
        waiter = make_async_waiter()
        timer = clock.call_at(clock.now(), waiter.wake)
        try:
            await wait_in(clock, waiter)
        finally:
            timer.cancel()


# -- conditions and watches, called under the pool's lock -----------------------------------


def _when(condition: Condition, waiter: Waiter | AsyncWaiter, met: list[bool]) -> Watch:
    """Return a watch that wakes `waiter` once `condition` is true or the container is left.

    If `condition` is true, the watch adds True to `met`; if the container is left first,
    `met` stays empty.
    """

    def watch(pool: Pool) -> Callable[[], object] | None:
        if condition(pool):
            met.append(True)
        return waiter.wake if met or not pool.is_open else None

    return watch


def has_started(pool: Pool) -> bool:
    # Ask the fleet, not `tally.starts`: the watch runs while the pool moves the container
    # to READY, and the pool counts the start only after that.
    return pool.scaling.failed_starts > 0 or bool(pool.fleet.ready)


def starts_once(pool: Pool) -> None:
    """Keep the pool from running the hooks again after a failed start.

    The thread or task that enters the container gets the error of the first start.
    """
    if pool.scaling.failed_starts and not pool.tally.starts:
        pool.scaling.start_again_at = pool.clock.now() + NEVER


def is_idle(pool: Pool) -> bool:
    return not (
        pool.backlog.queued
        or pool.probation.waiting
        or pool.fleet.running
        or pool.attempts.waiting
        or pool.backlog.outside
    )
