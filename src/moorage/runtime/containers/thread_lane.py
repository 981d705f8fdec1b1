"""The thread lane: runs the synchronous inputs of one container on its workers.

Owns the container's worker threads (at most as many as slots), the queue of
inputs that hold a slot and wait for a thread, and who is woken for them.  All
of that is guarded by the pool's lock, which is passed in.  The container calls
it; it reports back through the `settle` callable.

How threads wake: idle workers lie on a stack, each with its own lock (the
*bell*), so the warmest is taken.  At most one worker is *on its way* at a
time; when it takes an input and sees more, it sends the next.  So trivial
inputs stay on one or two warm threads, while blocking ones fan out.  Workers
that lie idle for long end: see ``idle_threads.py``.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context
from functools import partial
from typing import Any, Final

from ...exception import InputCancellation
from ..captured import decimal_context, own_decimal_context
from ..clocks.clock import Clock, acquire_in_turns
from ..context import running_input
from ..effects import Around, Effect, Settle, carry_out, end_child
from ..guards.cells import Cell, bind_cell
from ..input import Input, InputState, Target
from ..outcome import Cancelled, Outcome, Value, failure_of
from ..places import place_in_stack
from ..real import Real
from ..stacks import current_frames
from .idle_threads import IdleThreads
from .streaming import stream_of

logger: Final = logging.getLogger("moorage")


_NOT_RUN: Final = Cancelled("the input was cancelled before it ran")
_set_running: Final = running_input.set
_GRANTED: Final = InputState.GRANTED
_RUNNING: Final = InputState.RUNNING


class Worker:
    """One thread that runs inputs.  Parked while its bell is held."""

    __slots__ = (
        "bell",
        "busy",
        "cell",
        "dismissed",
        "leaving",
        "on_leaving",
        "parked_at",
        "stays",
    )

    def __init__(self, *, stays: bool = False) -> None:
        # Invariant: held while the worker runs or is parked.  Whoever takes the worker from
        # the idle stack releases it, once.
        self.bell: threading.Lock = Real.Lock()
        self.bell.acquire()
        # The container's thread T stays: what `enter` has made may be bound to it.
        self.stays: bool = stays
        # See `Parking`.
        self.parked_at: float = math.inf
        self.dismissed: bool = False
        self.cell: Cell = Cell()
        self.busy: bool = False  # runs an input; guarded by the pool's lock
        self.leaving: bool = False  # touched by its own thread only
        # Called when it ends after an input, before the input's end is known.
        self.on_leaving: Callable[[], object] | None = None


class ThreadLane:
    """The synchronous inputs of one container."""

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
        self._virtual = clock.participants
        self._settle = settle
        self._container = container  # only handed on to `settle`
        self._limit = limit
        self._name = name
        self._around = around
        self.instance: object = None  # set before the container becomes ready
        # All below guarded by the pool's lock.
        # Granted, waiting for a thread, first in, first out.  Those that were cancelled
        # meanwhile are SETTLED, and passed over by `_take`.
        self._ready: deque[Input] = deque()
        self._resting: IdleThreads[Worker] = IdleThreads(lock, self._dismissed)
        # The same list.  Invariant: each of its workers is parked, or about to be, and holds
        # no input.
        self._idle: Final = self._resting.stack
        # Invariant: those that run, are parked, or are on their way; at most `limit`.
        self._workers: list[Worker] = []
        # Invariant: if _ready is not empty and a worker is parked or may be
        # made, then one is on its way.  A worker that settles an input is on its way too:
        #     1. a worker's input ends, and the worker takes the lock,
        #     2. the pool grants the slot to a further input, and calls `place`: no other
        #        worker is woken,
        #     3. this worker takes that input, and sends another if there are more.
        self._on_its_way = False
        self._stopping = False  # once true, for ever
        # Those made here.  Dead ones are taken out before they are the most of it.
        self._threads: list[threading.Thread] = []

    def _after_fork(self) -> None:
        """In a forked child: the input in which it was forked ends the child when it ends."""
        self._lock = Real.Lock()
        self._settle = end_child

    # -- called by the container, under the pool's lock -------------------------

    def place(self, input: Input) -> Effect | None:
        """Take a granted input; return how to wake a thread for it, if one must be."""
        self._ready.append(input)
        if self._virtual is not None:
            self._virtual.begin(input, f"a worker of {self._name}")
        return self._send_one()

    def stop(self) -> list[Effect]:
        """Let the workers end once they have nothing to run; return how to wake them."""
        self._stopping = True
        return [worker.bell.release for worker in self._resting.stop()]

    def cancel(self, input: Input) -> Effect | None:
        """How to flag a running input as cancelled, and end its wait of ours."""
        worker: Worker | None = input.runner
        return None if worker is None else partial(worker.cell.cancel, input)

    def _send_one(self) -> Effect | None:
        if self._on_its_way:
            return None
        if self._idle:
            self._on_its_way = True
            return self._idle.pop().bell.release
        if len(self._workers) < self._limit and not self._stopping:
            self._on_its_way = True
            worker = Worker()
            self._workers.append(worker)
            return lambda: self._spawn(worker)
        # Every worker runs an input, and takes its next from _ready.
        return None

    def _take(self) -> Input | None:
        ready = self._ready
        while ready:
            input = ready.popleft()
            if input.state is _GRANTED:  # else it was cancelled meanwhile
                input.state = _RUNNING
                return input
            if self._virtual is not None:
                self._virtual.end(input)
        return None

    # -- threads ----------------------------------------------------------------

    def _spawn(self, worker: Worker) -> None:
        thread = Real.Thread(
            target=self._arrive, args=(worker,), name=f"{self._name}-worker", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            # Out of threads.  Workers that run take the input when they are
            # done; if there are none, its caller must hear of it.
            self._spawn_failed(worker, error)
            return
        dead: list[threading.Thread] = []  # let go of without the lock
        with self._lock:
            threads = self._threads
            threads.append(thread)
            # Workers that end leave their threads here.
            if len(threads) > 2 * len(self._workers) + 8:
                dead, self._threads = threads, [one for one in threads if one.is_alive()]
        del dead

    def _dismissed(self, workers: Sequence[Worker]) -> None:
        """These workers were idle for long, and end.  Under the lock."""
        self._workers = [worker for worker in self._workers if not worker.dismissed]

    def _spawn_failed(self, worker: Worker, error: RuntimeError) -> None:
        effects: list[Effect] = []
        with self._lock:
            self._workers.remove(worker)
            self._on_its_way = False
            if not self._workers:
                failure = failure_of(error)
                while (input := self._take()) is not None:
                    effects.extend(self._settle(self._container, input, failure, None)[1])
                    if self._virtual is not None:
                        self._virtual.end(input)
            elif self._ready and self._idle:
                # It parked, and this one's coming kept others from being sent.
                effect = self._send_one()
                assert effect is not None
                effects.append(effect)
        carry_out(effects)

    def expect_here(self) -> Worker:
        """Count the calling thread as the first worker, about to come to `work_here`.

        Before the container becomes ready: its first input must not make
        another thread, for this one holds the state that `enter` bound to it.
        """
        worker = Worker(stays=True)
        with self._lock:
            self._workers.append(worker)
            self._on_its_way = True
        return worker

    def work_here(self, worker: Worker) -> None:
        """Be that worker, on the calling thread, until the lane is stopped."""
        try:
            self._arrive(worker)
        finally:
            bind_cell(None)  # the exit hooks that follow belong to no input

    def _arrive(self, worker: Worker) -> None:
        """Take inputs, now and whenever the bell is rung, until stopped or dismissed.

        The bell may be rung before the worker waits for it:
            1. this worker is put on the idle stack, and lets the lock go,
            2. another thread takes it off, and releases the bell,
            3. this worker acquires the bell, which does not block, and looks again.
        """
        bind_cell(worker.cell)
        parked = self._resting.parked
        while True:
            effect: Effect | None = None
            with self._lock:
                self._on_its_way = False
                input = self._take()
                if input is None:
                    if self._stopping:
                        self._workers.remove(worker)
                        return
                    self._idle.append(worker)
                else:
                    input.runner = worker
                    worker.busy = True
                    if self._ready:
                        effect = self._send_one()
            if effect is not None:
                effect()
            while input is not None:
                input = self._run(worker, input)
            if worker.leaving:
                return
            # Parked: on the idle stack since the lock was let go.
            parked(worker)
            worker.bell.acquire()
            if worker.dismissed:
                return

    def _run(self, worker: Worker, input: Input) -> Input | None:
        """Run one input and settle it; return the next one to run, if any."""
        virtual = self._virtual
        if virtual is not None:
            virtual.bind_thread(input)
        cell = worker.cell
        call = input.call
        target = call.target
        context: Context | None = None
        outcome: Outcome = _NOT_RUN
        try:
            # User code begins, as far as anyone who cancels is concerned.  If it was
            # cancelled on its way here, it never runs.
            if cell.begin(input):
                try:
                    context = call.context.copy()
                    if decimal_context in context:
                        own_decimal_context(context)
                    context.run(_set_running, input)
                    if target.is_plain and input.kwargs is None and self._around is None:
                        outcome = Value(context.run(target.function, *input.args))
                    else:
                        outcome = Value(context.run(self._body, target, input))
                except BaseException as error:
                    outcome = failure_of(error)
            cell.end()
        except InputCancellation:
            # A strike landed in these lines, and it was the only one.  Its input is
            # cancelled, and the outcome is not looked at.
            cell.end()
        effect: Effect | None = None
        lock = self._lock
        if not lock.acquire(False):
            acquire_in_turns(lock)
        try:
            ready = self._ready
            # This worker is about to take what the settling may grant, so no
            # other has to be woken for it.
            on_its_way, self._on_its_way = self._on_its_way, True
            following, effects = self._settle(
                self._container, input, outcome, None if ready else False
            )
            self._on_its_way = on_its_way
            if following is not None:
                if virtual is not None:
                    virtual.begin(following, f"a worker of {self._name}")
            else:
                following = self._take()
            if following is not None:
                following.runner = worker
                if ready:
                    effect = self._send_one()
            elif self._stopping:
                self._workers.remove(worker)
                worker.busy = False
                worker.leaving = True
            else:
                # Idle before the caller is woken: it may submit again at
                # once, and would otherwise start a second thread.
                self._idle.append(worker)
                worker.busy = False
        finally:
            lock.release()
        if input.outcome is not None:  # else it may be under way again
            input.args, input.kwargs, input.runner = (), None, None
        if effect is not None:
            effect()
        if effects:
            carry_out(effects)
        if virtual is not None:
            if worker.leaving and worker.on_leaving is not None:
                worker.on_leaving()
            virtual.end(input)
        try:
            return following
        finally:
            # The traceback of an error leads to this frame, by way of the user's:
            # if these led back, it would live until the next collection, and with
            # it the arguments of this input and of the next.
            del input, call, context, outcome, following

    def _body(self, target: Target, input: Input) -> Any:
        """What is not just a function with positional arguments."""
        args: tuple[Any, ...] = input.args
        if target.is_method:
            args = (self.instance, *args)
        kwargs = input.kwargs or {}
        stream = stream_of(input.call) if target.is_generator else None
        function = target.function
        if self._around is not None:
            function = self._around(input, function)
        del input  # it leads to the error, and the error's traceback to this frame
        result = function(*args, **kwargs)
        return result if stream is None else stream.drive(result)

    # -- the end ------------------------------------------------------------------

    def threads(self) -> list[threading.Thread]:
        """The threads that this lane made, for their owner to join."""
        with self._lock:
            return list(self._threads)

    def places(self) -> list[str]:
        """Where the workers sit that run an input: the user's lines."""
        with self._lock:
            idents = [
                worker.cell.ident for worker in self._workers if worker.cell.input is not None
            ]
        frames = current_frames()
        places = [place_in_stack(frames.get(ident)) for ident in idents]
        return [place for place in places if place is not None]


def place_of(thread: threading.Thread) -> str:
    """Where `thread` sits: the user's line in it; by its name, if there is none."""
    frame = current_frames().get(thread.ident or -1)
    return place_in_stack(frame) or f"{thread.name}, which is at its end"
