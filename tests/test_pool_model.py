"""Pools against a simple model, in virtual time, with containers that the test drives.

Hypothesis picks arrivals, starts, completions, failures, cancels, resizes, loops that are
held by blocking calls and let go, containers that become ready, fail, stop or take no more,
changed bounds, drains, the steps of an end, and the passing of time, in any order.  After
each step all promises are checked: of one pool those of ``pool_world.py``, of all together
those of `PoolMachine` and `CrowdedMachine`.

- `BoundedMachine`: two pools share one capacity.  Each bounds what waits, refuses what is
  too much or lets it wait outside, and may try failed inputs again.
- `UnboundedMachine`: the same without any bound, and without a deadline in the queue.
- `BatchedMachine`: pools that make batches of what they are given.
- `CrowdedMachine`: many pools under a capacity that is too small for all of them.
- `ContinuedMachine`: pools that retire when they are unused, and new ones in their place.

Each runs twice: effects are carried out at once, or whenever it pleases and in any order.
Begin reading at `PoolMachine`.
"""

from __future__ import annotations

import faulthandler
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

import pool_inside
from moorage import Retries
from moorage.exception import ExecutionError, ResourceExhaustedError
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.runtime.containers.container import ContainerState, Effect
from moorage.runtime.input import Input, InputState, Kind, Target
from moorage.runtime.outcome import Cancelled, Failure
from moorage.runtime.pools.autoscaler import Limits
from moorage.runtime.pools.batching import BatchOptions, batch_of
from moorage.runtime.pools.capacity import Capacity
from pool_world import (
    BATCH_WAIT,
    IN_CONTAINER,
    TIMEOUT,
    WAITS,
    WINDOW,
    ModelCall,
    ModelContainer,
    ModelInput,
    PoolWorld,
    Setting,
)

# `make models` has more; by hand: MOORAGE_EXAMPLES=5000 pytest tests/test_pool_model.py
EXAMPLES = int(os.environ.get("MOORAGE_EXAMPLES", "40"))

# Whether the first failing example is enough: see ``tests/mutations``.
FIRST_FAILURE = "MOORAGE_FIRST_FAILURE" in os.environ

RETRIES = Retries(max_retries=2, initial_delay=3.0)

T = TypeVar("T")

STARTS = (ContainerState.STARTING, ContainerState.STOPPING)  # some stop while they start
ENDS = (InputState.RUNNING, InputState.ABANDONED)
RUNS = (ContainerState.READY, ContainerState.DRAINING)

whichs = st.integers(0, 19)  # of the pools, counted around
indices = st.integers(0, 30)


def nth(index: int, found: list[T]) -> T:
    """One of them, counted around."""
    return found[index % len(found)]


@pytest.fixture(autouse=True)
def takes_its_time() -> Iterator[None]:
    """No limit holds while Hypothesis looks for a smaller example; failed starts are no news."""
    faulthandler.cancel_dump_traceback_later()
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


class PoolMachine(RuleBasedStateMachine):
    """What all machines have in common: the steps, and the promises of all pools together."""

    late = False  # whether effects wait until they are carried out by a step of their own
    max_containers = 3
    max_sync_slots = 3

    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.clock.__enter__()
        self.capacity = Capacity(self.max_containers, self.max_sync_slots)
        self.pending: list[Effect] = []
        self.carry_out = self.keep if self.late else pool_inside.carry_out
        pool_inside.replace_carry_out(self.carry_out)
        self.worlds: list[PoolWorld] = []

    def add_pools(self, *chosen: Setting) -> None:
        for setting in chosen:
            self.worlds.append(PoolWorld(self.clock, self.capacity, setting, self.carry_out))

    def world(self, which: int) -> PoolWorld:
        return self.worlds[which % len(self.worlds)]

    def there(self, of: Callable[[PoolWorld], Iterable[T]]) -> list[tuple[PoolWorld, T]]:
        """What all worlds have, each with its world."""
        return [(world, thing) for world in self.worlds for thing in of(world)]

    def open_worlds(self) -> list[PoolWorld]:
        return [world for world in self.worlds if not world.closing and not world.drains]

    def closing_worlds(self) -> list[PoolWorld]:
        return [world for world in self.worlds if world.closing]

    def containers(self, *states: ContainerState) -> list[tuple[PoolWorld, ModelContainer]]:
        return self.there(lambda world: world.in_state(*states))

    def starting(self) -> list[tuple[PoolWorld, ModelContainer]]:
        """Those whose enter hooks run, also if they are to stop at their end."""
        return [(world, c) for world, c in self.containers(*STARTS) if not c.was_ready]

    def stopping(self) -> list[tuple[PoolWorld, ModelContainer]]:
        return [(w, c) for w, c in self.containers(ContainerState.STOPPING) if c.stop_asked]

    def holders(self, *states: InputState) -> list[tuple[PoolWorld, Input]]:
        """Inputs, or batches, with a slot, whose code can go on."""
        return [
            (world, holder)
            for world, holder in self.there(lambda world: world.holders(*states))
            if world.goes_on(holder)
        ]

    def keep(self, effects: Iterable[Effect]) -> None:
        """Effects are carried out after the lock is let go; who says how long after?"""
        self.pending.extend(effects)

    def flush(self) -> None:
        while self.pending:
            self.pending.pop(0)()

    @precondition(lambda self: self.pending)
    @rule(index=indices)
    def carry_one_out(self, index: int) -> None:
        self.pending.pop(index % len(self.pending))()

    @precondition(lambda self: self.pending)
    @rule()
    def carry_all_out(self) -> None:
        self.flush()

    # -- inputs -------------------------------------------------------------------------

    @precondition(lambda self: self.open_worlds())
    @rule(index=indices, count=st.integers(1, 5), may_stand=st.booleans())
    def async_ones_arrive(self, index: int, count: int, may_stand: bool) -> None:
        self.arrive(nth(index, self.open_worlds()), count, True, may_stand)

    @precondition(lambda self: self.open_worlds())
    @rule(index=indices, count=st.integers(1, 5), may_stand=st.booleans())
    def sync_ones_arrive(self, index: int, count: int, may_stand: bool) -> None:
        self.arrive(nth(index, self.open_worlds()), count, False, may_stand)

    def arrive(
        self,
        world: PoolWorld,
        count: int,
        is_async: bool,
        may_stand: bool,
        kind: Kind | None = None,
    ) -> None:
        call = ModelCall(kind or (Kind.ASYNC if is_async else Kind.SYNC))
        if world.batching is not None:  # all of one function
            call.target = world.batching.target
        inputs = [ModelInput(world, call, index) for index in range(count)]
        room = world.room(call.target.is_async)
        if room is None or count <= room or world.setting.waits_when_full or may_stand:
            world.calls.append(call)
            world.inputs.extend(inputs)
            self.submit(world, inputs, may_stand)
            for input in inputs:
                if world.pool.when_let_in(input, input.count_let_in):
                    input.times_let_in = 0
        else:
            with pytest.raises(ResourceExhaustedError):
                self.submit(world, inputs, may_stand=False)
            world.refused += count

    def submit(self, world: PoolWorld, inputs: list[Input], may_stand: bool) -> None:
        while not world.pool.submit(inputs, may_stand_outside=may_stand):
            world.renew()

    @precondition(lambda self: self.holders(InputState.GRANTED))
    @rule(index=indices)
    def begin_code(self, index: int) -> None:
        world, input = nth(index, self.holders(InputState.GRANTED))
        world.begin_code(input)

    @precondition(lambda self: self.holders(InputState.GRANTED))
    @rule()
    def begin_all(self) -> None:
        for world, input in self.holders(InputState.GRANTED):
            world.begin_code(input)

    @precondition(lambda self: self.holders(*ENDS))
    @rule(index=indices, good=st.booleans(), lane=st.sampled_from([None, True, False]))
    def end_code(self, index: int, good: bool, lane: bool | None) -> None:
        world, input = nth(index, self.holders(*ENDS))
        world.end_code(input, good, lane)

    @precondition(lambda self: self.holders(*ENDS))
    @rule(good=st.booleans())
    def end_all(self, good: bool) -> None:
        for world, input in self.holders(*ENDS):
            if input.state in ENDS:
                world.end_code(input, good)

    @precondition(lambda self: self.there(lambda world: world.inputs))
    @rule(index=indices)
    def cancel(self, index: int) -> None:
        world, input = nth(index, self.there(lambda world: world.inputs))
        before = input.state
        batch = batch_of(input)
        unbegun = batch is not input and batch.state is InputState.GRANTED
        asked_before = input.cancellation is not None
        if world.retries is not None and isinstance(input.cancellation, Failure):
            asked_before = False  # it ran out of time, and would be tried again
        accepted = world.pool.cancel(input)
        assert accepted == (before in (*WAITS, InputState.RUNNING) and not asked_before)
        if accepted and world.batching is not None and before is InputState.RUNNING:
            assert isinstance(input.outcome, Cancelled)
            ends = InputState.SETTLED if unbegun else InputState.ABANDONED
            assert input.state is ends
        if accepted and before in WAITS:
            assert input.state is InputState.SETTLED
            assert isinstance(input.outcome, Cancelled)
            if before is InputState.GRANTED:
                input.container.inputs.remove(input)

    @precondition(lambda self: self.there(lambda world: world.inputs))
    @rule(which=whichs, chosen=st.lists(indices, max_size=6))
    def cancel_several(self, which: int, chosen: list[int]) -> None:
        world = self.world(which)
        if world.inputs:
            inputs = [world.inputs[index % len(world.inputs)] for index in chosen]
            self.cancelled_together(inputs)
            world.pool.cancel_all(inputs)
            assert not any(i.state in WAITS for i in inputs)

    @precondition(lambda self: self.there(lambda world: world.calls))
    @rule(index=indices, queued_only=st.booleans())
    def cancel_call(self, index: int, queued_only: bool) -> None:
        world, call = nth(index, self.there(lambda world: world.calls))
        mine = [i for i in world.inputs if i.call is call]
        waits = [i for i in mine if i.state in (*WAITS, InputState.RUNNING)]
        if queued_only:
            waits = [i for i in mine if i.state in WAITS and i.state is not InputState.GRANTED]
        self.cancelled_together(waits)
        if queued_only:
            world.pool.cancel_waiting(mine)
        else:
            world.pool.cancel_all(mine)
        assert not any(i.state in WAITS for i in waits)

    def cancelled_together(self, inputs: Iterable[Input]) -> None:
        for input in set(inputs):
            if input.state is InputState.GRANTED:
                input.container.inputs.remove(input)

    # -- containers ---------------------------------------------------------------------

    @precondition(lambda self: self.starting())
    @rule(index=indices, bad=st.integers(0, 4))
    def end_start(self, index: int, bad: int) -> None:
        world, container = nth(index, self.starting())
        world.end_start(container, bad != 3)

    @precondition(lambda self: self.starting())
    @rule()
    def end_all_starts(self) -> None:
        for world, container in self.starting():
            if container.state in STARTS:
                world.end_start(container, True)

    @precondition(lambda self: self.stopping())
    @rule(index=indices)
    def end_stop(self, index: int) -> None:
        _, container = nth(index, self.stopping())
        container.pool.container_stopped(container)

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 5.0, WINDOW, TIMEOUT]))
    def pass_time(self, seconds: float) -> None:
        before = self.clock.now()
        self.clock.sleep(seconds)
        assert self.clock.now() == before + seconds

    @rule(
        which=whichs,
        least=st.integers(0, 2),
        most=st.sampled_from([2, 3, None]),
        spare=st.integers(0, 1),
    )
    def set_limits(self, which: int, least: int, most: int | None, spare: int) -> None:
        world = self.world(which)
        world.limits = replace(
            world.limits, min_containers=least, max_containers=most, buffer_containers=spare
        )
        while not world.pool.set_limits(world.limits):
            world.renew()

    @precondition(lambda self: self.there(lambda world: world.idle()))
    @rule(index=indices)
    def evict(self, index: int) -> None:
        world, _ = nth(index, self.there(lambda world: world.idle()))
        world.pool.evict_idle()

    # -- calls that may submit more, and the end ----------------------------------------

    @precondition(lambda self: any(world.setting.retires for world in self.worlds))
    @rule(which=whichs)
    def open_call(self, which: int) -> None:
        self.world(which).open_call()

    @precondition(lambda self: any(world.open_calls for world in self.worlds))
    @rule(index=indices)
    def close_call(self, index: int) -> None:
        nth(index, [world for world in self.worlds if world.open_calls]).close_call()

    # Seldom, for nothing arrives afterwards.
    @rule(which=whichs, how=st.sampled_from([*["stay"] * 12, "drain", "close", "cancel"]))
    def leave(self, which: int, how: str) -> None:
        world = self.world(which)
        if how == "stay" or world.closing:
            return
        if how == "drain":
            self.drain(world)
        else:
            self.close(world, cancel_running=how == "cancel")
        self.is_refused(world)

    def drain(self, world: PoolWorld) -> None:
        world.drains = True
        world.pool.drain()
        count = world.pool.accepted_if_settled(lambda: self.told(world))
        if count is None:
            world.asked_settled += 1
        else:
            s = world.pool.statistics()
            assert count == s.accepted == s.succeeded + s.failed + s.cancelled

    def told(self, world: PoolWorld) -> None:
        world.told_settled += 1

    def close(self, world: PoolWorld, *, cancel_running: bool) -> None:
        world.open_call()  # or it might be retired
        world.closing = True
        world.cancelled_running = cancel_running
        if cancel_running:
            self.cancelled_together(i for i in world.inputs if i.state is InputState.GRANTED)
        world.pool.close(cancel_running=cancel_running)

    def is_refused(self, world: PoolWorld) -> None:
        try:
            accepted = world.pool.submit([ModelInput(world, ModelCall(Kind.SYNC), 0)])
        except ExecutionError:
            return
        assert not accepted, "accepted though its run is left"
        assert world.setting.retires
        assert world.pool in world.retired or self.pending, "retired, and nobody hears of it"

    @precondition(lambda self: self.closing_worlds())
    @rule(index=indices)
    def cancel_running(self, index: int) -> None:
        world = nth(index, self.closing_worlds())
        self.cancelled_together(i for i in world.inputs if i.state is InputState.GRANTED)
        world.cancelled_running = True
        world.pool.cancel_running()

    # What holds a slot is cancelled before.
    @precondition(lambda self: any(world.cancelled_running for world in self.worlds))
    @rule(index=indices)
    def stop_by_force(self, index: int) -> None:
        nth(index, [w for w in self.worlds if w.cancelled_running]).pool.stop_by_force()

    # -- promises -----------------------------------------------------------------------

    @invariant()
    def check(self) -> None:
        for world in self.worlds:
            # Those who wait for a batch are woken one after the other, when all rests.
            batched = world.batching is not None
            world.check(effects_pending=bool(self.pending) or batched)
        self.check_capacity()

    def check_capacity(self) -> None:
        """What is counted, there is."""
        live = [
            c
            for world in self.worlds
            for c in world.containers
            if c.state is not ContainerState.STOPPED and not c.given_up
        ]
        set_aside = [e for e in self.pending if getattr(e, "__name__", "") == "room_granted"]
        seen = self.capacity.survey()
        assert seen.containers == len(live) + len(set_aside)
        in_line = [pool for pool, _ in seen.line]
        assert len(in_line) == len(set(in_line)), "a pool is in line twice"
        coming = [getattr(effect, "__self__", None) for effect in set_aside]
        for world in self.worlds:
            if world.pool in in_line:
                assert pool_inside.is_in_line(world.pool), "a pool is in line unknowingly"
            elif pool_inside.is_in_line(world.pool):
                assert world.pool in coming, "a pool waits for room that nobody will grant"

    # -- the end of an example ----------------------------------------------------------

    def teardown(self) -> None:
        try:
            self.flush()
            for world in self.worlds:
                while world.held_loops:
                    world.pool.unblock_loop(world.held_loops.pop())
                self.end_pool(world)
            self.flush()
            assert self.capacity.statistics().containers == 0
            assert self.capacity.statistics().waiting == 0
        finally:
            pool_inside.put_carry_out_back()
            self.clock.__exit__(None, None, None)

    def end_pool(self, world: PoolWorld) -> None:
        if not world.closing:
            world.open_call()  # or it might be retired
            self.cancelled_together(i for i in world.inputs if i.state is InputState.GRANTED)
        world.closing = True
        pool = world.pool
        pool.close()
        self.cancelled_together(i for i in world.inputs if i.state is InputState.GRANTED)
        pool.cancel_running()
        self.flush()
        self.is_refused(world)
        for container in world.containers:
            if container.state is ContainerState.STOPPING and not container.was_ready:
                assert not pool.container_ready(container)
                pool.container_stopped(container)
        self.flush()
        for input in world.holders(InputState.RUNNING, InputState.ABANDONED):
            world.end_code(input, True)
        self.flush()
        for container in world.containers:
            if container.state is ContainerState.STOPPING:
                pool.container_stopped(container)
        self.flush()
        self.clock.sleep(0.0)
        world.check(effects_pending=False)
        s = pool.statistics()
        assert (s.queued, s.running, s.abandoned, s.containers) == (0, 0, 0, ())
        assert all(c.state is ContainerState.STOPPED for c in world.containers)
        assert all(i.state is InputState.SETTLED for i in world.inputs)
        assert pool.wait_stopped(self.clock.now())
        pool.join(0.0)


class ManySidedMachine(PoolMachine):
    """Steps of single pools: held loops, resizes, containers that take no more, drains."""

    @precondition(lambda self: self.containers(*RUNS))
    @rule(index=indices)
    def block_loop(self, index: int) -> None:
        world, container = nth(index, self.containers(*RUNS))
        world.held_loops.append(container)
        world.pool.block_loop(container)

    @precondition(lambda self: self.containers(*RUNS))
    @rule(
        index=indices,
        kinds=st.lists(st.booleans(), min_size=1, max_size=6),
        may_stand=st.booleans(),
        seconds=st.sampled_from([0.0, 5.0]),
        is_let_go=st.booleans(),
    )
    def block_loops_while_inputs_arrive(
        self, index: int, kinds: list[bool], may_stand: bool, seconds: float, is_let_go: bool
    ) -> None:
        """All loops of one pool are held.  One by one inputs arrive, asynchronous or not.

        Then those that failed before may have their next attempt.
        """
        world, _ = nth(index, self.containers(*RUNS))
        held = world.in_state(ContainerState.READY)
        for container in held:
            world.held_loops.append(container)
            world.pool.block_loop(container)
        if world in self.open_worlds():
            for is_async in kinds:
                self.arrive(world, 1, is_async, may_stand)
                self.check()
        self.clock.sleep(seconds)
        self.check()
        if is_let_go:
            for container in held:
                world.held_loops.remove(container)
                world.pool.unblock_loop(container)

    @precondition(lambda self: self.there(lambda world: world.held_loops))
    @rule(index=indices)
    def unblock_loop(self, index: int) -> None:
        world, container = nth(index, self.there(lambda world: world.held_loops))
        world.held_loops.remove(container)
        world.pool.unblock_loop(container)

    @precondition(lambda self: self.containers(*RUNS))
    @rule(index=indices, limit=st.integers(1, 4))
    def resize(self, index: int, limit: int) -> None:
        world, container = nth(index, self.containers(*RUNS))
        world.pool.resize(container, limit)

    @precondition(lambda self: self.containers(ContainerState.STARTING, *RUNS))
    @rule(index=indices)
    def stop_fetching(self, index: int) -> None:
        world, container = nth(index, self.containers(ContainerState.STARTING, *RUNS))
        world.pool.stop_fetching(container)
        container.told_to_take_no_more = True


class BoundedMachine(ManySidedMachine):
    """Both ways to be full, with and without further attempts."""

    @initialize(waits=st.booleans(), retries=st.sampled_from([(0, 1), (1, 0), (1, 1)]))
    def begin(self, waits: bool, retries: tuple[int, int]) -> None:
        self.add_pools(
            Setting(
                Limits(2, 3, 0, 2, 0, WINDOW),
                waits_when_full=waits,
                retries=RETRIES if retries[0] else None,
            ),
            Setting(
                Limits(1, 2, 1, None, 1, WINDOW),
                waits_when_full=not waits,
                retries=RETRIES if retries[1] else None,
            ),
        )


class UnboundedMachine(ManySidedMachine):
    """Nothing bounds what waits, and for how long."""

    @initialize()
    def begin(self) -> None:
        self.add_pools(
            Setting(Limits(2, 3, 0, 2, 0, WINDOW), max_backlog=None, queue_timeout=None),
            Setting(
                Limits(1, 2, 1, None, 1, WINDOW),
                max_backlog=None,
                queue_timeout=None,
                retries=RETRIES,
            ),
        )


class BatchedMachine(ManySidedMachine):
    """Both pools make batches, smaller and larger than what may wait."""

    sizes = (3, 6)

    @initialize(waits=st.booleans())
    def begin(self, waits: bool) -> None:
        self.add_pools(
            Setting(
                Limits(2, 3, 0, 2, 0, WINDOW),
                waits_when_full=waits,
                batching=self.batching(Kind.ASYNC, self.sizes[0]),
            ),
            Setting(
                Limits(1, 2, 1, None, 1, WINDOW),
                waits_when_full=not waits,
                retries=RETRIES,
                batching=self.batching(Kind.SYNC, self.sizes[1]),
            ),
        )

    def batching(self, kind: Kind, size: int) -> BatchOptions:
        return BatchOptions(Target("f", lambda: None, kind), size, BATCH_WAIT)

    @precondition(lambda self: self.holders(*IN_CONTAINER))
    @rule(index=indices, bad=st.integers(-1, 63))
    def end_batch(self, index: int, bad: int) -> None:
        world, batch = nth(index, self.holders(*IN_CONTAINER))
        world.end_batch(batch, bad)


class CrowdedMachine(PoolMachine):
    """Five small pools, under a capacity of two containers."""

    max_containers = 2
    max_sync_slots = 3

    @initialize()
    def begin(self) -> None:
        small = Setting(Limits(1, 1, 0, 1, 0, WINDOW), max_backlog=None, queue_timeout=None)
        self.add_pools(
            small,
            small,
            replace(small, limits=Limits(1, 2, 1, 2, 0, WINDOW)),
            replace(small, limits=Limits(1, 1, 0, 2, 0, WINDOW), sync_slots=2),
            replace(small, limits=Limits(2, 2, 0, None, 0, WINDOW), sync_slots=0),
        )

    # Spare containers are asked for again as soon as they are gone.
    @rule(which=whichs, least=st.integers(0, 1), most=st.sampled_from([1, 2, None]))
    def set_limits(self, which: int, least: int, most: int | None) -> None:
        super().set_limits(which, least, most, 0)

    def check_capacity(self) -> None:
        super().check_capacity()
        self.check_room_is_used()
        if not self.pending:
            self.check_idle_ones_make_room()

    def check_idle_ones_make_room(self) -> None:
        """None stays idle while capacity is above its bounds, or while a pool waits for room."""
        seen = self.capacity.survey()
        pool_of = {world.pool: world for world in self.worlds}
        waiting = [(pool_of[pool], slots) for pool, slots in seen.line if pool.statistics().queued]
        leaving = [
            (c, world.setting.sync_slots)
            for world in self.worlds
            for c in world.containers
            if c.state in (ContainerState.DRAINING, ContainerState.STOPPING) and not c.given_up
        ]
        # What there will be when those that leave have left, and those that wait have room.
        containers = seen.containers - len(leaving) + len(waiting)
        sync_slots = seen.sync_slots + sum(slots for _, slots in waiting)
        sync_slots -= sum(slots for _, slots in leaving)
        helps = sync_slots > self.max_sync_slots
        if containers <= self.max_containers and not helps:
            return
        for world in self.worlds:
            if [world] == [w for w, _ in waiting]:
                continue  # it waits for itself alone
            if containers <= self.max_containers and not world.setting.sync_slots:
                continue  # one of its containers takes none of what is short
            there = world.in_state(ContainerState.READY, ContainerState.STARTING)
            if len(there) > world.limits.min_containers:
                assert not world.idle(), f"{world.pool!r} keeps an idle container: {seen}"

    def check_room_is_used(self) -> None:
        """No pool stands in line while there is room for the first one."""
        seen = self.capacity.survey()
        if seen.line:
            fits = seen.containers < self.max_containers
            assert not fits or seen.sync_slots + seen.line[0][1] > self.max_sync_slots


class ContinuedMachine(PoolMachine):
    """Pools that retire: what they counted, and their failed starts, go on in the next ones."""

    @initialize()
    def begin(self) -> None:
        self.add_pools(
            Setting(Limits(1, 2, 0, 2, 0, WINDOW), retires=True),
            Setting(Limits(1, 1, 0, None, 0, WINDOW), retries=RETRIES, retires=True),
        )

    @precondition(lambda self: self.open_worlds())
    @rule(which=whichs, count=st.integers(1, 8), seconds=st.sampled_from([0.0, 0.1, 1.0]))
    def call_what_cannot_start(self, which: int, count: int, seconds: float) -> None:
        """A caller tries, and each start fails at once; then `seconds` pass."""
        for _ in range(count):
            self.arrive(nth(which, self.open_worlds()), 1, True, False)
            for world, container in self.containers(ContainerState.STARTING):
                world.end_start(container, False)
            self.clock.sleep(seconds)


class LateBoundedMachine(BoundedMachine):
    late = True


class LateUnboundedMachine(UnboundedMachine):
    late = True


class LateBatchedMachine(BatchedMachine):
    late = True
    sizes = (2, 5)


class LateCrowdedMachine(CrowdedMachine):
    late = True


class LateContinuedMachine(ContinuedMachine):
    late = True


EXAMPLES_OF_EACH = settings(
    max_examples=EXAMPLES,
    stateful_step_count=60,
    deadline=None,
    # One small example at a time: to find several, and to explain them, takes minutes.
    report_multiple_bugs=False,
    phases=(Phase.generate,)
    if FIRST_FAILURE
    else (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def checked(machine: type[PoolMachine]) -> type:
    case = machine.TestCase
    case.settings = EXAMPLES_OF_EACH
    return case


TestBounded = checked(BoundedMachine)
TestLateBounded = checked(LateBoundedMachine)
TestUnbounded = checked(UnboundedMachine)
TestLateUnbounded = checked(LateUnboundedMachine)
TestBatched = checked(BatchedMachine)
TestLateBatched = checked(LateBatchedMachine)
TestCrowded = checked(CrowdedMachine)
TestLateCrowded = checked(LateCrowdedMachine)
TestContinued = checked(ContinuedMachine)
TestLateContinued = checked(LateContinuedMachine)


def test_a_thread_in_a_container_that_stopped_by_force_is_still_counted():
    """Found by `TestCrowded`: the count of abandoned threads left out stopped containers."""
    machine = CrowdedMachine()
    machine.begin()
    machine.sync_ones_arrive(count=1, index=0, may_stand=False)
    machine.end_all_starts()
    machine.begin_all()
    machine.cancel_call(index=0, queued_only=False)
    machine.async_ones_arrive(count=1, index=0, may_stand=False)
    for seconds in (0.0, 0.0, 0.0, 0.0, 0.0, 1.0):
        machine.pass_time(seconds=seconds)
    machine.leave(how="cancel", which=0)
    machine.stop_by_force(index=0)
    machine.end_stop(index=0)
    machine.check()
    machine.teardown()
