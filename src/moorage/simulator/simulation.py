"""A discrete-event simulation of a pool, under the policy, routing and slots of the live one.

It asks the policy when the live pool does, with the same observation, and carries
its decisions out as the live pool does (tests/test_simulated_and_live.py runs
both); what is replaced is time, and the inputs: each is a time of arrival and a
time of service.  What it leaves out: other pools, hooks that fail, inputs that are
cancelled or tried again, the process's capacity, and the rest of a start-up that was
cancelled, which in the live pool still runs to its end.

Pure: no clock and no thread; all that is random comes from the seed.  All times in seconds.
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

# Seconds after the last completion at which a policy that still keeps containers
# above `min_containers` is not waited for any longer.
GIVE_UP_AFTER: Final = 3600.0

# Seconds after the last completion until which containers cost something, in every run:
# the longest that a container stays idle by default.  Those that stay longer, or for
# ever, would else cost what happens to be waited for.
TAIL: Final = 60.0

NEVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class StartUp:
    """How long containers take to become ready: `seconds`, give or take a fraction `spread`."""

    seconds: float = 2.0
    spread: float = 0.25

    def draw(self, random: random.Random) -> float:
        return self.seconds * (1.0 + self.spread * (2.0 * random.random() - 1.0))


@dataclass(frozen=True, slots=True)
class Knee:
    """A container that runs more than `inputs` at once becomes slower.

    All its inputs take ``1 + slope * (n - inputs) / inputs`` times as long while it
    runs `n` of them.  With a slope of 1 it gets no more done above the knee than at it.
    """

    inputs: int
    slope: float = 1.0

    def factor(self, running: int) -> float:
        return 1.0 + self.slope * max(0, running - self.inputs) / self.inputs


@dataclass(frozen=True, slots=True)
class Moment:
    """A pool after an event, for plots.  Counts."""

    time: float
    running: int
    queued: int
    ready: int
    starting: int


@dataclass(frozen=True, slots=True)
class Simulated:
    """What one simulation found.  Times in seconds; per-input times in order of arrival."""

    waits: Sequence[float]  # from arrival to the grant of the slot
    excess: Sequence[float]  # what passed from arrival to the end beyond the service time
    # From the begin of each start to the stop; from the first arrival to TAIL seconds after
    # the last completion, whatever was there before, or stays.
    container_seconds: float
    starts: int  # start-ups begun
    starts_cancelled: int  # of these, those that were not needed any more
    peak_containers: int  # ready or starting
    above_target_seconds: float  # of containers that ran more than their target
    running_seconds: float  # the integral of inputs that ran
    queued_seconds: float  # the integral of inputs that waited
    ended: float  # when the pool was at rest
    left_over: int  # inputs that were not finished
    containers_left: int
    decisions: int  # times the policy was asked
    timeline: Sequence[Moment]  # empty unless asked for

    def percentile_wait(self, percent: float) -> float:
        return percentile(self.waits, percent)

    def percentile_excess(self, percent: float) -> float:
        return percentile(self.excess, percent)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of `values` that at least `percent` of 100 of them do not exceed; 0 of none."""
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
    """Run inputs that arrive at `arrivals`, in order, and take `services` each, both in seconds.

    Ends when all is done and the pool has emptied to `min_containers`, or an hour after
    the last input.  `record` keeps a :class:`Moment` for each event.

    Raises:
        ValueError: if there are not as many services as arrivals, or these are out of order.
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
        # With a knee only.  Progress is the service time that each input which runs
        # since the start has had; they are due when it reaches their figure.
        self.progress = 0.0
        self.progressed_at = born
        self.due: list[tuple[float, int]] = []
        self.version = 0  # of the event that was set for the first that is due


COMPLETION: Final = 0
READY: Final = 1
SLOWED: Final = 2  # a completion in a container with a knee, if it is not outdated


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
        self.events: list[tuple[float, int, int, _Container, int]] = []
        self.sequence = 0
        self.wakeup = NEVER
        self.wakeup_sequence = 0  # events of the same time that were set later come later
        # These three as in the pool.
        self.asked_with: float = NEVER
        self.asked_idle = 0
        self.buffer_taken = False
        self.fill = Fill.MAX
        self.queue: deque[int] = deque()
        self.ready: list[_Container] = []  # eldest first
        self.starting: list[_Container] = []  # eldest first
        self.idle: dict[_Container, float] = {}  # longest idle first
        self.running = 0
        self.arrived = 0
        self.completed = 0
        self.first = arrivals[0] if arrivals else 0.0
        self.last_end = 0.0
        self.counted_at = 0.0  # up to here the two integrals are
        self.running_seconds = 0.0
        self.queued_seconds = 0.0
        self.started = 0  # that became ready
        self.start_seconds = 0.0
        self.begun = 0
        self.cancelled = 0
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
        """Set the event for the first input that is due in a container with a knee."""
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
        self.asked_idle = len(self.idle)  # the live pool asks once more when one is gone
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
        if container.gone:  # its start was cancelled, and ends now
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
