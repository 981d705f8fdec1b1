"""One pool in virtual time, and what a simple model knows of it.

Owns the calls, inputs and containers that the test drives by hand, and all that must hold
of one pool: who may be granted which slot (`PoolWorld.check_grant`, asked at each grant),
and what holds between two steps (`PoolWorld.check`).  ``test_pool_model.py`` makes the
steps.  Begin reading at `PoolWorld.check`, then `PoolWorld.check_grant`.

A check may fail on the clock's thread, or in the pool, where an error does not reach the
test: each fault is also kept in `PoolWorld.faults`, which `check` looks at first.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from contextvars import Context
from dataclasses import dataclass

import checked_moves
import pool_inside
from moorage import Retries, config
from moorage.exception import ContainerLostError
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.runtime.containers.container import (
    CONTAINER_MOVES,
    ContainerState,
    Effect,
    Loss,
)
from moorage.runtime.containers.slots import Slots
from moorage.runtime.input import Input, InputState, Kind, Target, next_call_number
from moorage.runtime.outcome import Failure, Value
from moorage.runtime.pools.autoscaler import Limits
from moorage.runtime.pools.batching import BatchCall, BatchOptions, members_of
from moorage.runtime.pools.capacity import Capacity
from moorage.runtime.pools.pool import Pool
from moorage.runtime.pools.pool_options import PoolOptions
from moorage.runtime.pools.verdicts import LEFT

TIMEOUT = 50.0
QUEUE_TIMEOUT = 35.0
STARTUP_TIMEOUT = 45.0
MOST_QUEUED = 4
WINDOW = 20.0
BATCH_WAIT = 2.0

WAITS = (InputState.OUTSIDE, InputState.QUEUED, InputState.WAITING, InputState.GRANTED)
IN_CONTAINER = (InputState.GRANTED, InputState.RUNNING, InputState.ABANDONED)

# What `Pool.statistics` counts over all time.
TOTALS = (
    "accepted",
    "refused",
    "succeeded",
    "failed",
    "cancelled",
    "retries",
    "containers_started",
    "peak_containers",
    "peak_inputs",
    "start_seconds",
    "lost_containers",
    "returned_inputs",
)

# How often an input is lost with neighbours, or as the first of all losses, before it must run
# alone; and how many starts in a row are lost before those fail that wait for them.
LOSSES_BEFORE_ALONE = 2
LOST_STARTS = 3


@dataclass(frozen=True)
class Setting:
    """What a pool of the model is asked for."""

    limits: Limits
    max_backlog: int | None = MOST_QUEUED
    waits_when_full: bool = False
    queue_timeout: float | None = QUEUE_TIMEOUT
    retries: Retries | None = None
    batching: BatchOptions | None = None
    sync_slots: int = 1
    nonpreemptible: bool = False
    # Whether the pool retires when it is unused, so that a new one takes its place.
    retires: bool = False


class ModelStream:
    """Knows whether an item has come."""

    has_begun = False


class ModelCall:
    """Counts how often each input is settled."""

    def __init__(self, kind: Kind) -> None:
        self.number = next_call_number()
        self.target = Target("f", lambda: None, kind)
        self.context = Context()
        self.stream = ModelStream()
        self.is_under_way = False  # a web request that cannot run again
        self.woken: list[Input] = []
        self.times_settled: dict[Input, int] = {}

    def settled(self, input: Input, /) -> Callable[[], object]:
        self.times_settled[input] = self.times_settled.get(input, 0) + 1
        return lambda: self.woken.append(input)


class ModelInput(Input):
    """An input that tells its world when it joins the queue."""

    __slots__ = ("arrived", "joined", "times_let_in", "world")

    def __init__(self, world: PoolWorld, call: ModelCall, index: int) -> None:
        self.world = world
        # The places in the order of coming, to the pool and to the queue, the last time.
        self.arrived = next(world.order)
        self.joined = self.arrived
        # How often its caller heard that it stands outside no more; None if none asked.
        self.times_let_in: int | None = None
        super().__init__(call, index, (index,), None)

    @property
    def is_async(self) -> bool:
        return self.call.target.is_async

    @property
    def state(self) -> InputState:
        state: InputState = Input.state.__get__(self, ModelInput)
        return state

    @state.setter
    def state(self, state: InputState) -> None:
        try:
            before = self.state
        except AttributeError:  # this is its first state
            before = None
        Input.state.__set__(self, state)
        if state is InputState.QUEUED and before is not None:
            self.joined = self.world.place_in_line(self, before)
            if before is InputState.OUTSIDE:
                self.world.check_let_in(self)

    def count_let_in(self) -> None:
        assert self.times_let_in is not None
        self.times_let_in += 1


class ModelContainer:
    """A container that does nothing by itself."""

    def __init__(self, world: PoolWorld, pool: Pool, number: int, target: int, limit: int) -> None:
        self.world = world
        self.pool = pool
        self.number = number
        self.state = ContainerState.STARTING
        self.target = target
        self.slots = Slots(limit)
        self.idle_since: float | None = None
        self.started_at = 0.0
        self.read_for = None
        self.takes_no_more = False
        self._given_up = False
        self.was_ready = False
        self.booted = False
        self.told_to_take_no_more = False
        self.stop_asked = 0
        self.inputs: list[Input] = []  # placed here, their code not ended
        self.unwritten: set[Input] = set()  # RUNNING, and yet their code cannot have begun

    @property
    def given_up(self) -> bool:
        return self._given_up

    @given_up.setter
    def given_up(self, given_up: bool) -> None:
        self._given_up = given_up
        if not self.was_ready:
            self.world.note_late_start()

    def boot(self) -> None:
        assert not self.booted
        self.booted = True

    def place(self, input: Input) -> None:
        assert input.state is InputState.GRANTED
        self.world.note_grant(self, input)

    def cancel(self, input: Input) -> None:
        assert input in self.inputs

    def stop(self) -> None:
        self.stop_asked += 1
        assert self.stop_asked == 1, "stopped twice"

    def kill(self) -> None: ...

    def give_up(self) -> None:
        assert self.state is not ContainerState.STARTING

    def places(self) -> list[str]:
        return []

    @property
    def ended(self) -> bool:
        return True

    def join(self, timeout: float) -> list[str]:
        return []


checked_moves.check_writes(ModelContainer, CONTAINER_MOVES)


class PoolWorld:
    """One pool, and what the model knows of it; of a pool that retires, also the next ones."""

    def __init__(
        self,
        clock: VirtualClock,
        capacity: Capacity,
        setting: Setting,
        carry_out: Callable[[Iterable[Effect]], None],
    ) -> None:
        self.clock = clock
        self.capacity = capacity
        self.setting = setting
        self.carry_out = carry_out
        self.limits = setting.limits
        self.retries = setting.retries
        self.batching = setting.batching
        self.size = 1 if self.batching is None else self.batching.max_batch_size
        self.faults: list[str] = []
        self.order = itertools.count()
        self.calls: list[ModelCall] = []
        self.inputs: list[ModelInput] = []
        self.refused = 0
        self.placed: dict[Input, int] = {}  # how often
        self.failures: dict[Input, int] = {}
        self.containers: list[ModelContainer] = []
        self.held_loops: list[ModelContainer] = []  # each as often as it is held
        self.closing = False
        self.cancelled_running = False
        self.drains = False
        self.told_settled = 0
        self.asked_settled = 0
        self.open_calls = 0
        self.totals: dict[str, float] = dict.fromkeys(TOTALS, 0)
        self.losses: dict[Input, int] = {}  # that count
        self.returns: dict[Input, int] = {}  # how often each went back to the queue
        self.blamed: dict[Input, int] = {}  # how often each failed because it was lost
        self.exempt: set[Input] = set()  # went back since it came into the queue as others do
        self.places: dict[Input, int] = {}  # in the line, of those that go back in this step
        self.front = 0  # the least place in the line that was given out
        self.lost_containers = 0
        # Starts that failed since the last one that did not, and when the next may come.
        self.failed_starts = 0
        self.failed_at = -1.0
        self.late_start_at = -1.0
        self.no_start_before = 0.0
        self.retired: list[Pool] = []
        self.kept = pool_inside.make_kept(setting.limits)
        self.pool = self.new_pool()

    def new_pool(self) -> Pool:
        setting = self.setting
        return pool_inside.make_pool(
            PoolOptions(
                "f",
                self.limits,
                timeout=TIMEOUT,
                startup_timeout=STARTUP_TIMEOUT,
                queue_timeout=setting.queue_timeout,
                max_backlog=setting.max_backlog,
                waits_when_full=setting.waits_when_full,
                sync_slots=setting.sync_slots,
                retries=setting.retries,
                batching=setting.batching,
                nonpreemptible=setting.nonpreemptible,
            ),
            self.make,
            clock=self.clock,
            capacity=self.capacity,
            on_retired=self.note_retired if setting.retires else None,
            kept=self.kept,
        )

    def renew(self) -> None:
        """The pool says that it was retired: make the next one of its key."""
        assert self.setting.retires, "a pool retires that never does"
        retired = self.pool.statistics()
        assert (retired.queued, retired.running, retired.waiting) == (0, 0, 0)
        assert retired.containers == ()
        self.held_loops.clear()  # of containers that have stopped: the next pool knows of none
        self.pool = self.new_pool()
        if self.drains:
            self.pool.drain()

    def open_call(self) -> None:
        """Keep the pool from retiring until `close_call`."""
        while not self.pool.open_call():
            self.renew()
        self.open_calls += 1

    def close_call(self) -> None:
        self.open_calls -= 1
        self.pool.close_call()

    def note_retired(self, pool: Pool) -> None:
        assert pool not in self.retired, "retired twice"
        self.retired.append(pool)

    # -- what the test picks ------------------------------------------------------------

    def in_state(self, *states: ContainerState) -> list[ModelContainer]:
        return [c for c in self.containers if c.state in states and c.booted]

    def idle(self) -> list[ModelContainer]:
        return [c for c in self.in_state(ContainerState.READY) if not c.slots.held]

    def holders(self, *states: InputState) -> list[Input]:
        """What holds a slot and is in one of `states`: inputs, or batches."""
        held = [holder for c in self.containers for holder in c.slots.held]
        return [h for h in held if isinstance(h, Input) and h.state in states]

    def goes_on(self, holder: Input) -> bool:
        """Whether its code can: its loop, if it needs one, is not held."""
        return self.batching is not None or self.can_run(
            holder.container, holder.call.target.is_async
        )

    # -- what the pool may do -----------------------------------------------------------

    def can_run(self, container: ModelContainer, is_async: bool) -> bool:
        """Whether a free slot of `container`, if it is ready, is of use to such an input."""
        return not (is_async and container in self.held_loops)

    def free_slots(self, is_async: bool) -> int:
        """The free slots that such an input could have at once."""
        return sum(
            container.slots.free
            for container in self.in_state(ContainerState.READY)
            if self.can_run(container, is_async)
        )

    def room(self, is_async: bool) -> int | None:
        """How many such inputs the pool must accept at this moment; None for no bound."""
        most = self.setting.max_backlog
        if most is None:
            return None
        queued = sum(not self.must_run_alone(i) for i in self.queued())
        free = self.free_slots(is_async)
        if self.batching is not None:  # queued ones have their place in the batches to come
            return most - queued + free * self.size
        # If such an input is queued, no slot is free for it: see `check_grants`.
        return max(0, most - queued) + free

    def make(self, host: Pool, number: int, target: int, limit: int) -> ModelContainer:
        if self.clock.now() < self.no_start_before - 1e-9:
            self.fault(
                f"a start at {self.clock.now():g}, after {self.failed_starts} failed ones in a "
                f"row, the last at {self.failed_at:g}"
            )
        container = ModelContainer(self, host, number, target, limit)
        self.containers.append(container)
        return container

    def note_late_start(self) -> None:
        """A start took too long.  All that do so at one moment count as one."""
        if self.late_start_at != self.clock.now():
            self.late_start_at = self.clock.now()
            self.note_failed_start()

    def note_failed_start(self) -> None:
        now = self.clock.now()
        self.failed_starts += 1
        self.failed_at = now
        if self.failed_starts > 1:
            wait = pool_inside.BACKOFF_FIRST * 2.0 ** (self.failed_starts - 2)
            self.no_start_before = now + min(wait, pool_inside.BACKOFF_MOST)

    def note_start(self) -> None:
        """A container became ready: what failed before is forgotten."""
        self.failed_starts = 0
        self.no_start_before = 0.0

    def note_grant(self, container: ModelContainer, input: Input) -> None:
        """`input`, or a batch, was granted a slot of `container`."""
        try:
            if self.batching is None:
                assert isinstance(input, ModelInput)
                self.check_slot(container, input.is_async)
                self.check_grant(container, input)
                self.placed[input] = self.placed.get(input, 0) + 1
            else:
                self.check_slot(container, self.batching.target.is_async)
                self.check_new_batch(input)
                for member in members_of(input):
                    self.placed[member] = self.placed.get(member, 0) + 1
        except AssertionError as error:
            self.fault(str(error))
            raise
        container.inputs.append(input)

    def check_slot(self, container: ModelContainer, is_async: bool) -> None:
        assert container.state is ContainerState.READY, "granted by one that takes nothing"
        assert not container.told_to_take_no_more, "a drained container takes work"
        assert self.can_run(container, is_async), "its loop is blocked"
        assert len(container.slots.held) <= container.slots.limit, "granted over the limit"
        if len(container.slots.held) > container.target:
            for other in pool_inside.ready(self.pool):
                if other is not container and self.can_run(other, is_async):
                    below = min(other.target, other.slots.limit)
                    assert len(other.slots.held) >= below, "burst while another is below target"

    def check_may_run(self, container: ModelContainer, input: Input) -> None:
        ended = self.failures.get(input, 0) + self.returns.get(input, 0)
        assert self.placed.get(input, 0) <= ended, "run twice"
        assert input.outcome is None, "run after its end"
        holders = list(container.slots.held)
        alone = [i for h in holders if isinstance(h, Input) for i in self.suspects_in(h)]
        assert not alone or len(holders) == 1, "one that must run alone has a neighbour"

    def suspects_in(self, holder: Input) -> list[Input]:
        return [i for i in members_of(holder) if self.must_run_alone(i)]

    def check_grant(self, container: ModelContainer, input: ModelInput) -> None:
        """First in, first out; but around those that cannot use the slot."""
        self.check_may_run(container, input)
        alone = self.must_run_alone(input)
        for other in self.inputs:
            if not self.can_run(container, other.is_async):
                continue
            if self.must_run_alone(other) is not alone:
                continue  # two lines
            if other.state is InputState.QUEUED and other.joined < input.joined:
                raise AssertionError(f"{input!r} goes around {other!r}")
            if other.state is InputState.OUTSIDE and self.is_new(input):
                # One that is tried again is accepted already, and goes before those outside.
                assert input.arrived < other.arrived, f"{input!r} goes around {other!r}, outside"

    def check_let_in(self, input: ModelInput) -> None:
        """First in, first out; but around those of the other kind if a slot is free for it."""
        for other in self.inputs:
            if other.state is InputState.OUTSIDE and other.arrived < input.arrived:
                if other.is_async is input.is_async:
                    self.fault(f"{input!r} is let in before {other!r}")
                elif not self.free_slots(input.is_async):
                    self.fault(f"{input!r} is let in before {other!r}, and no slot is free")

    def check_new_batch(self, batch: Input) -> None:
        call = batch.call
        assert isinstance(call, BatchCall)
        options = self.batching
        assert options is not None
        members = call.members
        assert 1 <= len(members) <= options.max_batch_size, "a batch that is too large, or empty"
        assert call.live == len(members)
        alone = any(self.must_run_alone(member) for member in members)
        assert not alone or len(members) == 1, "one that must run alone is in a batch with others"
        if len(members) < options.max_batch_size and not alone:
            now = self.clock.now()
            was_due = members[0] in self.exempt
            assert was_due or members[0].queued_at + options.wait <= now, "neither full nor due"
            assert not pool_inside.queued(self.pool), "left one behind that had its place in it"
            assert not pool_inside.outside(self.pool), "one outside had its place in it"
        new = [member for member in members if member not in self.placed]
        waiting = [i for i in self.inputs if i not in self.placed and i.outcome is None]
        assert new == waiting[: len(new)], "not the first in line, or in another order"
        places = [self.place_of(member) for member in members]
        assert places == sorted(places), "not in the order in which they came or went back"
        behind = [i.joined for i in self.queued() if self.must_run_alone(i) is alone]
        assert not behind or not self.returns or places[0] < min(behind), "goes around others"
        for member in members:
            self.check_may_run(batch.container, member)
            assert member.state is InputState.RUNNING
            assert member.runner is batch

    def fault(self, text: str) -> None:
        self.faults.append(text)

    # -- what containers do -------------------------------------------------------------

    def begin_code(self, input: Input) -> None:
        with self.pool.lock:
            input.state = InputState.RUNNING
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
            again[member] = runs and self.is_tried_again(member, got)
            self.failures[member] = self.failures.get(member, 0) + isinstance(got, Failure)
        members = list(call.members)
        container.unwritten.discard(batch)
        with self.pool.lock:
            container.inputs.remove(batch)
            following, effects = self.pool.settle(container, batch, outcome, None)
            assert following is None
            for member, expected in again.items():
                assert (member.outcome is None) == expected
            assert not any(m.state is InputState.ABANDONED or m.runner is batch for m in members)
        self.carry_out(effects)

    def end_code(self, input: Input, good: bool, lane: bool | None = None) -> None:
        """`lane` says which kind of input the caller runs next: see `Pool.settle`."""
        if isinstance(input.call, BatchCall):
            self.end_batch(input, 0 if good else -1)
            return
        container = input.container
        if lane and not self.can_run(container, True):
            lane = None
        with self.pool.lock:
            if input.state is InputState.GRANTED:
                input.state = InputState.RUNNING
            outcome = Value(1) if good else Failure(ValueError())
            container.unwritten.discard(input)
            container.inputs.remove(input)
            got = input.cancellation or outcome
            again = input.state is InputState.RUNNING and self.is_tried_again(input, got)
            self.failures[input] = self.failures.get(input, 0) + isinstance(got, Failure)
            following, effects = self.pool.settle(container, input, outcome, lane)
            if following is not None:
                # Granted on the short way: place() was not called.
                assert following.state is InputState.RUNNING
                assert following.call.target.is_async is lane
                self.note_grant(container, following)
            assert (input.outcome is None) == again, "tried again when it may be, and only then"
        self.carry_out(effects)

    def is_tried_again(self, input: Input, got: object) -> bool:
        return (
            isinstance(got, Failure)
            and not input.call.target.is_generator
            and self.retries is not None
            and self.failures.get(input, 0) < self.retries.max_retries
            and not self.closing
        )

    # -- lost containers ----------------------------------------------------------------

    def queued(self) -> list[ModelInput]:
        return [i for i in self.inputs if i.state is InputState.QUEUED]

    def place_of(self, input: Input) -> int:
        assert isinstance(input, ModelInput)
        return input.joined

    def is_new(self, input: Input) -> bool:
        """Whether it comes to a slot for the first time: others are beyond the bound."""
        return not self.failures.get(input) and not self.returns.get(input)

    def must_run_alone(self, input: Input) -> bool:
        return self.losses.get(input, 0) >= LOSSES_BEFORE_ALONE

    def place_in_line(self, input: ModelInput, before: InputState) -> int:
        """`input` is queued again: the place it must have among those that are queued."""
        if before in (InputState.GRANTED, InputState.RUNNING):
            if input not in self.places:
                self.fault(f"{input!r} goes back, and should not")
                return next(self.order)
            return self.places[input]
        self.exempt.discard(input)
        return next(self.order)

    def lose(self, container: ModelContainer, how: str, *, counts: bool) -> None:
        """`container` dies: its inputs go back in the order of their grants, or end."""
        pool = container.pool
        holders = [holder for holder in container.slots.held if isinstance(holder, Input)]
        on_probation = pool.probation.container is container
        written = [
            holder
            for holder in holders
            if holder.state is not InputState.GRANTED and holder not in container.unwritten
        ]
        back: list[ModelInput] = []
        tried_again: list[Input] = []
        ended: dict[Input, type] = {}
        for holder in holders:
            living = [i for i in members_of(holder) if i.outcome is None]
            got = holder.cancellation or (LEFT if self.closing else None)
            for input in living:
                assert isinstance(input, ModelInput)
                error: object = got
                is_final = False
                if got is None and holder in written:
                    self.losses[input] = self.losses.get(input, 0) + counts
                    alone = written == [holder] and self.code_of(holder) == 1
                    again = self.must_run_alone(input) and alone and counts
                    once = self.setting.nonpreemptible or input.call.is_under_way
                    if once or input.call.stream.has_begun or again:
                        error = Failure(ContainerLostError())
                        is_final = once
                        self.blamed[input] = self.blamed.get(input, 0) + 1
                        assert self.losses[input] <= self.most_losses(input), "run too often"
                if error is None:
                    back.append(input)
                elif self.is_tried_again(input, error) and not is_final:
                    tried_again.append(input)
                else:
                    ended[input] = type(error)
                if isinstance(error, Failure):
                    self.failures[input] = self.failures.get(input, 0) + 1
        self.line_up(back, on_probation=on_probation)
        queued = [i for i in self.inputs if i.state in (InputState.QUEUED, InputState.OUTSIDE)]
        if container.state is ContainerState.STARTING and counts:
            self.note_failed_start()
        live = (ContainerState.READY, ContainerState.STARTING)
        give_up = (
            container.state is ContainerState.STARTING
            and counts
            and self.failed_starts >= LOST_STARTS
            and [c for c in self.containers if c.state in live] == [container]
        )
        unwritten = frozenset(container.unwritten)
        self.lost_containers += 1
        container.inputs.clear()
        container.unwritten.clear()
        self.held_loops = [c for c in self.held_loops if c is not container]
        pool.container_lost(container, Loss(how, unwritten, counts))
        self.places.clear()
        assert container.state is ContainerState.STOPPED
        assert not container.slots.held
        for input, kind in ended.items():
            assert input.state is InputState.SETTLED, repr(input)
            assert isinstance(input.outcome, kind), repr(input)
            if self.blamed.get(input) and kind is Failure:
                assert isinstance(input.outcome, Failure)
                error = input.outcome.error
                assert not isinstance(error, ContainerLostError) or error.how == how
        for input in tried_again:
            assert input.outcome is None, "it may be tried again"
        if not give_up:
            for input in (*back, *queued):
                assert input.outcome is None, f"{input!r} did not run to its end"
        else:
            for input in queued:
                assert isinstance(input.outcome, Failure), "no container comes for it"
                assert isinstance(input.outcome.error, ContainerLostError)

    def code_of(self, holder: Input) -> int:
        """Of how many inputs the code of `holder` is."""
        call = holder.call
        return len(call.ran or call.members) if isinstance(call, BatchCall) else 1

    def most_losses(self, input: Input) -> int:
        """How often it may have been lost when it fails for it: once more for each attempt."""
        if self.setting.nonpreemptible:
            return 1
        neighbours = self.limits.max_inputs > 1 or self.size > 1
        return (3 if neighbours else 2) + self.blamed[input] - 1

    def line_up(self, back: list[ModelInput], *, on_probation: bool) -> None:
        """Say which places in the line those get that go back."""
        self.front -= len(back)
        for place, input in enumerate(back, self.front):
            self.places[input] = place
            if self.must_run_alone(input) and not on_probation:
                self.places[input] = next(self.order)  # behind those that must run alone, too
            self.returns[input] = self.returns.get(input, 0) + 1
            self.exempt.add(input)

    def end_start(self, container: ModelContainer, good: bool) -> None:
        pool = container.pool
        if not good:
            if not container.given_up:  # else it was counted when it was given up
                self.note_failed_start()
            pool.container_failed(container, ValueError("enter"))
            return
        if container.state is ContainerState.STARTING:
            container.was_ready = True
            self.note_start()
        if not pool.container_ready(container):
            assert not container.was_ready
            pool.container_stopped(container)

    # -- what holds between two steps ---------------------------------------------------

    def check(self, *, effects_pending: bool) -> None:
        assert not self.faults, self.faults
        self.check_counts()
        self.check_outcomes(effects_pending)
        self.check_slots()
        self.check_backlog()
        self.check_grants()
        self.check_scaling()
        self.check_deadlines()

    def check_counts(self) -> None:
        pool = self.pool
        s = pool.statistics()
        states = [i.state for i in self.inputs]
        assert s.accepted + s.outside == len(self.inputs)
        assert s.refused == self.refused
        assert s.lost_containers == self.lost_containers
        assert s.returned_inputs == sum(self.returns.values())
        assert s.outside == states.count(InputState.OUTSIDE)
        assert s.queued == states.count(InputState.QUEUED)
        assert s.running == sum(states.count(state) for state in IN_CONTAINER)
        assert s.abandoned == states.count(InputState.ABANDONED)
        assert s.waiting == states.count(InputState.WAITING)
        assert s.accepted == (
            s.queued + s.waiting + s.running - s.abandoned + s.succeeded + s.failed + s.cancelled
        )
        for name, before in self.totals.items():
            assert getattr(s, name) >= before, f"{name} goes back"
            self.totals[name] = getattr(s, name)
        assert pool_inside.trials_waiting(pool) == s.waiting, "each has a time to go on"
        assert s.abandoned_threads == sum(
            h.container.given_up for h in self.holders(InputState.ABANDONED)
        )
        unsettled = s.accepted - s.succeeded - s.failed - s.cancelled
        assert pool.unsettled == unsettled
        assert self.told_settled <= self.asked_settled
        if self.asked_settled and not unsettled:
            assert self.told_settled == self.asked_settled, "a drain waits for nothing"

    def check_outcomes(self, effects_pending: bool) -> None:
        for call in self.calls:
            assert all(times == 1 for times in call.times_settled.values())
        woken = {i for call in self.calls for i in call.woken}
        for i in self.inputs:
            ended = i.state in (InputState.SETTLED, InputState.ABANDONED)
            assert (i.outcome is not None) == ended, repr(i)
            assert (i in woken) == ended or (effects_pending and ended), repr(i)
            if i.times_let_in is not None:
                told = int(i.state is not InputState.OUTSIDE)
                assert i.times_let_in == told or (effects_pending and told), repr(i)

    def check_slots(self) -> None:
        held = [h for c in self.containers for h in c.slots.held]
        assert len(held) == len(set(held)), "every lease has one holder"
        members = [m for h in held if isinstance(h, Input) for m in members_of(h)]
        in_container = sum(i.state in IN_CONTAINER for i in self.inputs)
        assert len(members) == len(set(members)) == in_container, "each is in one batch"
        assert pool_inside.running(self.pool) == len(held)
        for container in self.containers:
            for holder in container.slots.held:
                assert isinstance(holder, Input)
                assert holder.container is container
                assert holder.state in IN_CONTAINER
                if isinstance(holder.call, BatchCall):
                    self.check_batch(holder, holder.call)
        self.check_alone()
        ready = [c for c in self.containers if c.state is ContainerState.READY]
        assert sorted(map(id, ready)) == sorted(map(id, pool_inside.ready(self.pool)))
        for c in ready:
            assert (c.idle_since is not None) == (not c.slots.held)
        held_loops = {c: self.held_loops.count(c) for c in self.held_loops}
        assert pool_inside.held_loops(self.pool) == held_loops

    def check_alone(self) -> None:
        """Those that must run alone do; one at a time; and none waits while it could run."""
        running: list[ModelContainer] = []
        for container in self.containers:
            for holder in container.slots.held:
                assert isinstance(holder, Input)
                if self.suspects_in(holder):
                    assert len(container.slots.held) == 1, "has a neighbour"
                    assert self.code_of(holder) == 1, "is in a batch with others"
                    running.append(container)
        used = [c for c in running if not c.given_up]
        assert len(used) <= 1, "two containers are on probation"
        waiting = [i for i in self.queued() if self.must_run_alone(i)]
        for container in self.idle():
            if not used:
                for input in waiting:
                    assert not self.can_run(container, input.is_async), f"{input!r} waits"

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

    def check_backlog(self) -> None:
        """The bound is kept, and nobody stands outside while there is room."""
        most = self.setting.max_backlog
        queued = [i for i in self.queued() if not self.must_run_alone(i)]
        outside = [i for i in self.inputs if i.state is InputState.OUTSIDE]
        assert not (self.closing and (queued or outside)), "waits in a pool that is closed"
        assert not outside or most is not None
        if most is None:
            return
        assert not outside or len(queued) >= most, "outside while there is room"
        new = [i for i in queued if self.is_new(i)]
        if outside and new and self.batching is None:
            # One goes around another only into a slot: see `check_let_in`.
            assert new[-1].arrived < outside[0].arrived, "in the queue before one outside"
        # One batch may form for a slot that is free, however small the bound.
        tried_again = len(queued) - len(new)
        assert len(queued) <= max(most, self.size - 1) + tried_again, (
            "only a further attempt, or one that went back, comes beyond the bound"
        )

    def check_grants(self) -> None:
        """Nobody waits while a slot is free for it, but for the rest of a batch."""
        if self.batching is not None:
            self.check_waits_for_members()
            return
        for is_async in (True, False):
            if self.free_slots(is_async):
                for i in self.inputs:
                    if i.is_async is is_async and not self.must_run_alone(i):
                        assert i.state is not InputState.QUEUED, f"{i!r}, a slot is free for it"
                        assert i.state is not InputState.OUTSIDE, f"{i!r}, a slot is free for it"

    def check_waits_for_members(self) -> None:
        assert self.batching is not None
        queued = pool_inside.queued(self.pool)
        if queued and self.free_slots(self.batching.target.is_async):
            assert len(queued) < self.size, "a full batch does not go"
            assert queued[0] not in self.exempt, "one that went back waits for others"
            due = queued[0].queued_at + BATCH_WAIT
            assert due > self.clock.now() - 1e-9, "it had its time"
            timer = pool_inside.batch_due(self.pool)
            assert timer is not None, "nobody tells it when it had its time"
            assert timer.when <= due

    def check_scaling(self) -> None:
        pool, limits = self.pool, self.limits
        s = pool.statistics()
        live = [c for c in self.containers if c.state is not ContainerState.STOPPED]
        ready = [c for c in live if c.state is ContainerState.READY]
        starting = [c for c in live if c.state is ContainerState.STARTING]
        there = len(ready) + len(starting)
        if limits.max_containers is not None:
            assert there <= limits.max_containers
        if s.queued:
            coming = starting or pool_inside.wakeup(pool) is not None or self.waits_for_probation()
            assert ready or coming, "nobody is to come"
            if not coming and (limits.max_containers is None or there < limits.max_containers):
                # It may wait for room of the process; else for a slot that it can use.
                for i in pool_inside.queued(pool) if not pool_inside.is_in_line(pool) else ():
                    is_async = i.call.target.is_async
                    assert any(self.can_run(c, is_async) for c in ready), "no loop is to come"
        held = sum(len(c.slots.held) for c in self.containers)
        demand = -(-(s.queued + s.outside) // self.size) + held
        need = -(-demand // limits.target_inputs) + (limits.buffer_containers if demand else 0)
        # One whose loop is held may be of no use to those that wait, and so not count.
        surplus = not self.held_loops and there > max(limits.min_containers, need)
        for c in ready:
            if surplus and not self.closing and c.idle_since is not None:
                assert c.idle_since + limits.scaledown_window > self.clock.now() - 1e-9

    def waits_for_probation(self) -> bool:
        """Whether all that wait must run alone, and a draining container has one of them."""
        waiting = [i for i in self.inputs if i.state is InputState.QUEUED]
        running = [
            i
            for c in self.containers
            if c.state is ContainerState.DRAINING
            for holder in c.slots.held
            if isinstance(holder, Input)
            for i in members_of(holder)
        ]
        return all(map(self.must_run_alone, waiting)) and any(map(self.must_run_alone, running))

    def check_deadlines(self) -> None:
        now = self.clock.now() - 1e-9
        if self.setting.queue_timeout is not None:
            for input in self.inputs:
                exempt = input in self.exempt or self.must_run_alone(input)
                if input.state is InputState.QUEUED and not exempt:
                    assert input.queued_at + self.setting.queue_timeout > now
        abandoned = pool_inside.abandoned(self.pool)
        for container in self.containers:
            if container.state is ContainerState.STARTING and container.booted:
                assert container.started_at + STARTUP_TIMEOUT > now
            for holder, granted_at in container.slots.held.items():
                assert isinstance(holder, Input)
                if granted_at + TIMEOUT <= now:
                    assert holder.cancellation is not None
            # Those that do not end their inputs are given up, until the run is left: it
            # has a limit of its own.
            since = [t for i, t in abandoned.items() if i.container is container]
            given_up = bool(since) and min(since) + config.abandoned_seconds <= now
            if len(since) >= container.slots.limit:
                given_up = given_up or max(since) + pool_inside.ALL_ABANDONED <= now
            assert not given_up or container.given_up or self.closing
            if container.given_up:
                assert container.state not in (ContainerState.READY, ContainerState.STARTING)
