"""``python -m moorage.simulate``: plan a deployment, compare policies, measure the score.

See docs/simulator.md.  What is simulated is the pool of :mod:`moorage.runtime.simulation`.
"""

from __future__ import annotations

import argparse
import random
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

from .exception import ExecutionError
from .runtime.autoscaler import Limits
from .runtime.hindsight import Schedule, oracle
from .runtime.scoring import FLOOR_STARTS
from .runtime.simulation import Knee, Simulated, StartUp, simulate
from .runtime.traces import SERVICES, TRACES, poisson
from .simulation_plots import plot_runs
from .simulation_tables import (
    POLICIES,
    Setting,
    deployment_table,
    in_processes,
    score_tables,
    sensitivity_table,
)


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is simulated.  Times in seconds, rates per second."""

    setting: Setting
    policies: Sequence[str]
    law: str
    rate: float
    duration: float
    trace: str | None  # the name of one of TRACES
    trace_file: str | None
    record: bool

    def inputs(self, seed: int) -> tuple[Sequence[float], Sequence[float]]:
        """Arrivals, in order, and as many service times."""
        law = SERVICES[self.law](random.Random(f"services {seed}"), self.setting.mean_service)
        if self.trace_file is not None:
            arrivals, services = read_trace(self.trace_file)
            return arrivals, [next(law) if one is None else one for one in services]
        drawn = random.Random(f"arrivals {seed}")
        if self.trace is None:
            found = poisson(drawn, lambda t: self.rate, self.rate, self.duration)
        else:
            found = next(one for one in TRACES if one.name == self.trace).arrivals(drawn)
        return array("d", found), array("d", islice(law, len(found)))


def read_trace(path: str) -> tuple[list[float], list[float | None]]:
    """The arrivals of a file, in order, and the service times that it says; seconds.

    One input a line: its time of arrival, and, if known, its service time.  Empty lines and
    those that begin with ``#`` are passed over.

    Raises:
        ValueError: if a line is anything else.
    """
    found: list[tuple[float, float | None]] = []
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            words = line.replace(",", " ").split()
            if not words or words[0].startswith("#"):
                continue
            try:
                values = [float(word) for word in words]
                if not 1 <= len(values) <= 2 or not all(0 <= v < float("inf") for v in values):
                    raise ValueError
            except ValueError:
                raise ValueError(
                    f"{path}, line {number} says {line.strip()!r}; write a time of arrival in "
                    "seconds and, if you like, a service time, such as `12.5 0.3`"
                ) from None
            found.append((values[0], values[1] if len(values) == 2 else None))
    found.sort(key=lambda one: one[0])
    return [one[0] for one in found], [one[1] for one in found]


def run_seed(seed: int, deployment: Deployment) -> tuple[list[Simulated], Schedule]:
    """The same inputs under each policy, and what the oracle makes of them."""
    arrivals, services = deployment.inputs(seed)
    setting = deployment.setting
    found = [
        simulate(
            arrivals,
            services,
            setting.limits,
            POLICIES[name](setting.limits),
            start_up=setting.start_up,
            knee=setting.knee,
            seed=seed,
            record=deployment.record,
        )
        for name in deployment.policies
    ]
    best = oracle(
        arrivals,
        services,
        setting.limits,
        setting.start_up.seconds,
        FLOOR_STARTS * setting.start_up.seconds,
        fill=None if setting.knee is None else min(setting.knee.inputs, setting.limits.max_inputs),
    )
    return found, best


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m moorage.simulate",
        description="Simulate a pool under moorage's autoscaler. Times in seconds.",
    )
    add = made.add_argument
    work = made.add_argument_group("the inputs")
    work.add_argument("--rate", type=_positive, default=10.0, help="arrivals a second (Poisson)")
    work.add_argument("--duration", type=_positive, default=600.0, help="of the arrivals")
    work.add_argument("--trace", choices=[one.name for one in TRACES], help="instead of --rate")
    work.add_argument("--trace-file", help="a file with an arrival, and maybe a service, a line")
    work.add_argument("--service", type=_positive, default=1.0, help="mean service time")
    work.add_argument("--law", choices=list(SERVICES), default="exponential")
    work.add_argument("--seeds", type=_count, default=1, help="how often; medians are shown")
    pool = made.add_argument_group("the pool")
    pool.add_argument("--target", type=_count, default=4, help="target_inputs")
    pool.add_argument("--max", type=_count, default=8, help="max_inputs")
    pool.add_argument("--start", type=_positive, default=2.0, help="start-up of a container")
    pool.add_argument("--start-spread", type=float, default=0.25, help="a fraction of it")
    pool.add_argument("--min-containers", type=int, default=0)
    pool.add_argument("--max-containers", type=_count)
    pool.add_argument("--buffer-containers", type=int, default=0)
    pool.add_argument("--scaledown-window", type=float, help="the policy's own unless given")
    pool.add_argument("--knee", type=_count, help="inputs above which a container is slower")
    pool.add_argument("--slope", type=float, default=1.0, help="by so much, see Knee")
    add(
        "--policy",
        action="append",
        choices=[*POLICIES, "all"],
        help="may be given several times; moorage's unless given",
    )
    add("--score", action="store_true", help="the score over all traces and laws of service")
    add("--sensitivity", action="store_true", help="the score with each constant -50 and +50 %%")
    add("--plot", metavar="PNG", help="draw the first seed; needs the extra `plots`")
    add("--jobs", type=_count, default=1, help="processes")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    made = parser()
    chosen = made.parse_args(arguments)
    if chosen.target > chosen.max:
        made.error(
            f"--target must not exceed --max, got {chosen.target} > {chosen.max}; "
            f"write --max {chosen.target} or more"
        )
    limits = Limits(
        target_inputs=chosen.target,
        max_inputs=chosen.max,
        min_containers=chosen.min_containers,
        max_containers=chosen.max_containers,
        buffer_containers=chosen.buffer_containers,
        scaledown_window=chosen.scaledown_window,
    )
    knee = None if chosen.knee is None else Knee(chosen.knee, chosen.slope)
    start_up = StartUp(chosen.start, chosen.start_spread)
    setting = Setting(limits, start_up, chosen.service, knee)
    names: list[str] = chosen.policy or ["moorage"]
    if "all" in names:
        names = list(POLICIES)
    if chosen.sensitivity:
        print("\n".join(sensitivity_table(setting, chosen.seeds, chosen.jobs)))
        return 0
    if chosen.score:
        print("\n".join(score_tables(setting, names, chosen.seeds, chosen.jobs)))
        return 0
    deployment = Deployment(
        setting,
        names,
        chosen.law,
        chosen.rate,
        chosen.duration,
        chosen.trace,
        chosen.trace_file,
        chosen.plot is not None,
    )
    try:
        run = partial(run_seed, deployment=deployment)
        by_seed = in_processes(run, range(chosen.seeds), chosen.jobs)
        found = {name: [one[0][place] for one in by_seed] for place, name in enumerate(names)}
        print(deployment_table(found, [one[1] for one in by_seed]))
        if chosen.plot is not None:
            title = chosen.trace_file or chosen.trace or f"Poisson, {chosen.rate:g}/s"
            first = {name: runs[0] for name, runs in found.items()}
            plot_runs(chosen.plot, f"{title}; {chosen.law} service", first, chosen.target)
    except (ExecutionError, ValueError, OSError) as error:
        print(f"python -m moorage.simulate: {error}", file=sys.stderr)
        return 2
    return 0


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"got {text}; write a number above 0")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"got {text}; write 1 or more")
    return value


if __name__ == "__main__":
    sys.exit(main())
