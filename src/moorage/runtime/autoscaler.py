"""The autoscaler's policy: what it sees in, what it wants out.

Pure: time is an argument; there is no clock, lock, thread or I/O here, so that
a simulator and the live pool run the same function.  The pool asks on events
(an arrival that finds no slot below target, a container that became ready or
idle, the time the last decision named) and carries the decision out.

This policy is the simple rule: ``ceil(demand / target)`` containers at once,
and a container that was idle for ``scaledown_window`` goes.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, Protocol

# Seconds that the last container stays idle where the user set no window.
LAST_CONTAINER_WINDOW: Final = 60.0


class Fill(enum.Enum):
    """How far ready containers are filled when none is below its target."""

    TARGET = "target"  # no further: what is above it waits in the queue
    MAX = "max"  # up to max_inputs, at once


@dataclass(frozen=True, slots=True)
class Limits:
    """What the user set.  Inputs and containers as counts, the window in seconds.

    `scaledown_window` is None if the user set none: then the policy chooses.
    """

    target_inputs: int
    max_inputs: int
    min_containers: int = 0
    max_containers: int | None = None
    buffer_containers: int = 0
    scaledown_window: float | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """A pool at one moment.  Cumulative counts start at the pool's creation.

    What is counted is what takes one slot: an input, or a batch of a batched pool,
    whose queue counts as the batches that it will make.
    """

    now: float  # seconds, on a clock that never goes back
    running: int  # those that hold a slot
    queued: int
    ready: int  # containers that take inputs, idle ones included
    starting: int
    idle_since: tuple[float, ...]  # of each idle container, longest idle first
    arrivals: int  # to the queue, further attempts included
    completions: int  # slots that were given back
    busy_seconds: float  # the integral of `running` over time, up to now
    starts: int  # containers that became ready
    start_seconds: float  # the sum of their start-up times
    draining: int = 0  # containers that could be taken back, warm
    # Slots below target that busy containers may not use: their limits were lowered.
    withheld: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """How many containers there should be, ready or starting, and when to ask again.

    `ask_again_at` is the latest time for that, None if only an event can
    change the decision.
    """

    wanted: int
    ask_again_at: float | None = None
    fill: Fill = Fill.MAX


class Policy(Protocol):
    """Decides, with a memory of its own, for one pool."""

    limits: Limits  # may be set anew at any time

    def decide(self, seen: Observation, /) -> Decision: ...

    def shortest_stay(self, containers: int, /) -> float:
        """Seconds for which any of so many containers is kept idle, at the least.

        So that the policy need not be asked whenever one becomes idle.
        """
        ...


class SimplePolicy:
    """``ceil(demand / target)`` now; idle containers go after their window."""

    def __init__(self, limits: Limits) -> None:
        self.limits: Limits = limits

    def shortest_stay(self, containers: int, /) -> float:
        window = self.limits.scaledown_window
        return LAST_CONTAINER_WINDOW if window is None else window

    def decide(self, seen: Observation, /) -> Decision:
        limits = self.limits
        demand = seen.running + seen.queued
        need = -(-(demand + seen.withheld) // limits.target_inputs)
        if demand:
            need += limits.buffer_containers
        # Idle containers within their window are kept beside those in use.
        window = limits.scaledown_window
        if window is None:
            window = LAST_CONTAINER_WINDOW
        kept = [since for since in seen.idle_since if seen.now < since + window]
        # One that starts is kept too: it would be asked for again at the next
        # arrival, and a start thrown away costs more than a window of idling.
        in_use = seen.ready - len(seen.idle_since) + seen.starting
        wanted = max(need, in_use + len(kept), limits.min_containers)
        if limits.max_containers is not None:
            wanted = min(wanted, limits.max_containers)
        surplus = seen.ready + seen.starting > limits.min_containers
        again = kept[0] + window if kept and surplus else None
        return Decision(wanted, again)
