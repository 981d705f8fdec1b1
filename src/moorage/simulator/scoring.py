"""The score of a policy: its cost and its latency, each over those of the oracle.

For a trace and a law of service: the *cost ratio* is container-seconds over the
oracle's.  The *latency ratio* is ``(excess p99 + floor) / (the oracle's + floor)``: excess
is what passes between an input's arrival and its end beyond its service time, and the
floor, a tenth of a start-up, is what nobody would notice beside it.  The *score* is the
square root of their product.  Over several all are geometric means.
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
    """One trace with one law of service, drawn from one seed; and what the oracle makes of it."""

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
    trace: str
    service: str
    cost: float  # ratio to the oracle's
    latency: float  # ratio to the oracle's
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
    """What the oracle makes of these inputs, if containers are filled to the knee at most."""
    return oracle(
        arrivals,
        services,
        limits,
        start_up.seconds,
        FLOOR_STARTS * start_up.seconds,
        fill=None if knee is None else min(knee.inputs, limits.max_inputs),
    )


def score(work: Work, make_policy: Callable[[Limits], Policy]) -> Score:
    """Run `work` under a new policy."""
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
