"""``python -m moorage.simulate``: plan a deployment, compare policies, measure the score.

See docs/simulator.md.  What is simulated is the pool of :mod:`moorage.runtime.simulation`.
"""

from __future__ import annotations

import argparse
import difflib
import math
import random
import sys
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from statistics import median
from typing import Final

from . import config
from .exception import ExecutionError
from .runtime.autoscaler import Limits
from .runtime.hindsight import Schedule, oracle
from .runtime.scoring import FLOOR_STARTS
from .runtime.simulation import Knee, Simulated, StartUp, simulate
from .runtime.traces import SERVICES, TRACES, poisson
from .simulation_plots import check_plots, plot_runs
from .simulation_tables import (
    POLICIES,
    Setting,
    deployment_table,
    in_processes,
    score_tables,
    sensitivity_table,
)

BY_SLUG: Final = {trace.slug: trace for trace in TRACES}

DEFAULT: Final = " (default: %(default)s)"


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is simulated.  Times in seconds, rates per second."""

    setting: Setting
    policies: Sequence[str]
    law: str
    rate: float
    duration: float
    trace: str | None  # the slug of one of TRACES
    trace_file: str | None
    record: bool

    def described(self) -> str:
        """What is simulated, in a line or two."""
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
        """Arrivals, in order, and as many service times."""
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
    """The arrivals of a file, in order, and the service times that it says; seconds.

    One input a line: its time of arrival, and, if known, its service time.  Empty lines and
    those that begin with ``#`` are passed over.

    Raises:
        OSError: if it cannot be read.
        ValueError: if a line is anything else, or there is none.
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
        allow_abbrev=False,
    )
    work = made.add_argument_group("the inputs")
    add = work.add_argument
    add("--rate", type=Above(0, "--rate 5"), help="arrivals a second, Poisson (default: 10)")
    add(
        "--duration",
        type=Above(0, "--duration 600"),
        help="of the arrivals at --rate (default: 600)",
    )
    add(
        "--trace",
        type=OneOf("--trace", BY_SLUG),
        metavar="NAME",
        help=f"instead: {', '.join(BY_SLUG)}",
    )
    add("--trace-file", metavar="FILE", help="or a file: an arrival, and maybe a service, a line")
    add(
        "--service", type=Above(0, "--service 0.3"), default=1.0, help="mean service time" + DEFAULT
    )
    add(
        "--law",
        type=OneOf("--law", SERVICES),
        metavar="NAME",
        help=f"{', '.join(SERVICES)} (the second)",
    )
    add(
        "--seeds",
        type=Whole(1, "--seeds 5"),
        default=1,
        help="how often; medians are shown" + DEFAULT,
    )
    pool = made.add_argument_group("the pool")
    add = pool.add_argument
    add(
        "--target-inputs",
        "--target",
        type=Whole(1, "--target-inputs 4"),
        default=4,
        help=DEFAULT.strip(),
    )
    add("--max-inputs", "--max", type=Whole(1, "--max-inputs 8"), default=8, help=DEFAULT.strip())
    add("--start", type=Between(0, None, "--start 2"), default=2.0, help="of a container" + DEFAULT)
    spread = "start-ups are drawn this fraction shorter or longer"
    add(
        "--start-spread",
        type=Between(0, 1, "--start-spread 0.25"),
        default=0.25,
        help=spread + DEFAULT,
    )
    add("--min-containers", type=Whole(0, "--min-containers 1"), default=0, help=DEFAULT.strip())
    most = "0 for no limit (default: the trace's own, or %d as in a process)"
    most %= config.max_containers
    add("--max-containers", type=Whole(0, "--max-containers 10"), help=most)
    add(
        "--buffer-containers",
        type=Whole(0, "--buffer-containers 1"),
        default=0,
        help=DEFAULT.strip(),
    )
    window = "2 to 3600 (default: the policy's own)"
    add("--scaledown-window", type=Between(2, 3600, "--scaledown-window 60"), help=window)
    add("--knee", type=Whole(1, "--knee 4"), help="inputs above which a container is slower")
    slope = "a container with twice so many takes 1 + slope times as long (default: 1)"
    add("--slope", type=Between(0, None, "--slope 1"), help=slope)
    add = made.add_argument
    policies = [*POLICIES, "all"]
    add(
        "--policy",
        action="append",
        type=OneOf("--policy", policies),
        metavar="NAME",
        help=f"{', '.join(policies)}; may be given several times (default: moorage)",
    )
    add("--score", action="store_true", help="the score over all traces and laws of service")
    add("--sensitivity", action="store_true", help="the score with each constant -50 and +50 %%")
    add("--plot", metavar="FILE", help="draw the first seed, .png; needs the extra `plots`")
    add("--jobs", type=Whole(1, "--jobs 2"), default=1, help="processes" + DEFAULT)
    return made


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
    """Simulate, print the table, and draw the first seed if `plot` says where."""
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


def most_containers(chosen: argparse.Namespace) -> int | None:
    """The limit that was chosen: a process's room, unless said otherwise; a score has none."""
    most: int | None = chosen.max_containers
    if most is not None:
        return most or None
    if chosen.score or chosen.sensitivity:
        return None
    own = None if chosen.trace is None else BY_SLUG[chosen.trace].max_containers
    return config.max_containers if own is None else own


def conflict(chosen: argparse.Namespace) -> str | None:
    """What is wrong with options that are right each for itself; None if nothing is."""
    if chosen.target_inputs > chosen.max_inputs:
        return (
            f"--target-inputs must not exceed --max-inputs, got {chosen.target_inputs} > "
            f"{chosen.max_inputs}; write --max-inputs {chosen.target_inputs} or more"
        )
    most = most_containers(chosen)
    if most is not None and chosen.min_containers > most:
        return (
            f"--min-containers must not exceed --max-containers, got {chosen.min_containers} > "
            f"{most}; write --max-containers {chosen.min_containers} or more"
        )
    if chosen.slope is not None and chosen.knee is None:
        return "--slope says how much slower above the knee, got no --knee; write --knee 4 too"
    if chosen.score and chosen.sensitivity:
        return "--score and --sensitivity are two tables; write one of them"
    if chosen.sensitivity and chosen.policy:
        return "--sensitivity is of moorage's own policy; write it without --policy"
    for table in ("score", "sensitivity"):
        if getattr(chosen, table):
            if not chosen.start:
                return f"--{table} measures waits in start-ups, got --start 0; write --start 0.1"
            for name in ("rate", "duration", "trace", "trace_file", "law", "plot"):
                if getattr(chosen, name) is not None:
                    option = "--" + name.replace("_", "-")
                    return f"--{table} runs all traces under all laws; write it without {option}"
    given = [name for name in ("rate", "trace", "trace_file") if getattr(chosen, name) is not None]
    options = ["--" + name.replace("_", "-") for name in given]
    if len(given) > 1:
        return f"the inputs come from one place, got {' and '.join(options)}; write one of them"
    if chosen.duration is not None and given and given != ["rate"]:
        return f"{options[0]} has a duration of its own; write it without --duration"
    return None


@dataclass(frozen=True)
class Between:
    """An option's type: a number from `least` to `most`.  `example` is what the error advises."""

    least: float
    most: float | None
    example: str

    def __call__(self, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        # Written so that NaN, which compares false with everything, is refused.
        if self.holds(value) and math.isfinite(value):
            return value
        raise argparse.ArgumentTypeError(
            f"must be {self.said()}, got {text!r}; write {self.example}"
        )

    def holds(self, value: float) -> bool:
        return value >= self.least and (self.most is None or value <= self.most)

    def said(self) -> str:
        if self.most is None:
            return f"a number from {self.least:g} up"
        return f"a number from {self.least:g} to {self.most:g}"


class Above(Between):
    """An option's type: a number above `least`."""

    def __init__(self, least: float, example: str) -> None:
        super().__init__(least, None, example)

    def holds(self, value: float) -> bool:
        return value > self.least

    def said(self) -> str:
        return f"a number above {self.least:g}"


@dataclass(frozen=True)
class Whole:
    """An option's type: a whole number from `least` up."""

    least: int
    example: str

    def __call__(self, text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = self.least - 1
        if value >= self.least:
            return value
        raise argparse.ArgumentTypeError(
            f"must be a whole number from {self.least} up, got {text!r}; write {self.example}"
        )


class OneOf:
    """An option's type: one of some names."""

    def __init__(self, option: str, names: Iterable[str]) -> None:
        self.option = option
        self.names = list(names)

    def __call__(self, text: str) -> str:
        if text in self.names:
            return text
        near = difflib.get_close_matches(text, self.names, 1) or self.names
        raise argparse.ArgumentTypeError(
            f"must be one of {', '.join(self.names)}, got {text!r}; write {self.option} {near[0]}"
        )


if __name__ == "__main__":
    sys.exit(main())
