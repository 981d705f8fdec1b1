"""The pool: the queue and the containers of one function, and which input gets which slot.

Owns the decisions, and the one lock under which the pool decides.  The leaves own the state;
no leaf knows the pool or another layer above itself:

    backlog   inputs that wait for a slot        fleet     containers, their states and slots
    attempts  failed inputs to try again         endings   inputs that should end
    batches   how inputs form batches            scaling   the policy, its answer, the back-off
    alarms    the deadlines                      tally     the counters
    probation inputs that must run alone

Begin at `submit`, then `_settle_down`, `_fill` and `_grant`, which gives a queued input its
slot; then `settle`, which gives the slot of an input that has ended to the next one directly;
then `container_lost`, which puts inputs back.

Any thread may call the public methods.  Each event is one ``with self._step:``.  The step
takes the lock, runs the method's own changes, re-establishes the pool's invariant
(`_settle_down`), releases the lock, and carries out the effects that the event appended to
``self._effects``.  `submit` does the same inline, because every input passes through it and a
step would cost time.  `settle` runs under its caller's lock, and returns the effects.  In most
pools both take a short way, see `_direct`.

Methods whose name begins with an underscore run under the lock, except `_on_alarm`,
`_join_stopped`, `_after_fork` and the `_log_...` methods, which run without it.  Public methods
take the lock themselves unless their docstring says otherwise.  Under the lock a method
neither blocks nor awaits.  It runs no user code, no logging and no repr, and it drops no last
reference to an object of the user's, whose destructor would be user code.
"""

from __future__ import annotations

import enum
import logging
import threading
import traceback
from asyncio import CancelledError
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from ... import config
from ...exception import ExecutionError
from .. import at_exit, forking
from ..background import let_go, log, on_log_thread
from ..clocks.clock import Clock, Waiter, acquire_in_turns, acquire_within, system_clock
from ..containers.container import Container, ContainerFactory, ContainerState, Loss
from ..containers.slots import SlotError
from ..containers.streaming import stream_of
from ..context import running_input
from ..effects import Around, Effect, carry_out
from ..input import IllegalMove, Input, InputState, call_id
from ..loop_notes import explained, with_advice
from ..outcome import Cancelled, Failure, Outcome, UnreadError, Value, failure_of
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
from .probation import Probation
from .probing import Probing, What
from .routing import emptiest_below_limit, fullest_below_target
from .scaling import INFINITE, Scaling
from .snapshot import PoolSnapshot, take_snapshot
from .tally import Tally
from .verdicts import (
    CANCELLED,
    LEFT,
    LOST,
    full,
    lost_and_not_run_again,
    lost_in_a_row,
    lost_while_starting,
    ran_out,
    started_too_slowly,
    waited_too_long,
)
from .web_tally import WebTally

if TYPE_CHECKING:
    from .statistics import PoolStatistics

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

# An input that was lost this many times with its container runs alone from then on, and fails
# if it is lost while it runs alone.
LOSSES_BEFORE_PROBATION: Final = 2

# Inputs fail that wait for containers of which so many were lost in a row while they started.
LOST_STARTS: Final = 3

Choose = Callable[[Sequence[Container]], Container | None]
"""Chooses the container, out of several, that takes the next input."""


class PoolState(enum.Enum):
    OPEN = "open"
    CLOSING = "closing"  # the run is being left: takes no inputs, ends those it has
    RETIRED = "retired"  # was empty and is dropped: the caller must get a new pool


class _Step:
    """One event of a pool: ``with pool._step:``.

    A step has no state of its own, so one object serves all threads.  If the method raises,
    the event ends as usual: the changes made before the error stay, and their effects are
    carried out.
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
            if pool._effects or pool._discarded:
                after = pool._take_effects()
        finally:
            pool.lock.release()
        if after:
            carry_out(after)
            let_go(after)  # an effect may hold the last reference to a user's call


class Pool:
    """One function, or one class with one set of parameter values.

    Invariant, whenever no thread holds the lock: no input is QUEUED while a free slot could
    run it, unless the input waits for the rest of its batch; and no input is OUTSIDE while
    the backlog has room for it.

    Args:
        options: the checked options of the user.
        factory: makes containers.
        kept: the memory that earlier pools of the same key left; a new memory if None.
        policy: decides how many containers there are; used only if `kept` is None.
        starved: called, with no lock held, after the pool lost slots, got no room for a
            container, or queued a retry: the queued inputs may be in a deadlock from then on.
        on_retired: called when the pool is empty and dropped.
        probe: receives each event, if a test asked for it.
    """

    # The fields that each input reads or writes have slots, the others are in the dict.  An object
    # with more than 30 attributes in its dict pays more for each of them, in CPython 3.11 to 3.14.
    __slots__ = (
        "__dict__",
        "__weakref__",
        "_direct",
        "_discarded",
        "_drain_wakes",
        "_effects",
        "_execution",
        "_failed_before",
        "_grain",
        "_may_starve",
        "_most_containers",
        "_must_scale",
        "_refuses",
        "_simple",
        "_stamped",
        "_timeout",
        "_waiting_for_room",
        "backlog",
        "batches",
        "fleet",
        "lock",
        "now",
        "options",
        "probation",
        "probe",
        "scaling",
        "tally",
        "waits_when_full",
    )

    # True for what stands, in a container's process, for a pool of the calling program: see
    # ``placing/calls.py``.
    is_elsewhere: ClassVar[bool] = False

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
        # Written under the lock.  Read without the lock by code that needs one option only.
        self.options: PoolOptions = options
        # The fields from here to `_step` are set once; a fork replaces `lock` in the child, and
        # `watch` replaces `probe`.
        self.clock: Clock = clock
        self.probe: Probing | None = probe
        self.around: Around | None = None if probe is None else partial(probe.around, self)
        # Taken by the pool, its containers and their lanes.  No other code holds it for long.
        # A thread that holds it may take the capacity's lock, but no other pool's lock.
        self.lock: threading.Lock = Real.Lock()
        self.run: object = None  # the run that the pool belongs to; set before the first use
        self.capacity: Capacity = capacity
        self.now: Callable[[], float] = clock.now  # called for each input
        # Inputs that are queued within so many seconds have one `queued_at`, which is one object of
        # 24 bytes.  Virtual time is exact.
        self._grain: float = 1e-3 if clock is system_clock else 0.0
        self._factory = factory
        self._starved = starved
        self._on_retired = on_retired
        self._step = _Step(self)
        # True if `submit` may leave inputs outside for every caller: see `when_let_in`.
        self.waits_when_full: bool = options.max_backlog is not None and options.waits_when_full

        # The lock guards all fields below.
        # Effects to carry out, in this order, after the lock is released.
        # Invariant: empty whenever no thread holds the lock: each event takes out the effects
        # that it put in.
        self._effects: list[Effect] = []
        self._stamped: float = float("-inf")  # the last `queued_at`, see `_stamp`
        # How many effects at the beginning of `_effects` wake the callers that wait in a probe.
        self._waking = 0
        # Settled inputs, whose arguments are freed after all effects, outside the lock,
        # because dropping them may run users' destructors.  Always the same list object,
        # because the backlog and the attempts append to it too.  A snapshot is not an event:
        # inputs that the backlog appends during a snapshot stay here until the next event.
        self._discarded: list[Input] = []
        kept = Kept(options.limits, policy) if kept is None else kept
        kept.options = options
        kept.in_use = True
        self.kept: Kept = kept
        self.tally: Tally = kept.tally
        if options.is_web and self.tally.web is None:
            self.tally.web = WebTally()
        self.scaling: Scaling = kept.scaling
        self.scaling.begin(options.limits)
        self.batches: Batches | None = (
            None if options.batching is None else Batches(options.batching)
        )
        size = 1 if self.batches is None else self.batches.size
        self.backlog: Backlog = Backlog(options.max_backlog, size, self._discarded)
        self.fleet: Fleet = Fleet()
        self.attempts: Attempts = Attempts(options.retries, self._discarded)
        self._failed_before = self.attempts.errors  # the same dict; an alias for `settle`
        self.endings: Endings = Endings()
        self.probation: Probation = Probation()
        self.alarms: Alarms = Alarms(clock.call_at, self._on_alarm)
        self._execution = self.alarms.execution  # the same alarm; an alias for each grant
        self._timeout = options.timeout
        # Invariant: false in a batched pool, while the event loop of a container is blocked,
        # and while the probation is active.  While it is true, any input can use any slot of a
        # READY container.
        self._simple = self.batches is None
        # True if `submit` and `settle` may change the slots and the counts themselves, and ask only
        # what can matter then: whether the pool may shrink, once a container is idle.
        # Invariant: only while the pool is simple and open, does not drain, has no bound of its
        # backlog and no buffer containers, waits for no room, and nobody watches it.  `_judge`
        # sets it: who writes any of these calls that.
        self._direct = False
        self._most_containers: int = INFINITE  # the limit `max_containers`, also set by `_judge`

        # Invariant: the state is OPEN at first, and then CLOSING or RETIRED for ever.
        self._state = PoolState.OPEN
        # What `submit` tests unless the pool is direct.  Invariant: true unless the state is OPEN,
        # and while the run drains: the pool then accepts only calls of its run's own inputs.
        self._refuses = False
        # True if the run is left by a drain: accepted inputs run to their end.
        self.drains: bool = False
        # Callables to call, and to drop, as soon as every accepted input is settled.
        # Invariant: empty unless some accepted input is not settled.
        self._drain_wakes: list[Callable[[], object]] = []
        # How many calls, such as maps, may still submit.  Invariant: never below 0; the pool
        # does not retire while it is above 0.
        self._open_calls = 0
        # True if the pool must ask the policy before the event ends, because limits or
        # containers have changed.
        # Invariant: false whenever no thread holds the lock; the same holds for `_may_starve`.
        self._must_scale = False
        # True if slots or room went away: queued inputs may be in a deadlock now.
        self._may_starve = False
        # True if the pool waits for room.
        # Invariant: true if the pool is in the capacity's line.  If true, the pool is in that
        # line, or room is on its way to the pool.  Room may also be on its way to a pool that
        # does not need it any more: see `room_granted`.
        self._waiting_for_room = False
        # Threads in `wait_stopped`.  Invariant: empty if the pool has no container.
        self._empty_waiters: list[Waiter] = []
        self._judge()
        # True in a forked child for a pool inherited from the parent.
        self.forked: bool = False
        forking.know(self)

    def _after_fork(self) -> None:
        """In a forked child: make every thread that would wait for the pool get an error."""
        self.forked = self._refuses = True
        self._direct = False
        self._state = PoolState.CLOSING
        lock: Any = forking.InheritedLock(f"a call of {self.options.name}")
        self.lock = lock

    # -- for callers --------------------------------------------------------------

    def submit(self, inputs: Sequence[Input], *, may_stand_outside: bool = False) -> bool:
        """Accept `inputs`, which belong to one call; return false if the pool was retired.

        If it returns false, the caller must get a new pool.  Inputs beyond `max_backlog`
        stay OUTSIDE until there is room, if `may_stand_outside` is true or if the pool's
        callers wait when the backlog is full.

        The caller is in an uninterruptible region: `submit` begins none of its own, because
        every input passes through it.

        Raises:
            ExecutionError: if the pool's run is being left.
            ResourceExhaustedError: if there is no room for all and they may not stay
                outside; the pool accepted none of them.
        """
        lock = self.lock
        if not lock.acquire(False):
            acquire_in_turns(lock)
        after: Sequence[Effect] = ()
        try:
            if self._direct and len(inputs) == 1 and self._takes_directly(inputs[0]):
                return True
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
                self._stamp(inputs)  # before any grant: `Batches.due_at` reads `queued_at`
            self._settle_down(inputs)
            if backlog.queued and self.batches is None:
                self._stamp(inputs)
        finally:
            if self._effects or self._discarded:
                after = self._take_effects()
            lock.release()
            if after:
                carry_out(after)
        return True

    @uninterruptible
    def when_let_in(self, input: Input, wake: Effect) -> bool:
        """Have `wake` called when `input` is no longer OUTSIDE; return false if it is not now.

        An input has one `wake`: a second call replaces the first `wake`.
        """
        with self.lock:
            return self.backlog.when_in(input, wake)

    def room_in_backlog(self, is_async: bool) -> int | None:
        """Return how many inputs of a kind would be accepted now; None for no bound.

        The caller holds the lock.
        """
        if self.backlog.most is None:
            return None
        return self.backlog.room(is_async, self.fleet.usable(is_async))

    @uninterruptible
    def outside(self) -> list[Input]:
        """Return the inputs that wait for room in the backlog, in the order they came."""
        with self.lock:
            return self.backlog.standing()

    @uninterruptible
    def cancel(self, input: Input, outcome: Outcome | None = None) -> bool:
        """Cancel `input` in any state; return false if it is settled or already cancelled.

        `outcome` is the outcome that the input's callers get; a cancellation by default.
        """
        if self.forked:
            return False
        with self._step:
            return self._cancel(input, outcome or CANCELLED)

    @uninterruptible
    def cancel_all(self, inputs: Iterable[Input], outcome: Outcome | None = None) -> None:
        """Cancel several inputs in one event, so that none of them gets another's slot."""
        if self.forked:
            return
        with self._step:
            self._cancel_all(inputs, outcome or CANCELLED)

    @uninterruptible
    def cancel_waiting(self, inputs: Iterable[Input]) -> None:
        """Cancel each of `inputs` that holds no slot."""
        if self.forked:
            return
        with self._step:
            waits = (OUTSIDE, QUEUED, WAITING)
            self._cancel_all([input for input in inputs if input.state in waits], CANCELLED)

    @uninterruptible
    def open_call(self) -> bool:
        """Keep the pool while a call may still submit; return false if it was retired."""
        with self.lock:
            if self._state is PoolState.RETIRED:
                return False
            self._open_calls += 1
            return True

    @uninterruptible
    def close_call(self) -> None:
        """End an `open_call`: that call submits no more inputs."""
        if self.forked:
            return
        with self._step:
            self._open_calls -= 1

    @uninterruptible
    def drain(self) -> None:
        """Accept from now on only the calls of the run's own inputs and hooks."""
        with self.lock:
            self.drains = self._refuses = True
            self._judge()

    @uninterruptible
    def accepted_if_settled(self, wake: Callable[[], object]) -> int | None:
        """Return how many inputs the pool accepted, if all of them are settled.

        Otherwise return None, and call `wake`, under the lock, when all of them are settled.
        """
        with self.lock:
            if self.tally.unsettled:
                self._drain_wakes.append(wake)
                self._judge()
                return None
            return self.tally.accepted

    @property
    def unsettled(self) -> int:
        """How many accepted inputs have no outcome yet."""
        with uninterruptible, self.lock:
            return self.tally.unsettled

    @uninterruptible
    def resize(self, container: Container, limit: int) -> None:
        """Set how many inputs `container` may run at once.  Running inputs go on.

        From then on the pool fills the container up to that limit, with no lower target.
        """
        with self._step:
            if container is self.probation.container:
                self.probation.resize(limit)
                return
            before = container.slots.limit
            self.fleet.resize(container, limit)
            if container.slots.limit < before:
                self._may_starve = True
                if self.endings.abandoned:
                    self._give_up_abandoned()

    @uninterruptible
    def stop_fetching(self, container: Container) -> None:
        """Give `container` no more inputs.  The container stops when its inputs have ended."""
        with self._step:
            container.takes_no_more = True
            if container.state is READY:
                self._drain(container)
                self._must_scale = self._may_starve = True

    def containers_of(self, inputs: Iterable[Input]) -> list[Container]:
        """Return the containers in which the code of some of `inputs` runs."""
        with self._step:
            running = {
                input.container: None
                for input in inputs
                if input.container is not None and input.state in (GRANTED, RUNNING, ABANDONED)
            }
        return list(running)

    @uninterruptible
    def set_limits(self, limits: Limits) -> bool:
        """Change the autoscaler's limits; return false if the pool was retired.

        If it returns false, the caller must get a new pool.  The slots of containers do not
        change.  Containers beyond a lowered `max_containers` take no more inputs, and stop
        when their inputs have ended.
        """
        with self._step:
            self.options = self.kept.options = replace(self.options, limits=limits)
            self.scaling.policy.limits = limits
            if self._state is not PoolState.OPEN:
                return self._state is PoolState.CLOSING
            self._judge()
            self._drain_surplus()
            self._must_scale = True
            if self.capacity.crowded:
                self._offer_idle()  # a lowered minimum protects fewer idle containers
            return True

    def _drain_surplus(self) -> None:
        """Stop or drain the containers beyond `max_containers`, even busy ones."""
        most, fleet = self.options.limits.max_containers, self.fleet
        if most is None or fleet.count <= most:
            return
        self._shrink(fleet.count - most)
        surplus = max(0, fleet.count - most)
        for container in sorted(fleet.ready, key=lambda c: len(c.slots.held))[:surplus]:
            self._drain(container)

    @uninterruptible
    def start_minimum(self) -> None:
        """Start `min_containers` containers before the first input comes."""
        with self._step:
            self._must_scale = True

    @uninterruptible
    def statistics(self) -> PoolStatistics:
        from . import statistics  # not under the lock

        del statistics
        with self.lock:
            return self.counted()

    @property
    def queued(self) -> int:
        """How many inputs wait for a slot; as in `statistics`, which imports more."""
        with self.lock:
            return self.backlog.queued + len(self.probation.waiting)

    @uninterruptible
    def add_to(self, total: Tally) -> None:
        """Add to `total` the counts of this pool and of earlier pools of its key, until now."""
        with self.lock:
            total.add(self.tally)
            total.busy_seconds += self.fleet.running * self.now()

    def counted(self) -> PoolStatistics:
        """Return the same as `statistics`.  The caller holds the lock."""
        from .statistics import count_pool

        return count_pool(
            self.options,
            self.backlog,
            self.fleet,
            self.attempts,
            self.endings,
            self.probation,
            self.scaling,
            self.tally,
            self.now(),
        )

    @uninterruptible
    def snapshot(self, lock_timeout: float) -> PoolSnapshot | None:
        """Return the pool's state for people to read; None if the lock stays taken.

        The wait for the lock lasts at most `lock_timeout` seconds, because a signal handler may
        call this method in the very thread that holds the lock.
        """
        if not acquire_within(self.lock, lock_timeout):
            return None
        try:
            return take_snapshot(
                self.options,
                self.backlog,
                self.fleet,
                self.attempts,
                self.batches,
                self.probation,
                self.scaling,
                self.now(),
                is_open=self.is_open,
                in_line=self.in_line,
            )
        finally:
            self.lock.release()

    def __repr__(self) -> str:
        if self.forked:
            return f"<Pool {self.options.label}: belongs to the parent of this forked process>"
        s = self.statistics()
        return (
            f"<Pool {self.options.label}: {s.queued} queued, {s.running} running "
            f"in {len(s.containers)} containers>"
        )

    def watch(self, probe: Probing | None) -> None:
        """Have `probe` receive each event from now on; None for nobody.

        The caller holds the lock.
        """
        self.probe = probe
        self._judge()

    # -- the invariant ----------------------------------------------------------------

    def _settle_down(self, came: Sequence[Input] = (), *, freed: bool = False) -> None:
        """Re-establish the invariant of this class.  Every event ends with this call.

        The exceptions are `settle`, which may pass a slot on to the next queued input directly,
        and both `submit` and `settle` in a direct pool: that cannot break the invariant.

        It grants slots in order, asks the policy if queued inputs remain, lets in inputs
        that are OUTSIDE, and notes which containers are idle.  It decides from the present
        state, never from the change that the event made.  The one exception is `freed`,
        which saves a question to the policy.

        Args:
            came: accepted inputs that are not in the queue yet.
            freed: the only change is that a READY container got a slot back.  The pool needs
                no more containers than before, so it does not ask the policy for the sake of
                the queue.
        """
        backlog, fleet, scaling = self.backlog, self.fleet, self.scaling
        if came:
            if backlog.queued:
                if not fleet.free and scaling.is_spared and self._is_capped():
                    # Other inputs are queued before these, no slot is free, and no container
                    # may be added.  `is_spared` says that the last question found the same, so
                    # the rest of this method would change nothing.
                    backlog.put(came)
                    return
                backlog.put(came)
            # A single input that finds a slot below the target does not enter the queue.
            elif (
                len(came) == 1
                and self._simple
                and (container := fullest_below_target(fleet.ready)) is not None
            ):
                self._grant(container, came[0], self.now())
            else:
                backlog.put(came)
        if self._waiting_for_room and not self._needs_room():
            self._leave_line()
        if not self._simple:
            probation = self.probation
            if probation.waiting or probation.container is not None:
                self._serve_probation()  # before the queue: these inputs came before all others
        if backlog.queued or backlog.outside:
            self._serve(asks=not freed)
            if self._waiting_for_room and not self._needs_room():
                self._leave_line()  # the last queued input got its slot
        if fleet.emptied:
            while (ended := fleet.mark_idle(self.now())) is not None:
                self._stop(ended)
            if self.capacity.crowded:
                self._offer_idle()
        if self._must_scale or (
            (fleet.running < scaling.asked_with or fleet.idle > scaling.asked_idle)
            and (not backlog.queued or self.batches is not None)
            and self._may_shrink()
        ):
            self._must_scale = False
            if self._scale():  # draining containers were taken back, and have free slots
                if backlog.queued or backlog.outside:
                    self._serve(asks=False)
                while (ended := fleet.mark_idle(self.now())) is not None:
                    self._stop(ended)
            if self._must_scale:  # `_serve` filled an idle container that may be a buffer
                self._must_scale = False
                self._scale()
        if self._may_starve:
            self._may_starve = False
            if (backlog.queued or self.probation.waiting) and self._starved is not None:
                self._effects.append(partial(self._starved, self))

    def _serve(self, asks: bool) -> None:
        """Grant all slots that can be granted, in order, and let in inputs that are OUTSIDE."""
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
                return  # the queue is one batch; it has a slot, and its alarm is set
            fill = self._fill_with_batches
        while True:
            if batches is not None and backlog.outside:
                self._let_in()  # before the grant, so that these inputs can join the batch
            if fleet.free:
                fill(fullest_below_target, self.now())
            if backlog.queued:
                waits = batches is not None and self._waits_for_members()
                if asks and not waits and self._scale():
                    fill(fullest_below_target, self.now())
                # No ready container is below its target: use the slots above the target.
                if fleet.free and self.scaling.bursts:
                    fill(emptiest_below_limit, self.now())
            if not backlog.outside or not self._let_in():
                return

    def _offer_idle(self) -> None:
        """If the pool does not need its idle containers, let the capacity take one."""
        if self.fleet.idle and (not self.backlog.queued or self.batches is not None):
            self._effects.append(self.capacity.make_room)

    def _take_effects(self) -> list[Effect]:
        """Return the effects to carry out after the lock is released."""
        after, dropped = self._effects, self._discarded
        if dropped:
            after.append(partial(_drop_arguments, dropped.copy()))
            dropped.clear()
        # The caller gets the list itself, so later effects need a new list.
        self._effects = []
        self._waking = 0
        return after

    def _note(
        self,
        what: What,
        input: Input | None = None,
        container: Container | None = None,
        error: BaseException | None = None,
    ) -> None:
        """Report an event to the probe, which there is, at the moment of the event.

        The probe wakes its callers after the lock is released, before all other effects, in the
        order of the events.
        """
        assert self.probe is not None
        wakes = self.probe.note(what, self, input, container, error)
        if wakes:
            self._effects[self._waking : self._waking] = wakes
            self._waking += len(wakes)

    # -- granting -----------------------------------------------------------------------

    def _fill(self, choose: Choose, now: float) -> None:
        """Grant slots of the containers that `choose` returns, until it returns None."""
        backlog, ready = self.backlog, self.fleet.ready
        while backlog.queued:
            container = choose(ready)
            if container is None:
                return
            input = backlog.next()
            assert input is not None
            self._grant(container, input, now)

    def _fill_around(self, choose: Choose, now: float) -> None:
        """Do the same as `_fill` while some containers can take sync inputs only."""
        backlog, fleet = self.backlog, self.fleet
        while (first := backlog.first()) is not None:
            needs_loop = first.call.target.is_async
            container = choose(fleet.unblocked() if needs_loop else fleet.ready)
            if container is not None:
                input = backlog.next()
            elif needs_loop and (container := choose(fleet.ready)) is not None:
                # The first sync input may pass the async inputs, which need an unblocked loop.
                input = backlog.next_sync()
            else:
                return
            if input is None:
                return
            assert container is not None
            self._grant(container, input, now)

    def _fill_with_batches(self, choose: Choose, now: float) -> None:
        """Do the same as `_fill` for batches that are full or wait for no more members."""
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
        """Return true if the queue is one batch that is not due, and a slot is free for it."""
        batches, fleet = self.batches, self.fleet
        if batches is None or not fleet.free:
            return False
        free = fleet.unblocked() if batches.is_async else fleet.ready
        return fullest_below_target(free) is not None

    def _grant(self, container: Container, input: Input, now: float) -> None:
        if self.fleet.grant(container, input, now) and self.options.limits.buffer_containers:
            self._must_scale = True  # the container was idle, maybe as a buffer
        tally = self.tally
        tally.granted += 1
        tally.busy_seconds -= now
        input.state = GRANTED
        input.container = container
        if self._execution.timer is None and self._timeout is not None:
            # One alarm, for the oldest input: deadlines pass in the order of the grants.
            self._execution.at(now + self._timeout)
        if self.probe is not None and self.batches is None:
            self._note("granted", input, container)
        effect = container.place(input)
        if effect is not None:
            self._effects.append(effect)

    def _takes_directly(self, input: Input) -> bool:
        """Accept `input` in a pool that is direct; false if more is to be done than that.

        Does what `_settle_down`, `_grant` and their calls do, in one place: of a direct pool, each
        input that is submitted alone comes here.
        """
        backlog, fleet, tally = self.backlog, self.fleet, self.tally
        clock = self.now  # in two steps: CPython 3.11 looks up a method otherwise
        if backlog.queued:
            line = backlog.line
            if (
                fleet.free
                or not self.scaling.is_spared
                or len(fleet.ready) + fleet.starting < self._most_containers
                or line is None
                or line is not backlog.lines[input.call.target.is_async]
            ):
                return False
            # No slot is free, and no container may be added: it waits behind the others.
            tally.accepted += 1
            line.append(input)
            backlog.queued += 1
            now = clock()  # from here as `_stamp`
            if now - self._stamped <= self._grain:
                now = self._stamped
            else:
                self._stamped = now
            input.queued_at = now
            if self.options.queue_timeout is not None:
                self._expect_queue_timeout(now)
            return True
        ready = fleet.ready
        container = ready[0] if len(ready) == 1 else fullest_below_target(ready)
        if container is None:
            return False
        slots = container.slots
        held = slots.held
        count = len(held)
        if count >= container.target or count >= slots.limit:
            return False
        tally.accepted += 1
        if container.idle_since is not None:
            fleet.end_idle(container)
        held[input] = now = clock()
        if count >= slots.peak:
            slots.peak = count + 1
        fleet.running += 1
        fleet.free -= 1
        tally.granted += 1
        tally.busy_seconds -= now
        input.state = GRANTED
        input.container = container
        if self._timeout is not None and self._execution.timer is None:
            self._execution.at(now + self._timeout)
        effect = container.place(input)
        if effect is not None:
            self._effects.append(effect)
        return True

    def _grant_batch(self, container: Container, now: float) -> None:
        assert self.batches is not None
        batch, members = self.batches.form(self.backlog)
        self._place_batch(container, batch, members, now)

    def _place_batch(
        self, container: Container, batch: Input, members: list[Input], now: float
    ) -> None:
        self.tally.batch_granted(len(members), now - members[0].queued_at)
        for input in members:
            input.state = RUNNING
            input.container = container
            input.runner = batch
        self._grant(container, batch, now)
        if self.probe is not None:
            # After the grant: code that a probe runs must find each member queued or running.
            for input in members:
                self._note("granted", input, container)

    def _note_queued(self, inputs: Iterable[Input]) -> None:
        for input in inputs:
            self._note("queued", input)

    def _stamp(self, inputs: Iterable[Input]) -> None:
        """Note that `inputs` are queued from now on."""
        clock = self.now  # in two steps: CPython 3.11 looks up a method otherwise
        now = clock()
        if now - self._stamped <= self._grain:
            now = self._stamped  # one object for many inputs
        else:
            self._stamped = now
        for input in inputs:
            input.queued_at = now
        if self.options.queue_timeout is not None:
            self._expect_queue_timeout(now)

    def _expect_queue_timeout(self, queued_at: float) -> None:
        # The queue is in the order of `queued_at`, so the first input is the first to reach
        # its deadline.
        timeout = self.options.queue_timeout
        if timeout is not None and self.alarms.queue.timer is None:
            self.alarms.queue.at(queued_at + timeout)

    def settle(
        self, container: Container, input: Input, outcome: Outcome, runs_async: bool | None
    ) -> tuple[Input | None, Sequence[Effect]]:
        """Record that the code of `input` has ended, release its slot, and grant the next.

        The container calls it under the lock.  All three happen in one step, before any
        outcome is delivered: a caller that submits again at once must find the slot free,
        or the pool starts a container too many.

        Args:
            runs_async: the kind of input that the calling flow can run at once: true for
                async, false for sync, None if it can run none.

        Returns:
            The input that got the slot, if it is of that kind, else None.  That input is
            RUNNING, and the caller must run it.  And the effects to carry out after the
            lock is released.
        """
        if (
            self._direct
            and input.state is RUNNING
            and type(outcome) is Value
            and input.cancellation is None
            and container.state is READY
        ):
            # The same as `_settle`, in one place and without what such a pool does not need: each
            # input that ends well comes here.
            backlog, tally = self.backlog, self.tally
            slots = container.slots
            held = slots.held
            line: Any = backlog.line
            queued = backlog.queued
            if not queued or (
                len(held) <= container.target and line is not None and line[0].state is QUEUED
            ):
                clock = self.now  # in two steps: CPython 3.11 looks up a method otherwise
                now = clock()
                if held.pop(input, None) is None:
                    raise SlotError(f"{input!r} holds no slot of {slots!r}")
                input.outcome = outcome
                input.state = SETTLED
                tally.succeeded += 1
                wake = input.call.settled(input)
                if self._failed_before:
                    self._forget_attempts(input)
                following: Input | None = None
                if queued:
                    its: Input = line.popleft()
                    backlog.queued = queued - 1
                    held[its] = now
                    tally.granted += 1
                    its.container = container
                    if self._timeout is not None and self._execution.timer is None:
                        self._execution.at(now + self._timeout)
                    if its.call.target.is_async is runs_async:
                        its.state = RUNNING
                        following = its
                    else:
                        its.state = GRANTED
                        effect = container.place(its)
                        if effect is not None:
                            self._effects.append(effect)
                else:
                    fleet = self.fleet
                    fleet.running -= 1
                    if len(held) < slots.limit:
                        fleet.free += 1
                    tally.busy_seconds += now
                    if not held:
                        container.idle_since = now
                        fleet.idle += 1
                        if fleet.longest_idle is None:
                            fleet.longest_idle = now
                        if self.capacity.crowded:
                            self._offer_idle()
                    if fleet.longest_idle is not None and self._may_shrink():
                        self._settle_down(freed=True)
                if self._effects or self._discarded:
                    return following, self._after(wake)
                return following, () if wake is None else (wake,)
        return self._settle(container, input, outcome, runs_async)

    def _settle(
        self, container: Container, input: Input, outcome: Outcome, runs_async: bool | None
    ) -> tuple[Input | None, Sequence[Effect]]:
        """Do the same as `settle` in any pool."""
        state = input.state
        wake: Effect | None = None
        if state is RUNNING:
            if input.cancellation is not None:
                outcome = input.cancellation  # the cancel or timeout came before the end
            if self.batches is not None:
                wake = self._record_batch(input, outcome, ended=True)
                input.state = SETTLED
            elif type(outcome) is Value or not self._retry_later(input, outcome):
                wake = self._record(input, outcome)
        elif state is ABANDONED:
            self._end_abandoned(container, input)
            if self.batches is not None:
                end_of_batch(input)
        elif state is SETTLED:
            return None, ()  # the container was stopped by force, and settled the input
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
            following = backlog.next()
        if following is not None:
            # The slot passes from one input to the next.  The slot is never free in between, so
            # nothing else in the pool can change.
            now = self.now()
            container.slots.hand_over(input, following, now)
            self.tally.granted += 1
            following.container = container
            if self._execution.timer is None and self._timeout is not None:
                self._execution.at(now + self._timeout)
            if self.probe is not None:
                self._note("granted", following, container)
            if following.call.target.is_async is runs_async:
                following.state = RUNNING
            else:
                following.state = GRANTED
                effect = container.place(following)
                if effect is not None:
                    self._effects.append(effect)
                following = None
            if backlog.outside:
                self._settle_down(freed=True)  # the queue has room for one more input
        else:
            self.fleet.release(container, input)
            self.tally.busy_seconds += self.now()
            if self.probe is not None:
                self._note("released", input, container)
            if container.given_up:
                self._kill_if_answered(container)
            self._settle_down(freed=container.state is READY)
        return following, self._after(wake)

    def _after(self, wake: Effect | None) -> Sequence[Effect]:
        """Return the effects of this event, and `wake` after them."""
        if self._effects or self._discarded:
            after = self._take_effects()
            if wake is not None:
                after.append(wake)
            return after
        return () if wake is None else (wake,)

    def _record(self, input: Input, outcome: Outcome, state: InputState = SETTLED) -> Effect | None:
        """Make `outcome` final and count it; return the effect that wakes the waiting callers.

        Args:
            state: the new state of the input, or of each member of a batch.  ABANDONED if
                the code still runs.
        """
        if self.batches is not None and isinstance(input.call, BatchCall):
            return self._record_batch(input, outcome, state, ended=False)
        if self.attempts.errors and type(outcome) is Failure:
            outcome = self.attempts.with_earlier(input, outcome)
        input.outcome = outcome
        input.state = state
        if type(outcome) is Value:  # a member of a batch; without the cost of a call
            self.tally.succeeded += 1
        else:
            self.tally.settled(outcome)
        if self._drain_wakes:
            self._wake_if_settled()
        wake = input.call.settled(input)
        if self.probe is not None:
            self._note("settled", input, input.container)
        if self.attempts.errors:
            self._forget_attempts(input)
        return wake

    def _record_batch(
        self, batch: Input, outcome: Outcome, state: InputState = SETTLED, *, ended: bool
    ) -> Effect | None:
        """Give each member of `batch` that has no outcome its part of `outcome`.

        Args:
            state: the new state of those members.
            ended: true if the code of the batch has ended.  Only then may a member be tried
                again.
        """
        call = batch.call
        assert isinstance(call, BatchCall)
        batch.outcome = outcome
        wakes: list[Effect] = []
        for member, its in call.outcomes(outcome):
            if ended and type(its) is not Value and self._retry_later(member, its):
                continue
            wake = self._record(member, its, state)
            if wake is not None:
                wakes.append(wake)
        call.live = 0
        if ended:
            if self.probe is not None:
                self._note("ended", batch, batch.container)
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
        """Return the inputs that are accepted now; the others stay OUTSIDE.

        Raises:
            ResourceExhaustedError: if not all fit, and the others may not stay OUTSIDE.
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
                self._note("outside", input)
        return inputs[:room]

    def _let_in(self) -> bool:
        """Accept inputs that are OUTSIDE, as far as there is room; return true if any came in."""
        if self._state is not PoolState.OPEN:
            return False
        now = self.now()
        came, wakes = self.backlog.let_in(self.fleet.usable, now)
        if not came:
            return False
        self._effects += wakes
        self.tally.accepted += len(came)
        if self.probe is not None:
            self._note_queued(came)
        self._expect_queue_timeout(now)
        return True

    # -- retries ------------------------------------------------------------------------

    def _retry_later(self, input: Input, outcome: Outcome) -> bool:
        """Let a failed input wait for its next attempt; return false if it gets none.

        The input keeps its ids and its caller, and loses only its slot.
        """
        attempts = self.attempts
        if self._state is not PoolState.OPEN or not attempts.may_follow(input, outcome):
            return False
        assert type(outcome) is Failure
        now = self.now()
        when = attempts.failed(input, outcome.unread, now)
        self.alarms.retry.at(when)
        self._effects.append(
            partial(self._log_retry, input, outcome.unread, attempts.count(input), when - now)
        )
        if self.probe is not None:
            self._note("waiting", input, input.container, outcome.unread)
        input.container = input.runner = input.cancellation = None
        self.tally.retries += 1
        return True

    def _log_retry(self, input: Input, error: BaseException, number: int, pause: float) -> None:
        if logger.isEnabledFor(logging.INFO):
            call = call_id(input.call.number)
            on_log_thread(
                partial(_write_retry, number, input.input_id, call, self.options.name, error, pause)
            )

    def _may_retry(self, input: Input, outcome: Outcome) -> bool:
        """Return true if `_retry_later` will accept `input` once its code has ended."""
        if self._state is not PoolState.OPEN or type(outcome) is not Failure:
            return False
        # `_record_batch` decides again, for each member, when the batch has ended.
        members = input.call.members if isinstance(input.call, BatchCall) else [input]
        return any(
            member.outcome is None and self.attempts.may_follow(member, outcome)
            for member in members
        )

    def _forget_attempts(self, input: Input) -> None:
        self.backlog.returned.discard(input)
        errors = self.attempts.ended(input)
        if errors:
            self._effects.append(partial(let_go, errors))

    # -- cancelling -----------------------------------------------------------------------

    def _cancel_all(self, inputs: Iterable[Input], outcome: Outcome) -> None:
        for input in inputs:
            self._cancel(input, outcome)

    def _cancel(self, input: Input, outcome: Outcome) -> bool:
        """Cancel `input` in any state; return false if it is settled or already cancelled.

        Freed room and slots are granted when the event ends, so that an input which the same
        event cancels later does not get them.
        """
        state = input.state
        wake: Effect | None = None
        if state is QUEUED:
            wake = self._record(input, outcome)
            if not self.probation.leave(input):
                self.backlog.discard(input)
            self._discarded.append(input)
        elif state is OUTSIDE:
            # Its caller gets an outcome, so the input counts as accepted: see `Tally`.
            self.tally.accepted += 1
            let_in = self.backlog.leave(input)
            if let_in is not None:
                self._effects.append(let_in)
            wake = self._record(input, outcome)
            self._discarded.append(input)
        elif state is WAITING:
            self.attempts.leave(input)
            wake = self._record(input, outcome)
            self._discarded.append(input)
        elif state is GRANTED:
            wake = self._record(input, outcome)
            input.state = SETTLED
            self._discarded.append(input)
            self._release(input.container, input)
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
            # The input timed out and has not ended yet.  A cancelled input is not tried again.
            input.cancellation = outcome
            self._expect_end(input, outcome)
        elif state is RUNNING and input.cancellation is None:
            input.cancellation = outcome
            # Set the flag before the caller is woken: the caller may rely on the flag.
            effect = input.container.cancel(input)
            if effect is not None:
                self._effects.append(effect)
            if input.call.target.is_async:
                self._expect_end(input, outcome)
            else:
                # Nothing can stop a thread for sure, so answer the caller at once.
                wake = self._abandon(input, outcome)
        else:
            return False
        if wake is not None:
            self._effects.append(wake)
        return True

    def _leave_batch(self, batch: Input, input: Input, outcome: Outcome) -> Effect | None:
        """Cancel `input`, a member of `batch`; the batch runs on for its other members."""
        call = batch.call
        assert isinstance(call, BatchCall)
        # Once the batch has begun, the code uses the member's arguments and the slot.
        begun = batch.state is not GRANTED
        wake = self._record(input, outcome, ABANDONED if begun else SETTLED)
        call.live -= 1
        if not begun:
            input.runner = None
            call.leave(batch, input)
            self._discarded.append(input)
        if not call.live:
            self._cancel(batch, outcome)
        return wake

    def _release(self, container: Container, input: Input) -> None:
        self.fleet.release(container, input)
        self.tally.busy_seconds += self.now()
        if self.probe is not None:
            self._note("released", input, container)

    def _abandon(self, input: Input, outcome: Outcome) -> Effect | None:
        """Answer the callers of `input`; it holds its slot until the user's code has ended."""
        wake = self._record(input, outcome, ABANDONED)
        input.state = ABANDONED  # for a batch, `_record` has set the state of the members only
        self.endings.abandon(input, self.now())
        self._expect_give_up(input.container)
        if input.container.given_up:
            self._kill_if_answered(input.container)
        return wake

    def _end_abandoned(self, container: Container, input: Input) -> None:
        """Note that the code of an abandoned input has ended."""
        input.state = SETTLED
        self.endings.ended(input)
        if not self.endings.abandoned:
            self.alarms.abandoned.only_at(None)
        if self.probe is not None:
            self._note("ended", input, container)

    def _expect_end(self, input: Input, outcome: Outcome) -> None:
        when = self.now() + ENDS_WITHIN
        self.endings.expect(input, outcome, when)
        self.alarms.end.at(when)

    # -- abandoned inputs -----------------------------------------------------------------

    def _expect_give_up(self, container: Container) -> None:
        """Set the alarm for the time at which `container` is to be given up."""
        when = self.endings.give_up_at(container, config.abandoned_seconds)
        if when is not None and not container.given_up and self._state is PoolState.OPEN:
            self.alarms.abandoned.at(when)

    def _give_up_abandoned(self) -> None:
        """Give up each container whose abandoned inputs hold their slots for too long."""
        if self._state is not PoolState.OPEN:
            return
        now = self.now()
        for container in list(self.fleet.containers):
            if container.given_up:
                continue
            when = self.endings.give_up_at(container, config.abandoned_seconds)
            if when is not None and when <= now:
                self._give_up(container)
            elif when is not None:
                self.alarms.abandoned.at(when)

    def _give_up(self, container: Container) -> None:
        """Give up `container`: use it no more and free its room, though its code still runs.

        The exit hooks run once the code that holds its slots has ended.
        """
        container.given_up = container.takes_no_more = True
        count = self.endings.abandoned_in(container)
        if container.state is READY:
            self._drain(container)
        self._effects += self.capacity.free_room(self.options.sync_slots)
        self._effects.append(partial(self._log_given_up, container, count))
        self._kill_if_answered(container)
        self._must_scale = True

    def _kill_if_answered(self, container: Container) -> None:
        """Kill a container that was given up, if all inputs that are left in it were answered.

        A thread cannot be killed: such a container stops when its code ends.
        """
        held = container.slots.held
        if held and self.endings.abandoned_in(container) == len(held):
            self._effects.append(container.kill)

    def _log_given_up(self, container: Container, count: int) -> None:
        log(
            logger,
            logging.WARNING,
            "container %d of %s is given up: %d of its inputs %s answered but %s not ended; %s",
            container.number,
            self.options.label,
            count,
            "was" if count == 1 else "were",
            "has" if count == 1 else "have",
            "; ".join(container.places()) or "its tasks have not ended",
        )

    # -- alarms -----------------------------------------------------------------------------

    def _on_alarm(self, cause: Cause) -> None:
        """React to an alarm whose time has come.  On the clock's thread, with no lock held."""
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
                    self._must_scale = True
                case Cause.RETRY:
                    self._queue_due_retries()
                case Cause.BATCH:
                    pass  # `_settle_down`, at the end of this event, asks which batches are due

    def _end_expired(self) -> None:
        """Cancel, as timed out, the inputs that have held their slots for `timeout` seconds."""
        timeout = self.options.timeout
        assert timeout is not None
        now = self.now()
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
        for input in due:
            # Each input has a failure of its own, because the failure may get a note on what the
            # input waits for.
            self._cancel(input, ran_out(self.options.name, timeout))

    def _fail_expired(self) -> None:
        """Fail the inputs that have been queued for `queue_timeout` seconds."""
        timeout = self.options.queue_timeout
        assert timeout is not None
        now = self.now()
        expired = waited_too_long(self.options.name, timeout)
        late, following = self.backlog.overdue(now, timeout)
        # An attempt that did not run is not followed by another.
        self._cancel_all(late, expired)
        if following is not None:
            self.alarms.queue.at(following)

    def _answer_overdue(self) -> None:
        """Answer the callers of async inputs that were cancelled and have not ended in time."""
        now = self.now()
        late, passed = self.endings.overdue(now)
        for input, outcome, extended in late:
            if not extended and self._may_retry(input, outcome):
                # The next attempt can begin only when this one has ended.  The caller waits
                # for that, but only for a limited time: the loop may be blocked for ever.
                when = now + ENDS_FOR_RETRY_WITHIN - ENDS_WITHIN
                self.endings.expect(input, outcome, when, extended=True)
                continue
            if (wake := self._abandon(input, outcome)) is not None:
                self._effects.append(wake)
        if (following := self.endings.next_overdue()) is not None:
            self.alarms.end.at(following)
        self._effects.append(partial(let_go, passed))

    def _queue_due_retries(self) -> None:
        """Queue the failed inputs whose next attempt is due."""
        for input in self.attempts.due(self.now()):
            input.state = QUEUED
            self.backlog.returned.discard(input)
            if self._must_run_alone(input):
                self.probation.put((input,))
                self._judge()
            else:
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
        """Ask the policy and carry out its answer; return true if containers were taken back."""
        backlog, fleet, scaling = self.backlog, self.fleet, self.scaling
        if backlog.queued and fleet.longest_idle is None and self._is_capped():
            scaling.not_asked(fleet, backlog)
            return False
        if self._state is not PoolState.OPEN:
            scaling.not_asked(fleet, backlog)
            return False
        now = self.now()
        taken_back = False
        while True:
            decision = scaling.ask(now, fleet, backlog, self.tally, self.options.limits)
            again = decision.ask_again_at
            if self.probation.waiting and scaling.backs_off(now):
                start = scaling.start_again_at
                again = start if again is None else min(again, start)
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
                continue  # ask again, now that the pool has fewer containers
            break
        self.alarms.scaling.only_at(again)
        return taken_back

    def _is_capped(self) -> bool:
        """Return true if no container can be added now, whatever the policy wants."""
        if self._waiting_for_room:
            return True
        # The same as `Fleet.count`, without the cost of a call for each queued input.
        return len(self.fleet.ready) + self.fleet.starting >= self._most_containers

    def _take_back(self, count: int) -> int:
        """Make up to `count` draining containers READY again; return how many are missing.

        Those containers are warm, and stopping them would waste a start.
        """
        for container in self.fleet.warm()[:count]:
            self._move(container, READY)
            count -= 1
        return count

    def _start(self, count: int) -> None:
        """Start `count` containers, as far as the capacity has room for them."""
        for _ in range(count):
            # A STOPPING container serves no input, so it does not count: the pool has no
            # container as soon as none is ready, starting or able to be taken back.
            none = not self.fleet.count
            if none:
                self.capacity.register(self)
            # A first container may exceed the capacity's bounds only if something has to run.
            # A container that the policy wants for any other reason is idle at once.  While
            # the capacity is crowded, it would be stopped to make room, and started again,
            # without end.
            first = none and self._has_to_run()
            if not self.capacity.acquire_nowait(self, self.options.sync_slots, first=first):
                if self._needs_room():
                    self._may_starve = True
                    # Only once for each wait: `make_room` may ask this pool too for an idle
                    # container.  That is an event of this pool, and may lead here again.
                    if not self._waiting_for_room:
                        self._effects.append(self.capacity.make_room)
                    self._waiting_for_room = True
                    self._judge()
                else:  # the container would be idle: no other pool should lose one for it
                    self._leave_line()
                return
            if first and self.capacity.crowded:
                self._effects.append(self.capacity.make_room)
            self._boot()

    def _boot(self) -> None:
        """Start one container, for which room has been acquired."""
        tally, limits = self.tally, self.options.limits
        tally.numbers += 1
        container = self._factory(self, tally.numbers, limits.target_inputs, limits.max_inputs)
        container.started_at = now = self.now()
        self.fleet.add(container)
        if self.probe is not None:
            self._note("starting", None, container)
        if self.options.startup_timeout is not None and self.alarms.start.timer is None:
            self.alarms.start.at(now + self.options.startup_timeout)
        # Not those that stop, perhaps before they were ready: they serve no input.
        serving = sum(1 for one in self.fleet.containers if one.state is not STOPPING)
        tally.peak_containers = max(tally.peak_containers, serving)
        self._effects.append(container.boot)

    def _shrink(self, count: int) -> bool:
        """Stop up to `count` containers that are starting or idle; return true if any."""
        before = count
        fleet, probation = self.fleet, self.probation
        most = self.options.limits.max_containers
        # Inputs on probation may wait for a start that the policy does not know of.
        awaited = probation.waiting and probation.container is None
        kept = 1 if awaited and (most is None or fleet.count - count < most) else 0
        # Starting containers go first: stopping them loses no work.
        for container in reversed(fleet.containers):
            if count and container.state is STARTING and fleet.starting > kept:
                self._move(container, STOPPING)
                count -= 1
        for container in self.fleet.longest_idle_first()[:count]:
            self._drain(container)
            count -= 1
        return count < before

    def _drain(self, container: Container) -> None:
        """Give `container`, which is READY, no more inputs; stop it once it holds none."""
        self._move(container, DRAINING)
        if not container.slots.held:
            self._stop(container)

    def _stop(self, container: Container) -> None:
        self._move(container, STOPPING)
        self._effects.append(container.stop)

    def _move(self, container: Container, state: ContainerState) -> None:
        self.fleet.move(container, state)
        if self.probe is not None:
            self._note(state.value, None, container)

    # -- deadlocks ------------------------------------------------------------------------

    def block_loop(self, container: Container) -> None:
        """Note that the loop of `container` begins a blocking call: it takes no async inputs."""
        with self._step:
            self.fleet.block(container)
            self._judge()
            self._must_scale = self._must_scale or self.backlog.queued > 0

    def unblock_loop(self, container: Container) -> None:
        """End a `block_loop`."""
        with self._step:
            self.fleet.unblock(container)
            self._judge()

    def drop(self, input: Input, outcome: Outcome) -> bool:
        """Settle `input` with `outcome` if its code has not begun; return false if it has."""
        with self._step:
            return input.state in (QUEUED, OUTSIDE, GRANTED) and self._cancel(input, outcome)

    @property
    def is_open(self) -> bool:
        """True if the pool accepts inputs.  The caller holds the lock."""
        return self._state is PoolState.OPEN

    @property
    def grows(self) -> bool:
        """True if the pool may start a container, or is closing.  The caller holds the lock."""
        return self._state is not PoolState.OPEN or not self._is_capped()

    @property
    def in_line(self) -> bool:
        """True if the pool waits for room.  The caller holds the lock."""
        return self._waiting_for_room

    # -- the capacity calls these ---------------------------------------------------------

    @property
    def longest_idle(self) -> float | None:
        """When the longest idle container became idle; a hint, read without the lock."""
        return self.fleet.longest_idle

    @uninterruptible
    def evict_idle(self) -> bool:
        """Stop the longest idle container to make room for another pool; false to decline."""
        with self._step:
            fleet, backlog = self.fleet, self.backlog
            idle = fleet.longest_idle_first()
            # A pool with queued inputs has idle containers only for batches that wait for
            # members: one container for each such batch.
            needed = -(-backlog.queued // backlog.size)
            if len(idle) <= needed or fleet.count <= self.options.limits.min_containers:
                return False
            self._drain(idle[0])
            return True

    @uninterruptible
    def room_granted(self) -> None:
        """Take the room that was set aside for this pool: start a container or free the room.

        The pool may be in the capacity's line again when the room arrives:
            1. the capacity sets room aside, and this call is on its way,
            2. the queue becomes empty, and the pool stops waiting for room,
            3. inputs come, the pool asks for room, and joins the line again,
            4. this call arrives.  The pool takes the room and leaves the line.  If it needs
               more room than that, it asks again.
        """
        with self._step:
            self._leave_line()
            most = self.options.limits.max_containers
            full = most is not None and self.fleet.count >= most
            queued = self.backlog.queued > 0
            wanted = (queued or self._lacks_minimum()) and self._state is PoolState.OPEN
            if wanted and not full and not self.scaling.backs_off(self.now()):
                self._boot()
            else:
                self._effects += self.capacity.free_room(self.options.sync_slots)
            self._must_scale = wanted

    def _needs_room(self) -> bool:
        """Return true if the pool should stay in line.  A first container needs no room."""
        return self.fleet.count > 0 and (self.backlog.queued > 0 or self._lacks_minimum())

    def _has_to_run(self) -> bool:
        """Return true if an input waits for a container, or `min_containers` are missing."""
        backlog = self.backlog
        waits = backlog.queued > 0 or backlog.outside > 0 or bool(self.probation.waiting)
        return waits or self._lacks_minimum()

    def _lacks_minimum(self) -> bool:
        return self.fleet.count < self.options.limits.min_containers

    def _leave_line(self) -> None:
        self._waiting_for_room = False
        self._judge()
        self._effects += self.capacity.leave_line(self)

    # -- the containers call these --------------------------------------------------------

    def container_ready(self, container: Container) -> bool:
        """Make `container` READY after its enter hooks; return false if it must stop again.

        The pool may have stopped the container while it started:
            1. thread T runs the enter hooks,
            2. another thread gives the container up, or closes the pool: the container is
               STOPPING now, and nobody calls its `stop`, which is only for containers that
               became READY,
            3. T comes here, gets false, runs the exit hooks, and calls `container_stopped`.
        """
        with self._step:
            if container.state is STOPPING:
                return False
            self._move(container, READY)
            self.tally.starts += 1
            self.tally.start_seconds += self.now() - container.started_at
            self.scaling.started()
            if container.takes_no_more:  # set by `stop_fetching` while the container started
                self._drain(container)
            self._must_scale = True  # other starting containers may not be needed any more
            return True

    def container_failed(self, container: Container, error: BaseException) -> None:
        """Handle an `error` of an enter hook, or of the start of a thread; `container` is gone."""
        failure = explained(failure_of(at_exit.told(error, self.options.label)))
        with self._step:
            was_starting = container.state is STARTING
            # The failed start of a container that was given up has been counted and reported
            # already.  A cancelled start is no failure if the run is being left.
            is_reported = container.given_up or (
                self._state is PoolState.CLOSING and isinstance(error, CancelledError)
            )
            self._container_gone(container)
            is_told = is_reported or self._start_failed(was_starting, failure)
            # At the exit of the interpreter the other containers serve what they still can.
            if not is_told and not at_exit.is_refusal(error):
                # First: others of these effects end the wait for the end of the containers.
                self._effects.insert(0, partial(self._log_failed_start, container, error))

    def _log_failed_start(self, container: Container, error: BaseException) -> None:
        log(
            logger,
            logging.ERROR,
            with_advice("container %d of %s failed to start", error),
            container.number,
            self.options.label,
            exc_info=error,
        )

    def _start_failed(self, was_starting: bool, failure: Failure, patience: int = 1) -> bool:
        """Delay further starts; fail the inputs that no container can serve; true if told.

        Args:
            was_starting: false if the pool had stopped the container before its start failed.
            patience: after how many failed starts in a row the inputs fail.
        """
        self.scaling.start_failed(self.now())
        self._must_scale = True
        if self.probe is not None:
            self._note("failed", error=failure.error)
        if not was_starting or self.fleet.count or self.scaling.failed_starts < patience:
            return False
        # No other container exists or starts: these inputs waited for the failed one.
        waiting = [
            *self.probation.waiting,
            *self.backlog.inputs(),
            *self.backlog.standing(),
        ]
        self._cancel_all(waiting, failure)
        # A web request gets no error, so nobody would see why the start has failed.
        return any(not getattr(input.call, "is_web", False) for input in waiting)

    def _fail_slow_starts(self) -> None:
        """Give up the containers whose start takes longer than `startup_timeout`.

        They do not count any more and their room is free, although their threads cannot be
        stopped.  If such a thread leaves its enter hooks later, it stops its container:
        `container_ready` returns false.
        """
        timeout = self.options.startup_timeout
        assert timeout is not None
        now = self.now()
        late: list[Container] = []
        for container in self.fleet.containers:  # the order of their starts
            if container.state is not STARTING:
                continue
            if container.started_at + timeout > now:
                self.alarms.start.at(container.started_at + timeout)
                break
            late.append(container)
        if not late:
            return
        for container in late:
            self._give_up_start(container)
        failure = started_too_slowly(self.options.name, timeout)
        if not self._start_failed(True, failure):
            self._effects += [partial(self._log_slow_start, container) for container in late]

    def _give_up_start(self, container: Container) -> None:
        self._move(container, STOPPING)
        container.given_up = True
        self._effects.append(container.give_up)
        self._effects += self.capacity.free_room(self.options.sync_slots)

    @property
    def backs_off_for(self) -> float:
        """Seconds until the next start after failed starts; a hint, read without the lock."""
        scaling = self.scaling
        return max(0.0, scaling.start_again_at - self.now()) if scaling.failed_starts else 0.0

    def start_hangs(self, container: Container, error: BaseException) -> None:
        """Give up `container`, if it still starts: `error` says what hangs."""
        failure = failure_of(error)
        with self._step:
            if container.state is not STARTING:
                return
            self._give_up_start(container)
            if not self._start_failed(True, failure):
                self._effects.append(partial(self._log_failed_start, container, error))

    def _log_slow_start(self, container: Container) -> None:
        log(
            logger,
            logging.ERROR,
            "container %d of %s did not start within its startup_timeout of %g s, and is "
            "given up; its enter hooks may still run",
            container.number,
            self.options.label,
            self.options.startup_timeout,
        )

    def container_stopped(self, container: Container) -> None:
        """Remove `container`, whose exit hooks have ended."""
        with self._step:
            # Inputs are left only if the container was stopped by force.  Its async inputs
            # end now, because their loop is gone; threads of sync inputs may still run.
            for holder in list(container.slots.held):
                assert isinstance(holder, Input)
                if holder.call.target.is_async:
                    self._end_by_force(container, holder)
            self._container_gone(container)

    def _end_by_force(self, container: Container, input: Input) -> None:
        if input.state is ABANDONED:
            self._end_abandoned(container, input)
        else:
            wake = self._record(input, input.cancellation or LOST)
            input.state = SETTLED
            if wake is not None:
                self._effects.append(wake)
            if self.probe is not None and self.batches is not None:
                # A batch is answered member by member, so a probe hears of its end here.
                self._note("ended", input, container)
        if self.batches is not None:
            end_of_batch(input)
        self._discarded.append(input)
        self._release(container, input)

    # -- lost containers ------------------------------------------------------------------

    def container_lost(self, container: Container, loss: Loss) -> None:
        """Remove `container`, which is gone, and put its inputs back in the queue.

        Inputs go to the front of the queue in the order of their grants.  Inputs that may have
        begun count a loss each; `_after_loss` decides which of them do not run again.
        Inputs that were cancelled or abandoned end.

        A container that was starting, and that this program has ended together with its run, is no
        loss: nothing waits for it.
        """
        with self._step:
            if container.state is STOPPED:
                return
            was_starting = container.state is STARTING
            is_loss = loss.counts or loss.was_ready or self._state is PoolState.OPEN
            self.tally.lost_containers += is_loss
            self.fleet.forget_loop(container)
            held = [holder for holder in container.slots.held if isinstance(holder, Input)]
            begun = [h for h in held if h.state is not GRANTED and h not in loss.unwritten]
            back: list[Input] = []
            suspects: list[Input] = []
            for holder in held:
                self._release(container, holder)
                if holder.state is ABANDONED:
                    self._end_abandoned(container, holder)
                elif holder.cancellation is not None or self._state is not PoolState.OPEN:
                    self._end_lost(holder, holder.cancellation or LEFT)
                else:
                    written = holder in begun
                    for input in _living_members(holder):
                        how = loss if written else None
                        alone = written and len(begun) == 1 and _is_alone(holder)
                        if self._after_loss(input, how, alone=alone):
                            (suspects if self._must_run_alone(input) else back).append(input)
                self._drop_lost(container, holder)
            if back and self.batches is not None:
                # The queue is not one batch that waits for members any more.
                self.alarms.batch.only_at(None)
            self.backlog.put_back(back)
            if container is self.probation.container:
                self.probation.put_back(suspects)
            else:
                self.probation.put(suspects)
            self._may_starve = True
            self._container_gone(container)
            self._judge()
            if is_loss:
                count = len(back) + len(suspects)
                self._effects.append(partial(self._log_lost, container, loss.how, count))
            if was_starting and loss.counts:
                failure = lost_while_starting(self.options.name, loss.how)
                self._start_failed(True, failure, LOST_STARTS)
            elif was_starting:
                # Nothing of this pool has ended it, so the next one starts at once.  What ends
                # containers again and again refuses to start them at last.
                self._must_scale = True

    def _after_loss(self, input: Input, loss: Loss | None, *, alone: bool) -> bool:
        """Queue `input`, whose container is lost, or end it; return true if it is queued.

        Args:
            loss: None if the code of the input has not begun.
            alone: true if no other code ran in that container.
        """
        name, attempts = self.options.name, self.attempts
        failure: Failure | None = None
        if loss is not None:
            losses = attempts.lost(input) if loss.counts else attempts.losses.get(input, 0)
            if self.options.nonpreemptible:
                why = "the function is nonpreemptible"
                failure = lost_and_not_run_again(name, loss.how, losses, why)
            elif input.call.target.is_generator and stream_of(input.call).has_begun:
                why = "it has yielded items already"
                failure = lost_and_not_run_again(name, loss.how, losses, why)
            elif getattr(input.call, "is_under_way", False):
                why = "its response or its body is under way"
                failure = lost_and_not_run_again(name, loss.how, losses, why)
            elif alone and loss.counts and losses >= LOSSES_BEFORE_PROBATION:
                failure = lost_in_a_row(name, loss.how, losses)
                if self._retry_later(input, failure):
                    return False
        if failure is not None:
            wake = self._record(input, failure)
            if wake is not None:
                self._effects.append(wake)
            return False
        attempts.returned(input)
        input.state = QUEUED
        input.container = input.runner = None
        input.queued_at = self.now()
        self.tally.returned_inputs += 1
        if self.probe is not None:
            self._note_queued((input,))
        return True

    def _must_run_alone(self, input: Input) -> bool:
        """Return true if `input` was lost too often to run beside others."""
        return self.attempts.losses.get(input, 0) >= LOSSES_BEFORE_PROBATION

    def _end_lost(self, holder: Input, outcome: Outcome) -> None:
        """End an input, or a batch, whose code is gone with its container."""
        wake: Effect | None = None
        if self.batches is not None:
            wake = self._record_batch(holder, outcome, ended=True)
        elif not self._retry_later(holder, outcome):
            wake = self._record(holder, outcome)
        if wake is not None:
            self._effects.append(wake)

    def _drop_lost(self, container: Container, holder: Input) -> None:
        """Drop `holder`, an input or a batch, if it is over now."""
        call = holder.call
        if isinstance(call, BatchCall):
            holder.state = SETTLED
            holder.outcome = holder.outcome or LOST
            call.live = 0
            end_of_batch(holder)
            self._effects.append(partial(call.forget, ended=True))
        elif holder.state is SETTLED:
            self._discarded.append(holder)

    def _log_lost(self, container: Container, how: str, count: int) -> None:
        log(
            logger,
            logging.WARNING,
            "container %d of %s is lost: %s; %d of its inputs %s back in the queue",
            container.number,
            self.options.label,
            how,
            count,
            "is" if count == 1 else "are",
        )

    # -- probation ------------------------------------------------------------------------

    def _judge(self) -> None:
        self._simple = (
            self.batches is None and not self.fleet.blocked and not self.probation.is_active
        )
        limits = self.options.limits
        self._most_containers = INFINITE if (most := limits.max_containers) is None else most
        self._direct = (
            self._simple
            and self.probe is None
            and self.backlog.most is None
            and not self._refuses
            and not self._drain_wakes
            and not self._waiting_for_room
            and not limits.buffer_containers
        )

    def _serve_probation(self) -> None:
        """Give the container on probation its next input; choose one if there is none."""
        probation, fleet = self.probation, self.fleet
        container, holder = probation.container, probation.holder
        if container is not None:
            held = container.slots.held
            if holder is not None and holder not in held:
                holder = probation.holder = None
            # A given up container takes no further input, so `holder` stays alone in it.
            if container.given_up or (container.state is not READY and holder is None):
                probation.end(fleet)
                container = holder = None
        if holder is None and probation.waiting and not self._is_empty_for_probation(container):
            better = self._choose_for_probation(container)
            if better is not container:
                probation.end(fleet)
                assert better is not None
                container = better
                probation.begin(fleet, container)
                self._must_scale = self._may_starve = True
                if self.endings.abandoned:
                    self._give_up_abandoned()
                if container.given_up:  # at its lower limit, abandoned inputs hold all slots
                    self._serve_probation()
                    return
        if container is not None and container.state is READY and not container.slots.held:
            if not probation.waiting:
                probation.end(fleet)
            else:
                input = probation.first(sync_only=container in fleet.blocked)
                if input is not None:
                    probation.leave(input)
                    self._grant_alone(container, input)
        self._judge()

    def _is_empty_for_probation(self, container: Container | None) -> bool:
        """Return true if `container` could run the first input that must run alone, now."""
        if container is None or container.state is not READY or container.slots.held:
            return False
        input = next(iter(self.probation.waiting))
        return container not in self.fleet.blocked or not input.call.target.is_async

    def _choose_for_probation(self, present: Container | None) -> Container | None:
        """Return the container that should be the one on probation; None if one is to come.

        Args:
            present: the container on probation, which the first input still waits for.
        """
        fleet = self.fleet
        for container in fleet.ready:
            if self._is_empty_for_probation(container):
                return container
        if present is not None:
            return present
        if fleet.starting > 0:
            return None
        if not self._is_capped() and not self.scaling.backs_off(self.now()):
            self._start(1)
            if fleet.starting > 0:
                return None
        if not fleet.ready:
            self._must_scale = True  # `_scale` sets the alarm for the end of the back-off
        return min(fleet.ready, key=lambda c: len(c.slots.held), default=None)

    def _grant_alone(self, container: Container, input: Input) -> None:
        """Grant `input` the one slot of `container`, which is on probation and empty."""
        now = self.now()
        if self.batches is None:
            self.probation.holder = input
            self._grant(container, input, now)
        else:
            batch = self.batches.alone(input)
            self.probation.holder = batch
            self._place_batch(container, batch, [input], now)

    def _container_gone(self, container: Container) -> None:
        """Remove `container`, which runs nothing any more."""
        self._move(container, STOPPED)
        tally = self.tally
        tally.peak_inputs = max(tally.peak_inputs, container.slots.peak)
        if not container.given_up:  # otherwise its room was freed when it was given up
            self._effects += self.capacity.free_room(self.options.sync_slots)
        self._effects.append(self._join_stopped)
        self._must_scale = True
        if not self.fleet.containers:
            waiters, self._empty_waiters = self._empty_waiters, []
            self._effects += [waiter.wake for waiter in waiters]

    def _join_stopped(self) -> None:
        """Drop the stopped containers whose threads have ended.  No lock held.

        The threads are checked without the lock, so the list may change meanwhile:
            1. this thread copies the list, and checks the threads of each container,
            2. another container stops, and is appended to the list,
            3. this thread removes only the containers that it has found ended.
        """
        with self.lock:
            stopped = list(self.fleet.stopped)
        ended = [container for container in stopped if container.ended]
        with self.lock:
            self.fleet.stopped = [c for c in self.fleet.stopped if c not in ended]

    def _retire_if_unused(self) -> None:
        """Drop the pool if it is empty and nothing needs it."""
        if (
            self.fleet.containers
            or self._on_retired is None
            or self._state is not PoolState.OPEN
            or self.backlog.queued
            or self.backlog.outside
            or self.probation.waiting
            or self.attempts.waiting
            or self._open_calls
            or self._waiting_for_room
            or self.options.limits.min_containers
        ):
            return
        self._state = PoolState.RETIRED
        self._refuses = True
        self._judge()
        self.kept.in_use = False
        self.alarms.silence()
        self._effects += self.capacity.forget_pool(self)
        self._effects.append(partial(self._on_retired, self))

    # -- the end --------------------------------------------------------------------------

    @uninterruptible
    def close(self, *, cancel_running: bool = True) -> None:
        """Accept no more inputs, cancel the queued inputs, and let the containers stop.

        Args:
            cancel_running: also cancel the inputs that hold a slot.  If false, the caller
                may call the method `cancel_running` later.
        """
        with self._step:
            if self._state is not PoolState.OPEN:
                return
            self._state = PoolState.CLOSING
            self._refuses = True
            self._judge()
            self.alarms.scaling.only_at(None)
            self.alarms.abandoned.only_at(None)
            self._waiting_for_room = False
            inputs = self._inputs_without_slots()
            if cancel_running:
                inputs += self._inputs_with_slots()
            self._cancel_all(inputs, LEFT)
            for container in list(self.fleet.containers):
                if container.state is STARTING:
                    self._move(container, STOPPING)
                elif container.state is READY:
                    self._drain(container)
            self._effects += self.capacity.forget_pool(self)

    @uninterruptible
    def cancel_running(self) -> None:
        """Cancel the inputs that hold a slot.  A second call does nothing."""
        with self._step:
            self._cancel_all(self._inputs_with_slots(), LEFT)

    def unsettled_inputs(self) -> list[Input]:
        """Return the inputs that are accepted and not settled."""
        with self.lock:
            return self._inputs_without_slots() + self._inputs_with_slots()

    def _inputs_without_slots(self) -> list[Input]:
        return [
            *self.probation.waiting,
            *self.backlog.inputs(),
            *self.backlog.standing(),
            *self.attempts.inputs(),
        ]

    def _inputs_with_slots(self) -> list[Input]:
        """Return the inputs that hold a slot, and the members of batches that hold a slot."""
        return [
            input
            for holder in self.fleet.holders()
            if isinstance(holder, Input)
            for input in members_of(holder)
        ]

    @uninterruptible
    def stop_by_force(self) -> None:
        """Run the exit hooks now, even in containers whose inputs have not ended.

        Async enter hooks that have not ended are cancelled.
        """
        with self._step:
            self._effects += [c.give_up for c in self.fleet.containers if c.state is STOPPING]
            for container in list(self.fleet.containers):
                if container.state is DRAINING:
                    self._stop(container)

    def wait_stopped(self, deadline: float) -> bool:
        """Wait until no container is left; return false if `deadline` comes first."""
        waiter = self.clock.make_waiter()
        with self.lock:
            if not self.fleet.containers:
                return True
            self._empty_waiters.append(waiter)
        return self.clock.wait(waiter, deadline - self.now())

    @uninterruptible
    def join(self, timeout: float) -> list[str]:
        """Join the threads of stopped containers; return the place of each thread left.

        Each container gets up to `timeout` seconds; after the first one with a thread left,
        the others get none.  The threads of containers that have not stopped are listed too.
        """
        with self.lock:
            stopped, self.fleet.stopped = self.fleet.stopped, []
            live = list(self.fleet.containers)
            self.alarms.silence()
        left: list[str] = []
        for container in stopped:
            # After one thread that did not end in time, do not wait for the others.
            left += container.join(0.0 if left else timeout)
        return left + [name for container in live for name in container.join(0.0)]


def is_called_from_within(run: object) -> bool:
    """Return true if this code runs for an unsettled input of `run`, or is a hook.

    An input of another run counts too, if an input of `run` called it, directly or by way
    of further inputs.
    """
    input: object = running_input.get(_NOWHERE)
    while isinstance(input, Input):
        container = input.container
        if input.outcome is None and container is not None and container.host.run is run:
            return True
        input = input.call.context.get(running_input, _NOWHERE)
    return input is None  # true in a hook of a container: an input may wait for the hook


def drained_run(name: str) -> ExecutionError:
    return ExecutionError(
        f"the run in which {name} was called is being left: it finishes its accepted inputs, "
        "and accepts calls from its own inputs only; call it inside `with app.run():`"
    )


def _write_retry(
    number: int, input_id: str, call: str, name: str, error: BaseException, pause: float
) -> None:
    """Log that an attempt failed.  On the log's thread, because the error's text is user code."""
    log(
        logger,
        logging.INFO,
        "attempt %d of the input %s (call %s) of %s failed, and the next begins in %g s: %s",
        number,
        input_id,
        call,
        name,
        pause,
        error if isinstance(error, UnreadError) else _text_of(error),
    )


def _living_members(holder: Input) -> list[Input]:
    """Return the members of a batch that have no outcome; for any other input, the input."""
    return [input for input in members_of(holder) if input.outcome is None]


def _is_alone(holder: Input) -> bool:
    """Return true unless `holder` is a batch whose code had several inputs."""
    call = holder.call
    return not isinstance(call, BatchCall) or len(call.ran or call.members) == 1


def _text_of(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error)).strip()


_NOWHERE: Final = cast(Input, object())


def _drop_arguments(inputs: list[Input]) -> None:
    """Drop settled inputs and their arguments.  No lock held, because user code may run.

    If this thread keeps time, as in the callback of a deadline, `let_go` drops them on
    another thread.
    """
    gone: list[object] = []
    while inputs:
        input = inputs.pop()
        gone += (input, input.args, input.kwargs)
        input.args, input.kwargs = (), None
        del input
    let_go(gone)
