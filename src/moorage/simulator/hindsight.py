"""Hindsight: what a pool would have cost that knew the future (the *oracle*).

Owns the search for the best of a family of schedules for known arrivals; ``scoring.py`` calls
it.  Begin at `oracle`, then `schedule`.  Pure; all times in seconds.

A schedule has a fill (the inputs that a container runs at once) and a bound on its containers.
Inputs are served first come, first served, each in the fullest container that has room.  A
container is ready exactly when it is needed, and its start-up counts as cost.  In a gap without
inputs a container stays if that costs less than another start-up.  (This is the choice of the
ski rental problem; with the future known, the choice is simple.)  Fewer containers make a
backlog, but save start-ups and the times in which containers are half empty.  The best schedule
has the least product of container-seconds and latency.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..runtime.pools.autoscaler import Limits
from .simulation import percentile


@dataclass(frozen=True, slots=True)
class Schedule:
    """The cost of one schedule.  Times in seconds."""

    containers: int  # the most containers at once
    container_seconds: float
    excess_p99: float  # the 99th percentile of: arrival to end, less the service time


def oracle(
    arrivals: Sequence[float],
    services: Sequence[float],
    limits: Limits,
    start_seconds: float,
    floor: float,
    *,
    fill: int | None = None,
) -> Schedule:
    """Return the schedule with the least ``container_seconds * (excess_p99 + floor)``.

    `fill` is how many inputs a container runs at once; None means `max_inputs`.
    """
    if fill is None:
        fill = limits.max_inputs
    best = schedule(arrivals, services, fill, limits.max_containers, start_seconds)
    peak = best.containers
    bounds = {max(1, math.ceil(peak * share)) for share in (0.8, 0.6, 0.45, 0.3, 0.2, 0.1, 0.05)}
    for bound in sorted(bounds - {peak}, reverse=True):
        found = schedule(arrivals, services, fill, bound, start_seconds)
        if worth(found, floor) < worth(best, floor):
            best = found
    return best


def worth(schedule: Schedule, floor: float) -> float:
    return schedule.container_seconds * (schedule.excess_p99 + floor)


def schedule(
    arrivals: Sequence[float],
    services: Sequence[float],
    fill: int,
    bound: int | None,
    start_seconds: float,
) -> Schedule:
    """Serve all inputs with at most `bound` containers of `fill` slots, by the rules above."""
    # `holding[n]` is the set of containers with n inputs, for n from 1 to `fill`.
    holding: list[dict[int, None]] = [{} for _ in range(fill + 1)]
    held: list[int] = []  # by container: the number of its inputs
    # Two stacks that go together: the containers without inputs, latest emptied last, and
    # when each became empty.
    emptied: list[float] = []
    idle: list[int] = []
    in_use = peak = 0
    cost = 0.0  # container-seconds
    ends: list[tuple[float, int]] = []  # a heap of (end of an input, container)
    waits: list[float] = []
    begun: list[float] = []  # by container: when it last got its first input
    last = 0.0  # when the previous input began

    def end_one() -> None:
        nonlocal cost, in_use
        when, container = heapq.heappop(ends)
        count = held[container]
        del holding[count][container]
        held[container] = count - 1
        if count == 1:
            cost += when - begun[container]
            in_use -= 1
            idle.append(container)
            emptied.append(when)
        else:
            holding[count - 1][container] = None

    for arrival, service in zip(arrivals, services, strict=True):
        now = max(arrival, last)  # not before the previous input: first come, first served
        while ends and ends[0][0] <= now:
            end_one()
        while True:
            for count in range(fill - 1, 0, -1):
                if holding[count]:
                    container = next(iter(holding[count]))
                    del holding[count][container]
                    break
            else:
                count = 0
                if bound is not None and in_use >= bound:
                    now = max(now, ends[0][0])
                    end_one()
                    continue
                if idle:
                    container = idle.pop()
                    cost += min(now - emptied.pop(), start_seconds)
                    begun[container] = now
                else:
                    container = len(held)
                    held.append(0)
                    begun.append(now)
                    cost += start_seconds
                in_use += 1
                peak = max(peak, in_use)
            break
        held[container] = count + 1
        holding[count + 1][container] = None
        heapq.heappush(ends, (now + service, container))
        waits.append(now - arrival)
        last = now
    while ends:
        end_one()
    return Schedule(peak, cost, percentile(waits, 99.0))
