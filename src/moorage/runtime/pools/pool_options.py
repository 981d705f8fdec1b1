"""What a pool is asked for: its bounds, its clocks, its retries.

Owns the frozen value that ``services.py`` makes of checked options and that `Pool`
reads.  Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from .autoscaler import Limits
from .batching import BatchOptions


class RetryPolicy(Protocol):
    """How often, and after which pause, a failed input is tried again."""

    @property
    def max_retries(self) -> int: ...
    def delay(self, attempt: int, /) -> float:
        """Seconds before a retry, the first being 1."""
        ...


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """What the user asked for, checked."""

    name: str
    limits: Limits
    timeout: float | None = 300.0  # seconds from the grant of the slot
    startup_timeout: float | None = None  # seconds from the boot of a container
    queue_timeout: float | None = None  # seconds in the queue, each time
    max_backlog: int | None = None  # inputs in the queue
    waits_when_full: bool = False  # whether callers wait for room then, or are refused
    sync_slots: int = 0  # threads that one container may need
    retries: RetryPolicy | None = None
    batching: BatchOptions | None = None  # None: each input takes a slot
