"""The options of ``python -m moorage.simulate``: their values, and which go together.

Owns the command's parser, which ``simulate.py`` calls.  Begin at `parser`, then `conflict`.
"""

from __future__ import annotations

import argparse
import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from .. import config
from .tables import POLICIES
from .traces import SERVICES, TRACES

BY_SLUG: Final = {trace.slug: trace for trace in TRACES}

DEFAULT: Final = " (default: %(default)s)"


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
        help="how long inputs arrive at --rate (default: 600)",
    )
    add(
        "--trace",
        type=OneOf("--trace", BY_SLUG),
        metavar="NAME",
        help=f"a trace in place of --rate: {', '.join(BY_SLUG)}",
    )
    file = "a file in place of --rate; a line has an arrival and, if known, a service time"
    add("--trace-file", metavar="FILE", help=file)
    add(
        "--service", type=Above(0, "--service 0.3"), default=1.0, help="mean service time" + DEFAULT
    )
    add(
        "--law",
        type=OneOf("--law", SERVICES),
        metavar="NAME",
        help=f"the law of service times: {', '.join(SERVICES)} (default: exponential)",
    )
    add(
        "--seeds",
        type=Whole(1, "--seeds 5"),
        default=1,
        help="number of simulations; the tables show medians" + DEFAULT,
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
    start = "start-up time of a container"
    add("--start", type=Between(0, None, "--start 2"), default=2.0, help=start + DEFAULT)
    spread = "start-up times are drawn up to this fraction shorter or longer"
    add(
        "--start-spread",
        type=Between(0, 1, "--start-spread 0.25"),
        default=0.25,
        help=spread + DEFAULT,
    )
    add("--min-containers", type=Whole(0, "--min-containers 1"), default=0, help=DEFAULT.strip())
    most = "0 for no limit (default: the trace's own, else %d, the limit of a process)"
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
    slope = "at twice the knee, inputs take 1 + slope times as long (default: 1)"
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
    add("--score", action="store_true", help="show the score over all traces and laws of service")
    sensitivity = "show the score with each constant of moorage's policy at -50 and +50 %%"
    add("--sensitivity", action="store_true", help=sensitivity)
    plot = "draw the first seed to a .png, .svg or .pdf file; needs the extra `plots`"
    add("--plot", metavar="FILE", help=plot)
    add("--jobs", type=Whole(1, "--jobs 2"), default=1, help="number of processes" + DEFAULT)
    return made


def most_containers(chosen: argparse.Namespace) -> int | None:
    """Return the limit of containers; None for no limit.

    Without ``--max-containers``: none for a score, else the trace's own, else that of a process.
    """
    most: int | None = chosen.max_containers
    if most is not None:
        return most or None
    if chosen.score or chosen.sensitivity:
        return None
    own = None if chosen.trace is None else BY_SLUG[chosen.trace].max_containers
    return config.max_containers if own is None else own


def conflict(chosen: argparse.Namespace) -> str | None:
    """Return the error about options that are valid alone but not together; else None."""
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
        return "--sensitivity measures moorage's own policy; write it without --policy"
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
    """An option's type: a number from `least` to `most`.  The error advises to write `example`."""

    least: float
    most: float | None
    example: str

    def __call__(self, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        # Test for valid values, not for invalid ones: NaN compares false with everything, so
        # this refuses it.
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
    """An option's type: one of `names`."""

    def __init__(self, option: str, names: Iterable[str]) -> None:
        self.option = option
        self.names: list[str] = list(names)

    def __call__(self, text: str) -> str:
        if text in self.names:
            return text
        near = difflib.get_close_matches(text, self.names, 1) or self.names
        raise argparse.ArgumentTypeError(
            f"must be one of {', '.join(self.names)}, got {text!r}; write {self.option} {near[0]}"
        )
