"""What the tests of the pool read of its inside, and replace in it.

The one file of the tests that knows private names of `Pool`.  ``pool_world.py`` and
``test_pool_model.py`` call it, and compare what it gives with what their model knows.
No function takes the pool's lock: its caller holds it, or nothing else runs.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable

from moorage.runtime.clocks.clock import Clock
from moorage.runtime.clocks.timekeeper import Timer
from moorage.runtime.containers import thread_lane as threads
from moorage.runtime.containers.container import Container, ContainerFactory, Effect
from moorage.runtime.input import Input
from moorage.runtime.pools import endings, scaling
from moorage.runtime.pools import pool as pool_module
from moorage.runtime.pools.autoscaler import Limits
from moorage.runtime.pools.capacity import Capacity
from moorage.runtime.pools.kept import Kept
from moorage.runtime.pools.pool import Pool
from moorage.runtime.pools.pool_options import PoolOptions

ALL_ABANDONED = endings.ALL_ABANDONED
BACKOFF_FIRST = scaling.BACKOFF_FIRST
BACKOFF_MOST = scaling.BACKOFF_MOST


def make_kept(limits: Limits) -> Kept:
    """What successive pools of one key share."""
    return Kept(limits)


def make_pool(
    options: PoolOptions,
    factory: ContainerFactory,
    *,
    clock: Clock,
    capacity: Capacity,
    on_retired: Callable[[Pool], object] | None = None,
    kept: Kept | None = None,
) -> Pool:
    return Pool(options, factory, clock=clock, capacity=capacity, on_retired=on_retired, kept=kept)


class PoolThatAsks(Pool):
    """A pool that is never direct: it asks all questions at each event."""

    def _judge(self) -> None:
        super()._judge()
        self._direct = False


def make_pool_that_asks(
    options: PoolOptions, factory: ContainerFactory, *, clock: Clock, capacity: Capacity
) -> Pool:
    return PoolThatAsks(options, factory, clock=clock, capacity=capacity)


def is_direct(pool: Pool) -> bool:
    return pool._direct


def replace_carry_out(carry_out: Callable[[Iterable[Effect]], None]) -> None:
    """Have all pools hand their effects to `carry_out`, after they let go of their locks."""
    pool_module.carry_out = carry_out


def put_carry_out_back() -> None:
    pool_module.carry_out = threads.carry_out


def carry_out(effects: Iterable[Effect]) -> None:
    """Carry `effects` out as production code does."""
    threads.carry_out(effects)


# -- inputs -------------------------------------------------------------------------


def queued(pool: Pool) -> list[Input]:
    """The QUEUED inputs, first in line first."""
    return pool.backlog.inputs()


def outside(pool: Pool) -> list[Input]:
    """The inputs that wait for room in the backlog, first in line first."""
    return pool.backlog.standing()


def trials_waiting(pool: Pool) -> int:
    """How many failed inputs have a time at which their next attempt comes."""
    waiting = pool.attempts.inputs()
    return len(waiting) if pool.alarms.retry.timer is not None else 0


def abandoned(pool: Pool) -> dict[Hashable, float]:
    """The ABANDONED inputs, each with the time since when it is."""
    return dict(pool.endings.abandoned)


# -- containers ---------------------------------------------------------------------


def ready(pool: Pool) -> list[Container]:
    """The READY containers."""
    return list(pool.fleet.ready)


def held_loops(pool: Pool) -> dict[Container, int]:
    """The containers whose loop sits in blocking calls, each with the number of these."""
    return dict(pool.fleet.blocked)


def running(pool: Pool) -> int:
    """How many slots are held."""
    return pool.fleet.running


def is_in_line(pool: Pool) -> bool:
    """Whether the pool waits for room of the process."""
    return pool._waiting_for_room


# -- timers -------------------------------------------------------------------------


def wakeup(pool: Pool) -> Timer | None:
    """The timer after which the pool asks its policy again."""
    return pool.alarms.scaling.timer


def batch_due(pool: Pool) -> Timer | None:
    """The timer for the first batch of the queue."""
    return pool.alarms.batch.timer
