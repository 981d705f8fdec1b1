"""Room for containers, between a pool and the capacity: effects that are carried out late.

The pools are those of the model, whose containers the test drives by hand.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import pool_inside
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.runtime.containers.container import ContainerState, Effect
from moorage.runtime.input import InputState, Kind
from moorage.runtime.pools.autoscaler import Limits
from moorage.runtime.pools.capacity import Capacity
from pool_world import ModelCall, ModelInput, PoolWorld, Setting

SMALL = Setting(Limits(1, 1, 0, None, 0, 20.0), max_backlog=None, queue_timeout=None)


class Worlds:
    """Two pools under a capacity of two containers; no effect is carried out by itself."""

    def __init__(self) -> None:
        self.pending: list[Effect] = []
        pool_inside.replace_carry_out(self.pending.extend)
        self.capacity = Capacity(2, 9)
        self.clock = VirtualClock()
        self.clock.__enter__()
        self.one, self.other = (
            PoolWorld(self.clock, self.capacity, SMALL, self.pending.extend) for _ in range(2)
        )

    def flush(self, at_most: int = 100) -> None:
        for _ in range(at_most):
            if not self.pending:
                return
            self.pending.pop(0)()
        raise AssertionError(f"effects go round: {self.pending}")

    def arrive(self, world: PoolWorld) -> ModelInput:
        call = ModelCall(Kind.ASYNC)
        input = ModelInput(world, call, 0)
        world.calls.append(call)
        world.inputs.append(input)
        world.pool.submit([input])
        return input

    def start(self, world: PoolWorld) -> None:
        self.flush()
        world.end_start(world.in_state(ContainerState.STARTING)[0], True)

    def close(self) -> None:
        for world in (self.one, self.other):
            world.pool.close()
            world.pool.cancel_running()
            for input in world.holders(*ENDS):
                world.end_code(input, True)
            for container in world.containers:
                if container.state is ContainerState.STOPPING:
                    world.pool.container_stopped(container)
        self.flush()
        pool_inside.put_carry_out_back()
        self.clock.__exit__(None, None, None)


ENDS = (InputState.GRANTED, InputState.RUNNING, InputState.ABANDONED)


@pytest.fixture
def worlds() -> Iterator[Worlds]:
    worlds = Worlds()
    yield worlds
    worlds.close()


def test_a_pool_that_gets_room_late_leaves_the_line_that_it_joined_anew(worlds):
    one, other = worlds.one, worlds.other
    for world in (one, other):
        worlds.arrive(world)
        worlds.start(world)
    queued = worlds.arrive(one)
    worlds.flush()
    assert worlds.capacity.statistics().waiting == 1
    # Room is set aside, and on its way to the pool.
    [container] = other.containers
    other.pool.cancel(next(iter(container.slots.held)))
    container.inputs.clear()
    other.pool.stop_fetching(container)
    other.pool.container_stopped(container)
    assert worlds.capacity.statistics().waiting == 0
    # The pool needs none; then it does, and joins the line.
    one.pool.cancel(queued)
    worlds.arrive(one)
    assert worlds.capacity.statistics().waiting == 1
    worlds.flush()
    assert worlds.capacity.statistics().waiting == 0
    assert len(one.in_state(ContainerState.STARTING)) == 1


def test_a_pool_that_waits_for_room_and_keeps_an_idle_container_asks_for_room_once(worlds):
    one, other = worlds.one, worlds.other
    for world in (one, other):
        worlds.arrive(world)
        worlds.start(world)
    [container] = one.containers
    one.pool.cancel(next(iter(container.slots.held)))
    container.inputs.clear()
    # Its loop is held: the idle container is of no use to an asynchronous input.
    one.held_loops.append(container)
    one.pool.block_loop(container)
    worlds.arrive(one)
    worlds.flush()
    assert worlds.capacity.statistics().waiting == 1
    one.held_loops.remove(container)
    one.pool.unblock_loop(container)
    worlds.flush()
    assert worlds.capacity.statistics().waiting == 0
