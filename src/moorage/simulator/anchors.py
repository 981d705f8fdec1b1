"""Anchors: the rules of other autoscalers, by their documentation, as policies to compare with.

Owns these policies; ``tables.py`` lists them by name.  They are pure, as the policy in
``runtime/pools/autoscaler.py``, and for simulations only.  A policy that decides on a tick
returns the time of the next tick in `Decision.ask_again_at`.  Begin at `CountOfTheMoment`.
All times are in seconds.
"""

from __future__ import annotations

import math
from collections import deque

from ..runtime.pools.autoscaler import Decision, Limits, Observation


def _bounded(wanted: int, limits: Limits) -> int:
    wanted = max(wanted, limits.min_containers)
    return wanted if limits.max_containers is None else min(wanted, limits.max_containers)


class CountOfTheMoment:
    """``ceil(demand / target)`` now; idle containers stop at once, or after `window` seconds."""

    shortest_stay: float = 0.0

    def __init__(self, limits: Limits, window: float = 0.0) -> None:
        self.limits: Limits = limits
        self.window = window

    def decide(self, seen: Observation, /) -> Decision:
        need = -(-(seen.running + seen.queued) // self.limits.target_inputs)
        kept = [since for since in seen.idle_since if seen.now < since + self.window]
        busy = seen.ready - len(seen.idle_since)
        again = kept[0] + self.window if kept else None
        return Decision(_bounded(max(need, busy + len(kept)), self.limits), again)


class ModalDocumented:
    """Modal's rule, as its guide describes it.

    Starts containers while there are more inputs than the targets of the present containers add
    up to.  Stops a container that was idle for ``scaledown_window`` (60 s unless set).  Never
    cancels a start-up.
    """

    shortest_stay: float = 0.0

    def __init__(self, limits: Limits) -> None:
        self.limits: Limits = limits
        window = limits.scaledown_window
        self.window: float = 60.0 if window is None else window

    def decide(self, seen: Observation, /) -> Decision:
        need = -(-(seen.running + seen.queued) // self.limits.target_inputs)
        kept = [since for since in seen.idle_since if seen.now < since + self.window]
        there = seen.ready - len(seen.idle_since) + seen.starting
        again = kept[0] + self.window if kept else None
        return Decision(_bounded(max(need, there + len(kept)), self.limits), again)


class _Averages:
    """Means of a count over the last seconds, from the values that `see` was given.

    The count is taken as constant between two calls of `see`.
    """

    def __init__(self, longest: float) -> None:
        self.longest = longest
        # (time, integral of the count up to that time), at least 1 s apart.
        self._seen: deque[tuple[float, float]] = deque()
        self._last = (0.0, 0)  # (time, count) of the last call of `see`
        self._integral = 0.0  # up to that time

    def see(self, now: float, count: int) -> None:
        when, before = self._last
        self._integral += (now - when) * before
        self._last = (now, count)
        seen = self._seen
        if not seen or now - seen[-1][0] >= 1.0:
            seen.append((now, self._integral))
        while len(seen) > 1 and seen[1][0] <= now - self.longest:
            seen.popleft()

    def mean(self, now: float, seconds: float) -> float:
        base = self._seen[0]
        for entry in self._seen:
            if entry[0] > now - seconds:
                break
            base = entry
        passed = now - base[0]
        return (self._integral - base[1]) / passed if passed > 0 else float(self._last[1])


class KnativePodAutoscaler:
    """Knative's pod autoscaler (KPA) with its defaults.

    Decides every 2 s from the mean concurrency of 60 s, and aims at 70 % of the target.  At 200 %
    of the ready containers it panics for 60 s: then it takes the mean of 6 s, and never stops
    containers.  One decision multiplies the containers by at most 1,000, or halves them.  The
    last container stops after 30 s of grace.
    """

    shortest_stay: float = 0.0

    def __init__(self, limits: Limits) -> None:
        self.limits: Limits = limits
        self._averages = _Averages(60.0)
        self._next_tick = 0.0
        self._wanted = 0
        self._panic_until = -1.0
        self._panic_most = 0
        self._none_since: float | None = None

    def decide(self, seen: Observation, /) -> Decision:
        now = seen.now
        demand = seen.running + seen.queued
        self._averages.see(now, demand)
        if demand and not seen.ready and not seen.starting:
            # The first container does not wait for a tick: Knative's activator asks at once.
            self._wanted = max(self._wanted, 1)
        if now >= self._next_tick:
            self._next_tick = now + 2.0
            self._wanted = self._tick(now, seen)
        rest = not demand and not self._wanted and not seen.ready and not seen.starting
        return Decision(
            _bounded(self._wanted, self.limits),
            None if rest and self._averages.mean(now, 60.0) == 0 else self._next_tick,
        )

    def _tick(self, now: float, seen: Observation) -> int:
        aim = 0.7 * self.limits.target_inputs
        ready = max(1, seen.ready)
        stable, panic = (self._averages.mean(now, seconds) for seconds in (60.0, 6.0))
        for_stable = min(math.ceil(stable / aim), 1000 * ready)
        for_panic = min(math.ceil(panic / aim), 1000 * ready)
        lowest = seen.ready // 2
        if for_panic >= 2 * ready:
            self._panic_until = now + 60.0
        if now < self._panic_until:
            self._panic_most = max(self._panic_most, for_panic, seen.ready)
            return self._panic_most
        self._panic_most = 0
        wanted = max(for_stable, lowest)
        if wanted:
            self._none_since = None
            return wanted
        if self._none_since is None:
            self._none_since = now
        return 0 if now >= self._none_since + 30.0 else 1


class RayServeDefault:
    """Ray Serve's default rule.

    Wants the 30 s mean of running and queued inputs, divided by the target.  Starts more
    containers only after that has been higher for 30 s, and stops some only after it has been
    lower for 600 s.  The first container starts at once.
    """

    shortest_stay: float = 0.0

    def __init__(self, limits: Limits) -> None:
        self.limits: Limits = limits
        self._averages = _Averages(30.0)
        self._wanted = 0
        self._more_since: float | None = None
        self._fewer_since: float | None = None
        self._next_tick = 0.0

    def decide(self, seen: Observation, /) -> Decision:
        now = seen.now
        demand = seen.running + seen.queued
        self._averages.see(now, demand)
        if demand and not self._wanted:
            self._wanted = 1
        if now >= self._next_tick:
            self._next_tick = now + 1.0
            desired = math.ceil(self._averages.mean(now, 30.0) / self.limits.target_inputs)
            if desired > self._wanted:
                self._fewer_since = None
                if self._more_since is None:
                    self._more_since = now
                if now >= self._more_since + 30.0:
                    self._wanted, self._more_since = desired, None
            elif desired < self._wanted:
                self._more_since = None
                if self._fewer_since is None:
                    self._fewer_since = now
                if now >= self._fewer_since + 600.0:
                    self._wanted, self._fewer_since = desired, None
            else:
                self._more_since = self._fewer_since = None
        return Decision(
            _bounded(self._wanted, self.limits),
            self._next_tick if self._wanted or demand or seen.ready or seen.starting else None,
        )
