"""A discrete-event simulation of a pool, with the policy, routing and slots of the live pool.

Owns the simulated pool.  Begin at `simulate`, then `_Run.to_the_end`, `arrive`, `complete` and
`scale`.  The simulation asks the policy when the live pool does, with the same observation, and
carries out its decisions as the live pool does (tests/test_simulated_and_live.py runs both).
Only time and the inputs are replaced: an input is a time of arrival and a time of service.

Left out: other pools, hooks that fail, inputs that are cancelled or retried, the process's
capacity, and the rest of a cancelled start-up, which in the live pool runs to its end.

Pure: no clock and no thread; all randomness comes from the seed.  All times are in seconds.
"""

from __future__ import annotations

import heapq
import random
from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..runtime.containers.slots import Slots
from ..runtime.pools.autoscaler import Fill, Limits, Observation, Policy
from ..runtime.pools.routing import emptiest_below_limit, fullest_below_target

# Seconds after the last completion.  The simulation ends then, even if the policy still keeps
# containers above `min_containers`.
GIVE_UP_AFTER: Final = 3600.0

# Seconds after the last completion.  Container-seconds are counted up to then in every run; it
# is the longest that a container stays idle by default.  Otherwise the cost of containers that
# stay longer, or for ever, would depend on when the simulation happens to end.
TAIL: Final = 60.0

NEVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class StartUp:
    """How long containers take to start: `seconds`, plus or minus a fraction up to `spread`."""

    seconds: float = 2.0
    spread: float = 0.25

    def draw(self, random: random.Random) -> float:
        return self.seconds * (1.0 + self.spread * (2.0 * random.random() - 1.0))


@dataclass(frozen=True, slots=True)
class Knee:
    """A container that runs more than `inputs` at once becomes slower.

    While the container runs `n` inputs, all of them take
    ``1 + slope * (n - inputs) / inputs`` times as long.  With a slope of 1, the throughput
    of the container is the same above the knee as at the knee.
    """

    inputs: int
    slope: float = 1.0

    def factor(self, running: int) -> float:
        return 1.0 + self.slope * max(0, running - self.inputs) / self.inputs


@dataclass(frozen=True, slots=True)
class Moment:
    """The counts of a pool after an event, for plots."""

    time: float
    running: int
    queued: int
    ready: int
    starting: int


@dataclass(frozen=True, slots=True)
class Simulated:
    """The result of one simulation.  Times in seconds; per-input times in order of arrival."""

    waits: Sequence[float]  # per input: from its arrival to the grant of its slot
    excess: Sequence[float]  # per input: from its arrival to its end, less its service time
    # For each container, from the begin of its start to its stop.  Only the time from the first
    # arrival to TAIL seconds after the last completion counts.
    container_seconds: float
    starts: int  # start-ups begun
    starts_cancelled: int  # start-ups cancelled because they were not needed any more
    peak_containers: int  # the most containers at once, ready or starting
    above_target_seconds: float  # container-seconds with more inputs than the target
    running_seconds: float  # the integral over time of the number of running inputs
    queued_seconds: float  # the integral over time of the number of queued inputs
    ended: float  # the time at which the simulation ended
    left_over: int  # inputs not finished
    containers_left: int  # containers ready or starting at the end
    decisions: int  # calls of the policy
    timeline: Sequence[Moment]  # empty unless `record` is set

    def percentile_wait(self, percent: float) -> float:
        return percentile(self.waits, percent)

    def percentile_excess(self, percent: float) -> float:
        return percentile(self.excess, percent)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` % of `values` do not exceed; 0 of none."""
    if not values:
        return 0.0
    place = -(-len(values) * percent // 100)
    return sorted(values)[max(0, min(len(values), int(place)) - 1)]


def simulate(
    arrivals: Sequence[float],
    services: Sequence[float],
    limits: Limits,
    policy: Policy,
    *,
    start_up: StartUp = StartUp(),
    knee: Knee | None = None,
    seed: int = 0,
    record: bool = False,
) -> Simulated:
    """Simulate a pool with inputs that arrive at `arrivals` and take `services`, in seconds.

    Ends when all inputs are done and the pool has shrunk to `min_containers`, or an hour
    after the last completion.  `record` keeps a :class:`Moment` for each event.

    Raises:
        ValueError: if `services` and `arrivals` differ in length, or `arrivals` is not in order.
    """
    if len(arrivals) != len(services):
        raise ValueError(
            f"each arrival needs a service time, got {len(arrivals)} arrivals and "
            f"{len(services)} service times; write one of each for every input"
        )
    run = _Run(arrivals, services, limits, policy, start_up, knee, seed, record)
    run.to_the_end()
    return run.result()


class _Container:
    """One simulated container."""

    __slots__ = (
        "above_since",
        "born",
        "due",
        "gone",
        "number",
        "progress",
        "progressed_at",
        "slots",
        "target",
        "version",
    )

    def __init__(self, number: int, target: int, maximum: int, born: float) -> None:
        self.number = number
        self.slots = Slots(maximum)
        self.target = target
        self.born = born
        self.gone = False
        self.above_since = 0.0
        # Only with a knee.  `progress` is the service time that an input running since the
        # start of the container would have had, up to `progressed_at`.  An input is due when
        # `progress` reaches its figure in `due`, a heap of (figure, number of the input).
        self.progress = 0.0
        self.progressed_at = born
        self.due: list[tuple[float, int]] = []
        # The version of the event set for the first due input; older events are outdated.
        self.version = 0


COMPLETION: Final = 0
READY: Final = 1
SLOWED: Final = 2  # a completion in a container with a knee, unless the event is outdated


class _Run:
    """The state of one simulation, and what happens at each event."""

    def __init__(
        self,
        arrivals: Sequence[float],
        services: Sequence[float],
        limits: Limits,
        policy: Policy,
        start_up: StartUp,
        knee: Knee | None,
        seed: int,
        record: bool,
    ) -> None:
        self.arrivals = arrivals
        self.services = services
        self.limits = limits
        self.policy = policy
        self.start_up = start_up
        self.knee = knee
        self.random = random.Random(seed)
        self.now = 0.0
        # A heap of (time, sequence, kind, container, number).  Events at the same time happen in
        # the order in which they were set, which `sequence` counts.
        self.events: list[tuple[float, int, int, _Container, int]] = []
        self.sequence = 0
        self.wakeup = NEVER  # when the policy wants to be asked again
        self.wakeup_sequence = 0  # its place among the events of the same time
        # These three fields are as in the live pool.
        self.asked_with: float = NEVER
        self.asked_idle = 0
        self.buffer_taken = False
        self.fill = Fill.MAX
        self.queue: deque[int] = deque()
        self.ready: list[_Container] = []  # oldest first
        self.starting: list[_Container] = []  # oldest first
        self.idle: dict[_Container, float] = {}  # longest idle first
        self.running = 0
        self.arrived = 0
        self.completed = 0
        self.first = arrivals[0] if arrivals else 0.0
        self.last_end = 0.0
        self.counted_at = 0.0  # the time up to which the two integrals below are counted
        self.running_seconds = 0.0
        self.queued_seconds = 0.0
        self.started = 0  # start-ups that became ready
        self.start_seconds = 0.0  # their total duration
        self.begun = 0  # start-ups begun
        self.cancelled = 0  # start-ups cancelled
        self.container_seconds = 0.0
        self.above_target_seconds = 0.0
        self.peak = 0
        self.decisions = 0
        self.waits = array("d", bytes(8 * len(arrivals)))
        self.excess = array("d", bytes(8 * len(arrivals)))
        self.timeline: list[Moment] | None = [] if record else None

    def to_the_end(self) -> None:
        arrivals, events = self.arrivals, self.events
        count = len(arrivals)
        before = 0.0
        if self.limits.min_containers:
            self.scale()
        while True:
            following = arrivals[self.arrived] if self.arrived < count else NEVER
            event = events[0][0] if events else NEVER
            wakeup = max(self.wakeup, self.now)
            now = min(following, event, wakeup)
            if now == NEVER:
                return
            if self.completed == count:
                surplus = len(self.ready) + len(self.starting) - self.limits.min_containers
                if (surplus <= 0 and not self.starting) or now > self.last_end + GIVE_UP_AFTER:
                    return
            if event <= now and (event < wakeup or events[0][1] <= self.wakeup_sequence):
                _, _, kind, container, number = heapq.heappop(events)
                if kind == COMPLETION:
                    self.count(now)
                    self.complete(container, number, now)
                elif kind == READY:
                    self.count(now)
                    self.become_ready(container, now)
                elif container.version == number:
                    self.count(now)
                    _, number = heapq.heappop(container.due)
                    self.complete(container, number, now)
                else:
                    continue
            elif following <= now and following < wakeup:
                if following < before:
                    raise ValueError(
                        f"arrivals must be in order, got {following} after {before}; sort them"
                    )
                before = following
                self.count(now)
                self.arrive(now)
            else:
                self.count(now)
                self.wakeup = NEVER
                self.scale()
            if self.timeline is not None:
                self.timeline.append(
                    Moment(now, self.running, len(self.queue), len(self.ready), len(self.starting))
                )

    def count(self, now: float) -> None:
        passed = now - self.counted_at
        self.running_seconds += passed * self.running
        self.queued_seconds += passed * len(self.queue)
        self.counted_at = self.now = now

    # -- inputs, as in the pool's submit, _assign and settle --------------------------

    def arrive(self, now: float) -> None:
        number = self.arrived
        self.arrived = number + 1
        queue = self.queue
        if queue:
            queue.append(number)
            if self.is_capped():
                return
            self.scale()
        else:
            container = fullest_below_target(self.ready)
            if container is not None:
                self.grant(container, number, now)
                if self.buffer_taken:
                    self.ask_for_buffer()
                return
            queue.append(number)
            self.assign()

    def assign(self, *, asks: bool = True) -> None:
        queue, now = self.queue, self.now
        while queue and (container := fullest_below_target(self.ready)) is not None:
            self.grant(container, queue.popleft(), now)
        if queue:
            if asks:
                self.scale()
            if self.fill is Fill.MAX:
                while queue and (container := emptiest_below_limit(self.ready)) is not None:
                    self.grant(container, queue.popleft(), now)
        if self.buffer_taken:
            self.ask_for_buffer()

    def ask_for_buffer(self) -> None:
        self.buffer_taken = False
        self.scale()

    def grant(self, container: _Container, number: int, now: float) -> None:
        held = container.slots.held
        if not held and self.idle.pop(container, None) is not None:
            self.buffer_taken = self.limits.buffer_containers > 0
        container.slots.acquire_nowait(number, now)
        self.running += 1
        if len(held) == container.target + 1:
            container.above_since = now
        self.begin(container, number, now, len(held) - 1)

    def begin(self, container: _Container, number: int, now: float, before: int) -> None:
        service = self.services[number]
        self.waits[number] = now - self.arrivals[number]
        if self.knee is None:
            self.sequence += 1
            heapq.heappush(
                self.events, (now + service, self.sequence, COMPLETION, container, number)
            )
            return
        self.advance(container, now, before)
        heapq.heappush(container.due, (container.progress + service, number))
        self.expect(container, now)

    def advance(self, container: _Container, now: float, held: int) -> None:
        assert self.knee is not None
        container.progress += (now - container.progressed_at) / self.knee.factor(held)
        container.progressed_at = now

    def expect(self, container: _Container, now: float) -> None:
        """Set the event for the first due input of a container with a knee.

        Outdates the event set before: the number of running inputs, and so the speed, changed.
        """
        assert self.knee is not None
        container.version += 1
        if container.due:
            left = max(0.0, container.due[0][0] - container.progress)
            when = now + left * self.knee.factor(len(container.slots.held))
            self.sequence += 1
            heapq.heappush(self.events, (when, self.sequence, SLOWED, container, container.version))

    def complete(self, container: _Container, number: int, now: float) -> None:
        self.completed += 1
        self.last_end = now
        self.excess[number] = max(0.0, now - self.arrivals[number] - self.services[number])
        slots, target = container.slots, container.target
        held = len(slots.held)
        if self.knee is not None:
            self.advance(container, now, held)
        if self.queue and held <= target:
            following = self.queue.popleft()
            slots.hand_over(number, following, now)
            self.begin(container, following, now, held)
            return
        slots.release(number)
        self.running -= 1
        if held == target + 1:
            self.above_target_seconds += now - container.above_since
        if self.knee is not None:
            self.expect(container, now)
        if self.queue:
            self.assign(asks=False)
        if held == 1 and not slots.held:
            self.idle[container] = now
        idle = self.idle
        if (
            idle
            and not self.queue
            and (self.running < self.asked_with or len(idle) > self.asked_idle)
            and self.wakeup > next(iter(idle.values())) + self.policy.shortest_stay
        ):
            self.scale()

    # -- containers, as in the pool's _scale, _grow and _shrink ------------------------

    def is_capped(self) -> bool:
        most = self.limits.max_containers
        return most is not None and len(self.ready) + len(self.starting) >= most

    def scale(self) -> None:
        self.asked_with = NEVER if self.queue else self.running
        self.asked_idle = len(self.idle)
        if self.queue and not self.idle and self.is_capped():
            self.fill = Fill.MAX
            return
        sequence = self.sequence
        while True:
            self.decisions += 1
            decision = self.policy.decide(self.observe())
            count = len(self.ready) + len(self.starting)
            if decision.wanted > count:
                for _ in range(decision.wanted - count):
                    self.start()
            elif decision.wanted < count and self.shrink(count - decision.wanted):
                continue
            break
        # Count again: the live pool asks the policy once more after a container has stopped.
        self.asked_idle = len(self.idle)
        self.fill = decision.fill
        again = decision.ask_again_at
        if again is None:
            self.wakeup = NEVER
        elif again != self.wakeup:
            self.wakeup, self.wakeup_sequence = again, sequence

    def observe(self) -> Observation:
        return Observation(
            now=self.now,
            running=self.running,
            queued=len(self.queue),
            ready=len(self.ready),
            starting=len(self.starting),
            idle_since=tuple(self.idle.values()),
            arrivals=self.arrived,
            completions=self.completed,
            busy_seconds=self.running_seconds,
            starts=self.started,
            start_seconds=self.start_seconds,
        )

    def start(self) -> None:
        self.begun += 1
        limits = self.limits
        container = _Container(self.begun, limits.target_inputs, limits.max_inputs, self.now)
        self.starting.append(container)
        self.peak = max(self.peak, len(self.ready) + len(self.starting))
        self.sequence += 1
        when = self.now + self.start_up.draw(self.random)
        heapq.heappush(self.events, (when, self.sequence, READY, container, 0))

    def become_ready(self, container: _Container, now: float) -> None:
        if container.gone:  # the start-up was cancelled earlier, and ends now
            if self.queue:
                self.assign()
            else:
                self.scale()
            return
        self.starting.remove(container)
        self.started += 1
        self.start_seconds += now - container.born
        container.progressed_at = now
        self.ready.append(container)
        self.assign()
        if not container.slots.held:
            self.idle[container] = now
        self.scale()

    def shrink(self, count: int) -> bool:
        before = count
        while count and self.starting:
            self.let_go(self.starting.pop())
            self.cancelled += 1
            count -= 1
        while count and self.idle:
            container = min(self.idle, key=lambda one: (self.idle[one], -one.number))
            del self.idle[container]
            self.ready.remove(container)
            self.let_go(container)
            count -= 1
        return count < before

    def let_go(self, container: _Container) -> None:
        container.gone = True
        self.pay(container)

    def pay(self, container: _Container, *, stays: bool = False) -> None:
        until = self.now
        if self.completed == len(self.arrivals):
            end = self.last_end + TAIL
            until = end if stays else min(until, end)
        self.container_seconds += max(0.0, until - max(container.born, self.first))

    def result(self) -> Simulated:
        left = len(self.ready) + len(self.starting)
        for container in (*self.ready, *self.starting):
            self.pay(container, stays=True)
        return Simulated(
            waits=self.waits,
            excess=self.excess,
            container_seconds=self.container_seconds,
            starts=self.begun,
            starts_cancelled=self.cancelled,
            peak_containers=self.peak,
            above_target_seconds=self.above_target_seconds,
            running_seconds=self.running_seconds,
            queued_seconds=self.queued_seconds,
            ended=self.now,
            left_over=len(self.arrivals) - self.completed,
            containers_left=left,
            decisions=self.decisions,
            timeline=self.timeline or (),
        )
