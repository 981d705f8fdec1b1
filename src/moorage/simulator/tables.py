"""Tables of simulations: one deployment under several policies, scores, and sensitivity.

Owns the tables that ``simulate.py`` prints.  `score_tables` and `sensitivity_table` run the
simulations, in `jobs` processes, and return lines of text; `deployment_table` gets finished
simulations.  Begin at `POLICIES`, then `totals`, then the three tables.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import partial
from multiprocessing import get_context
from typing import Any, Final, TypeVar

from ..runtime.pools.autoscaler import DEFAULTS, Limits, Policy, TargetPolicy, Tuning
from .anchors import (
    CountOfTheMoment,
    KnativePodAutoscaler,
    ModalDocumented,
    RayServeDefault,
)
from .hindsight import Schedule
from .scoring import Score, geometric_mean, score, work
from .simulation import TAIL, Knee, Simulated, StartUp
from .traces import SERVICES, TRACES

T = TypeVar("T")
R = TypeVar("R")

POLICIES: Final[Mapping[str, Callable[[Limits], Policy]]] = {
    "moorage": TargetPolicy,
    "count-of-the-moment": CountOfTheMoment,
    "same-60s": partial(CountOfTheMoment, window=60.0),
    "modal": ModalDocumented,
    "knative": KnativePodAutoscaler,
    "ray-serve": RayServeDefault,
}


@dataclass(frozen=True, slots=True)
class Setting:
    """The settings that all simulations of a score have in common.  Service times in seconds."""

    limits: Limits
    start_up: StartUp
    mean_service: float = 1.0
    knee: Knee | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """The totals of one policy and seed: geometric means over traces and laws, summed starts."""

    cost: float
    latency: float
    starts: int
    # For each trace, in the order of TRACES: (cost, latency).
    by_trace: Sequence[tuple[float, float]]

    @property
    def score(self) -> float:
        return math.sqrt(self.cost * self.latency)


def in_processes(function: Callable[[T], R], items: Iterable[T], jobs: int) -> list[R]:
    """Return `function(item)` of each item, computed in `jobs` processes; 1 is this process."""
    if jobs <= 1:
        return [function(item) for item in items]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as processes:
        return list(processes.map(function, items))


def totals(
    seed: int, policies: Sequence[Callable[[Limits], Policy]], setting: Setting
) -> list[Totals]:
    """Simulate every trace with every law of service, drawn from `seed`, under each policy."""
    found: list[list[Score]] = [[] for _ in policies]
    for trace in TRACES:
        limits = setting.limits
        if trace.max_containers is not None:
            limits = replace(limits, max_containers=trace.max_containers)
        for service in SERVICES:
            drawn = work(
                trace,
                service,
                seed,
                limits=limits,
                start_up=setting.start_up,
                mean_service=setting.mean_service,
                knee=setting.knee,
            )
            for scores, policy in zip(found, policies, strict=True):
                scores.append(score(drawn, policy))
    return [_totals(scores) for scores in found]


def _totals(scores: list[Score]) -> Totals:
    by_trace: list[tuple[float, float]] = []
    for trace in TRACES:
        own = [one for one in scores if one.trace == trace.name]
        by_trace.append(
            (
                geometric_mean([one.cost for one in own]),
                geometric_mean([one.latency for one in own]),
            )
        )
    return Totals(
        geometric_mean([one.cost for one in scores]),
        geometric_mean([one.latency for one in scores]),
        sum(one.simulated.starts for one in scores),
        by_trace,
    )


def score_tables(setting: Setting, names: Sequence[str], seeds: int, jobs: int) -> list[str]:
    """Return lines with the score, cost and latency of each policy, and by trace of the first.

    All figures are medians over the seeds.
    """
    policies = [POLICIES[name] for name in names]
    run = partial(totals, policies=policies, setting=setting)
    by_seed = in_processes(run, range(seeds), jobs)
    lines = [f"{'policy':22}{'score':>8}{'cost':>8}{'p99':>8}{'starts':>10}"]
    for place, name in enumerate(names):
        own = [found[place] for found in by_seed]
        lines.append(
            f"{name:22}{statistics.median(one.score for one in own):8.2f}"
            f"{statistics.median(one.cost for one in own):8.2f}"
            f"{statistics.median(one.latency for one in own):8.2f}"
            f"{statistics.median(one.starts for one in own):10.0f}"
        )
    lines += ["", f"{names[0] + ', by trace':22}{'score':>8}{'cost':>8}{'p99':>8}"]
    for place, trace in enumerate(TRACES):
        cost = statistics.median(found[0].by_trace[place][0] for found in by_seed)
        latency = statistics.median(found[0].by_trace[place][1] for found in by_seed)
        lines.append(f"{trace.slug:22}{math.sqrt(cost * latency):8.2f}{cost:8.2f}{latency:8.2f}")
    return lines


def _tuned(limits: Limits, name: str, factor: float) -> Policy:
    value: float = getattr(DEFAULTS, name) * factor
    changed: dict[str, Any] = {name: round(value) if name == "services" else value}
    return TargetPolicy(limits, replace(DEFAULTS, **changed))


def sensitivity_table(setting: Setting, seeds: int, jobs: int) -> list[str]:
    """Return lines with the median score when one constant of moorage's policy is -50 or +50 %."""
    names = [field.name for field in fields(Tuning)]
    policies: list[Callable[[Limits], Policy]] = [TargetPolicy]
    for name in names:
        policies += [partial(_tuned, name=name, factor=factor) for factor in (0.5, 1.5)]
    run = partial(totals, policies=policies, setting=setting)
    by_seed = in_processes(run, range(seeds), jobs)
    medians = [
        statistics.median(found[place].score for found in by_seed) for place in range(len(policies))
    ]
    usual = medians[0]
    lines = [f"{'constant':16}{'value':>8}{'-50 %':>16}{'+50 %':>16}"]
    for place, name in enumerate(names):
        less, more = medians[1 + 2 * place], medians[2 + 2 * place]
        lines.append(
            f"{name:16}{getattr(DEFAULTS, name):8g}"
            + "".join(f"{one:8.3f}{(one / usual - 1) * 100:+6.1f} %" for one in (less, more))
        )
    return [f"score {usual:.3f} with the constants as they are", *lines]


def deployment_table(found: Mapping[str, Sequence[Simulated]], best: Sequence[Schedule]) -> str:
    """Return a table with one line for each policy: medians over the seeds, times in seconds."""
    lines = [
        f"{'':22}{'waiting, s':^32}{'container-':>12}{'of oracle':>10}"
        f"{'starts':>8}{'above':>9}{'peak':>6}",
        f"{'policy':22}{'p50':>8}{'p95':>8}{'p99':>8}{'max':>8}{'seconds':>12}{'':10}"
        f"{'':8}{'target, s':>9}",
    ]

    def median(values: Iterable[float]) -> float:
        return statistics.median(values)

    for name, runs in found.items():
        waits = [
            median(one.percentile_wait(percent) for one in runs) for percent in (50, 95, 99, 100)
        ]
        cost = median(one.container_seconds for one in runs)
        ratio = median(
            _ratio(one.container_seconds, other.container_seconds)
            for one, other in zip(runs, best, strict=True)
        )
        lines.append(
            f"{name:22}"
            + "".join(f"{wait:8.2f}" for wait in waits)
            + f"{cost:12.0f}{ratio:10.2f}{median(one.starts for one in runs):8.0f}"
            + f"{median(one.above_target_seconds for one in runs):9.0f}"
            + f"{median(one.peak_containers for one in runs):6.0f}"
        )
    cost = median(one.container_seconds for one in best)
    p99 = median(one.excess_p99 for one in best)
    peak = median(one.containers for one in best)
    lines.append(f"{'oracle':22}{'':16}{p99:8.2f}{'':8}{cost:12.0f}{1:10.2f}{'':17}{peak:6.0f}")
    lines += [
        "",
        "waiting: from the arrival to the grant of a slot. container-seconds: from the first",
        f"arrival to {TAIL:g} s after the last end, start-ups included. of oracle: divided by",
        "those of a pool that knows the future. starts: start-ups begun. above target:",
        "container-seconds with more inputs than the target.",
    ]
    return "\n".join(lines)


def _ratio(value: float, other: float) -> float:
    if other:
        return value / other
    return math.inf if value else 1.0
