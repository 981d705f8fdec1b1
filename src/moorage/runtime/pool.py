"""The pool: one function's queue and containers, and who gets which slot.

Owns the queue, the containers' states and counts, and every decision about
them, under one lock.  Any thread may call the public methods.

The rule of this file: methods whose name begins with an underscore, and
`settle`, run under the lock, change state, neither block nor await, and return
*effects*, which are carried out after the lock is let go.  Under the lock there
is no user code, no logging, no repr, and no user's object dies there.
"""

from __future__ import annotations

import enum
import logging
import sys
import threading
from asyncio import CancelledError
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, cast

from .. import config
from ..exception import ExecutionError
from . import forking, views
from .autoscaler import Fill, Limits, Observation, Policy, TargetPolicy
from .batching import BatchCall, end_of_batch, make_batch, members_of
from .capacity import Capacity
from .clock import Clock, Waiter, acquire_patiently, acquire_within
from .container import (
    Container,
    ContainerFactory,
    ContainerState,
    Effect,
    check_move,
)
from .context import running_input
from .deadlock import look_at, look_at_all
from .input import Call, IllegalMove, Input, InputState
from .outcome import Cancelled, Failure, Outcome, Value, failure_of
from .pool_options import PoolOptions
from .probing import Probing
from .real import Real
from .regions import ours
from .routing import emptiest_below_limit, fullest_below_target
from .snapshot import PoolSnapshot
from .statistics import PoolStatistics, Survey
from .threads import Around, carry_out
from .timekeeper import Timer
from .verdicts import (
    CANCELLED,
    LEFT,
    LOST,
    full,
    ran_out,
    started_too_slowly,
    waited_too_long,
)
from .waits import Wait, known

logger: Final = logging.getLogger("moorage")

OUTSIDE: Final = InputState.OUTSIDE
QUEUED: Final = InputState.QUEUED
GRANTED: Final = InputState.GRANTED
RUNNING: Final = InputState.RUNNING
WAITING: Final = InputState.WAITING
ABANDONED: Final = InputState.ABANDONED
SETTLED: Final = InputState.SETTLED

STARTING: Final = ContainerState.STARTING
READY: Final = ContainerState.READY
DRAINING: Final = ContainerState.DRAINING
STOPPING: Final = ContainerState.STOPPING
STOPPED: Final = ContainerState.STOPPED

# Seconds after which a container is given up whose slots are all held by inputs that
# were answered and do not end: a struck thread needs far less to get out.
ALL_ABANDONED: Final = 1.0

# More slots than there will be.
ANY_NUMBER: Final = sys.maxsize

# Back-off after failed starts: the second waits this many seconds, each
# further one twice as long, up to the last figure.
BACKOFF_FIRST: Final = 0.1
BACKOFF_MOST: Final = 30.0

# Seconds that an asynchronous input gets to end after its cancel or its timeout,
# before its caller is answered without it: its loop may be blocked by a neighbour,
# or its own clean-up take long.
ENDS_WITHIN: Final = 0.1
# The same for one that will be tried again once it has ended.
ENDS_FOR_RETRY_WITHIN: Final = 30.0


Blockers = Callable[[Input], list[Wait]]
"""Says which waits an input sits in."""


class PoolState(enum.Enum):
    OPEN = "open"
    CLOSING = "closing"  # its run is being left: takes nothing, ends what it has
    RETIRED = "retired"  # was empty and is dropped: get a new one


class Trials:
    """What an input that failed has been through."""

    __slots__ = ("errors", "patience", "timer")

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self.timer: Timer | None = None  # of its next attempt, while it waits for it
        # For the end of an attempt that ran out of time, which the next one needs.
        self.patience: Timer | None = None


class Pool:
    """One function, or one class with one set of parameter values."""

    def __init__(
        self,
        options: PoolOptions,
        factory: ContainerFactory,
        *,
        clock: Clock,
        capacity: Capacity,
        policy: Policy | None = None,
        on_retired: Callable[[Pool], object] | None = None,
        probe: Probing | None = None,
    ) -> None:
        self.options: PoolOptions = options
        self.clock = clock
        self.probe: Probing | None = probe
        self.around: Around | None = None if probe is None else partial(probe.around, self)
        self._now = clock.now
        self.lock: threading.Lock = Real.Lock()
        self.run: object = None  # the run it belongs to; set before it is used
        self._factory = factory
        self.capacity: Capacity = capacity
        self._policy: Policy = TargetPolicy(options.limits) if policy is None else policy
        self._on_retired = on_retired
        self._max_containers = options.limits.max_containers
        self._queue_timeout = options.queue_timeout
        self._max_backlog = options.max_backlog
        self._batching = options.batching
        # Inputs that one slot can run at once.
        self._batch_size = 1 if options.batching is None else options.batching.max_batch_size
        # Whether a submit may leave inputs outside: see `when_let_in`.
        self.waits_when_full: bool = options.max_backlog is not None and options.waits_when_full
        # All below guarded by the lock.
        self._state = PoolState.OPEN
        # What `submit` looks at.  Invariant: true unless the state is OPEN, and
        # while the run is drained, when the pool takes calls of its run's inputs only.
        self._refuses = False
        # Whether its run is left by a drain: what was accepted comes to its end.
        self.drains: bool = False
        # Woken, and let go, when no accepted input is left that is not settled.
        self._drain_wakes: list[Callable[[], object]] = []
        # Settled inputs may stand in it (cancelled while queued); they are
        # passed over.  Invariant: _queued counts the others.
        self._queue: deque[Input] = deque()
        self._queued = 0
        # In the order of their coming, each with how to wake who waits until it is
        # let in.  Invariant: empty whenever _queued < _max_backlog.
        self._outside: OrderedDict[Input, Effect | None] = OrderedDict()
        # Passed over, and to be let go of without the lock: with them a user's
        # objects may die, in their call's context.
        self._dead: list[Input] = []
        self._containers: list[Container] = []  # all but the stopped ones
        # Invariant: the READY ones of _containers, eldest first.
        self._ready: list[Container] = []
        self._starting = 0
        # Those whose loop sits in a blocking call of ours, and in how many: they
        # get no asynchronous inputs.
        self._held_loops: dict[Container, int] = {}
        self._waiting_for_room = False
        self._failed_starts = 0  # in a row
        self._start_again_at = 0.0
        # Of inputs that failed and are not settled: WAITING, or tried again now.
        self._trials: dict[Input, Trials] = {}
        self._waiting = 0
        self._open_calls = 0  # maps that may submit more
        self._wakeup: Timer | None = None  # when the policy wants to be asked
        self._wakeup_at = 0.0
        # What the policy said last: how many containers, and whether slots above the
        # target are granted.
        self._wanted = 0
        self._bursts = True
        # Slots held when it was asked last, with nobody queued: while no fewer are held,
        # and no more containers idle, what it said holds until the time it named.
        self._asked_with = ANY_NUMBER
        self._idle = 0  # containers
        self._asked_idle = 0  # the same when it was asked last
        # Whether an idle container was taken that may have been there as a buffer.
        self._buffer_taken = False
        # When the first batch of the queue has waited for long enough, or before.
        # Invariant: armed while a batch in the queue is neither full nor due, and a slot is
        # free for it.
        self._batch_due: Timer | None = None
        # One timer for each kind of deadline, for the eldest that may reach it.
        self._deadline: Timer | None = None
        # Invariant: the ABANDONED inputs, and since when each is.
        self._abandoned: dict[Hashable, float] = {}
        self._patience: Timer | None = None  # when to give up on one of them
        self._queue_deadline: Timer | None = None
        self._startup_deadline: Timer | None = None
        # Asynchronous inputs that were told to end: by when, and with which outcome.
        self._told_to_end: deque[tuple[float, Input, Outcome]] = deque()
        self._end_deadline: Timer | None = None
        self._stopped: list[Container] = []  # whose threads are still to be joined
        self._empty_waiters: list[Waiter] = []
        self._numbers = 0
        self._accepted = 0
        self._refused = 0
        self._succeeded = 0
        self._failed = 0
        self._cancelled = 0
        self._retries = 0
        self._running = 0  # slots held
        self._granted = 0  # slots, over all time
        # The integral of _running over time is this, plus _running times now.
        self._busy_seconds = 0.0
        self._batches: dict[int, int] = {}  # how many there were of each size
        self._batch_wait = 0.0  # seconds from the first member to the grant: their sum
        self._longest_batch_wait = 0.0
        self._starts = 0
        self._start_seconds = 0.0
        self._peak_containers = 0
        self._peak_inputs = 0
        # The longest idle container's since; read without the lock as a hint.
        self.longest_idle: float | None = None
        # Whether it stayed behind, in the process from which this one was forked.
        self.forked: bool = False
        forking.know(self)

    def _after_fork(self) -> None:
        """In a forked child: whoever would wait for it gets an error instead."""
        self.forked = self._refuses = True
        self._state = PoolState.CLOSING
        lock: Any = forking.InheritedLock(f"a call of {self.options.name}")
        self.lock = lock

    # -- callers ------------------------------------------------------------------

    def submit(self, inputs: Sequence[Input], *, may_stand_outside: bool = False) -> bool:
        """Accept `inputs`, in order; false if the pool was retired: get a new one.

        Those beyond its `max_backlog` are let in later if the pool's callers wait
        when it is full, or if they `may_stand_outside` in any case.

        To be called in a region of ours, as this is on the way of each input.

        Raises:
            ExecutionError: if the pool's run is being left.
            ResourceExhaustedError: if they are too many and may not; none was accepted.
        """
        lock = self.lock
        if not lock.acquire(False):
            acquire_patiently(lock)
        effects: Sequence[Effect]
        try:
            if self._refuses:
                if self._state is PoolState.RETIRED:
                    return False
                if self._state is not PoolState.OPEN:
                    raise ExecutionError(
                        f"the run in which {self.options.name} was called is ending or has ended; "
                        "call it, and read its results, inside `with app.run():`"
                    )
                if not is_called_from_within(self.run):
                    raise drained_run(self.options.name)
            if self._max_backlog is not None:
                inputs = self._within_bound(inputs, may_stand_outside)
            count = len(inputs)
            self._accepted += count
            waiting = self._queued
            self._queued = waiting + count
            self._queue.extend(inputs)
            if self.probe is not None:
                self._note_queued(inputs)
            if self._batching is not None:
                self._stamp(inputs)
                if waiting and not self._outside:
                    if self._batch_due is None:
                        if self._is_capped():
                            return True  # those that wait already left no slot free
                    elif self._queued < self._batch_size:
                        return True  # they joined a batch that waits for more
                effects = self._assign()
            # Those that wait already left no slot free: then only the policy
            # may know what to do, and not even that if there may be no more.
            elif not waiting:
                effects = self._assign()
                if self._queued:
                    self._stamp(inputs)
            else:
                self._stamp(inputs)
                if self._is_capped():
                    return True
                effects = self._scale_and_assign()
        finally:
            lock.release()
        if effects:
            carry_out(effects)
        return True

    @ours
    def when_let_in(self, input: Input, wake: Effect) -> bool:
        """Have `wake` called when `input` stands outside no more; false if it does not.

        One `wake` for each input: a further one takes its place.
        """
        with self.lock:
            if input.state is not OUTSIDE:
                return False
            self._outside[input] = wake
            return True

    def room_in_backlog(self) -> int | None:
        """How many inputs would be accepted at this moment; None for no bound.  Under the lock."""
        return None if self._max_backlog is None else max(0, self._room())

    @ours
    def outside(self) -> list[Input]:
        """Those that wait for room in the backlog, first in line first."""
        with self.lock:
            return list(self._outside)

    @ours
    def cancel(self, input: Input, outcome: Outcome | None = None) -> bool:
        """Cancel `input`, wherever it is; false if it is settled, or being cancelled.

        `outcome` is what its callers get, a cancellation unless said otherwise.
        """
        if self.forked:
            return False
        dropped: list[Input] = []
        with self.lock:
            effects = self._cancel(input, outcome or CANCELLED, dropped)
            if effects is None:
                return False
        carry_out(effects)
        _forget_arguments(dropped)
        return True

    @ours
    def cancel_all(self, inputs: Iterable[Input], outcome: Outcome | None = None) -> None:
        """Cancel several at once, so that none starts in the place of another."""
        if self.forked:
            return
        dropped: list[Input] = []
        with self.lock:
            effects = self._cancel_all(list(inputs), outcome or CANCELLED, dropped)
        carry_out(effects)
        _forget_arguments(dropped)

    @ours
    def calls(self) -> set[Call]:
        """The calls of the inputs that are here, queued or with a slot."""
        with self.lock:
            inputs = [input for input in self._queue if input.state is QUEUED]
            inputs += self._outside
            return {input.call for input in (*inputs, *self._waiting_inputs(), *self._under_way())}

    @ours
    def open_call(self) -> bool:
        """Keep the pool while a call may still submit; false if it was retired."""
        with self.lock:
            if self._state is PoolState.RETIRED:
                return False
            self._open_calls += 1
            return True

    @ours
    def close_call(self) -> None:
        if self.forked:
            return
        with self.lock:
            self._open_calls -= 1
            effects = self._retire_if_unused()
        carry_out(effects)

    @ours
    def cancel_call(self, call: Call, *, queued_only: bool = False) -> None:
        """Cancel all inputs of `call` that are here; `queued_only` spares those with a slot."""
        if self.forked:
            return
        dropped: list[Input] = []
        with self.lock:
            inputs = [input for input in self._queue if input.call is call]
            inputs += [input for input in self._outside if input.call is call]
            inputs += [input for input in self._waiting_inputs() if input.call is call]
            if not queued_only:
                inputs += [input for input in self._under_way() if input.call is call]
            effects = self._cancel_all(inputs, CANCELLED, dropped)
        carry_out(effects)
        _forget_arguments(dropped)

    @ours
    def drain(self) -> None:
        """From now on take only what the run's own inputs and hooks call."""
        with self.lock:
            self.drains = self._refuses = True

    @ours
    def accepted_if_settled(self, wake: Callable[[], object]) -> int | None:
        """How many inputs it accepted, if all of them are settled.

        Else None, and `wake` is called, under the lock, when they are.
        """
        with self.lock:
            if self._unsettled():
                self._drain_wakes.append(wake)
                return None
            return self._accepted

    @property
    def unsettled(self) -> int:
        """Accepted inputs without an outcome."""
        with ours, self.lock:
            return self._unsettled()

    def _unsettled(self) -> int:
        return self._accepted - self._succeeded - self._failed - self._cancelled

    def _wake_if_settled(self) -> None:
        if not self._unsettled():
            wakes, self._drain_wakes = self._drain_wakes, []
            for wake in wakes:
                wake()

    @ours
    def resize(self, container: Container, limit: int) -> None:
        """Set how many inputs `container` may run at once; interrupts nothing.

        From then on it is filled up to that limit, and no target holds for it.
        """
        with self.lock:
            before = container.slots.limit
            container.slots.set_limit(limit)
            container.target = container.slots.limit
            effects = self._assign()
            if container.slots.limit < before:
                self._look_for_knots(effects)
                if self._abandoned:
                    effects.extend(self._look_at_abandoned())
        carry_out(effects)

    @ours
    def stop_fetching(self, container: Container) -> None:
        """Give `container` no more inputs; it stops when those it has are done."""
        with self.lock:
            container.takes_no_more = True
            effects: list[Effect] = []
            if container.state is READY:
                effects.extend(self._drain(container))
                effects.extend(self._assign_and_scale())
                self._look_for_knots(effects)
        carry_out(effects)

    @ours
    def set_limits(self, limits: Limits) -> bool:
        """Change the bounds of the autoscaler; false if the pool was retired: get a new one.

        The slots of containers stay as they are.  Containers beyond a lowered
        `max_containers` take no more inputs, and end when those they have are done.
        """
        with self.lock:
            self.options = replace(self.options, limits=limits)
            self._max_containers = limits.max_containers
            self._policy.limits = limits
            if self._state is not PoolState.OPEN:
                return self._state is PoolState.CLOSING
            effects = self._drain_surplus()
            effects.extend(self._assign_and_scale())
            effects.extend(self._retire_if_unused())
        carry_out(effects)
        look_at_all()
        return True

    def _drain_surplus(self) -> list[Effect]:
        """Let go of what is beyond `max_containers`, however busy."""
        effects: list[Effect] = []
        most = self._max_containers
        surplus = 0 if most is None else len(self._ready) + self._starting - most
        if surplus > 0:
            self._shrink(surplus, effects)
            assert most is not None
            surplus = len(self._ready) + self._starting - most
            for container in sorted(self._ready, key=lambda c: len(c.slots.held))[:surplus]:
                effects.extend(self._drain(container))
        return effects

    @ours
    def start_minimum(self) -> None:
        """Start `min_containers`, before any input asks."""
        with self.lock:
            effects = self._scale()
        carry_out(effects)

    @ours
    def statistics(self) -> PoolStatistics:
        with self.lock:
            return views.statistics_of(self)

    @ours
    def snapshot(self, patience: float) -> PoolSnapshot | None:
        """What there is, for people to read; None if the lock is not free in `patience` seconds.

        For a signal handler may ask, in a thread that holds the lock.
        """
        if not acquire_within(self.lock, patience):
            return None
        try:
            return views.snapshot_of(self)
        finally:
            self.lock.release()

    def __repr__(self) -> str:
        if self.forked:
            return f"<Pool {self.options.name}: in the process from which this one was forked>"
        s = self.statistics()
        return (
            f"<Pool {s.name}: {s.queued} queued, {s.running} running "
            f"in {len(s.containers)} containers>"
        )

    # -- assigning ------------------------------------------------------------------

    def _assign(self, *, asks: bool = True) -> list[Effect]:
        """Grant what can be granted, in order; ask the policy if that is not all.

        It is not asked (`asks`) when a slot was given back: no more is needed than before.
        """
        effects: list[Effect] = []
        if not self._queued:
            return effects
        fill = self._fill
        if self._batching is not None:
            fill = self._fill_with_batches
            if self._outside:
                self._let_in(effects)  # first: they may have their place in what goes now
        elif self._held_loops:
            fill = self._fill_around
        now = self._now()
        fill(fullest_below_target, now, effects)
        if self._queued:
            if asks and not self._waits_for_members():
                effects.extend(self._scale())
            # Nothing better is ready: burst above the target meanwhile.
            if self._bursts:
                fill(emptiest_below_limit, now, effects)
        if self._buffer_taken:
            self._buffer_taken = False
            effects.extend(self._scale())
        if self._outside and self._let_in(effects):
            effects.extend(self._assign(asks=asks))
        return effects

    def _waits_for_members(self) -> bool:
        """Whether the queue is but a batch that is not due, and a slot is free for it."""
        return (
            self._batching is not None and fullest_below_target(self._free_containers()) is not None
        )

    def _fill_with_batches(
        self,
        choose: Callable[[Sequence[Container]], Container | None],
        now: float,
        effects: list[Effect],
    ) -> None:
        free = self._free_containers()
        while self._is_due(now, effects):
            container = choose(free)
            if container is None:
                return
            self._grant_batch(container, now, effects)

    def _free_containers(self) -> list[Container]:
        """Those whose slots may be of use; to some only for what needs no loop."""
        if not self._held_loops or not (self._batching is None or self._batching.target.is_async):
            return self._ready
        return [container for container in self._ready if container not in self._held_loops]

    def _is_due(self, now: float, effects: list[Effect]) -> bool:
        """Whether the first batch of the queue waits for no more members.

        If it does, the timer is armed for it.
        """
        if not self._queued:
            return False
        assert self._batching is not None
        if self._queued >= self._batch_size:
            return True
        queue = self._queue
        while queue[0].state is not QUEUED:
            self._pass_over(queue.popleft(), effects)
        due = queue[0].queued_at + self._batching.wait
        if due <= now:
            return True
        if self._batch_due is None:
            self._batch_due = self.clock.call_at(due, self._on_batch_due)
        return False

    def _on_batch_due(self) -> None:
        """A batch may have waited for long enough.  On the clock's thread."""
        with self.lock:
            self._batch_due = None
            effects = self._assign()
        carry_out(effects)

    def _grant_batch(self, container: Container, now: float, effects: list[Effect]) -> None:
        assert self._batching is not None
        queue = self._queue
        members: list[Input] = []
        while queue and len(members) < self._batch_size:
            input = queue.popleft()
            if input.state is QUEUED:
                members.append(input)
            else:
                self._pass_over(input, effects)
        count = len(members)
        self._queued -= count
        self._batches[count] = self._batches.get(count, 0) + 1
        waited = now - members[0].queued_at
        self._batch_wait += waited
        if waited > self._longest_batch_wait:
            self._longest_batch_wait = waited
        batch = make_batch(self._batching.target, members)
        for input in members:
            input.state = RUNNING
            input.container = container
            input.runner = batch
        self._grant(container, batch, now, effects)
        if self.probe is not None:
            # Not before: whoever looks on must not find them neither queued nor running.
            for input in members:
                self.probe.note("granted", self, input, container)

    # -- the bound of the backlog -----------------------------------------------------

    def _room(self) -> int:
        assert self._max_backlog is not None
        free = 0
        if not self._queued or self._batching is not None:
            # Else there is none.  What waits for the rest of its batch has one.
            free = sum(container.slots.free for container in self._free_containers())
        return self._max_backlog - self._queued + free * self._batch_size

    def _within_bound(self, inputs: Sequence[Input], may_stand_outside: bool) -> Sequence[Input]:
        """Those of `inputs` that are accepted now; the others stand outside."""
        room = max(0, self._room())
        count = len(inputs)
        if count <= room:
            return inputs
        if not (may_stand_outside or self.waits_when_full):
            self._refused += count
            raise full(self.options.name, self._max_backlog, self._queued, count)
        for input in inputs[room:]:
            input.state = OUTSIDE
            self._outside[input] = None
            if self.probe is not None:
                self.probe.note("outside", self, input)
        return inputs[:room]

    def _let_in(self, effects: list[Effect]) -> bool:
        """The queue became shorter: accept who stands outside, as far as there is room."""
        room = self._room() if self._state is PoolState.OPEN else 0
        if room <= 0:
            return False
        came: list[Input] = []
        while self._outside and len(came) < room:
            input, wake = self._outside.popitem(last=False)
            input.state = QUEUED
            came.append(input)
            if wake is not None:
                effects.append(wake)
        self._accepted += len(came)
        self._queued += len(came)
        self._queue.extend(came)
        if self.probe is not None:
            self._note_queued(came)
        self._stamp(came)
        return bool(came)

    def _assign_and_scale(self) -> list[Effect]:
        """The bounds or the containers have changed: grant, and ask the policy in any case."""
        effects = self._assign()
        if not self._queued or self._batching is not None:  # else it was asked
            effects.extend(self._scale())
        return effects

    def _scale_and_assign(self) -> list[Effect]:
        """Ask the policy; what it takes back may have slots to grant."""
        ready = len(self._ready)
        effects = self._scale()
        if len(self._ready) > ready:
            effects.extend(self._assign())
        return effects

    def _fill(
        self,
        choose: Callable[[Sequence[Container]], Container | None],
        now: float,
        effects: list[Effect],
    ) -> None:
        while self._queued:
            container = choose(self._ready)
            if container is None:
                return
            self._grant_next(container, now, effects)

    def _fill_around(
        self,
        choose: Callable[[Sequence[Container]], Container | None],
        now: float,
        effects: list[Effect],
    ) -> None:
        """As `_fill`, where some containers can take synchronous inputs only."""
        while self._queued:
            queue = self._queue
            while queue[0].state is not QUEUED:
                self._pass_over(queue.popleft(), effects)
            container: Container | None = None
            if queue[0].call.target.is_async:
                free = [c for c in self._ready if c not in self._held_loops]
                container = choose(free)
            if container is None:
                container = choose(self._ready)
                if container is None:
                    return
                # The first that needs no loop goes before those that do.
                for input in queue:
                    if input.state is QUEUED and not input.call.target.is_async:
                        break
                else:
                    return
                queue.remove(input)
                queue.appendleft(input)
            self._grant_next(container, now, effects)

    def _grant_next(self, container: Container, now: float, effects: list[Effect]) -> None:
        queue = self._queue
        input = queue.popleft()
        while input.state is not QUEUED:  # cancelled: passed over
            self._pass_over(input, effects)
            input = queue.popleft()
        self._queued -= 1
        self._grant(container, input, now, effects)

    def _grant(self, container: Container, input: Input, now: float, effects: list[Effect]) -> None:
        container.slots.acquire_nowait(input, now)
        self._running += 1
        self._granted += 1
        self._busy_seconds -= now
        if container.idle_since is not None:
            self._no_more_idle(container)
            self._buffer_taken = self.options.limits.buffer_containers > 0
        input.state = GRANTED
        input.container = container
        if self._deadline is None:
            self._arm_deadline(now)
        if self.probe is not None and self._batching is None:
            self.probe.note("granted", self, input, container)
        effect = container.place(input)
        if effect is not None:
            effects.append(effect)

    def _note_queued(self, inputs: Iterable[Input]) -> None:
        assert self.probe is not None
        for input in inputs:
            self.probe.note("queued", self, input)

    def _stamp(self, inputs: Iterable[Input]) -> None:
        """Note that `inputs` are queued since now."""
        now = self._now()
        for input in inputs:
            input.queued_at = now
        # The queue is in the order of these times, so its first input is the
        # first to reach its deadline.
        if self._queue_timeout is not None and self._queue_deadline is None:
            self._queue_deadline = self.clock.call_at(
                now + self._queue_timeout, self._on_queue_deadline
            )

    def _arm_deadline(self, now: float) -> None:
        # One timer, for the eldest input that may run out of time: they reach
        # their deadlines in the order of their grants.
        if self.options.timeout is not None:
            self._deadline = self.clock.call_at(now + self.options.timeout, self._on_deadline)

    def settle(
        self, container: Container, input: Input, outcome: Outcome, lane: bool | None
    ) -> tuple[Input | None, Sequence[Effect]]:
        """The code of `input` has ended: record it, release its slot, grant the next.

        Called by the container, under the lock.  All three in one step, before
        anything is delivered: a caller that submits again at once must find
        the slot free, or a container too many is started.

        Args:
            lane: the kind of input that the caller can run right away
                (asynchronous or not), None if it can run none.

        Returns:
            The input that got the slot, if it is of that kind: it is RUNNING
            and its caller must run it.  And effects, to carry out after the
            lock is let go.
        """
        state = input.state
        wake: Effect | None = None
        if state is RUNNING:
            if input.cancellation is not None:
                outcome = input.cancellation
            if self._batching is not None:
                wake = self._record_batch(input, outcome, ended=True)
                input.state = SETTLED
            elif type(outcome) is Value:  # as _record does it, without the call
                input.outcome = outcome
                input.state = SETTLED
                self._succeeded += 1
                wake = input.call.settled(input)
                if self._trials:
                    wake = self._end_trials(input, wake)
                if self.probe is not None:
                    self.probe.note("settled", self, input, container)
            elif not self._try_again_later(input, outcome):
                wake = self._record(input, outcome)
        elif state is ABANDONED:
            input.state = SETTLED
            self._forget_abandoned(input)
            if self.probe is not None:
                self.probe.note("ended", self, input, container)
            if self._batching is not None:
                end_of_batch(input)
        elif state is SETTLED:
            return None, ()  # given up at the end of its container's grace
        else:
            raise IllegalMove(f"an input that is {state.value} cannot be settled by its code")
        slots = container.slots
        held = len(slots.held)
        if (
            self._queued
            and held <= container.target
            and held <= slots.limit
            and container.state is READY
            and not self._held_loops
            and self._batching is None
        ):
            # The short way: the slot goes from one input to the next.
            effects: list[Effect] = []
            following = self._queue.popleft()
            while following.state is not QUEUED:  # cancelled: passed over
                self._pass_over(following, effects)
                following = self._queue.popleft()
            self._queued -= 1
            if self._outside:
                self._let_in(effects)
            now = self._now()
            slots.hand_over(input, following, now)
            self._granted += 1
            following.container = container
            if self._deadline is None:
                self._arm_deadline(now)
            if self.probe is not None:
                self.probe.note("granted", self, following, container)
            if following.call.target.is_async is lane:
                following.state = RUNNING
                if wake is not None:
                    effects.append(wake)
                return following, effects
            following.state = GRANTED
            effect = container.place(following)
            if effect is not None:
                effects.append(effect)
        else:
            effects = self._release(container, input)
        if wake is not None:
            effects.append(wake)
        return None, effects

    def _record(self, input: Input, outcome: Outcome, state: InputState = SETTLED) -> Effect | None:
        """Make `outcome` final and count it; return how to wake who waits for it.

        Args:
            state: ABANDONED if its code runs on; of a batch, that of its members.
        """
        if self._batching is not None and isinstance(input.call, BatchCall):
            return self._record_batch(input, outcome, state, ended=False)
        input.outcome = outcome
        input.state = state
        if type(outcome) is Value:
            self._succeeded += 1
        elif type(outcome) is Failure:
            self._failed += 1
        else:
            self._cancelled += 1
        if self._drain_wakes:
            self._wake_if_settled()
        wake = input.call.settled(input)
        if self.probe is not None:
            self.probe.note("settled", self, input, input.container)
        return self._end_trials(input, wake) if self._trials else wake

    def _record_batch(
        self, batch: Input, outcome: Outcome, state: InputState = SETTLED, *, ended: bool
    ) -> Effect | None:
        """Give each member of `batch` that has none its part of `outcome`.

        Args:
            state: of those from now on.
            ended: its code has; only then members may be tried again.
        """
        call = batch.call
        assert isinstance(call, BatchCall)
        batch.outcome = outcome
        wakes: list[Effect] = []
        for member, its in call.outcomes(outcome):
            if ended and self._try_again_later(member, its):
                continue
            if not ended and type(its) is Failure and (trials := self._trials.get(member)):
                its.earlier = tuple(trials.errors)
            wake = self._record(member, its, state)
            if wake is not None:
                wakes.append(wake)
        call.live = 0
        if ended:
            if self.probe is not None:
                self.probe.note("ended", self, batch, batch.container)
            end_of_batch(batch)
        if self._trials:
            end = self._end_trials(batch, None)
            if end is not None:
                wakes.append(end)

        def wake_all() -> None:
            participants = self.clock.participants
            if participants is not None and len(wakes) > 1:
                carry_out(participants.one_by_one(wakes))
            else:
                carry_out(wakes)
            call.forget(ended=ended)

        return wake_all

    # -- retries --------------------------------------------------------------------

    def _try_again_later(self, input: Input, outcome: Outcome) -> bool:
        """Let a failed input wait for its next attempt; false if it has none.

        The input is the same one, with its ids and its caller; only the slot is
        given up.
        """
        retries = self.options.retries
        if retries is None or not self._may_be_tried_again(input, outcome):
            return False
        assert type(outcome) is Failure
        trials = self._trials.get(input)
        if trials is None:
            trials = self._trials[input] = Trials()
        if trials.patience is not None:
            trials.patience.cancel()
            trials.patience = None
        attempt = len(trials.errors) + 1
        trials.errors.append(outcome.error)
        input.state = WAITING
        if self.probe is not None:
            self.probe.note("waiting", self, input, input.container, outcome.error)
        input.container = input.runner = input.cancellation = None
        self._waiting += 1
        self._retries += 1
        when = self._now() + retries.delay(attempt)
        trials.timer = self.clock.call_at(when, lambda: self._on_retry(input))
        return True

    def _may_be_tried_again(self, input: Input, outcome: Outcome) -> bool:
        retries = self.options.retries
        if (
            retries is None
            or type(outcome) is not Failure
            or self._state is not PoolState.OPEN
            or input.call.target.is_generator
        ):
            return False
        if isinstance(input.call, BatchCall):
            # Asked before it has ended; each member is asked for once more then.
            return any(
                self._may_be_tried_again(member, Failure(outcome.error))
                for member in input.call.members
                if member.outcome is None
            )
        trials = self._trials.get(input)
        if trials is None or len(trials.errors) < retries.max_retries:
            return retries.max_retries > 0
        outcome.earlier = tuple(trials.errors)
        return False

    def _on_retry(self, input: Input) -> None:
        """The time of its next attempt has come.  On the clock's thread."""
        with self.lock:
            if input.state is not WAITING:
                return  # cancelled at this very moment
            self._waiting -= 1
            self._trials[input].timer = None
            input.state = QUEUED
            self._queue.append(input)
            self._queued += 1
            if self.probe is not None:
                self._note_queued((input,))
            self._stamp((input,))
            if self._queued == 1 or self._batching is not None:
                effects = self._assign()
            else:
                effects = self._scale_and_assign()
            self._look_for_knots(effects)
        carry_out(effects)

    def _waiting_inputs(self) -> list[Input]:
        return [input for input in self._trials if input.state is WAITING]

    def _end_trials(self, input: Input, wake: Effect | None) -> Effect | None:
        trials = self._trials.pop(input, None)
        if trials is None:
            return wake
        for timer in (trials.timer, trials.patience):
            if timer is not None:
                timer.cancel()

        def end() -> None:
            trials.errors.clear()  # the user's objects: not under the lock
            if wake is not None:
                wake()

        return end

    def _release(self, container: Container, input: Input) -> list[Effect]:
        """Take the slot of `input` back; what follows from it."""
        self._give_back(container, input)
        return self._released(container)

    def _give_back(self, container: Container, input: Input) -> None:
        container.slots.release(input)
        self._running -= 1
        self._busy_seconds += self._now()
        if self.probe is not None:
            self.probe.note("released", self, input, container)

    def _released(self, container: Container) -> list[Effect]:
        """A slot of `container` came free, or its limit rose: what follows from it."""
        effects: list[Effect] = []
        if self._drain_wakes:
            self._wake_if_settled()  # the one place where a success may be the last
        if self._queued:
            effects = self._assign(asks=container.state is not READY)
        if not container.slots.held:
            if container.state is READY:
                self._now_idle(container, self._now())
                if self._waiting_for_room and not self._queued:
                    self._leave_line(effects)
                if self.capacity.crowded and (not self._queued or self._batching is not None):
                    effects.append(self.capacity.make_room)
            elif container.state is DRAINING:
                effects.append(self._stop(container))
        idle = self.longest_idle
        if (
            idle is not None
            and (not self._queued or self._batching is not None)
            and (self._running < self._asked_with or self._idle > self._asked_idle)
            and (self._wakeup is None or self._wakeup_at > idle + self._policy.shortest_stay)
        ):
            # A container just became idle; or one that was kept beyond its
            # window, because it was needed, may be needed no more.
            effects.extend(self._scale())
        return effects

    def _now_idle(self, container: Container, now: float) -> None:
        self._idle += container.idle_since is None
        container.idle_since = now
        if self.longest_idle is None:
            self.longest_idle = now

    def _no_more_idle(self, container: Container) -> None:
        since, container.idle_since = container.idle_since, None
        self._idle -= since is not None
        if since == self.longest_idle:
            others = [c.idle_since for c in self._ready if c.idle_since is not None]
            self.longest_idle = min(others) if others else None

    # -- cancelling -------------------------------------------------------------------

    def _cancel(self, input: Input, outcome: Outcome, dropped: list[Input]) -> list[Effect] | None:
        effects: list[Effect] = []
        wake: Effect | None = None
        state = input.state
        if state is QUEUED:
            self._queued -= 1
            wake = self._record(input, outcome)
            dropped.append(input)
            if self._outside:
                self._let_in(effects)
            self._compact(effects)
            if not self._queued and self._waiting_for_room:
                self._leave_line(effects)
        elif state is OUTSIDE:
            # Whoever called hears of it, so it counts among those that were accepted.
            self._accepted += 1
            let_in = self._outside.pop(input)
            if let_in is not None:
                effects.append(let_in)
            wake = self._record(input, outcome)
            dropped.append(input)
        elif state is WAITING:
            self._waiting -= 1
            wake = self._record(input, outcome)
            dropped.append(input)
            effects.extend(self._retire_if_unused())
        elif state is GRANTED:
            wake = self._record(input, outcome)
            input.state = SETTLED
            dropped.append(input)
            effects = self._release(input.container, input)
            if self._batching is not None:
                end_of_batch(input)
        elif state is RUNNING and type(input.runner) is Input:
            wake, effects = self._leave_batch(input.runner, input, outcome, dropped)
        elif (
            state is RUNNING
            and type(input.cancellation) is Failure
            and type(outcome) is Cancelled
            and self.options.retries is not None
        ):
            # It ran out of time, and is on its way out: it will not be tried again.
            input.cancellation = outcome
            self._expect_end(input, outcome, ENDS_WITHIN)
        elif state is RUNNING and input.cancellation is None:
            input.cancellation = outcome
            # The flag is set before the caller is released: what it does next
            # may rely on it.
            effect = input.container.cancel(input)
            if effect is not None:
                effects.append(effect)
            if input.call.target.is_async:
                self._expect_end(input, outcome, ENDS_WITHIN)
            else:
                # A thread cannot be stopped: release the caller at once.
                wake = self._abandon(input, outcome)
        else:
            return None
        if wake is not None:
            effects.append(wake)
        return effects

    def _leave_batch(
        self, batch: Input, input: Input, outcome: Outcome, dropped: list[Input]
    ) -> tuple[Effect | None, list[Effect]]:
        """A member of `batch` is cancelled; it runs on for the others, if there are any."""
        call = batch.call
        assert isinstance(call, BatchCall)
        # Once it has begun, its arguments are in use, and its part of the slot.
        begun = batch.state is not GRANTED
        wake = self._record(input, outcome, ABANDONED if begun else SETTLED)
        call.live -= 1
        effects: list[Effect] = []
        if not begun:
            input.runner = None
            call.leave(batch, input)
            dropped.append(input)
        if not call.live:
            effects = self._cancel(batch, outcome, dropped) or []
        return wake, effects

    def _abandon(self, input: Input, outcome: Outcome) -> Effect | None:
        """Answer the caller; the slot stays held until the user's code has ended."""
        wake = self._record(input, outcome, ABANDONED)
        input.state = ABANDONED  # also of a batch
        self._abandoned[input] = self._now()
        self._be_patient(ALL_ABANDONED)
        return wake

    def _forget_abandoned(self, input: Input) -> None:
        del self._abandoned[input]
        if not self._abandoned:
            self._end_patience()

    def _expect_end(self, input: Input, outcome: Outcome, within: float) -> None:
        # One timer for all, for they are told to end one after the other.
        when = self._now() + within
        self._told_to_end.append((when, input, outcome))
        if self._end_deadline is None:
            self._end_deadline = self.clock.call_at(when, self._on_end_deadline)

    def _on_end_deadline(self) -> None:
        """Inputs that were told to end have had their time.  On the clock's thread."""
        effects: list[Effect] = []
        passed: list[object] = []  # let go of without the lock
        with self.lock:
            self._end_deadline = None
            now = self._now()
            told = self._told_to_end
            while told and told[0][0] <= now:
                entry = told.popleft()
                passed.append(entry)
                _, input, outcome = entry
                if input.state is not RUNNING or input.cancellation is not outcome:
                    continue  # it ended, and may even be tried again by now
                if self._may_be_tried_again(input, outcome):
                    self._give_up_retry_later(input, outcome)
                elif (wake := self._abandon(input, outcome)) is not None:
                    effects.append(wake)
            if told:
                self._end_deadline = self.clock.call_at(told[0][0], self._on_end_deadline)
        carry_out(effects)

    def _give_up_retry_later(self, input: Input, outcome: Outcome) -> None:
        # Its next attempt needs it to end first.  The caller waits for that, but
        # not for ever: the loop may be blocked for good.
        trials = self._trials.get(input)
        if trials is None:
            trials = self._trials[input] = Trials()

        def give_up() -> None:
            wake: Effect | None = None
            with self.lock:
                if input.state is RUNNING and input.cancellation is outcome:
                    if type(outcome) is Failure:
                        outcome.earlier = tuple(trials.errors)
                    wake = self._abandon(input, outcome)
            if wake is not None:
                carry_out((wake,))

        when = self._now() + ENDS_FOR_RETRY_WITHIN - ENDS_WITHIN
        trials.patience = self.clock.call_at(when, give_up)

    def _cancel_all(
        self, inputs: list[Input], outcome: Outcome, dropped: list[Input]
    ) -> list[Effect]:
        effects: list[Effect] = []
        # From the end of the line to its head: room, or a slot, that comes free must
        # not go to an input that is about to be cancelled too.
        if self._outside:
            for input in inputs:
                if input.state is OUTSIDE:
                    effects.extend(self._cancel(input, outcome, dropped) or ())
        for input in inputs:
            if input.state is QUEUED:
                effects.extend(self._cancel(input, outcome, dropped) or ())
        for input in inputs:
            effects.extend(self._cancel(input, outcome, dropped) or ())
        return effects

    def _compact(self, effects: list[Effect]) -> None:
        # Settled inputs at the front cost nothing; many behind a long wait do.
        queue = self._queue
        if len(queue) > 64 and self._queued * 2 < len(queue):
            self._queue = deque(input for input in queue if input.state is QUEUED)
            for input in queue:
                if input.state is not QUEUED:
                    self._pass_over(input, effects)

    def _pass_over(self, input: Input, effects: list[Effect]) -> None:
        if not self._dead:
            effects.append(self._bury)
        self._dead.append(input)

    def _bury(self) -> None:
        with self.lock:
            dead, self._dead = self._dead, []
        del dead

    def _on_deadline(self) -> None:
        """The eldest input may have reached its deadline.  On the clock's thread."""
        dropped: list[Input] = []
        effects: list[Effect] = []
        timeout = self.options.timeout
        assert timeout is not None
        with self.lock:
            self._deadline = None
            now = self._now()
            due: list[Input] = []
            following: float | None = None
            for container in self._containers:
                for holder, granted_at in container.slots.held.items():
                    assert isinstance(holder, Input)
                    if holder.cancellation is not None or holder.state is ABANDONED:
                        continue
                    if granted_at + timeout > now:
                        if following is None or granted_at + timeout < following:
                            following = granted_at + timeout
                        break
                    due.append(holder)
            if following is not None:
                self._deadline = self.clock.call_at(following, self._on_deadline)
            if due and self.options.retries is None:
                effects = self._cancel_all(due, ran_out(self.options.name, timeout), dropped)
            else:
                for input in due:  # each has its own history of attempts
                    expired = ran_out(self.options.name, timeout)
                    effects.extend(self._cancel(input, expired, dropped) or ())
        carry_out(effects)
        _forget_arguments(dropped)

    def _on_queue_deadline(self) -> None:
        """The first in the queue may have waited for too long.  On the clock's thread."""
        dropped: list[Input] = []
        effects: list[Effect] = []
        timeout = self.options.queue_timeout
        assert timeout is not None
        with self.lock:
            self._queue_deadline = None
            now = self._now()
            queue = self._queue
            due: list[Input] = []
            while queue:
                input = queue[0]
                if input.state is not QUEUED:  # cancelled
                    self._pass_over(queue.popleft(), effects)
                elif input.queued_at + timeout <= now:
                    due.append(queue.popleft())
                else:
                    break
            for_all = waited_too_long(self.options.name, timeout)
            for input in due:
                expired = for_all
                trials = self._trials.get(input)
                if trials is not None:
                    # Not tried again, for it did not run; it says how it failed before.
                    expired = waited_too_long(self.options.name, timeout)
                    expired.earlier = tuple(trials.errors)
                effects.extend(self._cancel(input, expired, dropped) or ())
            if self._queue:
                self._queue_deadline = self.clock.call_at(
                    self._queue[0].queued_at + timeout, self._on_queue_deadline
                )
        carry_out(effects)
        _forget_arguments(dropped)

    # -- inputs that do not end ---------------------------------------------------------

    def _be_patient(self, seconds: float) -> None:
        """Look at the abandoned inputs in `seconds`, or before."""
        when = self._now() + seconds
        if self._patience is None or self._patience.when > when:
            self._end_patience()
            self._patience = self.clock.call_at(when, self._on_patience_end)

    def _end_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _on_patience_end(self) -> None:
        """Inputs may have been abandoned for too long.  On the clock's thread."""
        with self.lock:
            self._patience = None
            effects = self._look_at_abandoned()
        carry_out(effects)

    def _look_at_abandoned(self) -> list[Effect]:
        """Give up containers with inputs that do not end."""
        effects: list[Effect] = []
        if self._state is not PoolState.OPEN:
            return effects
        now = self._now()
        following: float | None = None
        for container in list(self._containers):
            since = [self._abandoned[h] for h in container.slots.held if h in self._abandoned]
            if container.given_up or not since:
                continue
            due = min(since) + config.abandoned_seconds
            if len(since) >= container.slots.limit:
                due = min(due, max(since) + ALL_ABANDONED)
            if due <= now:
                effects.extend(self._give_up_container(container))
            elif following is None or due < following:
                following = due
        if following is not None:
            self._be_patient(following - now)
        return effects

    def _give_up_container(self, container: Container) -> list[Effect]:
        """Use `container` no more, and let others have its room; what lives in it may end."""
        container.given_up = container.takes_no_more = True
        stuck = [holder for holder in container.slots.held if holder in self._abandoned]
        effects = self._drain(container) if container.state is READY else []
        effects.extend(self.capacity.release(self.options.sync_slots))
        effects.append(lambda: self._log_given_up(container, len(stuck)))
        effects.extend(self._assign_and_scale())
        return effects

    def _log_given_up(self, container: Container, count: int) -> None:
        logger.warning(
            "container %d of %s is used no more: %d of its inputs %s answered and %s not end; %s",
            container.number,
            self.options.name,
            count,
            "was" if count == 1 else "were",
            "does" if count == 1 else "do",
            "; ".join(container.places()) or "its tasks do not end",
        )

    # -- scaling ------------------------------------------------------------------------

    def _scale(self) -> list[Effect]:
        """Ask the policy and carry its decision out."""
        self._asked_with = ANY_NUMBER if self._queued else self._running
        self._asked_idle = self._idle
        if self._queued and self.longest_idle is None and self._is_capped():
            self._bursts = True
            return []  # nothing it could decide
        if self._state is not PoolState.OPEN:
            return []
        effects: list[Effect] = []
        now = self._now()
        while True:
            decision = self._policy.decide(self._observe(now))
            again = decision.ask_again_at
            self._bursts = decision.fill is Fill.MAX
            self._wanted = decision.wanted
            count = len(self._ready) + self._starting
            if decision.wanted > count:
                again = self._grow(decision.wanted - count, now, again, effects)
            elif decision.wanted < count and self._shrink(count - decision.wanted, effects):
                continue  # fewer are there now: is that what it wants?
            break
        self._wake_up_at(again)
        return effects

    def _is_capped(self) -> bool:
        """Whether no container can be added now, whatever the policy wants."""
        most = self._max_containers
        return self._waiting_for_room or (
            most is not None and len(self._ready) + self._starting >= most
        )

    def _observe(self, now: float) -> Observation:
        idle: list[float] = []
        withheld = 0
        target = self.options.limits.target_inputs
        for container in self._ready:
            if self._held_loops and self._queued and container in self._held_loops:
                withheld += max(0, target - len(container.slots.held))
            if container.idle_since is not None:
                idle.append(container.idle_since)
            elif container.slots.limit < target:
                usable = max(container.slots.limit, len(container.slots.held))
                withheld += max(0, target - usable)
        idle.sort()
        queued = -(-(self._queued + len(self._outside)) // self._batch_size)
        draining = 0
        if len(self._containers) > len(self._ready) + self._starting:
            draining = sum(c.state is DRAINING and not c.takes_no_more for c in self._containers)
        return Observation(
            now=now,
            running=self._running,
            queued=queued,
            ready=len(self._ready),
            starting=self._starting,
            idle_since=tuple(idle),
            arrivals=self._granted + queued,
            completions=self._granted - self._running,
            busy_seconds=self._busy_seconds + self._running * now,
            starts=self._starts,
            start_seconds=self._start_seconds,
            draining=draining,
            withheld=withheld,
        )

    def _grow(
        self, count: int, now: float, again: float | None, effects: list[Effect]
    ) -> float | None:
        for container in self._containers:
            if count and container.state is DRAINING and not container.takes_no_more:
                # Taken back: it is warm, and stopping it would waste a start.
                self._move(container, READY)
                self._ready.append(container)
                if not container.slots.held:
                    self._now_idle(container, now)
                count -= 1
        if count and now < self._start_again_at:
            return self._start_again_at if again is None else min(again, self._start_again_at)
        for _ in range(count):
            if not self._boot_if_room(effects):
                break
        return again

    def _boot_if_room(self, effects: list[Effect]) -> bool:
        # One that stops serves nobody: a pool has no container as soon as none is
        # ready, starting or may be taken back.
        first = not self._ready and not self._starting
        if first:
            self.capacity.register(self)
        if not self.capacity.acquire_nowait(self, self.options.sync_slots, first=first):
            self._waiting_for_room = True
            effects.append(self.capacity.make_room)
            self._look_for_knots(effects)
            return False
        self._boot(effects)
        return True

    def _boot(self, effects: list[Effect]) -> None:
        """Start one container, whose room was taken."""
        self._numbers += 1
        limits = self.options.limits
        container = self._factory(self, self._numbers, limits.target_inputs, limits.max_inputs)
        container.started_at = now = self._now()
        self._containers.append(container)
        if self.probe is not None:
            self.probe.note("starting", self, None, container)
        if self._startup_deadline is None and self.options.startup_timeout is not None:
            self._startup_deadline = self.clock.call_at(
                now + self.options.startup_timeout, self._on_startup_deadline
            )
        self._starting += 1
        self._peak_containers = max(self._peak_containers, len(self._containers))
        effects.append(container.boot)

    def _shrink(self, count: int, effects: list[Effect]) -> bool:
        """Let `count` containers go, as far as they are idle or only starting; true if any."""
        before = count
        # Those that still start go first: none of their work is lost.
        for container in reversed(self._containers):
            if count and container.state is STARTING:
                self._move(container, STOPPING)
                self._starting -= 1
                count -= 1
        idle = sorted(
            (c for c in self._ready if c.idle_since is not None),
            key=lambda c: (c.idle_since or 0.0, -c.number),
        )
        for container in idle[:count]:
            effects.extend(self._drain(container))
            count -= 1
        self._leave_line_if_first(effects)
        return count < before

    def _drain(self, container: Container) -> list[Effect]:
        self._move(container, DRAINING)
        self._ready.remove(container)
        self._no_more_idle(container)
        effects: list[Effect] = [] if container.slots.held else [self._stop(container)]
        self._leave_line_if_first(effects)
        return effects

    def _stop(self, container: Container) -> Effect:
        self._move(container, STOPPING)
        return container.stop

    def _move(self, container: Container, state: ContainerState) -> None:
        check_move(container.state, state)
        container.state = state
        if self.probe is not None:
            self.probe.note(state.value, self, None, container)

    def _wake_up_at(self, when: float | None) -> None:
        if self._wakeup is not None:
            if when is not None and self._wakeup_at == when:
                return
            self._wakeup.cancel()
            self._wakeup = None
        if when is not None:
            self._wakeup_at = when
            self._wakeup = self.clock.call_at(when, self._on_wakeup)

    def _on_wakeup(self) -> None:
        """The time that the last decision named.  On the clock's thread."""
        with self.lock:
            self._wakeup = None
            effects = self._scale_and_assign()
        carry_out(effects)

    # -- who waits for whom --------------------------------------------------------------

    def _look_for_knots(self, effects: list[Effect]) -> None:
        """Slots went away, or room: those that are queued may wait for themselves now."""
        if self._queued and known:
            effects.append(lambda: look_at(self))

    def hold_loop(self, container: Container) -> None:
        """The loop of `container` is blocked by a call of ours: it takes no async inputs."""
        with self.lock:
            self._held_loops[container] = self._held_loops.get(container, 0) + 1
            effects = self._scale_and_assign() if self._queued else []
        carry_out(effects)

    def let_loop_go(self, container: Container) -> None:
        """The end of a `hold_loop`."""
        with self.lock:
            self._held_loops[container] -= 1
            if not self._held_loops[container]:
                del self._held_loops[container]
            effects = self._assign()
        carry_out(effects)

    def drop(self, input: Input, outcome: Outcome) -> bool:
        """Settle `input` with `outcome` if its code has not begun; false if it has."""
        dropped: list[Input] = []
        with self.lock:
            if input.state not in (QUEUED, OUTSIDE, GRANTED):
                return False
            effects = self._cancel(input, outcome, dropped)
        carry_out(effects or ())
        _forget_arguments(dropped)
        return True

    def glance(self, blockers: Blockers) -> list[list[Wait]] | None:
        """None if a queued input surely gets a slot; else what keeps those that might help.

        `blockers` says, under the lock, which waits an input sits in.
        """
        ways: list[list[Wait]] = []
        with self.lock:
            if not self._queued or self._grows():
                return None
            held_loops = self._held_loops
            if self._starting and not held_loops:
                return None
            for container in self._ready:
                held = container.slots.held
                if container in held_loops or len(held) > container.slots.limit:
                    continue  # more than one must get on
                if len(held) < container.slots.limit:
                    return None
                # The youngest have had the least time to begin to wait.
                for holder in reversed(held):
                    assert isinstance(holder, Input)
                    found = blockers(holder)
                    if not found:
                        return None
                    ways.append(found)
        return ways

    def glance_at_call(self, call: object, blockers: Blockers) -> list[list[Wait]] | None:
        """As `glance`, of those of `call` that are not queued: None if one surely ends."""
        ways: list[list[Wait]] = []
        with self.lock:
            if self._trials and any(input.call is call for input in self._waiting_inputs()):
                return None
            for container in self._containers:
                for holder in reversed(container.slots.held):
                    assert isinstance(holder, Input)
                    if any(input.call is call for input in members_of(holder)):
                        found = blockers(holder)
                        if not found:
                            return None
                        ways.append(found)
        return ways

    @property
    def is_open(self) -> bool:
        """Whether it takes calls from everywhere.  Under the lock."""
        return self._state is PoolState.OPEN

    def _grows(self) -> bool:
        return self._state is not PoolState.OPEN or not self._is_capped()

    def version(self) -> tuple[object, ...]:
        """Equal to that of a survey while all that it says is so."""
        with self.lock:
            return views.version_of(self)

    def survey(self) -> Survey:
        with self.lock:
            return views.survey_of(self)

    # -- capacity asks ------------------------------------------------------------------

    @ours
    def evict_idle(self) -> bool:
        """Stop the longest idle container for another pool's sake; false to decline."""
        with self.lock:
            count = len(self._ready) + self._starting
            idle = [c for c in self._ready if c.idle_since is not None]
            # With a queue it has idle ones only for batches that wait for members.
            needed = -(-self._queued // self._batch_size)
            if len(idle) <= needed or count <= self.options.limits.min_containers:
                return False
            eldest = min(idle, key=lambda c: c.idle_since or 0.0)
            effects = self._drain(eldest)
        carry_out(effects)
        return True

    @ours
    def room_granted(self) -> None:
        """Room was set aside for this pool: start a container if it is still wanted."""
        with self.lock:
            self._waiting_for_room = False
            effects: list[Effect] = []
            most = self._max_containers
            full = most is not None and len(self._ready) + self._starting >= most
            if self._queued and self._state is PoolState.OPEN and not full:
                self._boot(effects)
                effects.extend(self._scale())
            else:
                effects.extend(self.capacity.release(self.options.sync_slots))
                effects.extend(self._retire_if_unused())
        carry_out(effects)

    def _leave_line_if_first(self, effects: list[Effect]) -> None:
        """Containers went: the next one may be the first one again, which needs no room."""
        if self._waiting_for_room and not self._ready and not self._starting:
            self._leave_line(effects)

    def _leave_line(self, effects: list[Effect]) -> None:
        self._waiting_for_room = False
        effects.extend(self.capacity.leave_line(self))

    # -- containers report ----------------------------------------------------------------

    def container_ready(self, container: Container) -> bool:
        with self.lock:
            if container.state is STOPPING:
                return False
            self._move(container, READY)
            self._starting -= 1
            self._starts += 1
            now = self._now()
            self._start_seconds += now - container.started_at
            self._failed_starts = 0
            self._ready.append(container)
            if container.takes_no_more:  # it was told so while it started
                effects = self._drain(container)
                effects.extend(self._assign_and_scale())
            else:
                effects = self._assign()
            if container.state is READY:
                idle = not container.slots.held
                if idle:
                    self._now_idle(container, now)
                effects.extend(self._scale())  # others that start may be needed no more
                if idle and self.capacity.crowded:
                    effects.append(self.capacity.make_room)
        carry_out(effects)
        return True

    def container_failed(self, container: Container, error: BaseException) -> None:
        failure = failure_of(error)
        failure.shared = True
        dropped: list[Input] = []
        with self.lock:
            was_starting = container.state is STARTING
            if was_starting:
                self._starting -= 1
            self._move(container, STOPPED)
            effects: list[Effect] = []
            # Counted, and told of, when that was; or cancelled as its run was left.
            told = container.given_up or (
                self._state is PoolState.CLOSING and isinstance(error, CancelledError)
            )
            if not told:
                effects.extend(self._start_failed(was_starting, failure, dropped))
                told = bool(dropped)
            effects.extend(self._gone(container))
        if not told:
            logger.error(
                "container %d of %s failed to start",
                container.number,
                self.options.name,
                exc_info=error,
            )
        carry_out(effects)
        _forget_arguments(dropped)

    def _start_failed(
        self, was_starting: bool, failure: Failure, dropped: list[Input]
    ) -> list[Effect]:
        """Let further starts wait, and fail what nothing else can serve."""
        self._failed_starts += 1
        if self.probe is not None:
            self.probe.note("failed", self, error=failure.error)
        if self._failed_starts > 1:
            wait = BACKOFF_FIRST * 2.0 ** min(self._failed_starts - 2, 32)
            self._start_again_at = self._now() + min(wait, BACKOFF_MOST)
        if not was_starting or self._ready or self._starting:
            return []
        # Nothing else is there to serve them: they waited for this one.
        waiting = [input for input in self._queue if input.state is QUEUED]
        waiting += self._outside
        effects = self._cancel_all(waiting, failure, dropped)
        self._leave_line_if_first(effects)
        return effects

    def _on_startup_deadline(self) -> None:
        """The eldest container that starts may take too long.  On the clock's thread.

        It is given up: it counts no more, and its room is free, though its thread
        cannot be stopped.  When that comes out of the enter hooks after all, the
        container stops as any that was told to while it started.
        """
        dropped: list[Input] = []
        effects: list[Effect] = []
        timeout = self.options.startup_timeout
        assert timeout is not None
        with self.lock:
            self._startup_deadline = None
            now = self._now()
            late: list[Container] = []
            for container in self._containers:  # in the order of their starts
                if container.state is not STARTING:
                    continue
                if container.started_at + timeout > now:
                    self._startup_deadline = self.clock.call_at(
                        container.started_at + timeout, self._on_startup_deadline
                    )
                    break
                late.append(container)
            for container in late:
                self._starting -= 1
                self._move(container, STOPPING)
                container.given_up = True
                effects.append(container.give_up)
                effects.extend(self.capacity.release(self.options.sync_slots))
            if late:
                failure = started_too_slowly(self.options.name, timeout)
                effects.extend(self._start_failed(True, failure, dropped))
                if self._state is PoolState.OPEN:
                    effects.extend(self._assign_and_scale())
        for container in late if not dropped else ():
            logger.error(
                "container %d of %s did not start within its startup_timeout of %g s, and is "
                "given up; its enter hooks may still run",
                container.number,
                self.options.name,
                timeout,
            )
        carry_out(effects)
        _forget_arguments(dropped)

    def container_stopped(self, container: Container) -> None:
        dropped: list[Input] = []
        effects: list[Effect] = []
        with self.lock:
            self._move(container, STOPPED)
            # Stopped by force: asynchronous inputs cannot outlive their loop.
            for holder in list(container.slots.held):
                assert isinstance(holder, Input)
                if holder.call.target.is_async:
                    effects.extend(self._end_by_force(container, holder))
                    dropped.append(holder)
            effects.extend(self._gone(container))
        carry_out(effects)
        _forget_arguments(dropped)

    def _end_by_force(self, container: Container, input: Input) -> list[Effect]:
        wake: Effect | None = None
        if input.state is ABANDONED:
            input.state = SETTLED
            self._forget_abandoned(input)
            if self.probe is not None:
                self.probe.note("ended", self, input, container)
        else:
            wake = self._record(input, input.cancellation or LOST)
            input.state = SETTLED
            if self.probe is not None and self._batching is not None:
                self.probe.note("ended", self, input, container)  # for members that were answered
        if self._batching is not None:
            end_of_batch(input)
        self._give_back(container, input)
        return [] if wake is None else [wake]

    def _gone(self, container: Container) -> list[Effect]:
        self._containers.remove(container)
        self._stopped.append(container)
        self._peak_inputs = max(self._peak_inputs, container.slots.peak)
        effects: list[Effect] = []
        if not container.given_up:  # else its room was given back before
            effects.extend(self.capacity.release(self.options.sync_slots))
        effects.append(self._join_stopped)
        if self._state is PoolState.OPEN:
            effects.extend(self._assign_and_scale())
            effects.extend(self._retire_if_unused())
        if not self._containers:
            waiters, self._empty_waiters = self._empty_waiters, []
            effects.extend(waiter.wake for waiter in waiters)
        return effects

    def _join_stopped(self) -> None:
        """Let go of stopped containers whose threads have ended.  No lock held."""
        with self.lock:
            stopped = list(self._stopped)
        ended = [container for container in stopped if container.ended]
        with self.lock:
            self._stopped = [c for c in self._stopped if c not in ended]

    def _retire_if_unused(self) -> list[Effect]:
        if (
            self._state is not PoolState.OPEN
            or self._containers
            or self._queued
            or self._waiting
            or self._open_calls
            or self._waiting_for_room
            or self.options.limits.min_containers
            or self._on_retired is None
        ):
            return []
        self._state = PoolState.RETIRED
        self._refuses = True
        self._wake_up_at(None)
        self._cancel_deadlines()
        on_retired = self._on_retired
        return [lambda: carry_out(self.capacity.forget(self)), lambda: on_retired(self)]

    # -- the end ----------------------------------------------------------------------------

    @ours
    def close(self, *, cancel_running: bool = True) -> None:
        """Take nothing more, cancel what is queued, let the containers stop.

        Args:
            cancel_running: also cancel what holds a slot; else see `cancel_running`.
        """
        dropped: list[Input] = []
        with self.lock:
            if self._state is not PoolState.OPEN:
                return
            self._state = PoolState.CLOSING
            self._refuses = True
            self._wake_up_at(None)
            self._end_patience()
            self._waiting_for_room = False
            inputs = list(self._queue) + list(self._outside) + self._waiting_inputs()
            if cancel_running:
                inputs += self._under_way()
            effects = self._cancel_all(inputs, LEFT, dropped)
            for container in list(self._containers):
                if container.state is STARTING:
                    self._move(container, STOPPING)
                    self._starting -= 1
                elif container.state is READY:
                    effects.extend(self._drain(container))
        effects.extend(self.capacity.forget(self))
        carry_out(effects)
        _forget_arguments(dropped)

    @ours
    def cancel_running(self) -> None:
        """Cancel what holds a slot; done with already, it does nothing."""
        dropped: list[Input] = []
        with self.lock:
            effects = self._cancel_all(self._under_way(), LEFT, dropped)
        carry_out(effects)
        _forget_arguments(dropped)

    def _under_way(self) -> list[Input]:
        """The inputs that hold a slot, or have a part in one."""
        return [
            input
            for container in self._containers
            for holder in container.slots.held
            if isinstance(holder, Input)
            for input in members_of(holder)
        ]

    @ours
    def stop_by_force(self) -> None:
        """Run the exit hooks now, also of containers whose inputs do not end.

        Asynchronous enter hooks that do not end are cancelled.
        """
        effects: list[Effect] = []
        with self.lock:
            effects.extend(c.give_up for c in self._containers if c.state is STOPPING)
            effects.extend(self._stop(c) for c in self._containers if c.state is DRAINING)
        carry_out(effects)

    def wait_stopped(self, deadline: float) -> bool:
        """Wait until no container is left; false if `deadline` comes first."""
        waiter = self.clock.make_waiter()
        with self.lock:
            if not self._containers:
                return True
            self._empty_waiters.append(waiter)
        return self.clock.wait(waiter, deadline - self._now())

    @ours
    def join(self, timeout: float) -> list[str]:
        """Join the threads of stopped containers in `timeout` seconds; name all that is left."""
        with self.lock:
            stopped, self._stopped = self._stopped, []
            live = list(self._containers)
            self._cancel_deadlines()
        left: list[str] = []
        for container in stopped:
            # One bound for all: nobody waits for the second stuck thread too.
            left += container.join(0.0 if left else timeout)
        return left + [name for container in live for name in container.join(0.0)]

    def _cancel_deadlines(self) -> None:
        for timer in (
            self._deadline,
            self._queue_deadline,
            self._startup_deadline,
            self._batch_due,
        ):
            if timer is not None:
                timer.cancel()
        self._deadline = self._queue_deadline = self._startup_deadline = self._batch_due = None


def is_called_from_within(run: object) -> bool:
    """Whether this code runs for an input of `run` that is not settled, or is a hook.

    Also by way of other runs: what such an input called belongs to it.
    """
    input: object = running_input.get(_NOWHERE)
    while isinstance(input, Input):
        container = input.container
        if input.outcome is None and container is not None and container.host.run is run:
            return True
        input = input.call.context.get(running_input, _NOWHERE)
    return input is None  # a hook of a container, which an input may wait for


def drained_run(name: str) -> ExecutionError:
    return ExecutionError(
        f"the run in which {name} was called is being left: it finishes what it has, and takes "
        "calls of its own inputs only; call it inside `with app.run():`"
    )


_NOWHERE: Final = cast(Input, object())


def _forget_arguments(inputs: list[Input]) -> None:
    # Outside the lock: the user's objects may run code when they die.
    for input in inputs:
        input.args, input.kwargs = (), None
