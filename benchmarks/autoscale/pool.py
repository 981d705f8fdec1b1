"""A simulated pool that asks a policy after every event.

Owns the simulation; begin at `run`, then `_Pool.settle`.  It is written from the description of
the pool in docs/design.md, and shares nothing with the library but the policy's own types.  The
library's simulator (``moorage/simulator``) asks the policy only when the live pool does; this one
asks it after each arrival, end and start, which the policy promises to bear.

A start-up that the policy cancels is paid until its end, because a live container runs its enter
hooks to the end.  Times are seconds.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from moorage.runtime.pools.autoscaler import Fill, Limits, Observation, Policy

# Containers are paid until this long after the last input: the longest that one stays idle.
TAIL: Final = 60.0

ARRIVAL, END, READY, WAKE = range(4)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run cost."""

    container_seconds: float
    excess: list[float]  # for each input: from its arrival to its end, less its service time
    starts: int
    cancelled: int  # start-ups that the policy did not want any more before their end
    peak: int  # the most containers at once, ready or starting
    asked: int


class _Container:
    __slots__ = ("born", "gone", "held", "idle_since", "number", "ready_at")

    def __init__(self, number: int, born: float, ready_at: float) -> None:
        self.number = number
        self.born = born
        self.ready_at = ready_at
        self.held = 0
        self.idle_since = 0.0
        self.gone = False


class _Pool:
    def __init__(self, limits: Limits, policy: Policy, start: float, spread: float, seed: int):
        self.limits = limits
        self.policy = policy
        self.start = start
        self.spread = spread
        self.random = random.Random(f"start-ups {seed}")
        self.now = 0.0
        self.events: list[tuple[float, int, int, _Container | None, int]] = []
        self.order = 0
        self.queue: deque[int] = deque()
        self.ready: list[_Container] = []
        self.starting: list[_Container] = []
        self.fill = Fill.MAX
        self.wake_at: float | None = None
        self.running = self.arrived = self.ended = self.asked = 0
        self.started = self.begun = self.cancelled = self.peak = 0
        self.busy = self.busy_until = self.start_seconds = 0.0
        self.lives: list[tuple[float, float]] = []  # of containers that are gone: from, until

    def at(self, when: float, kind: int, container: _Container | None, number: int) -> None:
        self.order += 1
        heapq.heappush(self.events, (when, self.order, kind, container, number))

    def to_the_end(self, arrivals: Sequence[float], services: Sequence[float]) -> Outcome:
        self.services = services
        self.arrivals = arrivals
        self.excess = [0.0] * len(arrivals)
        self.at(arrivals[0], ARRIVAL, None, 0)
        last = 0.0
        while self.ended < len(arrivals) or self.ready or self.starting:
            if not self.events:
                raise RuntimeError(f"{len(self.queue)} inputs are queued, and nothing happens")
            when, _, kind, container, number = heapq.heappop(self.events)
            if kind == WAKE and self.wake_at != when:
                continue
            if self.ended == len(arrivals) and when > last + TAIL:
                break
            self.busy += self.running * (when - self.busy_until)
            self.busy_until = self.now = when
            if kind == ARRIVAL:
                if number + 1 < len(arrivals):
                    self.at(arrivals[number + 1], ARRIVAL, None, number + 1)
                self.arrived += 1
                self.queue.append(number)
            elif kind == END:
                assert container is not None
                container.held -= 1
                self.running -= 1
                self.ended += 1
                last = when
                self.excess[number] = when - arrivals[number] - services[number]
                if not container.held:
                    container.idle_since = when
            elif kind == READY:
                assert container is not None
                if container.gone:
                    continue
                self.starting.remove(container)
                self.ready.append(container)
                container.idle_since = when
                self.started += 1
                self.start_seconds += when - container.born
            self.settle()
        for container in (*self.ready, *self.starting):
            self.lives.append((container.born, last + TAIL))
        paid = sum(
            max(0.0, min(until, last + TAIL) - max(begin, arrivals[0]))
            for begin, until in self.lives
        )
        return Outcome(paid, self.excess, self.begun, self.cancelled, self.peak, self.asked)

    def settle(self) -> None:
        """Give slots to queued inputs, ask the policy, and carry out what it says."""
        while self.queue and (container := self.below(self.limits.target_inputs, fullest=True)):
            self.grant(container)
        self.ask()
        if self.fill is Fill.MAX:
            while self.queue and (container := self.below(self.limits.max_inputs, fullest=False)):
                self.grant(container)

    def below(self, limit: int, *, fullest: bool) -> _Container | None:
        best: _Container | None = None
        for container in self.ready:
            if container.held < limit and (
                best is None
                or (container.held > best.held if fullest else container.held < best.held)
            ):
                best = container
        return best

    def grant(self, container: _Container) -> None:
        number = self.queue.popleft()
        container.held += 1
        self.running += 1
        self.at(self.now + self.services[number], END, container, number)

    def ask(self) -> None:
        while True:
            idle = sorted(one.idle_since for one in self.ready if not one.held)
            self.asked += 1
            decision = self.policy.decide(
                Observation(
                    now=self.now,
                    running=self.running,
                    queued=len(self.queue),
                    ready=len(self.ready),
                    starting=len(self.starting),
                    idle_since=tuple(idle),
                    arrivals=self.arrived,
                    completions=self.ended,
                    busy_seconds=self.busy,
                    starts=self.started,
                    start_seconds=self.start_seconds,
                )
            )
            surplus = len(self.ready) + len(self.starting) - decision.wanted
            for _ in range(-surplus):
                self.begin()
            if surplus <= 0 or not self.stop(surplus):
                break
        self.fill = decision.fill
        self.wake_at = decision.ask_again_at
        if self.wake_at is not None:
            self.wake_at = max(self.wake_at, self.now)
            self.at(self.wake_at, WAKE, None, 0)

    def begin(self) -> None:
        self.begun += 1
        takes = self.start * (1.0 + self.spread * self.random.uniform(-1.0, 1.0))
        container = _Container(self.begun, self.now, self.now + takes)
        self.starting.append(container)
        self.at(container.ready_at, READY, container, 0)
        self.peak = max(self.peak, len(self.ready) + len(self.starting))

    def stop(self, count: int) -> bool:
        """Stop up to `count` containers: the latest starting, then the longest idle."""
        left = count
        while left and self.starting:
            container = self.starting.pop()
            container.gone = True
            self.cancelled += 1
            self.lives.append((container.born, container.ready_at))
            left -= 1
        idle = [one for one in self.ready if not one.held]
        idle.sort(key=lambda one: (one.idle_since, -one.number))
        for container in idle[:left]:
            self.ready.remove(container)
            self.lives.append((container.born, self.now))
            left -= 1
        return left < count


def run(
    arrivals: Sequence[float],
    services: Sequence[float],
    limits: Limits,
    policy: Policy,
    *,
    start: float = 2.0,
    spread: float = 0.25,
    seed: int = 0,
) -> Outcome:
    """Simulate a pool whose containers take `start` seconds, give or take `spread`, to start."""
    return _Pool(limits, policy, start, spread, seed).to_the_end(arrivals, services)
