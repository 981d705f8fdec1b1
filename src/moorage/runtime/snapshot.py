"""Snapshots: one pool at one moment, for people to read.

Owns what `Pool.snapshot` collects under the pool's lock and ``description.py``
puts into words afterwards.  The counts for programs are `PoolStatistics`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .autoscaler import Limits
from .container import Container, ContainerState
from .input import Input, InputState


@dataclass(frozen=True, slots=True)
class HeldSlot:
    """One slot, and the input that holds it."""

    input: Input
    state: InputState
    granted_at: float
    runner: Any  # the task or the worker; None if it has not begun
    cancelling: bool  # it was cancelled, or ran out of time, and is on its way out
    members: int  # of a batch; 1 of what is none
    settled: int  # of them, that have left it while it runs on


@dataclass(frozen=True, slots=True)
class ContainerSnapshot:
    container: Container
    state: ContainerState
    limit: int
    started_at: float
    idle_since: float | None
    takes_no_more: bool
    loop_is_held: bool  # by a blocking call: it gets no asynchronous inputs
    held: list[HeldSlot]  # in the order of the grants


@dataclass(frozen=True, slots=True)
class PoolSnapshot:
    """All times are those of the pool's clock, in seconds."""

    name: str
    is_open: bool
    limits: Limits
    now: float
    queued: int
    first: Input | None  # of those queued
    max_backlog: int | None
    max_batch_size: int | None  # None unless it is batched
    batch_due_at: float | None  # when the first batch of the queue waits for no more members
    outside: int  # inputs that wait for room in the backlog
    waiting: int  # inputs, for their next attempts
    next_attempt_at: float | None
    in_line: bool  # it waits for room
    failed_starts: int  # in a row
    start_again_at: float
    containers: list[ContainerSnapshot]
