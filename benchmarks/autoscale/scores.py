"""The score of a policy: its cost and its latency, relative to the oracle's.

Owns the score and the table; begin at `scores`.

For one trace and one law of service:
- The *cost ratio* is the policy's container-seconds divided by the oracle's.
- The *latency ratio* is ``(p99 + 0.25 s) / (the oracle's p99 + 0.25 s)``, p99 of the time from an
  input's arrival to its end, less its own service time.
- The *score* is the square root of their product.
Over several traces, laws and seeds, each of the three is a geometric mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from moorage.runtime.pools.autoscaler import Limits, Policy
from moorage.simulator.simulation import StartUp, simulate

from .hindsight import Floor, oracle, percentile
from .pool import run
from .traces import KINDS, LAWS, Drawn, draw

START: Final = 2.0
SPREAD: Final = 0.25
ADDED: Final = 0.25  # seconds, on both sides of the latency ratio
TARGET_INPUTS: Final = 4
MAX_INPUTS: Final = 8

MakePolicy = Callable[[Limits], Policy]


@dataclass(frozen=True, slots=True)
class Score:
    """The score of one policy on one trace."""

    kind: str
    law: str
    cost: float
    latency: float
    starts: float  # start-ups begun, divided by the oracle's

    @property
    def score(self) -> float:
        return math.sqrt(self.cost * self.latency)


def scores(
    seed: int, policies: Sequence[MakePolicy], *, own_simulator: bool = False
) -> list[list[Score]]:
    """Return the scores of each policy on all traces and laws of `seed`."""
    found: list[list[Score]] = [[] for _ in policies]
    for kind in KINDS:
        for law in LAWS:
            drawn = draw(kind, law, seed)
            floor = floor_of(drawn)
            for own, make in zip(found, policies, strict=True):
                own.append(score_one(drawn, seed, make, floor, own_simulator=own_simulator))
    return found


def floor_of(drawn: Drawn) -> Floor:
    """Return the oracle's schedule for this trace."""
    return oracle(drawn.arrivals, drawn.services, MAX_INPUTS, drawn.max_containers, START, ADDED)


def score_one(
    drawn: Drawn,
    seed: int,
    make: MakePolicy,
    floor: Floor | None = None,
    *,
    own_simulator: bool = False,
) -> Score:
    """Return the score of one policy on one trace.

    `own_simulator` takes the library's simulator in place of the one beside this file.
    """
    arrivals, services = drawn.arrivals, drawn.services
    limits = Limits(TARGET_INPUTS, MAX_INPUTS, max_containers=drawn.max_containers)
    policy = make(limits)
    if floor is None:
        floor = floor_of(drawn)
    excess: Sequence[float]
    if own_simulator:
        made = simulate(
            arrivals, services, limits, policy, start_up=StartUp(START, SPREAD), seed=seed
        )
        cost, excess, starts = made.container_seconds, made.excess, made.starts
    else:
        ran = run(arrivals, services, limits, policy, start=START, spread=SPREAD, seed=seed)
        cost, excess, starts = ran.container_seconds, ran.excess, ran.starts
    return Score(
        drawn.kind,
        drawn.law,
        cost / floor.container_seconds,
        (percentile(excess, 99.0) + ADDED) / (floor.excess_p99 + ADDED),
        starts / floor.starts,
    )


def geometric_mean(values: Iterable[float]) -> float:
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs))


def line(name: str, found: Sequence[Score]) -> str:
    """Return one line of the table: the geometric means of `found`."""
    means = (
        geometric_mean(one.score for one in found),
        geometric_mean(one.cost for one in found),
        geometric_mean(one.latency for one in found),
        geometric_mean(one.starts for one in found),
    )
    return f"{name:22}" + "".join(f"{mean:9.2f}" for mean in means)


HEAD: Final = f"{'':22}{'score':>9}{'cost':>9}{'p99':>9}{'starts':>9}"


def table(name: str, found: Sequence[Score]) -> list[str]:
    """Return lines with the total of one policy, by kind of trace and by law."""
    lines = [HEAD, line(name, found), ""]
    lines += [line(kind, [one for one in found if one.kind == kind]) for kind in KINDS]
    lines.append("")
    lines += [line(law, [one for one in found if one.law == law]) for law in LAWS]
    return lines
