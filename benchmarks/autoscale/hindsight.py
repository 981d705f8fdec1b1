"""The oracle: what a pool would cost that knows all arrivals and service times.

Owns the floor that costs and waits are divided by; begin at `oracle`.

*A schedule.*  With at most b containers of `max_inputs` slots, inputs run first come, first
served.  So it is known when each input runs, and how many run at each moment.  The k-th container
is needed while more than ``(k - 1) * max_inputs`` inputs run.  It is ready exactly when it is
needed, pays one start-up, and stays in a gap if that is cheaper than another start-up.  Inputs may
even move between containers, so that no container is half empty while another has room.

*Why this is a floor.*  No pool that runs the inputs at the same times can cost less: at each moment
it needs as many containers, and each of them has to be started, or kept, for its gaps.

*Which schedule.*  Fewer containers make inputs wait and save container-seconds.  The oracle is the
schedule with the least product of cost and latency, of several b; without a limit one of them
lets no input wait.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

SHARES = (0.8, 0.6, 0.4, 0.25, 0.15, 0.08)


@dataclass(frozen=True, slots=True)
class Floor:
    """The oracle's cost, the 99th percentile of its waits, and its start-ups."""

    container_seconds: float
    excess_p99: float
    starts: int
    peak: int


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the least value that at least `percent` % of `values` do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100 - 1e-9) - 1)]


def oracle(
    arrivals: Sequence[float],
    services: Sequence[float],
    max_inputs: int,
    max_containers: int | None,
    start: float,
    added: float,
) -> Floor:
    """Return the schedule with the least ``container_seconds * (excess_p99 + added)``."""
    best = _schedule(arrivals, services, max_inputs, max_containers, start)
    for bound in sorted({max(1, math.ceil(best.peak * share)) for share in SHARES}):
        found = _schedule(arrivals, services, max_inputs, bound, start)
        if _worth(found, added) < _worth(best, added):
            best = found
    return best


def _worth(floor: Floor, added: float) -> float:
    return floor.container_seconds * (floor.excess_p99 + added)


def _schedule(
    arrivals: Sequence[float],
    services: Sequence[float],
    max_inputs: int,
    bound: int | None,
    start: float,
) -> Floor:
    slots = len(arrivals) if bound is None else bound * max_inputs
    free: list[float] = []  # a heap: when each slot in use becomes free
    changes: list[tuple[float, int]] = []
    waits: list[float] = []
    for arrival, service in zip(arrivals, services, strict=True):
        begin = arrival
        if len(free) == slots:
            begin = max(arrival, heapq.heappop(free))
        elif free and free[0] <= arrival:
            heapq.heappop(free)
        heapq.heappush(free, begin + service)
        waits.append(begin - arrival)
        changes += [(begin, 1), (begin + service, -1)]
    changes.sort(key=lambda one: (one[0], one[1]))
    cost, starts, running, needed = 0.0, 0, 0, 0
    left: list[float] = []  # by container: when it was last needed; -inf before the first time
    since: list[float] = []  # by container: since when it is needed
    for when, change in changes:
        running += change
        now_needed = -(-running // max_inputs)
        if now_needed > needed:
            if now_needed > len(left):
                left.append(-math.inf)
                since.append(when)
            gap = when - left[needed]
            if gap > start:
                starts += 1
            cost += min(gap, start)
            since[needed] = when
        elif now_needed < needed:
            left[now_needed] = when
            cost += when - since[now_needed]
        needed = now_needed
    return Floor(cost, percentile(waits, 99.0), starts, len(left))
