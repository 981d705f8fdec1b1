"""The autoscaler's policy: what it sees in, what it wants out.

Pure: time is an argument; there is no clock, lock, thread or I/O here, so that
a simulator and the live pool run the same function.  The pool asks on events
(an arrival that finds no slot below target, a container that became ready or
idle, the time the last decision named) and carries the decision out.

This policy is the simple rule: ``ceil(demand / target)`` containers at once,
and a container that was idle for ``scaledown_window`` goes.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from dataclasses import dataclass
from typing import Final, Protocol

# Seconds that the last container stays idle where the user set no window.
LAST_CONTAINER_WINDOW: Final = 60.0


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
    running: int  # those that hold a slot
    queued: int
    ready: int  # containers that take inputs, idle ones included
    starting: int
    idle_since: tuple[float, ...]  # of each idle container, longest idle first
    arrivals: int  # to the queue, further attempts included
    completions: int  # slots that were given back
    busy_seconds: float  # the integral of `running` over time, up to now
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


class SimplePolicy:
    """``ceil(demand / target)`` now; idle containers go after their window."""

    def __init__(self, limits: Limits) -> None:
        self.limits: Limits = limits

    @property
    def shortest_stay(self) -> float:
        return LAST_CONTAINER_WINDOW

    def decide(self, seen: Observation, /) -> Decision:
        limits = self.limits
        demand = seen.running + seen.queued
        need = -(-(demand + seen.withheld) // limits.target_inputs)
        if demand:
            need += limits.buffer_containers
        # Idle containers within their window are kept beside those in use.
        window = limits.scaledown_window
        if window is None:
            window = LAST_CONTAINER_WINDOW
        kept = [since for since in seen.idle_since if seen.now < since + window]
        # One that starts is kept too: it would be asked for again at the next
        # arrival, and a start thrown away costs more than a window of idling.
        in_use = seen.ready - len(seen.idle_since) + seen.starting
        wanted = max(need, in_use + len(kept), limits.min_containers)
        if limits.max_containers is not None:
            wanted = min(wanted, limits.max_containers)
        surplus = seen.ready + seen.starting > limits.min_containers
        again = kept[0] + window if kept and surplus else None
        return Decision(wanted, again)


@dataclass(frozen=True, slots=True)
class Tuning:
    """The constants of :class:`TargetPolicy`; docs/simulator.md says how little they matter."""

    # The rate of arrivals is taken over this many start-up times,
    rate_starts: float = 0.25
    # less this many standard deviations of what was counted, for a count is noisy.
    caution: float = 1.0
    # A backlog counts for the slots that work it off within this many start-up times.
    backlog_starts: float = 1.0
    # `max_inputs` must hold the load and this many of its standard deviations.
    spare: float = 3.0
    # Seconds that the last container stays idle, and others that were needed again late.
    long_window: float = 60.0
    # Others stay as long as they cost: this many start-up times, and at least so many seconds.
    short_starts: float = 2.0
    short_least: float = 2.0
    # Late is after more than this many start-up times.
    late_starts: float = 2.0
    # Completions over which the mean service time is taken, at least.
    services: int = 200
    # Seconds that a start-up is thought to take before one was seen.
    start_guess: float = 1.0


class TargetPolicy:
    """What will still be there when a new container is ready, at the target of each.

    Pure: it knows what it is shown and what it remembers of that.
    """

    def __init__(self, limits: Limits, tuning: Tuning = Tuning()) -> None:
        self.limits: Limits = limits
        self.tuning = tuning
        # (when, arrivals) as they were seen, eldest first, some quarters of a window apart.
        self._seen: deque[tuple[float, int]] = deque(maxlen=8)
        # Mean service times are taken since the first; the second takes its place.
        self._service_base = (0.0, 0)
        self._service_mark = (0.0, 0)
        # Levels that were needed at some time, and then no higher one: (level, when last).
        # Invariant: levels fall and times rise.
        self._needed: list[tuple[int, float]] = []
        # The same for levels that were needed again late.
        self._late: list[tuple[int, float]] = []

    def decide(self, seen: Observation, /) -> Decision:
        limits, tuning = self.limits, self.tuning
        start = seen.start_seconds / seen.starts if seen.starts else tuning.start_guess
        there = seen.ready + seen.starting
        busy = seen.ready - len(seen.idle_since)
        demand = seen.running + seen.queued
        need, settles_at = self._need(seen, start)
        if demand:
            need += limits.buffer_containers
        kept, again = self._kept(seen, busy, need, start)
        wanted = max(need, busy + kept, limits.min_containers)
        if limits.max_containers is not None:
            wanted = min(wanted, limits.max_containers)
        if there <= limits.min_containers:
            again = None
        if settles_at is not None and (again is None or settles_at < again):
            again = settles_at
        return Decision(wanted, again)

    @property
    def shortest_stay(self) -> float:
        window = self.limits.scaledown_window
        return self.tuning.short_least if window is None else window

    # -- what is needed ------------------------------------------------------------------

    def _need(self, seen: Observation, start: float) -> tuple[int, float | None]:
        """Containers for what will be there when one that starts now is ready.

        Also when to look again, if time alone may change it.
        """
        limits, tuning, now = self.limits, self.tuning, seen.now
        window = max(start * tuning.rate_starts, 0.01)
        rate = self._rate(now, seen.arrivals, window)
        demand = seen.running + seen.queued
        if not demand:
            return 0, None
        most = -(-(demand + seen.withheld) // limits.target_inputs)
        service = self._service(seen.busy_seconds, seen.completions)
        if service is None:
            return most, None
        stay = math.exp(-start / service) if service > 0.0 else 0.0
        load = rate * service
        slots = (
            seen.running * stay
            + load * (1.0 - stay)
            + seen.queued * min(1.0, service / max(start * tuning.backlog_starts, 1e-9))
            + seen.withheld
        )
        need = math.ceil(slots / limits.target_inputs - 1e-9)
        need = max(
            need, math.ceil((load + tuning.spare * math.sqrt(load)) / limits.max_inputs - 1e-9), 1
        )
        # While something waits or starts, what is needed may change without an event.
        again = None
        if seen.starting:
            again = now + window
        elif seen.queued:
            again = now + max(start, window)
        return min(need, most), again

    def _rate(self, now: float, arrivals: int, window: float) -> float:
        """Arrivals a second, cautiously: of `window` seconds, or of more if none was seen."""
        samples = self._seen
        if not samples or now - samples[-1][0] >= window / 4:
            samples.append((now, arrivals))
        while len(samples) > 1 and samples[1][0] <= now - window:
            samples.popleft()
        when, before = samples[0]
        if now - when > 2 * window and len(samples) > 1:
            when, before = samples[1]
        count = max(0, arrivals - before)
        count_at_least = max(0.0, count - self.tuning.caution * math.sqrt(count))
        return count_at_least / max(now - when, window)

    def _service(self, busy: float, completions: int) -> float | None:
        """The mean service time in seconds, those that run included; None if none ended."""
        if not completions:
            return None
        if completions - self._service_mark[1] >= self.tuning.services:
            self._service_base, self._service_mark = self._service_mark, (busy, completions)
        before, ended = self._service_base
        return (busy - before) / (completions - ended)

    # -- what is kept --------------------------------------------------------------------

    def _kept(
        self, seen: Observation, busy: int, need: int, start: float
    ) -> tuple[int, float | None]:
        """How many idle containers stay beside the busy ones, and until when."""
        idle, now = seen.idle_since, seen.now
        explicit = self.limits.scaledown_window
        if explicit is not None:
            kept = sum(since + explicit > now for since in idle)
            return kept, idle[len(idle) - kept] + explicit if kept else None
        late_after = self.tuning.late_starts * start
        for place, since in enumerate(idle):  # the longest idle one is the highest level
            self._note(busy + len(idle) - place, since, late_after)
        self._note(max(busy, need), now, late_after)
        kept = len(idle)
        for since in idle:
            until = since + self._window(busy + kept, start, now)
            if until > now:
                return kept, until
            kept -= 1
        return 0, None

    def _note(self, level: int, when: float, late_after: float) -> None:
        """`level` containers were in use at `when`."""
        if not level:
            return
        needed = self._needed
        late = 0
        while needed and needed[-1][0] <= level:
            other, last = needed.pop()
            if late_after < when - last <= self.tuning.long_window:
                late = other
            when = max(when, last)
        if needed and late_after < when - needed[-1][1] <= self.tuning.long_window:
            late = level
        needed.append((level, when))
        if late:
            entries = self._late
            while entries and entries[-1][0] <= late:
                entries.pop()
            entries.append((late, when))

    def _window(self, level: int, start: float, now: float) -> float:
        """Seconds that a container stays idle which is the `level`-th of those there."""
        tuning = self.tuning
        if level <= 1:
            return tuning.long_window
        for other, when in self._late:
            if other >= level and now - when <= tuning.long_window:
                return tuning.long_window
        return max(tuning.short_starts * start, tuning.short_least)
