"""The autoscaler's policy: it takes an observation of a pool and returns a decision.

Owns the policy's input (`Observation`), its answer (`Decision`), and the default policy.
Pure: time is an argument, and there is no clock, lock, thread or I/O here, so that the
simulator and the live pool run the same code.  The pool asks the policy on events: an input
finds no slot below the target, a container becomes ready or idle, or the time comes that the
last decision named.  The pool carries the decision out.

Begin at `Observation` and `Decision`, then `TargetPolicy`, then `TargetPolicy.decide`.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from dataclasses import dataclass
from typing import Final, Protocol

from .pauses import SHARES, Levels


class Fill(enum.Enum):
    """How far ready containers are filled when none of them is below its target."""

    TARGET = "target"  # up to the target; further inputs wait in the queue
    MAX = "max"  # up to max_inputs, at once


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that the user set: counts of inputs and of containers, and a window.

    `scaledown_window` is in seconds.  None means that the user set none, and that the policy
    chooses.
    """

    target_inputs: int
    max_inputs: int
    min_containers: int = 0
    max_containers: int | None = None
    buffer_containers: int = 0
    scaledown_window: float | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """A pool at one moment.  Times in seconds.

    The counts are of what takes one slot: inputs, or batches in a batched pool, whose queue
    counts as the batches that it will make.  Cumulative counts begin with the first pool of
    the key in its run.
    """

    now: float  # on a clock that never goes back
    running: int  # slots held, except in containers that were given up
    queued: int
    ready: int  # containers that take inputs, including idle ones
    starting: int
    idle_since: tuple[float, ...]  # for each idle container, longest idle first
    arrivals: int  # cumulative: inputs that were granted a slot or are queued; each attempt counts
    completions: int  # cumulative: slots that were released
    busy_seconds: float  # cumulative: the integral of the held slots over time, until now
    starts: int  # cumulative: containers that became ready
    start_seconds: float  # cumulative: the sum of their start-up times
    draining: int = 0  # containers that drain and could be taken back, warm
    # Slots below the target that cannot be used: those of busy containers whose limit was
    # lowered, and, while inputs are queued, those of containers whose loop is blocked.
    withheld: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """How many containers should be ready or starting, and when to ask again.

    `ask_again_at` is the latest time to ask again, in seconds on the clock of
    `Observation.now`.  None means that only an event can change the decision.
    """

    wanted: int
    ask_again_at: float | None = None
    fill: Fill = Fill.MAX


class Policy(Protocol):
    """Decides for one pool.  A policy may remember what it has seen."""

    limits: Limits  # the pool may replace it at any time

    @property
    def shortest_stay(self) -> float:
        """The least number of seconds that an idle container is kept.

        The pool need not ask before a container has been idle for that long.
        """
        ...

    def decide(self, seen: Observation, /) -> Decision: ...


@dataclass(frozen=True, slots=True)
class Tuning:
    """The constants of :class:`TargetPolicy`.

    `python -m moorage.simulate --sensitivity` shows how much each constant matters.
    """

    # The window in which arrivals are counted, in start-up times.
    rate_starts: float = 0.25
    # How far a count of arrivals may be off, in standard deviations of that count.
    caution: float = 2.0
    # A backlog counts for as many slots as work it off within this many start-up times.
    # A starting container is not cancelled while up to twice these slots could be useful.
    backlog_starts: float = 1.0
    # `max_inputs` must hold the load plus this many standard deviations of the load.
    spare: float = 3.0
    # Seconds that the last container stays idle, and the longest stay of the others.
    long_window: float = 60.0
    # The shortest stay: this many start-up times, but not below the seconds.
    short_starts: float = 1.5
    short_least: float = 2.0
    # How much a pause counts when the next pause has been noted.
    memory: float = 0.97
    # A share s of waiting inputs makes a stay worse by the factor 1 + wait_weight * s, up to the
    # factor 1 + start / unnoticed.  Callers do not notice a wait of `unnoticed` seconds.
    wait_weight: float = 80.0
    unnoticed: float = 0.2
    # The last container stays for the long window until so many pauses were longer than that.
    proof: int = 3
    # The mean service time is that of the latest inputs: of at least this many.
    services: int = 200
    # The assumed seconds of a start-up before the first one was seen.
    start_guess: float = 1.0

    def wait_costs(self, start: float) -> float:
        """Return the factor by which waiting makes a stay worse if most inputs wait."""
        return 1.0 + start / max(self.unnoticed, 1e-3)


DEFAULTS: Final = Tuning()


class TargetPolicy:
    """Start as many containers as will have work, up to each one's target, when they are ready.

    *How many.*  A start-up takes a time S.  So the number of inputs after S matters, not the
    number now.  With a mean service time m, a share ``p = exp(-S / m)`` of the running inputs
    will still run after S.  New inputs will hold ``(1 - p) * rate * m`` slots by then (Little's
    law).  Both terms together are the transient of an M/G/inf queue with exponential service.
    A backlog counts for the slots that work it off within about S.

    The rate is not known exactly.  Its lower bound decides what is started, and its upper
    bound decides what is cancelled, so that noise causes neither.  The result is never more
    than ``ceil(demand / target)``, and never less than what holds the load within
    `max_inputs`, because waiting costs most.  Knative and Ray Serve smooth the noise with
    averages over 6 to 60 s.  This policy looks back a quarter of S, and uses the bounds.

    *How long.*  A container that stays idle costs its upkeep.  Stopping it costs a start-up when
    it is needed again, for which inputs wait.  How long it should stay depends on the pauses to
    come, and the past ones are the best guess: ``pauses.py`` finds the stay that would have been
    best for them.  Without such a past the last container stays for the long window, and so do
    the others if inputs kept coming while they were needed; otherwise they stay for the shortest
    stay, about the cost of another start-up.

    Asking the policy more often than necessary does no harm.
    """

    def __init__(self, limits: Limits, tuning: Tuning = DEFAULTS) -> None:
        self.limits: Limits = limits
        self.tuning = tuning
        # Pairs (time, arrivals until then), oldest first, at least a quarter of the rate's
        # window apart.
        self._counts: deque[tuple[float, int]] = deque(maxlen=8)
        # Pairs (busy seconds, completions) at two moments.  The mean service time is counted
        # from the base.  When enough inputs have ended since the mark, the mark becomes the
        # base.
        self._ended_base = (0.0, 0)
        self._ended_mark = (0.0, 0)
        # The state that was seen when `_look_again_at` last named a time, the pause before
        # that time, and the time.
        self._looked_at: tuple[int, ...] = ()
        self._pause = self._look_at = 0.0
        self._levels = Levels(tuning)

    def decide(self, seen: Observation, /) -> Decision:
        limits = self.limits
        start = seen.start_seconds / seen.starts if seen.starts else self.tuning.start_guess
        there = seen.ready + seen.starting
        busy = seen.ready - len(seen.idle_since)
        least, most, ask_again_at = self._needs(seen, start)
        if most:
            least += limits.buffer_containers
            most += limits.buffer_containers
        kept, until = self._kept(seen, busy, start)
        wanted = max(least, busy + kept, limits.min_containers)
        if seen.starting:
            wanted = max(wanted, min(there, most))
        if limits.max_containers is not None:
            wanted = min(wanted, limits.max_containers)
        if until is not None and there > limits.min_containers:
            ask_again_at = until if ask_again_at is None else min(ask_again_at, until)
        return Decision(wanted, ask_again_at)

    @property
    def shortest_stay(self) -> float:
        window = self.limits.scaledown_window
        return self.tuning.short_least if window is None else window

    # -- how many --------------------------------------------------------------------------

    def _needs(self, seen: Observation, start: float) -> tuple[int, int, float | None]:
        """Return three answers about the number of containers.

        Returns:
            How many to start up to; how many not to cancel; and when time alone may change
            these numbers, None for never.
        """
        target, maximum, tuning = self.limits.target_inputs, self.limits.max_inputs, self.tuning
        window = max(start * tuning.rate_starts, 0.01)
        low, high = self._rates(seen.now, seen.arrivals, window)
        demand = seen.running + seen.queued
        if not demand:
            return 0, 0, None
        at_target = -(-(demand + seen.withheld) // target)
        service = self._service(seen)
        if service is None:  # no service time is known yet: plan one slot for each input
            return at_target, at_target, None
        stays = math.exp(-start / service) if service > 0.0 else 0.0
        worked_off = tuning.backlog_starts * start
        share = service / worked_off if worked_off > 0.0 else 1.0

        def containers(rate: float, share: float) -> int:
            load = rate * service
            slots = seen.running * stays + load * (1.0 - stays) + seen.queued * min(1.0, share)
            held = load + tuning.spare * math.sqrt(load)
            if seen.queued:
                held = max(held, demand)
            return max(1, _ceil((slots + seen.withheld) / target), _ceil(held / maximum))

        least = min(at_target, containers(low, share))
        most = max(least, min(at_target, containers(high, 2.0 * share)))
        if seen.starting:
            return least, most, self._look_again_at(seen, window)
        # Ask again even without events, in case the queue is not worked off as expected.
        again = self._look_again_at(seen, max(start, window)) if seen.queued else None
        return least, most, again

    def _look_again_at(self, seen: Observation, pause: float) -> float:
        """Return now plus `pause`.  The pause doubles each time that nothing has changed."""
        state = (seen.arrivals, seen.completions, seen.ready, seen.starting, seen.queued)
        if state != self._looked_at:
            self._looked_at = state
            self._pause = pause
            self._look_at = seen.now + pause
        elif seen.now >= self._look_at:
            self._pause *= 2.0
            self._look_at = seen.now + self._pause
        return self._look_at

    def _rates(self, now: float, arrivals: int, window: float) -> tuple[float, float]:
        """Return bounds of the arrivals per second in the last `window` seconds."""
        counts = self._counts
        if not counts or now - counts[-1][0] >= window / 4:
            counts.append((now, arrivals))
        while len(counts) > 1 and counts[1][0] <= now - window:
            counts.popleft()
        low = high = 0.0
        # Count from the oldest entry.  That entry may be long ago, so count also from the
        # next one, which may be the beginning of a burst.
        for when, before in (counts[0], counts[min(1, len(counts) - 1)]):
            count = max(0, arrivals - before)
            spread = self.tuning.caution * math.sqrt(count)
            seconds = max(now - when, window)
            low = max(low, (count - spread) / seconds)
            high = max(high, (count + spread) / seconds)
        return low, high

    def _service(self, seen: Observation) -> float | None:
        """Return the mean service time in seconds; None if no input has ended.

        The time of running inputs counts too.  Otherwise long inputs would not be noticed
        until they end.
        """
        busy, ended = seen.busy_seconds, seen.completions
        if ended - self._ended_mark[1] >= self.tuning.services:
            self._ended_base, self._ended_mark = self._ended_mark, (busy, ended)
        before, ended_before = self._ended_base
        if ended <= ended_before:
            return None
        return max(0.0, busy - before) / (ended - ended_before)

    # -- how long --------------------------------------------------------------------------

    def _kept(self, seen: Observation, busy: int, start: float) -> tuple[int, float | None]:
        """Return how many idle containers stay beside the busy ones, and until when."""
        idle, window = seen.idle_since, self.limits.scaledown_window
        kept = len(idle)
        if window is not None:
            for since in idle:
                if seen.now < since + window:
                    return kept, since + window
                kept -= 1
            return 0, None
        tuning, levels = self.tuning, self._levels
        short = max(tuning.short_starts * start, tuning.short_least)
        stays = [max(short, share * tuning.long_window) for share in SHARES]
        levels.see(seen, self.limits, self._service(seen), start, stays)
        # The longest idle container is stopped first, so it counts as the highest level.
        for since in idle:
            level = busy + kept
            until = since + levels.stay(level, stays)
            if seen.now < until:
                return kept, until
            levels.leave(level, since)
            kept -= 1
        return 0, None


def _ceil(value: float) -> int:
    """Round up, but ignore a fraction that is only a rounding error of floats."""
    return math.ceil(value - 1e-9)
