"""The options of a pool: its limits, its time limits, its retries.

Owns the frozen value that ``running/services.py`` makes of checked options and that `Pool`
reads.  Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from .autoscaler import Limits
from .batching import BatchOptions


class RetryPolicy(Protocol):
    """How often a failed input is tried again, and after which pause."""

    @property
    def max_retries(self) -> int: ...
    def delay(self, attempt: int, /) -> float:
        """Return the seconds to wait before retry number `attempt`, counted from 1."""
        ...


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """The checked options of the user."""

    name: str
    limits: Limits
    timeout: float | None = 300.0  # seconds from the grant of the slot
    startup_timeout: float | None = None  # seconds from the boot of a container
    queue_timeout: float | None = None  # seconds in the queue, counted anew for each attempt
    max_backlog: int | None = None  # the most inputs in the queue
    waits_when_full: bool = False  # if the backlog is full: true, callers wait; false, refused
    sync_slots: int = 0  # the most threads for sync inputs that one container needs
    retries: RetryPolicy | None = None
    # Seconds that running inputs get to end by themselves when the run is left.
    exit_grace: float = 0.0
    batching: BatchOptions | None = None  # None: each input takes a slot of its own
    # How this pool differs from the other pools of its name: see `PoolStatistics.variant`.
    variant: str = ""
    # True if an input is never run a second time because its container was lost.
    nonpreemptible: bool = False
    is_placed: bool = False  # whether the containers are in other processes
    is_web: bool = False  # whether there are web requests among the inputs

    @property
    def label(self) -> str:
        """The name and the variant: what logs, `describe` and timelines call the pool."""
        return labelled(self.name, self.variant)


def labelled(name: str, variant: str) -> str:
    """Return the label of a pool: ``fetch``, or ``fetch[timeout=1]`` for a variant."""
    return f"{name}[{variant}]" if variant else name
