"""``python -m moorage.simulate``: plan a deployment, compare policies, measure the score.

Owns the command line; ``simulator/simulation.py`` runs the simulated pool.  docs/simulator.md
describes the options.

Begin at `plan`, then `run_seed`.
"""

from __future__ import annotations

import random
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from statistics import median

from .exception import ExecutionError
from .runtime.pools.autoscaler import Limits
from .simulator.hindsight import Schedule
from .simulator.options import BY_SLUG, conflict, most_containers, parser
from .simulator.plots import check_plots, plot_runs
from .simulator.scoring import best_schedule
from .simulator.simulation import Knee, Simulated, StartUp, simulate
from .simulator.tables import (
    POLICIES,
    Setting,
    deployment_table,
    in_processes,
    score_tables,
    sensitivity_table,
)
from .simulator.traces import SERVICES, poisson


@dataclass(frozen=True, slots=True)
class Deployment:
    """The deployment to simulate.  Times are in seconds, rates are per second."""

    setting: Setting
    policies: Sequence[str]
    law: str
    rate: float
    duration: float
    trace: str | None  # the slug of one of TRACES
    trace_file: str | None
    record: bool

    def described(self) -> str:
        """Return the deployment as one or two lines of text."""
        setting, limits = self.setting, self.setting.limits
        if self.trace_file is not None:
            source = f"the inputs of {self.trace_file}"
        elif self.trace is not None:
            source = f"trace {self.trace}"
        else:
            source = f"{self.rate:g} inputs a second (Poisson) for {self.duration:g} s"
        pool = [
            f"target_inputs={limits.target_inputs}",
            f"max_inputs={limits.max_inputs}",
            f"start-up {setting.start_up.seconds:g} s +-{setting.start_up.spread * 100:g} %",
        ]
        most = limits.max_containers
        pool.append("no limit of containers" if most is None else f"max_containers={most}")
        if limits.min_containers:
            pool.append(f"min_containers={limits.min_containers}")
        if limits.buffer_containers:
            pool.append(f"buffer_containers={limits.buffer_containers}")
        if limits.scaledown_window is not None:
            pool.append(f"scaledown_window={limits.scaledown_window:g}")
        if setting.knee is not None:
            pool.append(f"slower above {setting.knee.inputs}, slope {setting.knee.slope:g}")
        service = f"{self.law} service, mean {setting.mean_service:g} s"
        if self.trace_file is not None:
            service += " where it says none"
        return f"{source}; {service};\n{', '.join(pool)}"

    def inputs(self, seed: int) -> tuple[Sequence[float], Sequence[float]]:
        """Return the arrivals, in order, and as many service times."""
        law = SERVICES[self.law](random.Random(f"services {seed}"), self.setting.mean_service)
        if self.trace_file is not None:
            arrivals, services = read_trace(self.trace_file)
            return arrivals, [next(law) if one is None else one for one in services]
        drawn = random.Random(f"arrivals {seed}")
        if self.trace is None:
            found = poisson(drawn, lambda t: self.rate, self.rate, self.duration)
        else:
            found = BY_SLUG[self.trace].arrivals(drawn)
        if not found:
            raise ValueError(
                f"no input came in {self.duration:g} s at {self.rate:g} a second; "
                f"write --duration {20 / self.rate:g}"
            )
        return array("d", found), array("d", islice(law, len(found)))


def read_trace(path: str) -> tuple[list[float], list[float | None]]:
    """Read the arrival times of a file, in order, and its service times; both in seconds.

    Each line is one input: its time of arrival and, if known, its service time.  Empty lines
    and lines that begin with ``#`` are ignored.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if a line has another form, or no line has an input.
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
    if not found:
        raise ValueError(
            f"{path} has no inputs; write one a line, its time of arrival in seconds and, if you "
            "like, a service time, such as `12.5 0.3`"
        )
    found.sort(key=lambda one: one[0])
    return [one[0] for one in found], [one[1] for one in found]


def run_seed(seed: int, deployment: Deployment) -> tuple[list[Simulated], Schedule]:
    """Simulate the same inputs under each policy, and under the oracle."""
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
    best = best_schedule(arrivals, services, setting.limits, setting.start_up, setting.knee)
    return found, best


def main(arguments: Sequence[str] | None = None) -> int:
    made = parser()
    chosen = made.parse_args(arguments)
    wrong = conflict(chosen)
    if wrong is not None:
        made.error(wrong)
    scores: bool = chosen.score or chosen.sensitivity
    limits = Limits(
        target_inputs=chosen.target_inputs,
        max_inputs=chosen.max_inputs,
        min_containers=chosen.min_containers,
        max_containers=most_containers(chosen),
        buffer_containers=chosen.buffer_containers,
        scaledown_window=chosen.scaledown_window,
    )
    slope: float = 1.0 if chosen.slope is None else chosen.slope
    knee = None if chosen.knee is None else Knee(chosen.knee, slope)
    setting = Setting(limits, StartUp(chosen.start, chosen.start_spread), chosen.service, knee)
    names: list[str] = list(dict.fromkeys(chosen.policy or ["moorage"]))
    if "all" in names:
        names = list(POLICIES)
    if scores:
        if chosen.sensitivity:
            lines = sensitivity_table(setting, chosen.seeds, chosen.jobs)
        else:
            lines = score_tables(setting, names, chosen.seeds, chosen.jobs)
        print("\n".join(lines))
        return 0
    deployment = Deployment(
        setting,
        names,
        chosen.law or "exponential",
        10.0 if chosen.rate is None else chosen.rate,
        600.0 if chosen.duration is None else chosen.duration,
        chosen.trace,
        chosen.trace_file,
        chosen.plot is not None,
    )
    try:
        if chosen.plot is not None:
            check_plots(chosen.plot)
        plan(deployment, chosen.seeds, chosen.jobs, chosen.plot)
    except (ExecutionError, ValueError) as error:
        print(f"python -m moorage.simulate: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"python -m moorage.simulate: cannot open {error.filename!r}: {error.strerror}; "
            "write the path of a file that you may open",
            file=sys.stderr,
        )
        return 2
    return 0


def plan(deployment: Deployment, seeds: int, jobs: int, plot: str | None) -> None:
    """Simulate and print the table; draw the first seed into the file `plot` if it is given."""
    run = partial(run_seed, deployment=deployment)
    by_seed = in_processes(run, range(seeds), jobs)
    names = deployment.policies
    found = {name: [one[0][place] for one in by_seed] for place, name in enumerate(names)}
    counts = [len(runs[0].waits) for runs, _ in by_seed]
    times = f"medians of {seeds} seeds, " if seeds > 1 else ""
    print(f"{deployment.described()}; {times}{round(median(counts))} inputs\n")
    print(deployment_table(found, [one[1] for one in by_seed]))
    if plot is not None:
        title = deployment.described().split(";\n")[0]
        first = {name: runs[0] for name, runs in found.items()}
        plot_runs(plot, title, first, deployment.setting.limits.target_inputs)


if __name__ == "__main__":
    sys.exit(main())
