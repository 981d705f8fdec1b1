"""Scoring: the score of a policy, from its cost and its latency relative to the oracle's.

Owns the definition of the score.  ``tables.py`` calls `work`, then `score`: begin there.

For one trace and one law of service:
- The *cost ratio* is the policy's container-seconds divided by the oracle's.
- The *latency ratio* is ``(excess p99 + floor) / (the oracle's excess p99 + floor)``.  The
  excess of an input is the time from its arrival to its end, less its service time.  The floor
  is a tenth of a start-up, a wait that users would not notice beside the start-up.
- The *score* is the square root of the product of both ratios.

Over several traces and laws, each of the three is a geometric mean.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from ..runtime.pools.autoscaler import Limits, Policy
from .hindsight import Schedule, oracle
from .simulation import Knee, Simulated, StartUp, simulate
from .traces import SERVICES, Trace

FLOOR_STARTS: Final = 0.1  # the floor of latency, in start-ups


@dataclass(frozen=True, slots=True)
class Work:
    """One trace with one law of service, drawn from one seed, and the oracle's schedule for it."""

    trace: str
    service: str
    seed: int
    arrivals: Sequence[float]
    services: Sequence[float]
    limits: Limits
    start_up: StartUp
    knee: Knee | None
    best: Schedule


@dataclass(frozen=True, slots=True)
class Score:
    """The score of one policy on one `Work`."""

    trace: str
    service: str
    cost: float  # the cost ratio
    latency: float  # the latency ratio
    simulated: Simulated

    @property
    def score(self) -> float:
        return math.sqrt(self.cost * self.latency)


def work(
    trace: Trace,
    service: str,
    seed: int,
    *,
    limits: Limits,
    start_up: StartUp,
    mean_service: float = 1.0,
    knee: Knee | None = None,
) -> Work:
    """Draw `trace` with the law `service` (mean in seconds) from `seed`."""
    arrivals = trace.arrivals(random.Random(f"{trace.name} {seed}"))
    law = SERVICES[service](random.Random(f"{trace.name} {service} {seed}"), mean_service)
    services = list(islice(law, len(arrivals)))
    best = best_schedule(arrivals, services, limits, start_up, knee)
    return Work(trace.name, service, seed, arrivals, services, limits, start_up, knee, best)


def best_schedule(
    arrivals: Sequence[float],
    services: Sequence[float],
    limits: Limits,
    start_up: StartUp,
    knee: Knee | None,
) -> Schedule:
    """Return the oracle's schedule for these inputs; it fills containers at most to the knee."""
    return oracle(
        arrivals,
        services,
        limits,
        start_up.seconds,
        FLOOR_STARTS * start_up.seconds,
        fill=None if knee is None else min(knee.inputs, limits.max_inputs),
    )


def score(work: Work, make_policy: Callable[[Limits], Policy]) -> Score:
    """Simulate `work` under a new policy, and return the policy's score."""
    found = simulate(
        work.arrivals,
        work.services,
        work.limits,
        make_policy(work.limits),
        start_up=work.start_up,
        knee=work.knee,
        seed=work.seed,
    )
    floor = FLOOR_STARTS * work.start_up.seconds
    return Score(
        work.trace,
        work.service,
        found.container_seconds / work.best.container_seconds,
        (found.percentile_excess(99.0) + floor) / (work.best.excess_p99 + floor),
        found,
    )


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(sum(math.log(value) for value in values) / len(values))
