"""Pools that are direct: `submit` and `settle` do the least that is needed, and end the same.

Two pools get the same steps; one of them may never be direct, so it asks all questions.  After
each step everything that a pool knows is the same in both.  Begin reading at `TwoPools`.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

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
        self.pool = make(options, self.make, clock=clock, capacity=Capacity(3, 100))

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


class TwoPools:
    """The steps, each done to both halves, as the random numbers of `seed` say."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.numbers = itertools.count()
        limits = Limits(
            self.random.randint(1, CONTAINER_LIMIT),
            CONTAINER_LIMIT,
            max_containers=self.random.choice([1, 2, None]),
            scaledown_window=self.random.choice([None, 5.0]),
        )
        options = PoolOptions(
            "f",
            limits,
            timeout=self.random.choice([None, 10.0]),
            queue_timeout=self.random.choice([None, 7.0]),
        )
        self.direct = Half(options, pool_inside.make_pool)
        self.asking = Half(options, pool_inside.make_pool_that_asks)
        self.halves = (self.direct, self.asking)

    def indices(self, *states: InputState) -> list[int]:
        return [i.index for i in self.asking.inputs if i.state in states]

    def one_comes(self) -> None:
        self.come(1)

    def several_come(self) -> None:
        self.come(self.random.randint(2, 4))

    def come(self, count: int) -> None:
        indices = [next(self.numbers) for _ in range(count)]
        # Mostly of one kind: tickets are given out once both kinds have come.
        is_async = self.random.random() < 0.95
        for half in self.halves:
            half.submit(indices, is_async)

    def all_begin(self) -> None:
        for index in self.indices(InputState.GRANTED):
            for half in self.halves:
                half.begin(index)

    def one_ends(self) -> None:
        found = self.indices(InputState.RUNNING, InputState.ABANDONED)
        if not found:
            return
        index = self.random.choice(found)
        lane = self.random.choice([True, True, False, None])
        outcome = Value(index) if self.random.random() < 0.9 else Failure(ValueError("text"))
        for half in self.halves:
            half.settle(index, outcome, lane)

    def all_end(self) -> None:
        """One after the other, so that containers become idle at different times."""
        while self.indices(InputState.GRANTED, InputState.RUNNING):
            self.all_begin()
            self.one_ends()
            self.time_passes()
            self.compare()

    def one_is_cancelled(self) -> None:
        if self.asking.inputs:
            index = self.random.randrange(len(self.asking.inputs))
            for half in self.halves:
                half.pool.cancel(half.inputs[index])

    def containers_start(self) -> None:
        for half in self.halves:
            for container in [c for c in half.containers if c.state is ContainerState.STARTING]:
                half.pool.container_ready(container)

    def containers_stop(self) -> None:
        for half in self.halves:
            for container in [c for c in half.containers if c.state is ContainerState.STOPPING]:
                half.pool.container_stopped(container)

    def one_is_resized(self) -> None:
        at, limit = self.random.randrange(8), self.random.randint(1, CONTAINER_LIMIT)
        for half in self.halves:
            if ready := half.pool.fleet.ready:
                half.pool.resize(ready[at % len(ready)], limit)

    def a_loop_blocks(self) -> None:
        at = self.random.randrange(8)
        for half in self.halves:
            if ready := half.pool.fleet.ready:
                half.pool.block_loop(ready[at % len(ready)])

    def all_loops_go_on(self) -> None:
        for half in self.halves:
            for container, count in list(half.pool.fleet.blocked.items()):
                for _ in range(count):
                    half.pool.unblock_loop(container)

    def limits_change(self) -> None:
        most, spare = self.random.choice([1, 2, None]), self.random.choice([0, 0, 0, 1])
        for half in self.halves:
            limits = replace(half.pool.options.limits, max_containers=most, buffer_containers=spare)
            half.pool.set_limits(limits)

    def time_passes(self) -> None:
        seconds = self.random.choice([0.001, 0.5, 0.5, 3.0, 20.0])
        for half in self.halves:
            half.clock.pass_to(half.clock.time + seconds)

    def compare(self) -> None:
        known, expected = self.direct.known(), self.asking.known()
        for name in expected:
            assert known[name] == expected[name], name


# How often each step is done.
STEPS = {
    TwoPools.one_comes: 30,
    TwoPools.one_ends: 25,
    TwoPools.all_begin: 15,
    TwoPools.time_passes: 8,
    TwoPools.containers_start: 6,
    TwoPools.several_come: 2,
    TwoPools.all_end: 2,
    TwoPools.containers_stop: 2,
    TwoPools.one_is_cancelled: 2,
    TwoPools.one_is_resized: 2,
    TwoPools.a_loop_blocks: 1,
    TwoPools.all_loops_go_on: 2,
    TwoPools.limits_change: 1,
}


@pytest.mark.parametrize("seed", range(60))
def test_both_know_the_same_after_any_events(seed: int) -> None:
    two = TwoPools(seed)
    steps = two.random.choices(list(STEPS), list(STEPS.values()), k=150)
    for at, step in enumerate(steps):
        step(two)
        try:
            two.compare()
        except AssertionError as error:
            error.add_note(f"after step {at}: {[each.__name__ for each in steps[: at + 1]]}")
            raise


def test_one_pool_of_the_two_is_direct() -> None:
    """Else the test above compares one path with itself."""
    options = PoolOptions("f", Limits(2, CONTAINER_LIMIT))
    assert pool_inside.is_direct(Half(options, pool_inside.make_pool).pool)
    assert not pool_inside.is_direct(Half(options, pool_inside.make_pool_that_asks).pool)
