"""A pool in numbers, at one moment.

Owns the values that `Pool.statistics` gives to users, and `Survey`, which it gives to
the search for knots.  All are counted under the pool's lock, and so exact.
"""

from __future__ import annotations

from dataclasses import dataclass

from .container import Container, ContainerState
from .input import Input


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
class Survey:
    """One pool at one moment, for the search in ``waiting_graph.py``."""

    version: tuple[object, ...]  # another one once anything here has changed
    grows: bool  # no bound keeps it from starting a container; or it is being left
    in_line: bool  # it waits for room
    spare: int  # containers above `min_containers`
    queued: list[Input]  # and those that stand outside, behind them
    waiting: list[Input]  # for their next attempts
    # Each with its state, its limit, and who holds its slots.
    containers: list[tuple[Container, ContainerState, int, list[Input]]]
