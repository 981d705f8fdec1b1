"""Pools that are direct: `submit` and `settle` do the least that is needed, and end the same.

Two pools get the same steps; one of them may never be direct, so it asks all questions.  After
each step everything that a pool knows is the same in both.  Begin reading at `TwoPools`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import pool_inside
from moorage.runtime.containers.container import ContainerState, Effect
from moorage.runtime.input import Input, InputState, Kind
from moorage.runtime.outcome import Failure, Outcome, Value
from moorage.runtime.pools.autoscaler import Limits
from moorage.runtime.pools.capacity import Capacity
from moorage.runtime.pools.pool import Pool
from moorage.runtime.pools.pool_options import PoolOptions
from moorage.runtime.pools.tally import Tally
from pools.stand_ins import StillCall, StillContainer

CONTAINER_LIMIT = 3

# What the rule `work` does, the frequent steps more than once.
COME = ("async", "async", "async", "sync")
STEPS = (*COME, "start", "begin", "begin", "end async", "end async", "end sync", "pause")


class StillTimer:
    def __init__(self, when: float, callback: Callable[[], object]) -> None:
        self.when = when
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class StillClock:
    """Time passes by `pass_to` alone, which calls what is due."""

    virtual = True
    participants = None

    def __init__(self) -> None:
        self.time = 0.0
        self.timers: list[StillTimer] = []

    def now(self) -> float:
        return self.time

    def call_at(self, when: float, callback: Callable[[], object]) -> StillTimer:
        timer = StillTimer(when, callback)
        self.timers.append(timer)
        return timer

    def pass_to(self, time: float) -> None:
        while due := [t for t in self.timers if t.callback is not None and t.when <= time]:
            first = min(due, key=lambda timer: timer.when)
            self.time = max(self.time, first.when)
            callback, first.callback = first.callback, None
            assert callback is not None
            callback()
        self.time = time


class Placing(StillContainer):
    """A container that keeps what it is given, and what is asked of it."""

    def __init__(self, half: Half, number: int, target: int, limit: int) -> None:
        super().__init__(number, CONTAINER_LIMIT, target)
        self.slots.set_limit(limit)
        self.half = half

    def boot(self) -> None:
        self.half.log.append(f"boot {self.number}")

    def place(self, input: Input) -> Effect | None:
        self.half.log.append(f"place {input.index} in {self.number}")
        # Every second place wakes somebody.
        return None if input.index % 2 else lambda: self.half.log.append(f"wake {input.index}")

    def cancel(self, input: Input) -> Effect | None:
        return lambda: self.half.log.append(f"cancel {input.index}")

    def stop(self) -> None:
        self.half.log.append(f"stop {self.number}")

    def kill(self) -> None: ...

    def give_up(self) -> None: ...

    def places(self) -> list[str]:
        return []

    ended = True

    def join(self, timeout: float) -> list[str]:
        return []


class Call(StillCall):
    def __init__(self, half: Half, kind: Kind) -> None:
        super().__init__(kind)
        self.half = half

    def settled(self, input: Input, /) -> Any:
        return lambda: self.half.log.append(f"settled {input.index}")


class Half:
    """One of the two pools, with its clock, its containers and its inputs."""

    def __init__(self, options: PoolOptions, make: Callable[..., Pool]) -> None:
        self.log: list[str] = []
        self.clock = StillClock()
        self.containers: list[Placing] = []
        self.inputs: list[Input] = []
        clock: Any = self.clock
        self.pool = make(options, self.make, clock=clock, capacity=Capacity(4, 100))

    def make(self, host: Any, number: int, target: int, limit: int) -> Any:
        container = Placing(self, number, target, limit)
        self.containers.append(container)
        return container

    def submit(self, indices: list[int], is_async: bool) -> None:
        call = Call(self, Kind.ASYNC if is_async else Kind.SYNC)
        inputs = [Input(call, index, (index,), None) for index in indices]
        self.inputs += inputs
        assert self.pool.submit(inputs)

    def begin(self, index: int) -> None:
        with self.pool.lock:
            self.inputs[index].state = InputState.RUNNING

    def settle(self, index: int, outcome: Outcome, lane: bool | None) -> None:
        input = self.inputs[index]
        with self.pool.lock:
            following, effects = self.pool.settle(input.container, input, outcome, lane)
        self.log.append(f"follows {None if following is None else following.index}")
        for effect in effects:
            effect()

    def known(self) -> dict[str, Any]:
        """All that the pool knows, in terms that are the same for both halves."""
        pool = self.pool
        fleet, backlog, scaling = pool.fleet, pool.backlog, pool.scaling
        return {
            "inputs": [
                (
                    i.state,
                    i.container and i.container.number,
                    type(i.outcome),
                    getattr(i, "queued_at", None) if i.state is InputState.QUEUED else None,
                )
                for i in self.inputs
            ],
            "containers": [
                (
                    c.state,
                    c.target,
                    c.slots.limit,
                    c.slots.peak,
                    c.idle_since,
                    [(getattr(holder, "index", None), at) for holder, at in c.slots.held.items()],
                )
                for c in self.containers
            ],
            "fleet": (
                fleet.free,
                fleet.running,
                fleet.idle,
                fleet.longest_idle,
                fleet.starting,
                fleet.emptied,
            ),
            "backlog": [input.index for input in backlog.inputs()],
            "queued": backlog.queued,
            "tally": {name: getattr(pool.tally, name) for name in Tally.__slots__},
            "scaling": (
                scaling.wanted,
                scaling.bursts,
                scaling.asked_with,
                scaling.asked_idle,
                scaling.is_spared,
            ),
            "timers": sorted(t.when for t in self.clock.timers if t.callback is not None),
            "log": self.log,
        }


class TwoPools(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.numbers = itertools.count()

    @initialize(
        below=st.integers(1, CONTAINER_LIMIT),
        most=st.sampled_from([1, 2, None]),
        window=st.sampled_from([None, 5.0]),
        timeout=st.sampled_from([None, 10.0]),
        queue_timeout=st.sampled_from([None, None, 7.0]),
    )
    def set_up(
        self,
        below: int,
        most: int | None,
        window: float | None,
        timeout: float | None,
        queue_timeout: float | None,
    ) -> None:
        limits = Limits(below, CONTAINER_LIMIT, max_containers=most, scaledown_window=window)
        options = PoolOptions("f", limits, timeout=timeout, queue_timeout=queue_timeout)
        self.direct = Half(options, pool_inside.make_pool)
        self.asking = Half(options, pool_inside.make_pool_that_asks)
        self.halves = (self.direct, self.asking)

    def indices(self, *states: InputState) -> list[int]:
        return [i.index for i in self.asking.inputs if i.state in states]

    @rule(count=st.integers(1, 3), is_async=st.booleans())
    def several_come(self, count: int, is_async: bool) -> None:
        self.come(count, is_async)

    def come(self, count: int, is_async: bool) -> None:
        indices = [next(self.numbers) for _ in range(count)]
        for half in self.halves:
            half.submit(indices, is_async)

    @rule(steps=st.lists(st.sampled_from(STEPS), min_size=4, max_size=20), which=st.integers(0, 9))
    def work(self, steps: list[str], which: int) -> None:
        """Inputs come, begin and end: most of what a pool does."""
        for step in steps:
            if step in ("async", "sync"):
                self.come(1, step == "async")
            elif step == "start":
                self.all_start()
            elif step == "begin":
                self.all_begin()
            elif step == "pause":
                self.pass_by(0.5)
            elif self.indices(InputState.RUNNING):
                self.one_ends(which, True, step == "end async")
            self.both_know_the_same()

    def all_begin(self) -> None:
        for index in self.indices(InputState.GRANTED):
            for half in self.halves:
                half.begin(index)

    @precondition(lambda self: self.indices(InputState.RUNNING, InputState.ABANDONED))
    @rule(
        which=st.integers(0, 20),
        good=st.booleans(),
        lane=st.sampled_from([True, False, None]),
    )
    def one_of_them_ends(self, which: int, good: bool, lane: bool | None) -> None:
        self.one_ends(which, good, lane)

    def one_ends(self, which: int, good: bool, lane: bool | None) -> None:
        found = self.indices(InputState.RUNNING, InputState.ABANDONED)
        error = ValueError("text")
        for half in self.halves:
            outcome = Value(which) if good else Failure(error)
            half.settle(found[which % len(found)], outcome, lane)

    @precondition(lambda self: self.indices(*InputState))
    @rule(which=st.integers(0, 20))
    def cancel(self, which: int) -> None:
        for half in self.halves:
            half.pool.cancel(half.inputs[which % len(half.inputs)])

    @rule()
    def containers_start(self) -> None:
        self.all_start()

    def all_start(self) -> None:
        for half in self.halves:
            for container in [c for c in half.containers if c.state is ContainerState.STARTING]:
                half.pool.container_ready(container)

    @rule()
    def containers_stop(self) -> None:
        for half in self.halves:
            for container in [c for c in half.containers if c.state is ContainerState.STOPPING]:
                half.pool.container_stopped(container)

    @precondition(lambda self: self.asking.pool.fleet.ready)
    @rule(which=st.integers(0, 3), limit=st.integers(1, CONTAINER_LIMIT))
    def resize(self, which: int, limit: int) -> None:
        for half in self.halves:
            ready = half.pool.fleet.ready
            half.pool.resize(ready[which % len(ready)], limit)

    @precondition(lambda self: self.asking.pool.fleet.ready)
    @rule(which=st.integers(0, 3), blocks=st.booleans())
    def block_or_unblock(self, which: int, blocks: bool) -> None:
        for half in self.halves:
            container = half.pool.fleet.ready[which % len(half.pool.fleet.ready)]
            if blocks:
                half.pool.block_loop(container)
            elif container in half.pool.fleet.blocked:
                half.pool.unblock_loop(container)

    @rule(most=st.sampled_from([1, 2, None]), spare=st.sampled_from([0, 0, 1]))
    def set_limits(self, most: int | None, spare: int) -> None:
        for half in self.halves:
            limits = half.pool.options.limits
            half.pool.set_limits(
                Limits(
                    limits.target_inputs,
                    CONTAINER_LIMIT,
                    max_containers=most,
                    scaledown_window=limits.scaledown_window,
                    buffer_containers=spare,
                )
            )

    @rule(seconds=st.sampled_from([0.001, 0.5, 3.0, 20.0]))
    def pass_time(self, seconds: float) -> None:
        self.pass_by(seconds)

    def pass_by(self, seconds: float) -> None:
        for half in self.halves:
            half.clock.pass_to(half.clock.time + seconds)

    @invariant()
    def both_know_the_same(self) -> None:
        if hasattr(self, "halves"):
            known, expected = self.direct.known(), self.asking.known()
            for name in expected:
                assert known[name] == expected[name], name


TestTwoPools = TwoPools.TestCase
TestTwoPools.settings = settings(max_examples=200, stateful_step_count=25, deadline=None)


def test_one_pool_of_the_two_is_direct() -> None:
    """Else the machine above compares one path with itself."""
    options = PoolOptions("f", Limits(2, CONTAINER_LIMIT))
    assert pool_inside.is_direct(Half(options, pool_inside.make_pool).pool)
    assert not pool_inside.is_direct(Half(options, pool_inside.make_pool_that_asks).pool)
