"""The harness: runs the contenders of a group in turns, checks them, takes medians.

Owns the order of the measurements and what is checked after each.  It knows no
contender by name: the groups are made in ``asynchronous.py``, ``synchronous.py``,
``memory.py``, ``resources.py`` and ``web.py``; what moorage's rows have to prove is in
``proof.py``.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Final

import moorage
from moorage.runtime.pools.statistics import PoolStatistics

from .proof import CheckFailed, check_sample, prove

ROUNDS: Final = 7

Run = Callable[[Sequence[Any]], list[Any]]
"""Runs the group's body on each input and returns the results, in order."""

Measure = Callable[[Sequence[int]], tuple[float, list[Any]]]
"""Does the same, and says what it took in all, in the group's unit."""

Function = moorage.Function[..., Any, Any]


@dataclass(frozen=True)
class Goal:
    """The most a row may take: of its group's floor, or in the group's unit."""

    most: float
    absolute: bool = False


@dataclass(frozen=True)
class Contender:
    """One row.  The first of a group is its floor."""

    name: str
    run: Run
    measure: Measure
    goal: Goal | None = None
    function: Function | None = None  # of moorage: what it has to prove, it proves on this
    part: int = 1  # it gets one in so many of the group's inputs; all if 1
    extra_inputs: int = 0  # submitted by `run` itself, each time
    limit: int | None = None  # of this contender, if it is below the group's
    containers: int = 1  # the most that moorage's may have

    def measured(self, measure: Measure) -> Contender:
        """The same contender, measured in another way."""
        return replace(self, measure=measure)


@dataclass(frozen=True)
class Group:
    """Contenders that do the same work."""

    name: str
    unit: str
    what: str
    body: Callable[[Any], Any]
    inputs: int
    limit: int  # inputs in flight at a time, for every contender
    contenders: list[Contender]
    exact_peak: bool = False  # whether moorage must reach the limit, too
    notes: list[Any] = field(default_factory=list)  # shown beneath the rows, as text
    remote: bool = False  # the body runs in other processes, which check themselves, or nowhere


OpenGroup = Callable[[bool], AbstractContextManager[Group]]
"""Makes a group, with what its contenders need running; fewer inputs if true."""


@dataclass(frozen=True)
class Row:
    """The result of one contender."""

    contender: Contender
    inputs: int
    median: float  # per input, as the two below
    least: float
    most: float
    ratio: float

    @property
    def met(self) -> bool | None:
        goal = self.contender.goal
        if goal is None:
            return None
        return (self.median if goal.absolute else self.ratio) <= goal.most


def timed(name: str, run: Run, **rest: Any) -> Contender:
    """A contender that is measured in microseconds."""

    def measure(inputs: Sequence[int]) -> tuple[float, list[Any]]:
        started = time.perf_counter()
        results = run(inputs)
        return (time.perf_counter() - started) * 1e6, results

    return Contender(name, run, measure, **rest)


def spawned_by(function: Function) -> Run:
    """Run with a handle for each input."""

    def run(inputs: Sequence[Any]) -> list[Any]:
        calls = [function.spawn(x) for x in inputs]
        return [call.get() for call in calls]

    return run


def run_group(group: Group, rounds: int) -> list[Row]:
    """Measure all contenders, `rounds` times and once before that to warm up.

    Raises:
        CheckFailed: if a contender did not do what it was measured for.
    """
    inputs = list(range(group.inputs))
    shares = {c.name: inputs[: max(1, len(inputs) // c.part)] for c in group.contenders}
    taken: dict[str, list[float]] = {c.name: [] for c in group.contenders}
    for number in range(rounds + 1):
        # There and back again: none always follows the same one.
        order = group.contenders[:: -1 if number % 2 else 1]
        for contender in order:
            share = shares[contender.name]
            total = _measure(group, contender, share)
            if number:
                taken[contender.name].append(total / len(share))
    if not group.remote:
        check_sample(group.body, group.limit, {c.name: c.run for c in group.contenders})
    for contender in group.contenders:
        if contender.function is not None and not group.remote:
            prove(contender.name, contender.function, contender.run, group.body, group.limit)
    floor = statistics.median(taken[group.contenders[0].name])
    return [
        Row(
            contender,
            len(shares[contender.name]),
            statistics.median(values),
            min(values),
            max(values),
            statistics.median(values) / floor,
        )
        for contender in group.contenders
        for values in [taken[contender.name]]
    ]


def _measure(group: Group, contender: Contender, inputs: list[int]) -> float:
    before = None if contender.function is None else contender.function.statistics()
    # All start from an empty young generation; it stays on while they run.
    gc.collect()
    total, results = contender.measure(inputs)
    if results != inputs:
        raise CheckFailed(f"{contender.name}: the results are not those of the inputs")
    if contender.function is not None:
        after = contender.function.statistics()
        assert after is not None
        _check_counts(group, contender, before, after, len(inputs) + contender.extra_inputs)
    return total


def _check_counts(
    group: Group,
    contender: Contender,
    before: PoolStatistics | None,
    after: PoolStatistics,
    count: int,
) -> None:
    """Every input went through the pool, once; no more than the limit ran; all is given back."""
    accepted = after.accepted - (0 if before is None else before.accepted)
    succeeded = after.succeeded - (0 if before is None else before.succeeded)
    if not accepted == succeeded == count:
        raise CheckFailed(
            f"{contender.name}: {accepted} accepted and {succeeded} succeeded of {count} inputs"
        )
    if after.running or after.queued or after.abandoned:
        raise CheckFailed(f"{contender.name}: not idle at its end: {after}")
    limit = contender.limit or group.limit
    if after.peak_inputs > limit or after.peak_containers != contender.containers:
        raise CheckFailed(f"{contender.name}: over its limit of {limit}: {after}")
    if group.exact_peak and after.peak_inputs != group.limit:
        raise CheckFailed(f"{contender.name}: never had {group.limit} in flight: {after}")
