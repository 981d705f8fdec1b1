"""The thread lane: runs the sync inputs of one container on the container's workers.

Owns the container's worker threads (at most one for each slot), the queue of inputs that hold
a slot and wait for a thread, and the choice of the worker that wakes for them.  The pool's
lock, which is passed in, guards all of this.  The container calls the lane; the lane reports
to the pool through `settle`.

Begin at `ThreadLane.place`, then `_arrive`, the loop of each worker, then `_run`.

How workers wake: each worker has a lock of its own, its *bell*, and waits for the bell while
it is idle.  Idle workers are on a stack, so the worker that parked last, whose caches are
warm, wakes first.  At most one worker is *on its way* (woken, but not yet at the queue) at a
time; if it takes an input and sees more inputs, it sends the next worker.  So short inputs
stay on one or two warm threads, and inputs that block get a thread each.  Workers that are
idle for long end: see ``idle_threads.py``.

If inputs come from another process, a worker that has none reads what comes itself (`Reads`), in
place of parking, unless another one does.  It counts as on its way meanwhile, and finds the input
that it has read in the queue: no thread has to wake another one for it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context
from functools import partial
from typing import Any, Final, Protocol

from ...exception import InputCancellation
from .. import at_exit
from ..captured import decimal_context, own_decimal_context
from ..clocks.bells import Bell, make_bell
from ..clocks.clock import Clock, acquire_in_turns
from ..context import running_input
from ..effects import Around, Effect, Settle, carry_out, end_child
from ..guards.cells import Cell, bind_cell
from ..input import Input, InputState, Target
from ..kinds import FINISHED, is_iterable, refusal, unfinished
from ..outcome import Cancelled, Outcome, Value, failure_of
from ..places import place_in_stack
from ..real import Real
from ..stacks import current_frames
from .idle_threads import IdleThreads
from .streaming import stream_of
from .task_lane import move_to_front

logger: Final = logging.getLogger("moorage")


_NOT_RUN: Final = Cancelled("the input was cancelled before it ran")
_set_running: Final = running_input.set
_new_value: Final[Callable[[type[Value]], Value]] = object.__new__
_GRANTED: Final = InputState.GRANTED
_RUNNING: Final = InputState.RUNNING


class Worker:
    """One thread that runs inputs.

    A worker parks by acquiring its bell.  The bell is locked already, so the worker blocks
    until another thread releases the bell.
    """

    __slots__ = (
        "bell",
        "busy",
        "cell",
        "dismissed",
        "leaving",
        "on_leaving",
        "parked_at",
        "reads",
        "sent",
        "stays",
        "taken",
    )

    def __init__(self, clock: Clock, *, stays: bool = False) -> None:
        # Invariant: held while the worker runs or is parked.  The thread that takes the worker
        # from the idle stack releases the bell, once, which wakes the worker.
        self.bell: Bell = make_bell()
        # True for the container's thread T, which never ends for being idle: objects that the
        # enter hooks made may be bound to T.
        self.stays: bool = stays
        self.reads: bool = False  # true while it reads what comes; its own thread's only
        # For these two see `Parking`.
        self.parked_at: float = math.inf
        self.dismissed: bool = False
        self.cell: Cell = Cell(clock)
        self.busy: bool = False  # true while it runs an input; guarded by the pool's lock
        self.leaving: bool = False  # true once it ends after an input; its own thread's only
        self.taken: Input | None = None  # the input that it runs next; its own thread's only
        # With a virtual clock: true while it is on its way to the queue.  A worker takes part in
        # virtual time then, and its input takes part while it runs an input.  Guarded by the
        # pool's lock.
        self.sent: bool = False
        # With a virtual clock, called if the worker ends after an input, before that input
        # stops taking part in virtual time: see `LocalContainer.stop`.
        self.on_leaving: Callable[[], object] | None = None


class Reads(Protocol):
    """Where inputs come from, if they come from another process."""

    @property
    def is_quiet(self) -> bool:
        """Whether inputs come one at a time, so that reading here is worth it.  Under the lock."""
        ...

    def read_until(self, is_done: Callable[[], bool], /) -> bool:
        """Read on this thread until `is_done`; return false at once if another one reads."""
        ...

    def interrupt(self) -> None:
        """Have the thread that reads ask `is_done`."""
        ...

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """Return a loop that reads while it has nothing to do."""
        ...


class ThreadLane:
    """The sync inputs of one container."""

    def __init__(
        self,
        *,
        lock: threading.Lock,
        clock: Clock,
        settle: Settle,
        container: object,
        limit: int,
        name: str,
        around: Around | None = None,
    ) -> None:
        self._lock = lock
        self._clock = clock
        self._virtual = clock.participants
        self._settle = settle
        self._container = container  # only passed to `settle`
        self._limit = limit
        self._name = name
        self._around = around
        self.instance: object = None  # set before the container becomes ready
        # What workers read in place of parking.  Set before the container becomes ready.
        self.reads: Reads | None = None
        # The pool's lock guards all fields below.
        # The inputs that are GRANTED and wait for a thread, first in, first out.  An input
        # that is cancelled in this queue becomes SETTLED; `_take` skips it.
        self._ready: deque[Input] = deque()
        self._idle_threads: IdleThreads[Worker] = IdleThreads(lock, self._dismissed)
        # The stack of `_idle_threads`, the same list.  Invariant: each worker on it is parked,
        # or about to park, and has no input.
        self._idle: Final = self._idle_threads.stack
        # Invariant: the workers that run, are parked, or are on their way; at most `limit`.
        self._workers: list[Worker] = []
        # True while a worker is on its way to `_ready`.
        # Invariant: if _ready is not empty, and a worker is parked or may be made, then a
        # worker is on its way.  A worker that settles an input counts as on its way:
        #     1. a worker's input ends, and the worker takes the lock,
        #     2. the pool grants the slot to a further input, and calls `place`, which wakes no
        #        other worker,
        #     3. this worker takes that input, and sends another worker if there are more.
        self._on_its_way = False
        self._stopping = False  # once true, it stays true
        # The threads that this lane started.  `_spawn` removes dead threads once this list is
        # longer than 2 x workers + 8.
        self._threads: list[threading.Thread] = []

    def _after_fork(self) -> None:
        """Prepare the lane in a forked child.

        If an input of this lane forked, the child process ends when that input ends.
        """
        self._lock = Real.Lock()
        self._settle = end_child

    # -- called by the container, under the pool's lock -------------------------

    def place(self, input: Input) -> Effect | None:
        """Queue a granted input; return the effect that wakes or makes a worker, if needed."""
        self._ready.append(input)
        return None if self._on_its_way else self._send_one()

    def stop(self) -> list[Effect]:
        """Make workers end when they have no input; return the effects that wake idle ones."""
        self._stopping = True
        effects: list[Effect] = [worker.bell.release for worker in self._idle_threads.stop()]
        if self.reads is not None:
            effects.append(self.reads.interrupt)
        return effects

    def cancel(self, input: Input) -> Effect | None:
        """Return the effect that cancels a running input; None if no worker has it.

        The effect sets the flag of the worker's cell, and ends the input's wait in a call of
        this library, if the input is in one.
        """
        worker: Worker | None = input.runner
        return None if worker is None else partial(worker.cell.cancel, input)

    def _send_one(self) -> Effect | None:
        if self._on_its_way:
            return None
        if self._idle:
            self._on_its_way = True
            worker = self._idle.pop()
            self._count_in(worker)
            return worker.bell.release
        if len(self._workers) < self._limit and not self._stopping:
            self._on_its_way = True
            worker = Worker(self._clock)
            self._workers.append(worker)
            self._count_in(worker)
            return lambda: self._spawn(worker)
        # Every worker runs an input, and looks at _ready when that input ends.
        return None

    def _count_in(self, worker: Worker) -> None:
        """Make `worker`, which is sent, take part in virtual time until it has looked at _ready.

        So the workers look in the order in which they were sent.
        """
        if self._virtual is not None:
            worker.sent = True
            self._virtual.begin(worker, f"a worker of {self._name}")

    def _take(self) -> Input | None:
        ready = self._ready
        choices = None if self._virtual is None else self._virtual.choices
        if choices is not None and len(ready) > 1:
            move_to_front(ready, choices.pick(len(ready)))
        while ready:
            input = ready.popleft()
            if input.state is _GRANTED:  # else the input was cancelled in the queue
                input.state = _RUNNING
                return input
        return None

    # -- threads ----------------------------------------------------------------

    def _spawn(self, worker: Worker) -> None:
        thread = Real.Thread(
            target=self._arrive, args=(worker,), name=f"{self._name}-worker", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            # The system has no thread left.  Workers that run take the input when they have
            # ended theirs; if there is no worker, the input fails with this error.
            self._spawn_failed(worker, error)
            return
        dead: list[threading.Thread] = []  # dropped after the lock is released
        with self._lock:
            threads = self._threads
            threads.append(thread)
            # Workers that end leave their threads in this list: remove them now and then.
            if len(threads) > 2 * len(self._workers) + 8:
                dead, self._threads = threads, [one for one in threads if one.is_alive()]
        del dead

    def _dismissed(self, workers: Sequence[Worker]) -> None:
        """Forget `workers`, which end because they were idle for long.  Under the lock."""
        self._workers = [worker for worker in self._workers if not worker.dismissed]

    def _spawn_failed(self, worker: Worker, error: RuntimeError) -> None:
        effects: list[Effect] = []
        with self._lock:
            self._workers.remove(worker)
            self._on_its_way = False
            if self._virtual is not None:
                self._virtual.end(worker)
            if not self._workers:
                while (input := self._take()) is not None:
                    failure = failure_of(at_exit.told(error, input.call.target.name))
                    effects.extend(self._settle(self._container, input, failure, None)[1])
            elif self._ready and self._idle:
                # Inputs came while this worker was on its way, so no other worker was sent
                # for them, although one has parked.  Send it now.
                effect = self._send_one()
                assert effect is not None
                effects.append(effect)
        carry_out(effects)

    def expect_here(self) -> Worker:
        """Count the calling thread as the first worker, on its way to `work_here`.

        Called before the container becomes ready.  Otherwise the container's first input
        would make another thread, and objects that the enter hooks bound to the calling
        thread would not work there.
        """
        worker = Worker(self._clock, stays=True)
        with self._lock:
            self._workers.append(worker)
            self._on_its_way = True
            worker.sent = self._virtual is not None
        return worker

    def work_here(self, worker: Worker) -> None:
        """Run the loop of `worker` on the calling thread, until the lane is stopped.

        With a virtual clock, this thread takes part in virtual time as `worker` already.
        """
        try:
            self._arrive(worker)
        finally:
            bind_cell(None)  # the exit hooks come next, and belong to no input

    def _arrive(self, worker: Worker) -> None:
        """Take and run inputs, and park when there is none, until stopped or dismissed.

        No ring is lost if the bell is rung before the worker waits for it:
            1. this worker puts itself on the idle stack, and releases the lock,
            2. another thread takes the worker off the stack, and releases the bell,
            3. this worker acquires the bell, which does not block, and looks for inputs.
        """
        bind_cell(worker.cell)
        parked = self._idle_threads.parked
        virtual = self._virtual
        may_read = True
        while True:
            effect: Effect | None = None
            if virtual is not None and worker.sent:
                virtual.bind_thread(worker)
            lock = self._lock
            if not lock.acquire(False):
                acquire_in_turns(lock)
            try:
                self._on_its_way = False
                input = self._take()
                if virtual is not None and worker.sent and input is None:
                    # Before this worker goes onto the idle stack: the thread that takes the
                    # worker from there begins its part anew.
                    worker.sent = False
                    virtual.end(worker)
                if input is None:
                    if self._stopping:
                        self._workers.remove(worker)
                        return
                    self._park(worker, may_read)
                else:
                    input.runner = worker
                    worker.busy = True
                    if self._ready:
                        effect = self._send_one()
            finally:
                lock.release()
            if effect is not None:
                effect()
            if virtual is not None and input is not None:
                worker.sent = False
                virtual.become(worker, input, f"a worker of {self._name}")
            if input is not None:
                worker.taken = input
                del input  # this frame lives long
                self._run(worker)
            if worker.leaving:
                return
            if worker.reads:
                assert self.reads is not None
                may_read = self.reads.read_until(self._has_work)
                continue
            may_read = True
            # This worker has been on the idle stack since the lock was released.
            parked(worker)
            while not worker.bell.acquire():
                pass
            if worker.dismissed:
                return

    def _park(self, worker: Worker, may_read: bool) -> None:
        """Make `worker` idle, or the one that reads.  Under the lock."""
        reads = self.reads
        worker.reads = may_read and reads is not None and reads.is_quiet and not self._on_its_way
        if worker.reads:
            self._on_its_way = True
        else:
            self._idle.append(worker)

    def _has_work(self) -> bool:
        """Whether there is something for a worker that reads.  Without the lock.

        Inputs that come later are read by this worker.  An input that came before was read by a
        thread that has ended that.  `stop` interrupts.
        """
        return bool(self._ready) or self._stopping

    def _run(self, worker: Worker) -> None:
        """Run the input that `worker` has taken, settle it, and go on with the one that follows."""
        virtual = self._virtual
        cell = worker.cell
        around = self._around
        input, worker.taken = worker.taken, None
        while input is not None:
            if virtual is not None:
                virtual.bind_thread(input)
            call = input.call
            target = call.target
            context: Context | None = None
            result: Any = None
            kind: type[Any] | None = None
            outcome: Outcome = _NOT_RUN
            try:
                # After `begin` returns True, a cancellation may interrupt this thread.  `begin`
                # returns False if the input was cancelled already: then its code never runs.
                if cell.begin(input):
                    try:
                        context = call.context.copy()
                        if decimal_context in context:
                            own_decimal_context(context)
                        context.run(_set_running, input)
                        if target.is_plain and input.kwargs is None and around is None:
                            result = context.run(target.function, *input.args)
                        else:
                            result = context.run(self._body, target, input)
                        kind = type(result)  # pyright: ignore[reportUnknownVariableType]
                        if id(kind) not in FINISHED and unfinished(result):
                            outcome = failure_of(refusal(target.name, target.kind, result))
                        else:
                            # As ``Value(result)``, without the cost of ``__init__``.
                            outcome = _new_value(Value)
                            outcome.value = result
                    except BaseException as error:
                        outcome = failure_of(error)
                cell.end()
            except InputCancellation:
                # A strike (an exception that another thread raised in this thread, see
                # ``guards/cells.py``) landed in these lines, and no second one comes.  The input
                # is cancelled, so `settle` ignores `outcome`.
                cell.end()
            effect: Effect | None = None
            lock = self._lock  # not before: the input may have forked, see `_after_fork`
            if not lock.acquire(False):
                acquire_in_turns(lock)
            try:
                ready = self._ready
                # This worker takes the input that `settle` may grant the slot to, so no other
                # worker has to wake for it.
                on_its_way, self._on_its_way = self._on_its_way, True
                settle = self._settle  # in two steps: CPython 3.11 looks up a method otherwise
                following, effects = settle(
                    self._container, input, outcome, None if ready else False
                )
                self._on_its_way = on_its_way
                if following is None and ready:
                    following = self._take()
                if following is not None:
                    if virtual is not None:
                        virtual.begin(following, f"a worker of {self._name}")
                    following.runner = worker
                    # Else nobody would be sent, which saves a call for each input.
                    if (
                        ready
                        and not self._on_its_way
                        and (self._idle or len(self._workers) < self._limit)
                    ):
                        effect = self._send_one()
                elif self._stopping:
                    self._workers.remove(worker)
                    worker.busy = False
                    worker.leaving = True
                else:
                    # Become idle before the caller wakes: the caller may submit again at once,
                    # and would otherwise start a second thread.
                    self._park(worker, True)
                    worker.busy = False
            finally:
                lock.release()
            if input.outcome is not None:  # else the input may run its next attempt by now
                input.args, input.kwargs, input.runner = (), None, None
            ended = None if virtual is None else input
            # The caller may run as soon as it is woken, and this frame must not keep the result
            # then.  Besides, the traceback of an error refers to this frame, through the user's
            # frames: if this frame referred to the error, that cycle would keep the arguments of
            # this input and of the next one until the next garbage collection.
            del input, call, context, result, kind, outcome
            if effect is not None:
                effect()
                del effect
            if effects:
                carry_out(effects)
            del effects
            if virtual is not None and ended is not None:
                if worker.leaving and worker.on_leaving is not None:
                    worker.on_leaving()
                virtual.end(ended)
            del ended
            input = following
            del following

    def _body(self, target: Target, input: Input) -> Any:
        """Run a method, a generator, a wrapped function, or a call with keyword arguments."""
        args: tuple[Any, ...] = input.args
        if target.is_method:
            args = (self.instance, *args)
        kwargs = input.kwargs or {}
        stream = stream_of(input.call) if target.is_generator else None
        function = target.function
        if self._around is not None:
            function = self._around(input, function)
        del input  # refers to the error, whose traceback refers to this frame: a cycle
        result = function(*args, **kwargs)
        if stream is None:
            return result
        if not is_iterable(result):
            raise refusal(target.name, target.kind, result)
        return stream.drive(result)

    # -- the end ------------------------------------------------------------------

    def threads(self) -> list[threading.Thread]:
        """Return the threads that this lane started, for the container to join."""
        with self._lock:
            return list(self._threads)

    def places(self) -> list[str]:
        """Return, for each worker that runs an input, the user's line that it is at."""
        with self._lock:
            idents = [
                worker.cell.ident for worker in self._workers if worker.cell.input is not None
            ]
        frames = current_frames()
        places = [place_in_stack(frames.get(ident)) for ident in idents]
        return [place for place in places if place is not None]


def place_of(thread: threading.Thread) -> str:
    """Return the user's line that `thread` is at; if it is in none, the thread's name."""
    frame = current_frames().get(thread.ident or -1)
    return place_in_stack(frame) or f"{thread.name}, which is ending"
