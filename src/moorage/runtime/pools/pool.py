"""The pool: the queue and the containers of one function, and who gets which slot.

Owns the decisions, and the one lock under which they are made.  The state is in the leaves,
each of which knows nothing above itself:

    backlog   inputs that wait for a slot        fleet     containers, their states and slots
    attempts  inputs that are tried again        endings   inputs that should end
    batches   how inputs go together             scaling   what the policy said and learned
    alarms    the deadlines                      tally     what was counted

Any thread may call the public methods.  Each event is one ``with self._step:``, which
takes the lock, lets the method change what the event changes, re-establishes the pool's
invariant (`_settle_down`), lets go of the lock, and carries out the effects that were
appended to ``self._after`` meanwhile.  `submit` and `settle` do the same by hand, as they
are on the way of each input.

Methods whose name begins with an underscore, and `settle`, run under the lock: they
neither block nor await; no user code, no logging and no repr runs there, and no object of
the user's dies there.

Start at `submit`, then `_settle_down`, then `settle`.
"""

from __future__ import annotations

import enum
import logging
import threading
from asyncio import CancelledError
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Final, cast

from ... import config
from ...exception import ExecutionError
from .. import forking
from ..background import let_go, log
from ..clocks.clock import Clock, Waiter, acquire_in_turns, acquire_within
from ..containers.container import Container, ContainerFactory, ContainerState, Effect
from ..context import running_input
from ..effects import Around, carry_out
from ..input import IllegalMove, Input, InputState
from ..outcome import Cancelled, Failure, Outcome, Value, failure_of
from ..real import Real
from ..uninterruptible import uninterruptible
from .alarms import Alarms, Cause
from .attempts import Attempts
from .autoscaler import Limits, Policy
from .backlog import Backlog
from .batches import Batches
from .batching import BatchCall, end_of_batch, members_of
from .capacity import Capacity
from .endings import ENDS_FOR_RETRY_WITHIN, ENDS_WITHIN, Endings
from .fleet import Fleet
from .kept import Kept
from .pool_options import PoolOptions
from .probing import Probing
from .routing import emptiest_below_limit, fullest_below_target
from .scaling import Scaling
from .snapshot import PoolSnapshot, take_snapshot
from .statistics import PoolStatistics, count_pool
from .tally import Tally
from .verdicts import (
    CANCELLED,
    LEFT,
    LOST,
    full,
    ran_out,
    started_too_slowly,
    waited_too_long,
)

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

Choose = Callable[[Sequence[Container]], Container | None]
"""Says which of some containers takes the next input."""


class PoolState(enum.Enum):
    OPEN = "open"
    CLOSING = "closing"  # its run is being left: takes nothing, ends what it has
    RETIRED = "retired"  # was empty and is dropped: get a new one


class _Step:
    """``with pool._step:`` is one event of a pool.

    It holds no state of its own, so one object serves all threads.  If the method raises, the
    event ends all the same: what was changed before stands, and what follows from it is done.
    """

    __slots__ = ("_pool",)

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def __enter__(self) -> None:
        lock = self._pool.lock
        if not lock.acquire(False):
            acquire_in_turns(lock)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pool = self._pool
        after: list[Effect] = []
        try:
            pool._settle_down()
            pool._retire_if_unused()
            if pool._after or pool._dropped:
                after = pool._take_after()
        finally:
            pool.lock.release()
        if after:
            carry_out(after)
            let_go(after)  # a wake may lead to a call that nobody else has any more


class Pool:
    """One function, or one class with one set of parameter values.

    Invariant, whenever nobody holds the lock: no input is QUEUED that some free, usable
    slot could run, unless it waits for the rest of its batch; and none stands OUTSIDE while
    there is room for it.

    Args:
        options: what the user asked for.
        factory: makes containers.
        kept: what earlier pools of the same key left; a new one if None.
        policy: decides how many containers there are, if `kept` is None.
        starved: called, with no lock held, when slots or room went away: what is queued
            may wait for itself now.
        on_retired: called when the pool is empty and dropped.
        probe: told what happens, if a test asks for it.
    """

    def __init__(
        self,
        options: PoolOptions,
        factory: ContainerFactory,
        *,
        clock: Clock,
        capacity: Capacity,
        kept: Kept | None = None,
        policy: Policy | None = None,
        starved: Callable[[Pool], object] | None = None,
        on_retired: Callable[[Pool], object] | None = None,
        probe: Probing | None = None,
    ) -> None:
        # Written under the lock, and read without it by those who need one option only.
        self.options: PoolOptions = options
        # Set once, to `_step`.
        self.clock: Clock = clock
        self.probe: Probing | None = probe
        self.around: Around | None = None if probe is None else partial(probe.around, self)
        # Taken by the pool, its containers and their lanes, and by nobody else for long.
        # Whoever holds it may take the capacity's lock, and no other pool's.
        self.lock: threading.Lock = Real.Lock()
        self.run: object = None  # the run it belongs to; set before it is used
        self.capacity: Capacity = capacity
        self._now = clock.now
        self._factory = factory
        self._starved = starved
        self._on_retired = on_retired
        self._step = _Step(self)
        # Whether a submit may leave inputs outside: see `when_let_in`.
        self.waits_when_full: bool = options.max_backlog is not None and options.waits_when_full

        # All below guarded by the lock.
        # What to do once the lock is let go, in this order.
        # Invariant: empty whenever nobody holds the lock: each event takes out what it put in.
        self._after: list[Effect] = []
        # Settled inputs whose arguments are to be let go of then, after all else.  It is one
        # list for ever, because the backlog and the attempts put in what they drop.  A
        # snapshot, which is no event, may leave some of the backlog's to the next event.
        self._dropped: list[Input] = []
        kept = Kept(options.limits, policy) if kept is None else kept
        kept.options = options
        kept.in_use = True
        self.kept: Kept = kept
        self.tally: Tally = kept.tally
        self.scaling: Scaling = kept.scaling
        self.scaling.begin(options.limits)
        self.batches: Batches | None = (
            None if options.batching is None else Batches(options.batching)
        )
        size = 1 if self.batches is None else self.batches.size
        self.backlog: Backlog = Backlog(options.max_backlog, size, self._dropped)
        self.fleet: Fleet = Fleet()
        self.attempts: Attempts = Attempts(options.retries, self._dropped)
        self._failed_before = self.attempts.errors  # the same dict: each input asks
        self.endings: Endings = Endings()
        self.alarms: Alarms = Alarms(clock.call_at, self._on_alarm)
        self._execution = self.alarms.execution  # each grant asks
        self._timeout = options.timeout
        # Invariant: false while a loop is blocked, and in a batched pool; else each slot of
        # a READY container is of use to each input.
        self._simple = self.batches is None

        # Invariant: OPEN, and then for ever CLOSING, or for ever RETIRED.
        self._state = PoolState.OPEN
        # What `submit` looks at.  Invariant: true unless the state is OPEN, and
        # while the run is drained, when the pool takes calls of its run's inputs only.
        self._refuses = False
        # Whether the run is left by a drain: what was accepted comes to its end.
        self.drains: bool = False
        # Woken, and let go, when no accepted input is left that is not settled.
        # Invariant: empty unless there is one.
        self._drain_wakes: list[Callable[[], object]] = []
        # Maps that may submit more.  Invariant: not below 0, and the pool does not retire
        # while it is above.
        self._open_calls = 0
        # Whether the policy is to be asked before the event ends, as bounds or containers
        # have changed.
        # Invariant: false whenever nobody holds the lock, as the next one is.
        self._asks = False
        # Whether slots or room went away: what is queued may wait for itself now.
        self._may_starve = False
        # Whether the pool waits for room.
        # Invariant: true if the pool stands in the line for capacity; and if it is true, the
        # pool stands there, or room is on its way.  Room may also be on its way to a pool
        # that needs none by now: see `room_granted`.
        self._waiting_for_room = False
        # Threads in `wait_stopped`.  Invariant: empty if there is no container.
        self._empty_waiters: list[Waiter] = []
        # True in a forked child for a pool inherited from the parent.
        self.forked: bool = False
        forking.know(self)

    def _after_fork(self) -> None:
        """In a forked child: whoever would wait for the pool gets an error instead."""
        self.forked = self._refuses = True
        self._state = PoolState.CLOSING
        lock: Any = forking.InheritedLock(f"a call of {self.options.name}")
        self.lock = lock

    # -- callers ------------------------------------------------------------------

    def submit(self, inputs: Sequence[Input], *, may_stand_outside: bool = False) -> bool:
        """Accept `inputs`, which are of one call; false if the pool was retired: get a new one.

        Those beyond its `max_backlog` are let in later if the pool's callers wait
        when it is full, or if they `may_stand_outside` in any case.

        To be called in an uninterruptible region, as this is on the way of each input.

        Raises:
            ExecutionError: if the pool's run is being left.
            ResourceExhaustedError: if they are too many and may not; none was accepted.
        """
        lock = self.lock
        if not lock.acquire(False):
            acquire_in_turns(lock)
        after: Sequence[Effect] = ()
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
            backlog = self.backlog
            if backlog.most is not None:
                inputs = self._admit(inputs, may_stand_outside)
            self.tally.accepted += len(inputs)
            if self.probe is not None:
                self._note_queued(inputs)
            if self.batches is not None:
                self._stamp(inputs)  # a batch goes by the time when its first member came
            self._settle_down(inputs)
            if backlog.queued and self.batches is None:
                self._stamp(inputs)
        finally:
            if self._after or self._dropped:
                after = self._take_after()
            lock.release()
            if after:
                carry_out(after)
        return True

    @uninterruptible
    def when_let_in(self, input: Input, wake: Effect) -> bool:
        """Have `wake` called when `input` stands outside no more; false if it does not.

        One `wake` for each input: a further one takes its place.
        """
        with self.lock:
            return self.backlog.when_in(input, wake)

    def room_in_backlog(self, is_async: bool) -> int | None:
        """How many inputs of a kind would be accepted now; None for no bound.  Under the lock."""
        if self.backlog.most is None:
            return None
        return self.backlog.room(is_async, self.fleet.usable(is_async))

    @uninterruptible
    def outside(self) -> list[Input]:
        """Those that wait for room in the backlog, first in line first."""
        with self.lock:
            return self.backlog.standing()

    @uninterruptible
    def cancel(self, input: Input, outcome: Outcome | None = None) -> bool:
        """Cancel `input`, wherever it is; false if it is settled, or being cancelled.

        `outcome` is what its callers get, a cancellation unless said otherwise.
        """
        if self.forked:
            return False
        with self._step:
            return self._cancel(input, outcome or CANCELLED)

    @uninterruptible
    def cancel_all(self, inputs: Iterable[Input], outcome: Outcome | None = None) -> None:
        """Cancel several at once, so that none starts in the place of another."""
        if self.forked:
            return
        with self._step:
            self._cancel_all(inputs, outcome or CANCELLED)

    @uninterruptible
    def cancel_waiting(self, inputs: Iterable[Input]) -> None:
        """Cancel those of `inputs` that hold no slot."""
        if self.forked:
            return
        with self._step:
            waits = (OUTSIDE, QUEUED, WAITING)
            self._cancel_all([input for input in inputs if input.state in waits], CANCELLED)

    @uninterruptible
    def open_call(self) -> bool:
        """Keep the pool while a call may still submit; false if it was retired."""
        with self.lock:
            if self._state is PoolState.RETIRED:
                return False
            self._open_calls += 1
            return True

    @uninterruptible
    def close_call(self) -> None:
        """A call that was open submits no more."""
        if self.forked:
            return
        with self._step:
            self._open_calls -= 1

    @uninterruptible
    def drain(self) -> None:
        """From now on take only what the run's own inputs and hooks call."""
        with self.lock:
            self.drains = self._refuses = True

    @uninterruptible
    def accepted_if_settled(self, wake: Callable[[], object]) -> int | None:
        """How many inputs were accepted, if all of them are settled.

        Else None, and `wake` is called, under the lock, when they are.
        """
        with self.lock:
            if self.tally.unsettled:
                self._drain_wakes.append(wake)
                return None
            return self.tally.accepted

    @property
    def unsettled(self) -> int:
        """Accepted inputs without an outcome."""
        with uninterruptible, self.lock:
            return self.tally.unsettled

    @uninterruptible
    def resize(self, container: Container, limit: int) -> None:
        """Set how many inputs `container` may run at once; interrupts nothing.

        From then on it is filled up to that limit, and no target holds for it.
        """
        with self._step:
            before = container.slots.limit
            self.fleet.resize(container, limit)
            if container.slots.limit < before:
                self._may_starve = True
                if self.endings.abandoned:
                    self._give_up_abandoned()

    @uninterruptible
    def stop_fetching(self, container: Container) -> None:
        """Give `container` no more inputs; it stops when those it has are done."""
        with self._step:
            container.takes_no_more = True
            if container.state is READY:
                self._drain(container)
                self._asks = self._may_starve = True

    @uninterruptible
    def set_limits(self, limits: Limits) -> bool:
        """Change the bounds of the autoscaler; false if the pool was retired: get a new one.

        The slots of containers stay as they are.  Containers beyond a lowered
        `max_containers` take no more inputs, and end when those they have are done.
        """
        with self._step:
            self.options = self.kept.options = replace(self.options, limits=limits)
            self.scaling.policy.limits = limits
            if self._state is not PoolState.OPEN:
                return self._state is PoolState.CLOSING
            self._drain_surplus()
            self._asks = True
            if self.capacity.crowded:
                self._offer_idle()  # a lowered minimum protects fewer of them
            return True

    def _drain_surplus(self) -> None:
        """Let go of what is beyond `max_containers`, however busy."""
        most, fleet = self.options.limits.max_containers, self.fleet
        if most is None or fleet.count <= most:
            return
        self._shrink(fleet.count - most)
        surplus = max(0, fleet.count - most)
        for container in sorted(fleet.ready, key=lambda c: len(c.slots.held))[:surplus]:
            self._drain(container)

    @uninterruptible
    def start_minimum(self) -> None:
        """Start `min_containers`, before any input asks."""
        with self._step:
            self._asks = True

    @uninterruptible
    def statistics(self) -> PoolStatistics:
        with self.lock:
            return self.counted()

    @uninterruptible
    def add_to(self, total: Tally) -> None:
        """Count in `total` what this pool and those before it have counted, up to now."""
        with self.lock:
            total.add(self.tally)
            total.busy_seconds += self.fleet.running * self._now()

    def counted(self) -> PoolStatistics:
        """As `statistics`.  Under the lock."""
        return count_pool(
            self.options,
            self.backlog,
            self.fleet,
            self.attempts,
            self.endings,
            self.scaling,
            self.tally,
            self._now(),
        )

    @uninterruptible
    def snapshot(self, patience: float) -> PoolSnapshot | None:
        """What there is, for people to read; None if the lock is not free in `patience` seconds.

        For a signal handler may ask, in a thread that holds the lock.
        """
        if not acquire_within(self.lock, patience):
            return None
        try:
            return take_snapshot(
                self.options,
                self.backlog,
                self.fleet,
                self.attempts,
                self.batches,
                self.scaling,
                self._now(),
                is_open=self.is_open,
                in_line=self.in_line,
            )
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

    # -- the invariant ----------------------------------------------------------------

    def _settle_down(self, came: Sequence[Input] = (), *, freed: bool = False) -> None:
        """Re-establish the invariant of this class.  Every event ends by calling it.

        It grants slots in order, asks the policy if that is not all, lets in who stands
        outside, and notes which containers are idle.  It decides from what there is, never
        from what has just changed; that is for `freed` only, which spares a question.

        Args:
            came: accepted inputs, which are not in the queue yet.
            freed: nothing has happened but that a READY container got a slot back.  No more
                is needed than before, so the policy is not asked for the queue's sake.
        """
        backlog, fleet, scaling = self.backlog, self.fleet, self.scaling
        if came:
            # One that finds a slot below the target needs no place in the queue.
            if (
                len(came) == 1
                and self._simple
                and not backlog.queued
                and (container := fullest_below_target(fleet.ready)) is not None
            ):
                self._grant(container, came[0], self._now())
            elif backlog.queued and not fleet.free and scaling.is_spared and self._is_capped():
                # Others are before them, and nothing is free, and nothing may be added: all
                # that follows found that when those came, or when something changed last.
                backlog.put(came)
                return
            else:
                backlog.put(came)
        if self._waiting_for_room and not self._needs_room():
            self._leave_line()
        if backlog.queued or backlog.outside:
            self._serve(asks=not freed)
            if self._waiting_for_room and not self._needs_room():
                self._leave_line()  # the last of the queue has its slot
        if fleet.emptied:
            while (ended := fleet.rest(self._now())) is not None:
                self._stop(ended)
            if self.capacity.crowded:
                self._offer_idle()
        if self._asks or (
            (fleet.running < scaling.asked_with or fleet.idle > scaling.asked_idle)
            and (not backlog.queued or self.batches is not None)
            and self._may_shrink()
        ):
            self._asks = False
            if self._scale():  # containers were taken back, and have slots
                if backlog.queued or backlog.outside:
                    self._serve(asks=False)
                while (ended := fleet.rest(self._now())) is not None:
                    self._stop(ended)
            if self._asks:  # an idle one, which may have been a buffer, was just filled
                self._asks = False
                self._scale()
        if self._may_starve:
            self._may_starve = False
            if backlog.queued and self._starved is not None:
                self._after.append(partial(self._starved, self))

    def _serve(self, asks: bool) -> None:
        """Grant what can be granted, in order; let in who stands outside."""
        backlog, fleet, batches = self.backlog, self.fleet, self.batches
        if batches is None:
            fill = self._fill_around if fleet.blocked else self._fill
        else:
            if (
                fleet.free
                and not fleet.blocked
                and self.alarms.batch.timer is not None
                and backlog.queued < batches.size
                and not backlog.outside
            ):
                return  # what is queued is one batch, which has a slot and is not due
            fill = self._fill_with_batches
        while True:
            if batches is not None and backlog.outside:
                self._let_in()  # first: they may have their place in the batch that goes
            if fleet.free:
                fill(fullest_below_target, self._now())
            if backlog.queued:
                waits = batches is not None and self._waits_for_members()
                if asks and not waits and self._scale():
                    fill(fullest_below_target, self._now())
                # Nothing better is ready: burst above the target meanwhile.
                if fleet.free and self.scaling.bursts:
                    fill(emptiest_below_limit, self._now())
            if not backlog.outside or not self._let_in():
                return

    def _offer_idle(self) -> None:
        """The capacity is crowded: let it take a container that is idle."""
        if self.fleet.idle and (not self.backlog.queued or self.batches is not None):
            self._after.append(self.capacity.make_room)

    def _take_after(self) -> list[Effect]:
        """What is to be done once the lock is let go."""
        after, dropped = self._after, self._dropped
        if dropped:
            after.append(partial(_forget, dropped.copy()))
            dropped.clear()
        # The list itself is handed out: others append to a new one from now on.
        self._after = []
        return after

    # -- granting -----------------------------------------------------------------------

    def _fill(self, choose: Choose, now: float) -> None:
        """Grant slots of the containers that `choose` says, while it says any."""
        backlog, ready = self.backlog, self.fleet.ready
        while backlog.queued:
            container = choose(ready)
            if container is None:
                return
            input = backlog.next()
            assert input is not None
            self._grant(container, input, now)

    def _fill_around(self, choose: Choose, now: float) -> None:
        """As `_fill`, while some containers can take synchronous inputs only."""
        backlog, fleet = self.backlog, self.fleet
        while (first := backlog.first()) is not None:
            needs_loop = first.call.target.is_async
            container = choose(fleet.unblocked() if needs_loop else fleet.ready)
            if container is not None:
                input = backlog.next()
            elif needs_loop and (container := choose(fleet.ready)) is not None:
                # The first synchronous input goes before those that need a loop.
                input = backlog.next_sync()
            else:
                return
            if input is None:
                return
            assert container is not None
            self._grant(container, input, now)

    def _fill_with_batches(self, choose: Choose, now: float) -> None:
        """As `_fill`, for batches that are full, or wait for no more members."""
        backlog, fleet, batches = self.backlog, self.fleet, self.batches
        assert batches is not None
        free = fleet.unblocked() if batches.is_async else fleet.ready
        while (due := batches.due_at(backlog)) is not None:
            if due > now:
                self.alarms.batch.at(due)
                return
            container = choose(free)
            if container is None:
                return
            self._grant_batch(container, now)

    def _waits_for_members(self) -> bool:
        """Whether the queue is but a batch that is not due, and a slot is free for it."""
        batches, fleet = self.batches, self.fleet
        if batches is None or not fleet.free:
            return False
        free = fleet.unblocked() if batches.is_async else fleet.ready
        return fullest_below_target(free) is not None

    def _grant(self, container: Container, input: Input, now: float) -> None:
        if self.fleet.grant(container, input, now) and self.options.limits.buffer_containers:
            self._asks = True  # what was idle may have been there as a buffer
        tally = self.tally
        tally.granted += 1
        tally.busy_seconds -= now
        input.state = GRANTED
        input.container = container
        if self._execution.timer is None and self._timeout is not None:
            # For the eldest input: they reach their deadlines in the order of the grants.
            self._execution.at(now + self._timeout)
        if self.probe is not None and self.batches is None:
            self.probe.note("granted", self, input, container)
        effect = container.place(input)
        if effect is not None:
            self._after.append(effect)

    def _grant_batch(self, container: Container, now: float) -> None:
        assert self.batches is not None
        batch, members = self.batches.form(self.backlog)
        self.tally.batch_granted(len(members), now - members[0].queued_at)
        for input in members:
            input.state = RUNNING
            input.container = container
            input.runner = batch
        self._grant(container, batch, now)
        if self.probe is not None:
            # Not before: whoever looks on must not find them neither queued nor running.
            for input in members:
                self.probe.note("granted", self, input, container)

    def _note_queued(self, inputs: Iterable[Input]) -> None:
        assert self.probe is not None
        for input in inputs:
            self.probe.note("queued", self, input)

    def _stamp(self, inputs: Iterable[Input]) -> None:
        """Note that `inputs` are queued since now."""
        now = self._now()
        for input in inputs:
            input.queued_at = now
        if self.options.queue_timeout is not None:
            self._expect_queue_timeout(now)

    def _expect_queue_timeout(self, queued_at: float) -> None:
        # The queue is in the order of these times, so the first input is the first to
        # reach its deadline.
        timeout = self.options.queue_timeout
        if timeout is not None and self.alarms.queue.timer is None:
            self.alarms.queue.at(queued_at + timeout)

    def settle(
        self, container: Container, input: Input, outcome: Outcome, runs_async: bool | None
    ) -> tuple[Input | None, Sequence[Effect]]:
        """The code of `input` has ended: record it, release its slot, grant the next.

        Called by the container, under the lock.  All three in one step, before
        anything is delivered: a caller that submits again at once must find
        the slot free, or a container too many is started.

        Args:
            runs_async: the kind of input that the caller can run right away
                (asynchronous or not), None if it can run none.

        Returns:
            The input that got the slot, if it is of that kind: it is RUNNING
            and its caller must run it.  And effects, to carry out after the
            lock is let go.
        """
        state = input.state
        tally = self.tally
        wake: Effect | None = None
        if state is RUNNING:
            if input.cancellation is not None:
                outcome = input.cancellation
            if self.batches is not None:
                wake = self._record_batch(input, outcome, ended=True)
                input.state = SETTLED
            elif type(outcome) is Value:  # as _record does it, without the call
                input.outcome = outcome
                input.state = SETTLED
                tally.succeeded += 1
                wake = input.call.settled(input)
                if self._failed_before:
                    self._forget_attempts(input)
                if self.probe is not None:
                    self.probe.note("settled", self, input, container)
            elif not self._try_again_later(input, outcome):
                wake = self._record(input, outcome)
        elif state is ABANDONED:
            self._end_abandoned(container, input)
            if self.batches is not None:
                end_of_batch(input)
        elif state is SETTLED:
            return None, ()  # given up at the end of its container's grace
        else:
            raise IllegalMove(f"an input that is {state.value} cannot be settled by its code")
        backlog = self.backlog
        following: Input | None = None
        if (
            backlog.queued
            and self._simple
            and len(container.slots.held) <= container.target
            and container.state is READY
        ):
            line = backlog.line
            if line is not None and line[0].state is QUEUED:
                # `Backlog.next`, written out: this is on the way of each input.
                following = line.popleft()
                backlog.queued -= 1
            else:
                following = backlog.next()
        if following is not None:
            # The short way: the slot goes from one input to the next, and all else that
            # follows from a slot that came free does not.
            now = self._now()
            container.slots.hand_over(input, following, now)
            tally.granted += 1
            following.container = container
            if self._execution.timer is None and self._timeout is not None:
                self._execution.at(now + self._timeout)
            if self.probe is not None:
                self.probe.note("granted", self, following, container)
            if following.call.target.is_async is runs_async:
                following.state = RUNNING
            else:
                following.state = GRANTED
                effect = container.place(following)
                if effect is not None:
                    self._after.append(effect)
                following = None
            if backlog.outside:
                self._settle_down(freed=True)  # a place in the queue came free
        else:
            self.fleet.give_back(container, input)
            tally.busy_seconds += self._now()
            if self.probe is not None:
                self.probe.note("released", self, input, container)
            if self._drain_wakes:
                self._wake_if_settled()  # the one place where a success may be the last
            self._settle_down(freed=container.state is READY)
        if self._after or self._dropped:
            after = self._take_after()
            if wake is not None:
                after.append(wake)
            return following, after
        return following, () if wake is None else (wake,)

    def _record(self, input: Input, outcome: Outcome, state: InputState = SETTLED) -> Effect | None:
        """Make `outcome` final and count it; return how to wake who waits for it.

        Args:
            state: ABANDONED if its code runs on; of a batch, that of its members.
        """
        if self.batches is not None and isinstance(input.call, BatchCall):
            return self._record_batch(input, outcome, state, ended=False)
        input.outcome = outcome
        input.state = state
        if type(outcome) is Value:  # as a member of a batch: without the call
            self.tally.succeeded += 1
        else:
            self.tally.settled(outcome)
        if self._drain_wakes:
            self._wake_if_settled()
        wake = input.call.settled(input)
        if self.probe is not None:
            self.probe.note("settled", self, input, input.container)
        if self.attempts.errors:
            self._forget_attempts(input)
        return wake

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
            if ended and type(its) is not Value and self._try_again_later(member, its):
                continue
            if not ended and type(its) is Failure:
                its.earlier = self.attempts.earlier(member)
            wake = self._record(member, its, state)
            if wake is not None:
                wakes.append(wake)
        call.live = 0
        if ended:
            if self.probe is not None:
                self.probe.note("ended", self, batch, batch.container)
            end_of_batch(batch)

        def wake_all() -> None:
            participants = self.clock.participants
            if participants is not None and len(wakes) > 1:
                carry_out(participants.one_by_one(wakes))
            else:
                carry_out(wakes)
            call.forget(ended=ended)

        return wake_all

    def _wake_if_settled(self) -> None:
        if not self.tally.unsettled:
            wakes, self._drain_wakes = self._drain_wakes, []
            for wake in wakes:
                wake()

    # -- the bound of the backlog -----------------------------------------------------

    def _admit(self, inputs: Sequence[Input], may_stand_outside: bool) -> Sequence[Input]:
        """Those of `inputs` that are accepted now; the others stand outside.

        Raises:
            ResourceExhaustedError: if some would, and may not.
        """
        if not inputs:
            return inputs
        backlog = self.backlog
        is_async = inputs[0].call.target.is_async
        room = backlog.room(is_async, self.fleet.usable(is_async))
        count = len(inputs)
        if count <= room:
            return inputs
        if not (may_stand_outside or self.waits_when_full):
            self.tally.refused += count
            self._retire_if_unused()
            raise full(self.options.name, backlog.most, backlog.queued, count)
        outside = inputs[room:]
        backlog.stand_outside(outside)
        if self.probe is not None:
            for input in outside:
                self.probe.note("outside", self, input)
        return inputs[:room]

    def _let_in(self) -> bool:
        """Accept who stands outside, as far as there is room; true if anybody came in."""
        if self._state is not PoolState.OPEN:
            return False
        now = self._now()
        came, wakes = self.backlog.let_in(self.fleet.usable, now)
        if not came:
            return False
        self._after += wakes
        self.tally.accepted += len(came)
        if self.probe is not None:
            self._note_queued(came)
        self._expect_queue_timeout(now)
        return True

    # -- retries ------------------------------------------------------------------------

    def _try_again_later(self, input: Input, outcome: Outcome) -> bool:
        """Let a failed input wait for its next attempt; false if it has none.

        The input is the same one, with its ids and its caller; only the slot is
        given up.
        """
        attempts = self.attempts
        if self._state is not PoolState.OPEN or not attempts.may_follow(input, outcome):
            if type(outcome) is Failure and input in attempts.errors:
                outcome.earlier = attempts.earlier(input)
            return False
        assert type(outcome) is Failure
        self.alarms.retry.at(attempts.failed(input, outcome.error, self._now()))
        if self.probe is not None:
            self.probe.note("waiting", self, input, input.container, outcome.error)
        input.container = input.runner = input.cancellation = None
        self.tally.retries += 1
        return True

    def _may_be_tried_again(self, input: Input, outcome: Outcome) -> bool:
        """Whether `_try_again_later` will let it, once its code has ended."""
        if self._state is not PoolState.OPEN or type(outcome) is not Failure:
            return False
        # Each member of a batch is asked for once more when the batch has ended.
        members = input.call.members if isinstance(input.call, BatchCall) else [input]
        return any(
            member.outcome is None and self.attempts.may_follow(member, outcome)
            for member in members
        )

    def _forget_attempts(self, input: Input) -> None:
        errors = self.attempts.ended(input)
        if errors:
            self._after.append(partial(let_go, errors))

    # -- cancelling -----------------------------------------------------------------------

    def _cancel_all(self, inputs: Iterable[Input], outcome: Outcome) -> None:
        for input in inputs:
            self._cancel(input, outcome)

    def _cancel(self, input: Input, outcome: Outcome) -> bool:
        """Cancel `input`, wherever it is; false if it is settled, or being cancelled.

        Room and slots that come free are given away when the event ends: not to an input
        that is about to be cancelled too.
        """
        state = input.state
        wake: Effect | None = None
        if state is QUEUED:
            wake = self._record(input, outcome)
            self.backlog.discard(input)
            self._dropped.append(input)
        elif state is OUTSIDE:
            # Whoever called hears of it, so it counts among those that were accepted.
            self.tally.accepted += 1
            let_in = self.backlog.leave(input)
            if let_in is not None:
                self._after.append(let_in)
            wake = self._record(input, outcome)
            self._dropped.append(input)
        elif state is WAITING:
            self.attempts.leave(input)
            wake = self._record(input, outcome)
            self._dropped.append(input)
        elif state is GRANTED:
            wake = self._record(input, outcome)
            input.state = SETTLED
            self._dropped.append(input)
            self._give_back(input.container, input)
            if self.batches is not None:
                end_of_batch(input)
        elif state is RUNNING and type(input.runner) is Input:
            wake = self._leave_batch(input.runner, input, outcome)
        elif (
            state is RUNNING
            and type(input.cancellation) is Failure
            and type(outcome) is Cancelled
            and self.options.retries is not None
        ):
            # It ran out of time, and is on its way out: it will not be tried again.
            input.cancellation = outcome
            self._expect_end(input, outcome)
        elif state is RUNNING and input.cancellation is None:
            input.cancellation = outcome
            # The flag is set before the caller is released: what it does next
            # may rely on it.
            effect = input.container.cancel(input)
            if effect is not None:
                self._after.append(effect)
            if input.call.target.is_async:
                self._expect_end(input, outcome)
            else:
                # A thread cannot be stopped: release the caller at once.
                wake = self._abandon(input, outcome)
        else:
            return False
        if wake is not None:
            self._after.append(wake)
        return True

    def _leave_batch(self, batch: Input, input: Input, outcome: Outcome) -> Effect | None:
        """A member of `batch` is cancelled; it runs on for the others, if there are any."""
        call = batch.call
        assert isinstance(call, BatchCall)
        # Once it has begun, its arguments are in use, and its part of the slot.
        begun = batch.state is not GRANTED
        wake = self._record(input, outcome, ABANDONED if begun else SETTLED)
        call.live -= 1
        if not begun:
            input.runner = None
            call.leave(batch, input)
            self._dropped.append(input)
        if not call.live:
            self._cancel(batch, outcome)
        return wake

    def _give_back(self, container: Container, input: Input) -> None:
        self.fleet.give_back(container, input)
        self.tally.busy_seconds += self._now()
        if self.probe is not None:
            self.probe.note("released", self, input, container)

    def _abandon(self, input: Input, outcome: Outcome) -> Effect | None:
        """Answer the caller; the slot stays held until the user's code has ended."""
        wake = self._record(input, outcome, ABANDONED)
        input.state = ABANDONED  # also of a batch
        self.endings.abandon(input, self._now())
        self._expect_give_up(input.container)
        return wake

    def _end_abandoned(self, container: Container, input: Input) -> None:
        """The code of an input that was answered before has ended."""
        input.state = SETTLED
        self.endings.ended(input)
        if not self.endings.abandoned:
            self.alarms.abandoned.only_at(None)
        if self.probe is not None:
            self.probe.note("ended", self, input, container)

    def _expect_end(self, input: Input, outcome: Outcome) -> None:
        when = self._now() + ENDS_WITHIN
        self.endings.expect(input, outcome, when)
        self.alarms.end.at(when)

    # -- inputs that do not end -----------------------------------------------------------

    def _expect_give_up(self, container: Container) -> None:
        """Look at `container` when it is to be given up, or before."""
        when = self.endings.give_up_at(container, config.abandoned_seconds)
        if when is not None and not container.given_up and self._state is PoolState.OPEN:
            self.alarms.abandoned.at(when)

    def _give_up_abandoned(self) -> None:
        """Give up containers with inputs that do not end."""
        if self._state is not PoolState.OPEN:
            return
        now = self._now()
        for container in list(self.fleet.containers):
            if container.given_up:
                continue
            when = self.endings.give_up_at(container, config.abandoned_seconds)
            if when is not None and when <= now:
                self._give_up(container)
            elif when is not None:
                self.alarms.abandoned.at(when)

    def _give_up(self, container: Container) -> None:
        """Use `container` no more, and let others have its room; what lives in it may end."""
        container.given_up = container.takes_no_more = True
        count = self.endings.abandoned_in(container)
        if container.state is READY:
            self._drain(container)
        self._after += self.capacity.free_room(self.options.sync_slots)
        self._after.append(partial(self._log_given_up, container, count))
        self._asks = True

    def _log_given_up(self, container: Container, count: int) -> None:
        log(
            logger,
            logging.WARNING,
            "container %d of %s is used no more: %d of its inputs %s answered and %s not end; %s",
            container.number,
            self.options.name,
            count,
            "was" if count == 1 else "were",
            "does" if count == 1 else "do",
            "; ".join(container.places()) or "its tasks do not end",
        )

    # -- alarms -----------------------------------------------------------------------------

    def _on_alarm(self, cause: Cause) -> None:
        """The time of one of the alarms has come.  On the clock's thread, no lock held."""
        with self._step:
            self.alarms.heard(cause)
            match cause:
                case Cause.EXECUTION:
                    self._end_expired()
                case Cause.QUEUE:
                    self._fail_expired()
                case Cause.START:
                    self._fail_slow_starts()
                case Cause.END:
                    self._answer_overdue()
                case Cause.ABANDONED:
                    self._give_up_abandoned()
                case Cause.SCALING:
                    self._asks = True
                case Cause.RETRY:
                    self._try_again()
                case Cause.BATCH:
                    pass  # which batches are due is asked when the event ends

    def _end_expired(self) -> None:
        """End the inputs that have held their slots for `timeout` seconds."""
        timeout = self.options.timeout
        assert timeout is not None
        now = self._now()
        due: list[Input] = []
        for container in self.fleet.containers:
            for holder, granted_at in container.slots.held.items():
                assert isinstance(holder, Input)
                if holder.cancellation is not None or holder.state is ABANDONED:
                    continue
                if granted_at + timeout > now:
                    self.alarms.execution.at(granted_at + timeout)
                    break
                due.append(holder)
        expired = ran_out(self.options.name, timeout)
        for input in due:
            if self.options.retries is not None:  # each has its own history of attempts
                expired = ran_out(self.options.name, timeout)
            self._cancel(input, expired)

    def _fail_expired(self) -> None:
        """Fail the inputs that have been queued for `queue_timeout` seconds."""
        timeout = self.options.queue_timeout
        assert timeout is not None
        now = self._now()
        for_all = waited_too_long(self.options.name, timeout)
        while (input := self.backlog.eldest()) is not None:
            if input.queued_at + timeout > now:
                self.alarms.queue.at(input.queued_at + timeout)
                break
            expired = for_all
            if input in self.attempts.errors:
                # Not tried again, for it did not run; it says how it failed before.
                expired = waited_too_long(self.options.name, timeout)
                expired.earlier = self.attempts.earlier(input)
            self._cancel(input, expired)

    def _answer_overdue(self) -> None:
        """Answer the callers of inputs that were told to end, and have not."""
        now = self._now()
        late, passed = self.endings.overdue(now)
        for input, outcome, extended in late:
            if not extended and self._may_be_tried_again(input, outcome):
                # Its next attempt needs it to end first.  The caller waits for that, but
                # not for ever: the loop may be blocked for good.
                when = now + ENDS_FOR_RETRY_WITHIN - ENDS_WITHIN
                self.endings.expect(input, outcome, when, extended=True)
                continue
            if type(outcome) is Failure:
                outcome.earlier = self.attempts.earlier(input)
            if (wake := self._abandon(input, outcome)) is not None:
                self._after.append(wake)
        if (following := self.endings.next_overdue()) is not None:
            self.alarms.end.at(following)
        self._after.append(partial(let_go, passed))

    def _try_again(self) -> None:
        """Queue the failed inputs whose next attempt is due."""
        for input in self.attempts.due(self._now()):
            input.state = QUEUED
            self.backlog.put((input,))
            if self.probe is not None:
                self._note_queued((input,))
            self._stamp((input,))
            self._may_starve = True
        if (following := self.attempts.next_due()) is not None:
            self.alarms.retry.at(following)

    # -- scaling ------------------------------------------------------------------------------

    def _may_shrink(self) -> bool:
        timer = self.alarms.scaling.timer
        return self.scaling.may_shrink(self.fleet, None if timer is None else timer.when)

    def _scale(self) -> bool:
        """Ask the policy and carry its answer out; true if containers were taken back."""
        backlog, fleet, scaling = self.backlog, self.fleet, self.scaling
        if backlog.queued and fleet.longest_idle is None and self._is_capped():
            scaling.not_asked(fleet, backlog)
            return False
        if self._state is not PoolState.OPEN:
            scaling.not_asked(fleet, backlog)
            return False
        now = self._now()
        taken_back = False
        while True:
            decision = scaling.ask(now, fleet, backlog, self.tally, self.options.limits)
            again = decision.ask_again_at
            count = fleet.count
            if decision.wanted > count:
                missing = self._take_back(decision.wanted - count)
                taken_back = missing < decision.wanted - count
                if missing and scaling.backs_off(now):
                    start = scaling.start_again_at
                    again = start if again is None else min(again, start)
                else:
                    self._start(missing)
            elif decision.wanted < count and self._shrink(count - decision.wanted):
                continue  # fewer are there now: is that what it wants?
            break
        self.alarms.scaling.only_at(again)
        return taken_back

    def _is_capped(self) -> bool:
        """Whether no container can be added now, whatever the policy wants."""
        most, fleet = self.options.limits.max_containers, self.fleet
        # `Fleet.count`, written out: this is on the way of each input that is queued.
        count = len(fleet.ready) + fleet.starting
        return self._waiting_for_room or (most is not None and count >= most)

    def _take_back(self, count: int) -> int:
        """Let up to `count` containers that drain take inputs again; return how many are missing.

        They are warm, and to stop them would waste a start.
        """
        for container in self.fleet.warm()[:count]:
            self._move(container, READY)
            count -= 1
        return count

    def _start(self, count: int) -> None:
        """Start `count` containers, as far as there is room for them."""
        for _ in range(count):
            # A container that stops serves nobody: a pool has none as soon as none is
            # ready, starting or may be taken back.
            none = not self.fleet.count
            if none:
                self.capacity.register(self)
            # Beyond the bounds only for what has to run.  A container that the policy wants
            # for any other reason lies idle at once, so while the capacity is crowded it is
            # stopped to make room, and would be started again without end.
            first = none and self._has_to_run()
            if not self.capacity.acquire_nowait(self, self.options.sync_slots, first=first):
                if self._needs_room():
                    self._may_starve = True
                    # Not again while the pool waits: `make_room` asks this pool for an
                    # idle container too, which is an event, and may come here.
                    if not self._waiting_for_room:
                        self._after.append(self.capacity.make_room)
                    self._waiting_for_room = True
                else:  # it would lie idle: nobody else's container goes for it
                    self._leave_line()
                return
            if first and self.capacity.crowded:
                self._after.append(self.capacity.make_room)
            self._boot()

    def _boot(self) -> None:
        """Start one container, whose room was taken."""
        tally, limits = self.tally, self.options.limits
        tally.numbers += 1
        container = self._factory(self, tally.numbers, limits.target_inputs, limits.max_inputs)
        container.started_at = now = self._now()
        self.fleet.add(container)
        if self.probe is not None:
            self.probe.note("starting", self, None, container)
        if self.options.startup_timeout is not None and self.alarms.start.timer is None:
            self.alarms.start.at(now + self.options.startup_timeout)
        tally.peak_containers = max(tally.peak_containers, len(self.fleet.containers))
        self._after.append(container.boot)

    def _shrink(self, count: int) -> bool:
        """Let `count` containers go, as far as they are idle or only starting; true if any."""
        before = count
        # Those that still start go first: none of their work is lost.
        for container in reversed(self.fleet.containers):
            if count and container.state is STARTING:
                self._move(container, STOPPING)
                count -= 1
        for container in self.fleet.longest_idle_first()[:count]:
            self._drain(container)
            count -= 1
        return count < before

    def _drain(self, container: Container) -> None:
        """Give `container`, which is READY, no more inputs; it stops when it has none."""
        self._move(container, DRAINING)
        if not container.slots.held:
            self._stop(container)

    def _stop(self, container: Container) -> None:
        self._move(container, STOPPING)
        self._after.append(container.stop)

    def _move(self, container: Container, state: ContainerState) -> None:
        self.fleet.move(container, state)
        if self.probe is not None:
            self.probe.note(state.value, self, None, container)

    # -- who waits for whom ---------------------------------------------------------------

    def block_loop(self, container: Container) -> None:
        """The loop of `container` begins a blocking call: it takes no asynchronous inputs."""
        with self._step:
            self.fleet.block(container)
            self._simple = False
            self._asks = self._asks or self.backlog.queued > 0

    def unblock_loop(self, container: Container) -> None:
        """The end of a `hold_loop`."""
        with self._step:
            self.fleet.unblock(container)
            self._simple = self.batches is None and not self.fleet.blocked

    def drop(self, input: Input, outcome: Outcome) -> bool:
        """Settle `input` with `outcome` if its code has not begun; false if it has."""
        with self._step:
            return input.state in (QUEUED, OUTSIDE, GRANTED) and self._cancel(input, outcome)

    @property
    def is_open(self) -> bool:
        """Whether it takes calls from everywhere.  Under the lock."""
        return self._state is PoolState.OPEN

    @property
    def grows(self) -> bool:
        """Whether no bound keeps it from starting a container; or it is being left.  Under
        the lock."""
        return self._state is not PoolState.OPEN or not self._is_capped()

    @property
    def in_line(self) -> bool:
        """Whether it stands in the line for room.  Under the lock."""
        return self._waiting_for_room

    # -- capacity asks --------------------------------------------------------------------

    @property
    def longest_idle(self) -> float | None:
        """Since when the longest idle container is so; a hint, read without the lock."""
        return self.fleet.longest_idle

    @uninterruptible
    def evict_idle(self) -> bool:
        """Stop the longest idle container for another pool's sake; false to decline."""
        with self._step:
            fleet, backlog = self.fleet, self.backlog
            idle = fleet.longest_idle_first()
            # With a queue it has idle ones only for batches that wait for members.
            needed = -(-backlog.queued // backlog.size)
            if len(idle) <= needed or fleet.count <= self.options.limits.min_containers:
                return False
            self._drain(idle[0])
            return True

    @uninterruptible
    def room_granted(self) -> None:
        """Room was set aside for this pool: start a container if it is still wanted.

        The pool may stand in the line again:
            1. room is set aside, and on its way here,
            2. the queue becomes empty, and the pool waits for room no more,
            3. inputs come, and the pool asks for room: it is put in the line,
            4. the room arrives.  The pool takes it, and leaves the line: it asks anew for
               what it needs beyond that.
        """
        with self._step:
            self._leave_line()
            most = self.options.limits.max_containers
            full = most is not None and self.fleet.count >= most
            queued = self.backlog.queued > 0
            wanted = (queued or self._lacks_minimum()) and self._state is PoolState.OPEN
            if wanted and not full and not self.scaling.backs_off(self._now()):
                self._boot()
            else:
                self._after += self.capacity.free_room(self.options.sync_slots)
            self._asks = wanted

    def _needs_room(self) -> bool:
        """Whether to stay in the line for capacity.  A first container needs no room."""
        return self.fleet.count > 0 and (self.backlog.queued > 0 or self._lacks_minimum())

    def _has_to_run(self) -> bool:
        """Whether something waits for a container, or the user asked for one."""
        backlog = self.backlog
        return backlog.queued > 0 or backlog.outside > 0 or self._lacks_minimum()

    def _lacks_minimum(self) -> bool:
        return self.fleet.count < self.options.limits.min_containers

    def _leave_line(self) -> None:
        self._waiting_for_room = False
        self._after += self.capacity.leave_line(self)

    # -- containers report ----------------------------------------------------------------

    def container_ready(self, container: Container) -> bool:
        """The enter hooks are done; false if the container is to stop again.

        It may have been stopped while it started:
            1. thread T runs the enter hooks,
            2. another thread gives the container up, or closes the pool: it is STOPPING,
               and nobody calls its `stop`, which is for those that became ready,
            3. T comes here, is told so, runs the exit hooks, and calls `container_stopped`.
        """
        with self._step:
            if container.state is STOPPING:
                return False
            self._move(container, READY)
            self.tally.starts += 1
            self.tally.start_seconds += self._now() - container.started_at
            self.scaling.started()
            if container.takes_no_more:  # it was told so while it started
                self._drain(container)
            self._asks = True  # others that start may be needed no more
            return True

    def container_failed(self, container: Container, error: BaseException) -> None:
        """An enter hook raised `error`; the container is gone."""
        failure = failure_of(error)
        failure.shared = True
        with self._step:
            was_starting = container.state is STARTING
            # Counted, and told of, when that was; or cancelled as its run was left.
            told = container.given_up or (
                self._state is PoolState.CLOSING and isinstance(error, CancelledError)
            )
            self._gone(container)
            if not told and not self._start_failed(was_starting, failure):
                self._after.append(partial(self._log_failed_start, container, error))

    def _log_failed_start(self, container: Container, error: BaseException) -> None:
        log(
            logger,
            logging.ERROR,
            "container %d of %s failed to start",
            container.number,
            self.options.name,
            exc_info=error,
        )

    def _start_failed(self, was_starting: bool, failure: Failure) -> bool:
        """Let further starts wait, and fail what nothing else can serve; true if any."""
        self.scaling.start_failed(self._now())
        self._asks = True
        if self.probe is not None:
            self.probe.note("failed", self, error=failure.error)
        if not was_starting or self.fleet.count:
            return False
        # Nothing else is there to serve them: they waited for this one.
        waiting = [*self.backlog.inputs(), *self.backlog.standing()]
        self._cancel_all(waiting, failure)
        return bool(waiting)

    def _fail_slow_starts(self) -> None:
        """Give up the containers that start for longer than `startup_timeout`.

        They count no more, and their room is free, though their threads cannot be
        stopped.  A thread that comes out of the enter hooks after all stops its container
        as any that was told to while it started.
        """
        timeout = self.options.startup_timeout
        assert timeout is not None
        now = self._now()
        late: list[Container] = []
        for container in self.fleet.containers:  # in the order of their starts
            if container.state is not STARTING:
                continue
            if container.started_at + timeout > now:
                self.alarms.start.at(container.started_at + timeout)
                break
            late.append(container)
        if not late:
            return
        for container in late:
            self._move(container, STOPPING)
            container.given_up = True
            self._after.append(container.give_up)
            self._after += self.capacity.free_room(self.options.sync_slots)
        failure = started_too_slowly(self.options.name, timeout)
        if not self._start_failed(True, failure):
            self._after += [partial(self._log_slow_start, container) for container in late]

    def _log_slow_start(self, container: Container) -> None:
        log(
            logger,
            logging.ERROR,
            "container %d of %s did not start within its startup_timeout of %g s, and is "
            "given up; its enter hooks may still run",
            container.number,
            self.options.name,
            self.options.startup_timeout,
        )

    def container_stopped(self, container: Container) -> None:
        """The exit hooks have ended; the container is gone."""
        with self._step:
            # Stopped by force: asynchronous inputs cannot outlive their loop.
            for holder in list(container.slots.held):
                assert isinstance(holder, Input)
                if holder.call.target.is_async:
                    self._end_by_force(container, holder)
            self._gone(container)

    def _end_by_force(self, container: Container, input: Input) -> None:
        if input.state is ABANDONED:
            self._end_abandoned(container, input)
        else:
            wake = self._record(input, input.cancellation or LOST)
            input.state = SETTLED
            if wake is not None:
                self._after.append(wake)
            if self.probe is not None and self.batches is not None:
                self.probe.note("ended", self, input, container)  # for members that were answered
        if self.batches is not None:
            end_of_batch(input)
        self._dropped.append(input)
        self._give_back(container, input)

    def _gone(self, container: Container) -> None:
        """`container` runs nothing any more."""
        self._move(container, STOPPED)
        tally = self.tally
        tally.peak_inputs = max(tally.peak_inputs, container.slots.peak)
        if not container.given_up:  # else its room was given back before
            self._after += self.capacity.free_room(self.options.sync_slots)
        self._after.append(self._join_stopped)
        self._asks = True
        if not self.fleet.containers:
            waiters, self._empty_waiters = self._empty_waiters, []
            self._after += [waiter.wake for waiter in waiters]

    def _join_stopped(self) -> None:
        """Let go of stopped containers whose threads have ended.  No lock held.

        Whether a thread lives is asked without the lock, so the list may change meanwhile:
            1. this thread reads the list, and looks at the threads,
            2. another container stops, and is appended,
            3. this thread takes out those that it has seen to have ended, and no other.
        """
        with self.lock:
            stopped = list(self.fleet.stopped)
        ended = [container for container in stopped if container.ended]
        with self.lock:
            self.fleet.stopped = [c for c in self.fleet.stopped if c not in ended]

    def _retire_if_unused(self) -> None:
        """Drop the pool if it has nothing, and nothing keeps it."""
        if (
            self.fleet.containers
            or self._on_retired is None
            or self._state is not PoolState.OPEN
            or self.backlog.queued
            or self.backlog.outside
            or self.attempts.waiting
            or self._open_calls
            or self._waiting_for_room
            or self.options.limits.min_containers
        ):
            return
        self._state = PoolState.RETIRED
        self._refuses = True
        self.kept.in_use = False
        self.alarms.silence()
        self._after += self.capacity.forget_pool(self)
        self._after.append(partial(self._on_retired, self))

    # -- the end --------------------------------------------------------------------------

    @uninterruptible
    def close(self, *, cancel_running: bool = True) -> None:
        """Take nothing more, cancel what is queued, let the containers stop.

        Args:
            cancel_running: also cancel what holds a slot; else see `cancel_running`.
        """
        with self._step:
            if self._state is not PoolState.OPEN:
                return
            self._state = PoolState.CLOSING
            self._refuses = True
            self.alarms.scaling.only_at(None)
            self.alarms.abandoned.only_at(None)
            self._waiting_for_room = False
            inputs = [*self.backlog.inputs(), *self.backlog.standing(), *self.attempts.inputs()]
            if cancel_running:
                inputs += self._under_way()
            self._cancel_all(inputs, LEFT)
            for container in list(self.fleet.containers):
                if container.state is STARTING:
                    self._move(container, STOPPING)
                elif container.state is READY:
                    self._drain(container)
            self._after += self.capacity.forget_pool(self)

    @uninterruptible
    def cancel_running(self) -> None:
        """Cancel what holds a slot; done with already, it does nothing."""
        with self._step:
            self._cancel_all(self._under_way(), LEFT)

    def _under_way(self) -> list[Input]:
        """The inputs that hold a slot, or have a part in one."""
        return [
            input
            for holder in self.fleet.holders()
            if isinstance(holder, Input)
            for input in members_of(holder)
        ]

    @uninterruptible
    def stop_by_force(self) -> None:
        """Run the exit hooks now, also of containers whose inputs do not end.

        Asynchronous enter hooks that do not end are cancelled.
        """
        with self._step:
            self._after += [c.give_up for c in self.fleet.containers if c.state is STOPPING]
            for container in list(self.fleet.containers):
                if container.state is DRAINING:
                    self._stop(container)

    def wait_stopped(self, deadline: float) -> bool:
        """Wait until no container is left; false if `deadline` comes first."""
        waiter = self.clock.make_waiter()
        with self.lock:
            if not self.fleet.containers:
                return True
            self._empty_waiters.append(waiter)
        return self.clock.wait(waiter, deadline - self._now())

    @uninterruptible
    def join(self, timeout: float) -> list[str]:
        """Join the threads of stopped containers in `timeout` seconds; name all that is left."""
        with self.lock:
            stopped, self.fleet.stopped = self.fleet.stopped, []
            live = list(self.fleet.containers)
            self.alarms.silence()
        left: list[str] = []
        for container in stopped:
            # One bound for all: nobody waits for the second stuck thread too.
            left += container.join(0.0 if left else timeout)
        return left + [name for container in live for name in container.join(0.0)]


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


def _forget(inputs: list[Input]) -> None:
    """Let go of settled inputs, and of their arguments.  No lock held: user code may run.

    Elsewhere, if this thread keeps time: a deadline's callback comes here too.
    """
    gone: list[object] = []
    while inputs:
        input = inputs.pop()
        gone += (input, input.args, input.kwargs)
        input.args, input.kwargs = (), None
        del input
    let_go(gone)
