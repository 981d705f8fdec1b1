"""The pool against a simple model, in virtual time, with containers that the test drives.

Two pools share one capacity; one of them tries failed inputs again.  Hypothesis
picks arrivals, starts, completions, failures, cancels, resizes, containers that
become ready, fail, stop or take no more, changed bounds, drains, the steps of an
end, and the passing of time, in any order; after each step all promises are checked.
Both pools bound what waits, for how long, and how long a container starts; one refuses
what is too much, the other lets it wait outside.  The same again with pools that make
batches of what they are given.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextvars import Context
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from moorage import Retries, config
from moorage.exception import ExecutionError, ResourceExhaustedError
from moorage.runtime import pool as pool_module
from moorage.runtime import threads
from moorage.runtime.autoscaler import Limits
from moorage.runtime.batching import BatchCall, BatchOptions, batch_of, members_of
from moorage.runtime.capacity import Capacity
from moorage.runtime.container import ContainerState, Effect
from moorage.runtime.input import Input, InputState, Kind, Target, next_call_number
from moorage.runtime.outcome import Cancelled, Failure, Value
from moorage.runtime.pool import Pool
from moorage.runtime.pool_options import PoolOptions
from moorage.runtime.slots import Slots
from moorage.runtime.virtual_clock import VirtualClock

# More examples by hand: MOORAGE_EXAMPLES=5000 pytest tests/test_pool_model.py
EXAMPLES = int(os.environ.get("MOORAGE_EXAMPLES", "100"))

TIMEOUT = 50.0
QUEUE_TIMEOUT = 35.0
STARTUP_TIMEOUT = 45.0
MOST_QUEUED = 4
WINDOW = 20.0
BATCH_WAIT = 2.0
WAITS = (InputState.OUTSIDE, InputState.QUEUED, InputState.WAITING, InputState.GRANTED)
IN_CONTAINER = (InputState.GRANTED, InputState.RUNNING, InputState.ABANDONED)


class ModelCall:
    """Counts how often each input is settled."""

    def __init__(self, kind: Kind) -> None:
        self.number = next_call_number()
        self.target = Target("f", lambda: None, kind)
        self.context = Context()
        self.woken: list[Input] = []
        self.times_settled: dict[Input, int] = {}

    def settled(self, input: Input, /) -> Callable[[], object]:
        self.times_settled[input] = self.times_settled.get(input, 0) + 1
        return lambda: self.woken.append(input)


class ModelContainer:
    """A container that does nothing by itself."""

    def __init__(self, world: PoolWorld, number: int, target: int, limit: int) -> None:
        self.world = world
        self.number = number
        self.state = ContainerState.STARTING
        self.target = target
        self.slots = Slots(limit)
        self.idle_since: float | None = None
        self.started_at = 0.0
        self.takes_no_more = False
        self.given_up = False
        self.booted = False
        self.told_to_take_no_more = False
        self.stop_asked = 0
        self.inputs: list[Input] = []  # placed here, their code not ended

    def boot(self) -> None:
        assert not self.booted
        self.booted = True

    def place(self, input: Input) -> None:
        assert input.state is InputState.GRANTED
        self.note_grant(input)

    def note_grant(self, input: Input) -> None:
        world = self.world
        assert self.state is ContainerState.READY, "granted by a container that takes nothing"
        assert not self.told_to_take_no_more, "a drained container takes work"
        assert not world.passes_over(self), "its loop is blocked"
        assert len(self.slots.held) <= self.slots.limit, "granted over the limit"
        if len(self.slots.held) > self.target:
            for other in world.pool._ready:
                if other is not self and not world.passes_over(other):
                    below = min(other.target, other.slots.limit)
                    assert len(other.slots.held) >= below, "burst while another is below target"
        if world.batching is not None:
            self.note_batch(input)
            return
        failures = world.failures.get(input, 0)
        placed = world.placed.get(input, 0)
        assert placed <= failures, "run twice"
        if not failures:  # else it joined the line anew, when its pause was over
            waiting = [i for i in world.inputs if i not in world.placed and i.outcome is None]
            assert waiting[0] is input, "not the first in line"
        world.placed[input] = placed + 1
        self.inputs.append(input)

    def note_batch(self, batch: Input) -> None:
        world = self.world
        call = batch.call
        assert isinstance(call, BatchCall)
        options = world.batching
        assert options is not None
        members = call.members
        assert 1 <= len(members) <= options.max_batch_size, "a batch that is too large, or empty"
        assert call.live == len(members)
        if len(members) < options.max_batch_size:
            now = world.clock.now()
            assert members[0].queued_at + options.wait <= now, "neither full nor due"
            assert not world.pool._queued, "left one behind that had its place in it"
            assert not world.pool._outside, "one outside had its place in it"
        new = [member for member in members if not world.failures.get(member)]
        waiting = [i for i in world.inputs if i not in world.placed and i.outcome is None]
        assert new == waiting[: len(new)], "not the first in line, or in another order"
        for member in members:
            placed = world.placed.get(member, 0)
            assert placed <= world.failures.get(member, 0), "run twice"
            world.placed[member] = placed + 1
            assert member.state is InputState.RUNNING
            assert member.runner is batch
        self.inputs.append(batch)

    def cancel(self, input: Input) -> None:
        assert input in self.inputs

    def stop(self) -> None:
        self.stop_asked += 1
        assert self.stop_asked == 1, "stopped twice"

    def give_up(self) -> None:
        assert self.state is not ContainerState.STARTING

    def places(self) -> list[str]:
        return []

    @property
    def ended(self) -> bool:
        return True

    def join(self, timeout: float) -> list[str]:
        return []


class PoolWorld:
    """One pool, and what the model knows of it."""

    def __init__(
        self,
        clock: VirtualClock,
        capacity: Capacity,
        limits: Limits,
        carry_out: Callable[[Iterable[Effect]], None],
        retries: Retries | None = None,
        *,
        waits_when_full: bool = False,
        batching: BatchOptions | None = None,
    ) -> None:
        self.batching = batching
        self.held_loops: list[ModelContainer] = []
        self.size = 1 if batching is None else batching.max_batch_size
        self.waits_when_full = waits_when_full
        self.refused = 0
        self.clock = clock
        self.carry_out = carry_out
        self.limits = limits
        self.inputs: list[Input] = []
        self.retries = retries
        self.placed: dict[Input, int] = {}  # how often
        self.failures: dict[Input, int] = {}
        self.containers: list[ModelContainer] = []
        self.calls: list[ModelCall] = []
        self.closing = False
        self.drains = False
        self.told_settled = 0
        self.asked_settled = 0
        self.open_calls = 0
        self.pool = Pool(
            PoolOptions(
                "f",
                limits,
                timeout=TIMEOUT,
                startup_timeout=STARTUP_TIMEOUT,
                queue_timeout=QUEUE_TIMEOUT,
                max_backlog=MOST_QUEUED,
                waits_when_full=waits_when_full,
                sync_slots=1,
                retries=retries,
                batching=batching,
            ),
            self.make,
            clock=clock,
            capacity=capacity,
        )

    def make(self, host: object, number: int, target: int, limit: int) -> ModelContainer:
        container = ModelContainer(self, number, target, limit)
        self.containers.append(container)
        return container

    def in_state(self, *states: ContainerState) -> list[ModelContainer]:
        return [c for c in self.containers if c.state in states and c.booted]

    def pick_input(self, index: int, *states: InputState) -> Input | None:
        there = [i for i in self.inputs if i.state in states]
        return there[index % len(there)] if there else None

    def passes_over(self, container: ModelContainer) -> bool:
        """Whether it gets no batch, as its loop sits in a blocking call."""
        batching = self.batching
        return batching is not None and batching.target.is_async and container in self.held_loops

    def holders(self, *states: InputState) -> list[Input]:
        """What holds a slot and is in one of `states`: inputs, or batches."""
        held = [holder for c in self.containers for holder in c.slots.held]
        return [h for h in held if isinstance(h, Input) and h.state in states]

    def pick_holder(self, index: int, *states: InputState) -> Input | None:
        if self.batching is None:
            return self.pick_input(index, *states)
        there = self.holders(*states)
        return there[index % len(there)] if there else None

    def begin_code(self, input: Input) -> None:
        with self.pool.lock:
            input.move(InputState.RUNNING)
            if isinstance(input.call, BatchCall):  # as it does when its code begins
                input.call.ran = [m for m in input.call.members if m.outcome is None]

    def end_batch(self, batch: Input, bad: int) -> None:
        """`bad` is 0 if all is well, -1 if it raises, else bits: who gets an error."""
        if batch.state is InputState.GRANTED:
            self.begin_code(batch)
        call = batch.call
        assert isinstance(call, BatchCall)
        container = batch.container
        runs = batch.state is InputState.RUNNING
        outcome: Value | Failure = Failure(ValueError())
        its: list[Value | Failure] = [
            Failure(ValueError()) if bad >> index & 1 else Value(index)
            for index in range(len(call.ran))
        ]
        if bad >= 0:
            outcome = Value(its)
        live = [member for member in call.members if member.outcome is None]
        assert len(live) == call.live
        again: dict[Input, bool] = {}
        for member in live:
            got = batch.cancellation or (its[call.ran.index(member)] if bad >= 0 else outcome)
            failures = self.failures.get(member, 0)
            failed = isinstance(got, Failure)
            again[member] = (
                failed
                and runs
                and self.retries is not None
                and failures < self.retries.max_retries
                and not self.closing
            )
            self.failures[member] = failures + failed
        members = list(call.members)
        with self.pool.lock:
            container.inputs.remove(batch)
            following, effects = self.pool.settle(container, batch, outcome, None)
            assert following is None
            for member, expected in again.items():
                assert (member.outcome is None) == expected
            assert not any(m.state is InputState.ABANDONED or m.runner is batch for m in members)
        self.carry_out(effects)

    def end_code(self, input: Input, good: bool, lane: bool | None = None) -> None:
        if isinstance(input.call, BatchCall):
            self.end_batch(input, 0 if good else -1)
            return
        container = input.container
        with self.pool.lock:
            if input.state is InputState.GRANTED:
                input.move(InputState.RUNNING)
            outcome = Value(1) if good else Failure(ValueError())
            container.inputs.remove(input)
            failures = self.failures.get(input, 0)
            failed = isinstance(input.cancellation or outcome, Failure)
            again = (
                failed
                and input.state is InputState.RUNNING
                and self.retries is not None
                and failures < self.retries.max_retries
                and not self.closing
            )
            self.failures[input] = failures + failed
            following, effects = self.pool.settle(container, input, outcome, lane)
            if following is not None:
                # Granted on the short way: place() was not called.
                assert following.state is InputState.RUNNING
                assert following.call.target.is_async is lane
                container.note_grant(following)
            assert (input.outcome is None) == again, "tried again when it may be, and only then"
        self.carry_out(effects)

    def check(self, *, effects_pending: bool) -> None:
        pool, limits = self.pool, self.limits
        s = pool.statistics()
        states = [i.state for i in self.inputs]
        assert s.abandoned_threads == sum(
            h.container.given_up for h in self.holders(InputState.ABANDONED)
        )
        assert self.batching is not None or s.abandoned_threads == sum(
            i.state is InputState.ABANDONED and i.container.given_up
            for i in self.inputs
            if i.state is InputState.ABANDONED and i.container.state is not ContainerState.STOPPED
        )
        unsettled = s.accepted - s.succeeded - s.failed - s.cancelled
        assert pool.unsettled == unsettled
        assert self.told_settled <= self.asked_settled
        if self.asked_settled and not unsettled:
            assert self.told_settled == self.asked_settled, "a drain waits for nothing"
        assert s.accepted + s.outside == len(self.inputs)
        assert s.outside == states.count(InputState.OUTSIDE)
        assert s.refused == self.refused
        if not self.closing:
            assert not s.outside or s.queued >= MOST_QUEUED, "outside while there is room"
        # One batch may form for a slot that is free, however small the bound.
        most = max(MOST_QUEUED, self.size - 1)
        back = sum(i.state is InputState.QUEUED and bool(self.failures.get(i)) for i in self.inputs)
        assert s.queued <= most + back, "only a further attempt comes beyond the bound"
        assert s.queued == states.count(InputState.QUEUED)
        assert s.running == sum(states.count(state) for state in IN_CONTAINER)
        assert s.abandoned == states.count(InputState.ABANDONED)
        assert s.waiting == states.count(InputState.WAITING)
        assert s.accepted == (
            s.queued + s.waiting + s.running - s.abandoned + s.succeeded + s.failed + s.cancelled
        )
        again = [t for t in pool._trials.values() if t.timer is not None]
        assert len(again) == s.waiting, "each has a time at which it goes on"
        for call in self.calls:
            assert all(times == 1 for times in call.times_settled.values())
        woken = {i for call in self.calls for i in call.woken}
        for i in self.inputs:
            ended = i.state in (InputState.SETTLED, InputState.ABANDONED)
            assert (i.outcome is not None) == ended, repr(i)
            assert (i in woken) == ended or (effects_pending and ended), repr(i)
        held = [h for c in self.containers for h in c.slots.held]
        assert len(held) == len(set(held)), "every lease has one holder"
        members = [m for h in held if isinstance(h, Input) for m in members_of(h)]
        assert len(members) == len(set(members)) == s.running, "each is in one batch"
        assert pool._running == len(held)
        for container in self.containers:
            for holder in container.slots.held:
                assert isinstance(holder, Input)
                assert holder.container is container
                assert holder.state in IN_CONTAINER
                if isinstance(holder.call, BatchCall):
                    self.check_batch(holder, holder.call)
        ready = [c for c in self.containers if c.state is ContainerState.READY]
        assert sorted(map(id, ready)) == sorted(map(id, pool._ready))
        live = [c for c in self.containers if c.state is not ContainerState.STOPPED]
        limits = pool.options.limits
        if limits.max_containers is not None:
            taking = [c for c in live if c.state in (ContainerState.READY, ContainerState.STARTING)]
            assert len(taking) <= limits.max_containers
        for c in ready:
            assert (c.idle_since is not None) == (not c.slots.held)
        assert not (self.closing and s.queued), "queued in a pool that is closed"
        if s.queued:
            # Nobody waits while a slot is free, but for the rest of a batch, and
            # somebody is to come.
            if any(c.slots.free for c in ready if not self.passes_over(c)):
                assert self.batching is not None
                assert s.queued < self.size, "a full batch does not go"
                first = next(i for i in pool._queue if i.state is InputState.QUEUED)
                assert first.queued_at + BATCH_WAIT > self.clock.now() - 1e-9, "it had its time"
                assert pool._batch_due is not None, "nobody tells it when it had its time"
                assert pool._batch_due.when <= first.queued_at + BATCH_WAIT
            coming = [c for c in live if c.state is ContainerState.STARTING]
            assert ready or coming or pool._wakeup is not None, "nobody is to come"
        demand = -(-(s.queued + s.outside) // self.size) + len(held)
        need = -(-demand // limits.target_inputs) + (limits.buffer_containers if demand else 0)
        starting = sum(c.state is ContainerState.STARTING for c in live)
        surplus = len(ready) + starting > max(limits.min_containers, need)
        for c in ready:
            if surplus and not self.closing and c.idle_since is not None:
                assert c.idle_since + limits.scaledown_window > self.clock.now() - 1e-9

    def check_batch(self, batch: Input, call: BatchCall) -> None:
        members = call.members
        assert 1 <= len(members) <= self.size
        live = [member for member in members if member.outcome is None]
        assert call.live == len(live)
        assert bool(live) == (batch.state is not InputState.ABANDONED) or batch.cancellation
        for member in members:
            assert member.container is batch.container
            assert member.runner is batch
            expected = InputState.RUNNING if member in live else InputState.ABANDONED
            assert member.state is expected
        if batch.state is InputState.GRANTED:
            assert len(live) == len(members), "who leaves before it runs is not in it"
            assert (call.number, batch.index) == (members[0].call.number, members[0].index)
            assert call.context is members[0].call.context


class PoolModel(RuleBasedStateMachine):
    """Effects are carried out at once."""

    late = False
    # How many inputs make a batch, for the two pools.
    sizes: tuple[int, int] | None = None

    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.clock.__enter__()
        self.capacity = Capacity(max_containers=3, max_sync_slots=3)
        self.pending: list[Effect] = []
        carry_out = self.keep if self.late else threads.carry_out
        pool_module.carry_out = carry_out
        self.worlds = [
            PoolWorld(
                self.clock,
                self.capacity,
                Limits(2, 3, 0, 2, 0, WINDOW),
                carry_out,
                waits_when_full=True,
                batching=self.batching(0),
            ),
            PoolWorld(
                self.clock,
                self.capacity,
                Limits(1, 2, 1, None, 1, WINDOW),
                carry_out,
                Retries(max_retries=2, initial_delay=3.0),
                batching=self.batching(1),
            ),
        ]

    def batching(self, which: int) -> BatchOptions | None:
        if self.sizes is None:
            return None
        kind = Kind.SYNC if which else Kind.ASYNC
        return BatchOptions(Target("f", lambda: None, kind), self.sizes[which], BATCH_WAIT)

    def keep(self, effects: Iterable[Effect]) -> None:
        """Effects are carried out after the lock is let go; who says how long after?"""
        self.pending.extend(effects)

    def flush(self) -> None:
        while self.pending:
            self.pending.pop(0)()

    which = st.sampled_from([0, 1])
    index = st.integers(0, 30)

    @rule(which=which, count=st.integers(1, 5), is_async=st.booleans())
    def arrive(self, which: int, count: int, is_async: bool) -> None:
        world = self.worlds[which]
        call = ModelCall(Kind.ASYNC if is_async else Kind.SYNC)
        if world.batching is not None:  # all of one function
            call.target = world.batching.target
        world.calls.append(call)
        inputs = [Input(call, index, (index,), None) for index in range(count)]
        s = world.pool.statistics()
        ready = world.in_state(ContainerState.READY)
        free = sum(c.slots.free for c in ready if not world.passes_over(c))
        if world.batching is None and s.queued:
            free = 0
        fits = count <= MOST_QUEUED - s.queued + free * world.size
        if world.closing or world.drains:
            with pytest.raises(ExecutionError):
                world.pool.submit(inputs)
        elif fits or world.waits_when_full:
            world.inputs.extend(inputs)
            assert world.pool.submit(inputs)
        else:
            with pytest.raises(ResourceExhaustedError):
                world.pool.submit(inputs)
            world.refused += count

    @rule(which=which, index=index)
    def begin_code(self, which: int, index: int) -> None:
        world = self.worlds[which]
        input = world.pick_holder(index, InputState.GRANTED)
        if input is not None:
            world.begin_code(input)

    @rule(which=which, index=index, good=st.booleans(), lane=st.sampled_from([None, True, False]))
    def end_code(self, which: int, index: int, good: bool, lane: bool | None) -> None:
        world = self.worlds[which]
        input = world.pick_holder(index, InputState.RUNNING, InputState.ABANDONED)
        if input is not None:
            world.end_code(input, good, lane)

    @precondition(lambda self: self.sizes is not None)
    @rule(which=which, index=st.integers(0, 3))
    def hold_loop(self, which: int, index: int) -> None:
        world = self.worlds[which]
        ready = world.in_state(ContainerState.READY, ContainerState.DRAINING)
        if ready:
            world.held_loops.append(ready[index % len(ready)])
            world.pool.hold_loop(world.held_loops[-1])

    @precondition(lambda self: self.sizes is not None)
    @rule(which=which, index=st.integers(0, 3))
    def let_loop_go(self, which: int, index: int) -> None:
        world = self.worlds[which]
        if world.held_loops:
            container = world.held_loops.pop(index % len(world.held_loops))
            world.pool.let_loop_go(container)

    @precondition(lambda self: self.sizes is not None)
    @rule(which=which, index=index, bad=st.integers(-1, 63))
    def end_batch(self, which: int, index: int, bad: int) -> None:
        world = self.worlds[which]
        batch = world.pick_holder(index, *IN_CONTAINER)
        if batch is not None:
            world.end_batch(batch, bad)

    @rule(which=which, index=index)
    def cancel(self, which: int, index: int) -> None:
        world = self.worlds[which]
        if not world.inputs:
            return
        input = world.inputs[index % len(world.inputs)]
        before = input.state
        batch = batch_of(input)
        unbegun = batch is not input and batch.state is InputState.GRANTED
        asked_before = input.cancellation is not None
        if world.retries is not None and isinstance(input.cancellation, Failure):
            asked_before = False  # it ran out of time, and would be tried again
        accepted = world.pool.cancel(input)
        waits = (
            InputState.OUTSIDE,
            InputState.QUEUED,
            InputState.GRANTED,
            InputState.WAITING,
        )
        live = (*waits, InputState.RUNNING)
        assert accepted == (before in live and not asked_before)
        if accepted and world.batching is not None and before is InputState.RUNNING:
            assert isinstance(input.outcome, Cancelled)
            ends = InputState.SETTLED if unbegun else InputState.ABANDONED
            assert input.state is ends
        if accepted and before in waits:
            assert input.state is InputState.SETTLED
            assert isinstance(input.outcome, Cancelled)
            if before is InputState.GRANTED:
                input.container.inputs.remove(input)

    @rule(which=which, index=st.integers(0, 3), good=st.integers(0, 3))
    def end_start(self, which: int, index: int, good: int) -> None:
        world = self.worlds[which]
        waiting = world.in_state(ContainerState.STARTING)
        waiting += [
            c for c in world.in_state(ContainerState.STOPPING) if not c.stop_asked
        ]  # told to stop while it started
        if not waiting:
            return
        container = waiting[index % len(waiting)]
        if good:
            if not world.pool.container_ready(container):
                world.pool.container_stopped(container)
        else:
            world.pool.container_failed(container, ValueError("enter"))

    @rule(which=which, index=st.integers(0, 3))
    def end_stop(self, which: int, index: int) -> None:
        world = self.worlds[which]
        stopping = [c for c in world.in_state(ContainerState.STOPPING) if c.stop_asked]
        if stopping:
            world.pool.container_stopped(stopping[index % len(stopping)])

    @rule(which=which, index=st.integers(0, 3), limit=st.integers(1, 4))
    def resize(self, which: int, index: int, limit: int) -> None:
        world = self.worlds[which]
        ready = world.in_state(ContainerState.READY, ContainerState.DRAINING)
        if ready:
            world.pool.resize(ready[index % len(ready)], limit)

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 5.0, WINDOW, TIMEOUT]))
    def pass_time(self, seconds: float) -> None:
        before = self.clock.now()
        self.clock.sleep(seconds)
        assert self.clock.now() == before + seconds

    @rule(which=which, index=st.integers(0, 3))
    def stop_fetching(self, which: int, index: int) -> None:
        world = self.worlds[which]
        live = world.in_state(
            ContainerState.STARTING, ContainerState.READY, ContainerState.DRAINING
        )
        if live:
            container = live[index % len(live)]
            world.pool.stop_fetching(container)
            container.told_to_take_no_more = True

    @rule(
        which=which,
        least=st.integers(0, 2),
        most=st.sampled_from([2, 3, None]),
        spare=st.integers(0, 1),
    )
    def set_limits(self, which: int, least: int, most: int | None, spare: int) -> None:
        world = self.worlds[which]
        world.limits = replace(
            world.limits, min_containers=least, max_containers=most, buffer_containers=spare
        )
        assert world.pool.set_limits(world.limits)

    @rule(which=which, indices=st.lists(index, max_size=6))
    def cancel_several(self, which: int, indices: list[int]) -> None:
        world = self.worlds[which]
        if world.inputs:
            chosen = [world.inputs[index % len(world.inputs)] for index in indices]
            self.cancelled_together(world, chosen)
            world.pool.cancel_all(chosen)
            assert not any(i.state in WAITS for i in chosen)

    @rule(which=which, index=index, queued_only=st.booleans())
    def cancel_call(self, which: int, index: int, queued_only: bool) -> None:
        world = self.worlds[which]
        if world.calls:
            call = world.calls[index % len(world.calls)]
            mine = [i for i in world.inputs if i.call is call]
            waits = [i for i in mine if i.state in (*WAITS, InputState.RUNNING)]
            if queued_only:
                waits = [i for i in mine if i.state in WAITS and i.state is not InputState.GRANTED]
            self.cancelled_together(world, waits)
            world.pool.cancel_call(call, queued_only=queued_only)
            assert not any(i.state in WAITS for i in waits)

    def cancelled_together(self, world: PoolWorld, inputs: list[Input]) -> None:
        for input in set(inputs):
            if input.state is InputState.GRANTED:
                input.container.inputs.remove(input)

    @rule(which=which)
    def open_call(self, which: int) -> None:
        world = self.worlds[which]
        assert world.pool.open_call()
        world.open_calls += 1

    @rule(which=which)
    def close_call(self, which: int) -> None:
        world = self.worlds[which]
        if world.open_calls:
            world.open_calls -= 1
            world.pool.close_call()

    @rule(which=which, again=st.integers(0, 5))
    def drain(self, which: int, again: int) -> None:
        if again:
            return  # seldom: nothing arrives afterwards
        world = self.worlds[which]
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

    @rule(which=which, cancel_running=st.booleans(), again=st.integers(0, 9))
    def close(self, which: int, cancel_running: bool, again: int) -> None:
        if again:
            return
        world = self.worlds[which]
        world.closing = True
        if cancel_running:
            granted = [i for i in world.inputs if i.state is InputState.GRANTED]
            self.cancelled_together(world, granted)
        world.pool.close(cancel_running=cancel_running)

    @rule(which=which)
    def cancel_running(self, which: int) -> None:
        world = self.worlds[which]
        if world.closing:
            granted = [i for i in world.inputs if i.state is InputState.GRANTED]
            self.cancelled_together(world, granted)
            world.pool.cancel_running()

    @rule(which=which)
    def stop_by_force(self, which: int) -> None:
        world = self.worlds[which]
        if world.closing:
            world.pool.stop_by_force()

    @rule(which=which)
    def evict(self, which: int) -> None:
        self.worlds[which].pool.evict_idle()

    @invariant()
    def promises_hold(self) -> None:
        for world in self.worlds:
            # Those who wait for a batch are woken one after the other, when all rests.
            world.check(effects_pending=bool(self.pending) or self.sizes is not None)

    @invariant()
    def deadlines_are_kept(self) -> None:
        now = self.clock.now()
        for world in self.worlds:
            for input in world.inputs:
                if input.state is InputState.QUEUED:
                    assert input.queued_at + QUEUE_TIMEOUT > now - 1e-9
            for container in world.in_state(ContainerState.STARTING):
                assert container.started_at + STARTUP_TIMEOUT > now - 1e-9
            for container in world.containers:
                for holder, granted_at in container.slots.held.items():
                    assert isinstance(holder, Input)
                    if granted_at + TIMEOUT <= now - 1e-9:
                        assert holder.cancellation is not None

    @invariant()
    def containers_that_do_not_end_their_inputs_are_given_up(self) -> None:
        now = self.clock.now() - 1e-9
        for world in self.worlds:
            for container in world.containers:
                since = [t for i, t in world.pool._abandoned.items() if i.container is container]
                given_up = since and min(since) + config.abandoned_seconds <= now
                if len(since) >= container.slots.limit:
                    given_up = given_up or max(since) + pool_module.ALL_ABANDONED <= now
                assert not given_up or container.given_up
                if container.given_up:
                    assert container.state not in (ContainerState.READY, ContainerState.STARTING)

    @invariant()
    def capacity_counts_live_containers(self) -> None:
        live = [
            c
            for world in self.worlds
            for c in world.containers
            if c.state is not ContainerState.STOPPED and not c.given_up
        ]
        set_aside = [e for e in self.pending if getattr(e, "__name__", "") == "room_granted"]
        assert self.capacity.statistics().containers == len(live) + len(set_aside)

    def teardown(self) -> None:
        try:
            self.flush()
            for world in self.worlds:
                while world.held_loops:
                    world.pool.let_loop_go(world.held_loops.pop())
                self._end(world)
            assert self.capacity.statistics().containers == 0
            assert self.capacity.statistics().waiting == 0
        finally:
            pool_module.carry_out = threads.carry_out
            self.clock.__exit__(None, None, None)

    def _end(self, world: PoolWorld) -> None:
        pool = world.pool
        if not world.closing:
            granted = [i for i in world.inputs if i.state is InputState.GRANTED]
            self.cancelled_together(world, granted)
        world.closing = True
        pool.close()
        granted = [i for i in world.inputs if i.state is InputState.GRANTED]
        self.cancelled_together(world, granted)
        pool.cancel_running()
        self.flush()
        with pytest.raises(ExecutionError):
            pool.submit([Input(ModelCall(Kind.SYNC), 0, (), None)])
        for container in world.containers:
            if container.state is ContainerState.STOPPING and not container.stop_asked:
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


class LatePoolModel(PoolModel):
    """Effects are carried out whenever it pleases, and in any order."""

    late = True

    @rule(index=st.integers(0, 30))
    def carry_one_out(self, index: int) -> None:
        if self.pending:
            self.pending.pop(index % len(self.pending))()


class BatchedPoolModel(PoolModel):
    """Both pools make batches, smaller and larger than what may wait."""

    sizes = (3, 6)


class LateBatchedPoolModel(LatePoolModel):
    sizes = (2, 5)


EXAMPLES_OF_EACH = settings(
    max_examples=EXAMPLES,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestPoolModel = PoolModel.TestCase
TestPoolModel.settings = EXAMPLES_OF_EACH
TestLatePoolModel = LatePoolModel.TestCase
TestLatePoolModel.settings = EXAMPLES_OF_EACH
TestBatchedPoolModel = BatchedPoolModel.TestCase
TestBatchedPoolModel.settings = EXAMPLES_OF_EACH
TestLateBatchedPoolModel = LateBatchedPoolModel.TestCase
TestLateBatchedPoolModel.settings = EXAMPLES_OF_EACH
