"""What a pool would have cost that knew the future.

The best of a family of schedules for known arrivals.  Each has a fill (inputs in
a container at once) and a bound on its containers; inputs are served first come
first served, each in the fullest container that has room; a container is there
exactly when it is needed, and its start-up is paid for.  In a gap without inputs
it stays if that costs less than another start-up (the choice of ski rental, which
with the future known needs no rule).  Fewer containers make a backlog and save
start-ups and their half-empty ends; the best is the least product of
container-seconds and latency.
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
    """What one schedule costs.  Seconds."""

    containers: int  # at most so many at once
    container_seconds: float
    excess_p99: float  # of the times from arrival to end beyond the service time


def oracle(
    arrivals: Sequence[float],
    services: Sequence[float],
    limits: Limits,
    start_seconds: float,
    floor: float,
    *,
    fill: int | None = None,
) -> Schedule:
    """The schedule with the least ``container_seconds * (excess_p99 + floor)``.

    `fill` is how many inputs a container runs at once, `max_inputs` unless said otherwise.
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
    """Serve all with at most `bound` containers of `fill` slots each, as the module says."""
    # Containers by how many inputs they hold; those with none, latest emptied last.
    holding: list[dict[int, None]] = [{} for _ in range(fill + 1)]
    held: list[int] = []
    emptied: list[float] = []  # those without inputs, in the order of their emptying
    idle: list[int] = []
    in_use = peak = 0
    cost = 0.0
    ends: list[tuple[float, int]] = []
    waits: list[float] = []
    begun: list[float] = []
    last = 0.0  # when the input before was begun

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
        now = max(arrival, last)  # first come, first served
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
