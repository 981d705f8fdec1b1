"""The autoscaler's policy: what it sees in, what it wants out.

Pure: time is an argument; there is no clock, lock, thread or I/O here, so that
a simulator and the live pool run the same function.  The pool asks on events
(an arrival that finds no slot below target, a container that became ready or
idle, the time the last decision named) and carries the decision out.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from dataclasses import dataclass
from typing import Final, Protocol


class Fill(enum.Enum):
    """How far ready containers are filled when none is below its target."""

    TARGET = "target"  # no further: what is above it waits in the queue
    MAX = "max"  # up to max_inputs, at once


@dataclass(frozen=True, slots=True)
class Limits:
    """What the user set.  Inputs and containers as counts, the window in seconds.

    `scaledown_window` is None if the user set none: then the policy chooses.
    """

    target_inputs: int
    max_inputs: int
    min_containers: int = 0
    max_containers: int | None = None
    buffer_containers: int = 0
    scaledown_window: float | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """A pool at one moment.  Cumulative counts start at the pool's creation.

    What is counted is what takes one slot: an input, or a batch of a batched pool,
    whose queue counts as the batches that it will make.
    """

    now: float  # seconds, on a clock that never goes back
    running: int  # those that hold a slot, but for containers that were given up
    queued: int
    ready: int  # containers that take inputs, idle ones included
    starting: int
    idle_since: tuple[float, ...]  # of each idle container, longest idle first
    arrivals: int  # to the queue, further attempts included
    completions: int  # slots that were given back
    busy_seconds: float  # the integral over time of the slots that were held, up to now
    starts: int  # containers that became ready
    start_seconds: float  # the sum of their start-up times
    draining: int = 0  # containers that could be taken back, warm
    # Slots below target that busy containers may not use: their limits were lowered.
    withheld: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """How many containers there should be, ready or starting, and when to ask again.

    `ask_again_at` is the latest time for that, None if only an event can
    change the decision.
    """

    wanted: int
    ask_again_at: float | None = None
    fill: Fill = Fill.MAX


class Policy(Protocol):
    """Decides, with a memory of its own, for one pool."""

    limits: Limits  # may be set anew at any time

    @property
    def shortest_stay(self) -> float:
        """Seconds that an idle container is kept at the least: no need to ask before."""
        ...

    def decide(self, seen: Observation, /) -> Decision: ...


@dataclass(frozen=True, slots=True)
class Tuning:
    """The constants of :class:`TargetPolicy`.

    `python -m moorage.simulate --sensitivity` shows what each is worth.
    """

    # Arrivals are counted over this many start-up times,
    rate_starts: float = 0.25
    # and a count is believed to this many of its standard deviations.
    caution: float = 1.0
    # A backlog counts for the slots that work it off within this many start-up times;
    # what already starts for it is kept for as long as twice its slots could be of use.
    backlog_starts: float = 1.0
    # `max_inputs` must hold the load and this many of its standard deviations.
    spare: float = 3.0
    # Seconds that the last container stays idle, and others that are needed again and again.
    long_window: float = 60.0
    # The rest stay for this many start-up times, and at least so many seconds.
    short_starts: float = 1.5
    short_least: float = 2.0
    # The mean service time is that of the last inputs, at least so many.
    services: int = 200
    # Seconds that a start-up is thought to take before one was seen.
    start_guess: float = 1.0


DEFAULTS: Final = Tuning()


class TargetPolicy:
    """As many containers as there will be work for, at the target of each, when they are ready.

    *How many.*  What matters is not how many inputs there are now but how many there
    will be a start-up time S from now.  Of those that run, a share ``exp(-S / m)`` will
    still run, for a mean service time m; the rest will have been replaced by a share of
    ``rate * m`` (Little's law; both together are the transient of an M/G/inf queue with
    exponential service).  A backlog counts for the slots that work it off within about S.
    The rate is a lower bound for what is started, an upper one for what is cancelled, so
    that noise does neither.  Never more than ``ceil(demand / target)``; never fewer than
    hold the load within `max_inputs`, for waiting costs most.  Knative and Ray Serve
    take averages over 6 to 60 s instead, to smooth the noise; this looks back a quarter
    of S, and is careful with what it sees.

    *How long.*  A surplus container costs its keep; without it a start-up will be due
    when it is needed again.  Not knowing when, staying for about as long as a start-up
    takes costs at most twice the best (the ski rental problem).  Whether it pays to stay
    longer shows in the past: if the containers below it, filled to `max_inputs`, were not
    enough after a gap longer than that and at most a long window, or for what kept coming
    for longer than that, it will be so again.

    To be asked more often than the pool must does no harm.
    """

    def __init__(self, limits: Limits, tuning: Tuning = DEFAULTS) -> None:
        self.limits: Limits = limits
        self.tuning = tuning
        # (when, arrivals so far), eldest first, at least a quarter of the rate's window apart.
        self._counts: deque[tuple[float, int]] = deque(maxlen=8)
        # (busy seconds, completions) at two moments: the mean service time is taken since the
        # first, and the second takes its place when enough have ended since.
        self._ended_base = (0.0, 0)
        self._ended_mark = (0.0, 0)
        # What was seen when it last named a time for a look at what waits; after which
        # pause that was, and when.
        self._looked_at: tuple[int, ...] = ()
        self._pause = self._look_at = 0.0
        # Of each level, which is a number of containers, the first being 1: since when so
        # many were in use, until when, and when they were last found to be worth a long
        # window.  As long as the most that ever were.
        self._used_since: list[float] = []
        self._used_until: list[float] = []
        self._worth_at: list[float] = []
        self._in_use = 0  # the level that was in use at the last decision
        self._arrivals = 0  # up to then
        self._arrived_at = -math.inf  # when the last of them was seen

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
        """How many to start up to; how many not to cancel; when time alone may change that."""
        target, maximum, tuning = self.limits.target_inputs, self.limits.max_inputs, self.tuning
        window = max(start * tuning.rate_starts, 0.01)
        low, high = self._rates(seen.now, seen.arrivals, window)
        demand = seen.running + seen.queued
        if not demand:
            return 0, 0, None
        at_target = -(-(demand + seen.withheld) // target)
        service = self._service(seen)
        if service is None:  # nothing is known: a slot for each
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
        # What waits and is not worked off as was expected must not be forgotten.
        again = self._look_again_at(seen, max(start, window)) if seen.queued else None
        return least, most, again

    def _look_again_at(self, seen: Observation, pause: float) -> float:
        """After `pause` seconds; after twice as many each time that nothing has changed."""
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
        """Bounds of the rate of arrivals per second, of the last `window` seconds."""
        counts = self._counts
        if not counts or now - counts[-1][0] >= window / 4:
            counts.append((now, arrivals))
        while len(counts) > 1 and counts[1][0] <= now - window:
            counts.popleft()
        low = high = 0.0
        # Since the eldest; and, as that may be long ago, since the one after it, which
        # may be the begin of a burst.
        for when, before in (counts[0], counts[min(1, len(counts) - 1)]):
            count = max(0, arrivals - before)
            spread = self.tuning.caution * math.sqrt(count)
            seconds = max(now - when, window)
            low = max(low, (count - spread) / seconds)
            high = max(high, (count + spread) / seconds)
        return low, high

    def _service(self, seen: Observation) -> float | None:
        """The mean service time in seconds; None if none ended.

        The time of those that run counts too, or long ones would be missed until they end.
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
        """How many idle containers stay beside the busy ones, and until when."""
        idle, window = seen.idle_since, self.limits.scaledown_window
        kept = len(idle)
        if window is not None:
            for since in idle:
                if seen.now < since + window:
                    return kept, since + window
                kept -= 1
            return 0, None
        short = max(self.tuning.short_starts * start, self.tuning.short_least)
        long = max(self.tuning.long_window, short)
        self._learn(seen, busy, short, long)
        # The longest idle one is the first to go, so it is the highest level of those there.
        for since in idle:
            level = busy + kept
            lasts = level == 1 or (
                level <= len(self._worth_at) and self._worth_at[level - 1] >= since - 2.0 * long
            )
            until = since + (long if lasts else short)
            if seen.now < until:
                return kept, until
            kept -= 1
        return 0, None

    def _learn(self, seen: Observation, busy: int, short: float, long: float) -> None:
        """Note which levels are in use, if containers are filled to `max_inputs`."""
        filling = self.limits.target_inputs / self.limits.max_inputs
        demand = _ceil((seen.running + seen.queued) / self.limits.max_inputs)
        in_use = max(_ceil(busy * filling), min(demand, seen.ready))
        while len(self._worth_at) < in_use:
            for times in (self._used_since, self._used_until, self._worth_at):
                times.append(-math.inf)
        now = seen.now
        if seen.arrivals > self._arrivals:
            self._arrivals, self._arrived_at = seen.arrivals, now
        for place in range(self._in_use, in_use):
            gap = now - self._used_until[place]
            if gap > short:  # else it was as good as never out of use
                self._used_since[place] = now
                if gap <= long:
                    self._worth_at[place] = now  # needed again, late
        for place in range(in_use, self._in_use):
            # Not for one burst that took long: for what came, again and again.
            if self._arrived_at - self._used_since[place] > short:
                self._worth_at[place] = now
            self._used_until[place] = now
        self._in_use = in_use


def _ceil(value: float) -> int:
    """Rounded up, but not for what is only the error of a float."""
    return math.ceil(value - 1e-9)
