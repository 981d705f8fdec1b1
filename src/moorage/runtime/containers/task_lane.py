"""The task lane: runs the async inputs of one container on the container's loop.

Owns the queue of inputs that hold a slot and wait for a task, and the bell that wakes the
loop for these inputs.  The pool's lock, which is passed in, guards both.  The container makes
the lane on the loop's thread and calls it; the lane reports to the pool through `settle`.

Begin at `TaskLane.place`, then `_start_ready`, then `_run` and `_code`.

The lane makes a task for an input that has a slot.  The task runs the user's coroutine, in the
input's own context, and settles the input.  Settling may grant the slot to another input; the
lane then starts that input at once.  The pool does not have to place it.

The lane runs the first step of a task itself, and does not leave it to the loop: an input that
awaits nothing costs the loop no callback (`TaskLane._start`).  The inputs that end in their first
step follow each other in `_start_ready`, not by recursion; and if the code of one has neither kept
nor changed its task, the next has the same (`_run_in_turn`).
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import os
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextvars import Context
from typing import Any, Final, Protocol, cast
from weakref import getweakrefcount

from ... import config
from ...exception import ExecutionError
from .. import forking
from ..by_hand import ByHand
from ..captured import decimal_context, own_decimal_context
from ..clocks.choices import Choices
from ..clocks.clock import Clock, acquire_in_turns
from ..clocks.first_look import FirstLook, WhyItWaits
from ..clocks.numbered import in_set
from ..context import running_input
from ..effects import Around, Effect, Settle, carry_out, end_child
from ..error_copies import traceback_of
from ..input import Input, InputState, Target
from ..kinds import COROUTINE, FINISHED, is_awaitable, is_iterable, refusal, unfinished
from ..loop_notes import explained
from ..outcome import Failure, Outcome, Value, failure_of
from ..real import Real
from .loopwatch import LoopWatch
from .streaming import stream_of

# Inputs started in a row before the loop gets a turn for everything else.
STARTS_PER_TURN: Final = 128

_new_value: Final[Callable[[type[Value]], Value]] = object.__new__

_GRANTED: Final = InputState.GRANTED
_RUNNING: Final = InputState.RUNNING
_SETTLED: Final = InputState.SETTLED


def move_to_front(inputs: deque[Input], index: int) -> None:
    """Move one input of the queue to its front."""
    input = inputs[index]
    del inputs[index]
    inputs.appendleft(input)


class LoopBell:
    """Wakes an event loop from any thread, cheaper than `call_soon_threadsafe` does.

    The bell is an eventfd on platforms that have it, else a socket pair.  Two rings
    before the loop runs its reader wake the loop once.
    """

    def __init__(self) -> None:
        self._sockets: tuple[socket.socket, socket.socket] | None = None
        if hasattr(os, "eventfd"):
            self.fileno: int = Real.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        else:  # pragma: no cover - macOS
            self._sockets = Real.socketpair()
            for end in self._sockets:
                end.setblocking(False)
            self.fileno = self._sockets[0].fileno()

    def ring(self) -> None:
        try:
            if self._sockets is None:
                Real.eventfd_write(self.fileno, 1)
            else:  # pragma: no cover - macOS
                self._sockets[1].send(b"\0")
        except BlockingIOError:  # pragma: no cover - full, so it has been rung
            pass

    def clear(self) -> None:
        """Remove the rings.  The loop does this before it looks for inputs, so none is missed."""
        try:
            if self._sockets is None:
                Real.eventfd_read(self.fileno)
            else:  # pragma: no cover - macOS
                self._sockets[0].recv(4096)
        except BlockingIOError:
            pass

    def close(self) -> None:
        if self._sockets is None:
            Real.close(self.fileno)
        else:  # pragma: no cover - macOS
            for end in self._sockets:
                end.close()


class Cancels(Protocol):
    """Ends the code that a task runs."""

    def cancel(self) -> object: ...


class InputTask(asyncio.Task[None]):
    """The task of an input.  The task settles the input, however the task ends.

    A plain asyncio task that is cancelled before its first step never enters its
    coroutine, so its input would never be settled.  An InputTask enters the coroutine
    (`TaskLane._run` or `_run_in_turn`), which then settles the input as cancelled.  The engine
    cannot avoid the early cancel: any code on the loop may cancel all tasks that it finds.
    """

    cancelled_early: bool = False  # cancelled before its first step
    # What this task, and the tasks that its input made, wait for.  ``waiting/waits.py`` makes
    # the object when it needs it.
    task_waits: Any = None
    # Guarded by the pool's lock, because `shield` may be used in another thread.
    shields: int = 0  # `shield` blocks in force, which defer the input's cancellation
    cancel_due: bool = False  # a cancellation came while a `shield` block was in force
    # Set by code of this package that the task runs: cancels that code in place of `cancel`.
    # In a slot, because the first attribute would make a dict for each task.
    __slots__ = ("cancels", "own_context")
    cancels: Cancels
    own_context: Context  # that of the input's code, if it is not the task's own
    # Stands for the code that the input has done on a thread: see ``errands.py``.
    errand: Input | None = None
    _is_named: bool = False  # has a name of its own, and not its function's: see `get_name`
    is_changed: bool = False  # an attribute was set, or it was cancelled

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        super().__setattr__("is_changed", True)

    def cancel(self, msg: object = None) -> bool:
        coroutine: Any = self.get_coro()
        if Real.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
            self.cancelled_early = True
            return True
        self.is_changed = True
        return super().cancel(msg)

    if sys.version_info >= (3, 12):

        def get_context(self) -> Context:
            own: Context | None = getattr(self, "own_context", None)
            return super().get_context() if own is None else own

    def get_name(self) -> str:
        """Return the task's name: that of the function, and a number.

        It is made here, because nobody asks most tasks for their names.  A task that is made
        without one makes it at once (before Python 3.13).
        """
        if not self._is_named:
            self.set_name(f"{super().get_name()}-{_next_number()}")
        return super().get_name()

    def set_name(self, value: object, /) -> None:
        self._is_named = True
        super().set_name(value)

    def cancel_input(self) -> None:
        """Cancel the input that this task runs.  On the loop's thread."""
        cancels: Cancels | None = getattr(self, "cancels", None)
        if cancels is None:
            self.cancel()
        else:
            cancels.cancel()

    def drop_shield(self, lock: threading.Lock) -> None:
        """End a `shield` block; if it was the last one, cancel now if a cancellation is due."""
        with lock:
            self.shields -= 1
            due = self.cancel_due and not self.shields
            if due:
                self.cancel_due = False
        if not due:
            return
        loop = self.get_loop()
        if Real._get_running_loop() is loop:
            self.cancel_input()
        else:
            try:
                loop.call_soon_threadsafe(self.cancel_input, context=Context())
            except RuntimeError:
                pass  # the loop is closed, so this task has ended


_set_own_context: Final[Callable[[InputTask, Context], None]] = vars(InputTask)[
    "own_context"
].__set__
_next_number: Final = itertools.count(1).__next__


def _drive(
    context: Context, code: Coroutine[Any, Any, Outcome | None], future: object
) -> Generator[Any, Any, Outcome | None]:
    """Run `code` to its end, each step in `context`; its first step has yielded `future`."""
    while True:
        step: Callable[[Any], object] = code.send
        argument: object
        try:
            argument = yield future
        except GeneratorExit:  # see `_run`
            context.run(code.close)
            raise
        except BaseException as error:
            frames = traceback_of(error)  # the first of them is this one
            BaseException.with_traceback(error, None if frames is None else frames.tb_next)
            step, argument = code.throw, error
            del frames
        del future  # it may refer to a large result, and this frame lives long
        try:
            future = context.run(step, argument)
        except StopIteration as end:
            del context  # refers to the input, and so to its error: see below
            return cast("Outcome | None", end.value)
        finally:
            # An error's traceback refers to this frame: a cycle, if this frame referred to it.
            del step, argument


class NumberedInputTask(InputTask):
    """The task of an input on a loop of a virtual clock: see ``clocks/numbered.py``."""

    _is_named = True  # by its own number

    def __init__(self, coroutine: Any, *, loop: Any, context: Context, name: str) -> None:
        # First: the constructor puts this task in a set.
        self.number: int = loop.next_number()
        self._hash = in_set(self.number, loop)
        super().__init__(coroutine, loop=loop, context=context, name=f"Task-{self.number}")

    def __hash__(self) -> int:
        return self._hash


def stop_inherited(loop: asyncio.AbstractEventLoop) -> None:
    """Stop `loop` in a child process that was forked on the loop's thread.

    The callbacks that are due on the loop belong to the parent, and would run a second
    time in the child.  So this function replaces them by one callback, which ends the
    child.  The input that forked goes on in the child until it awaits; then the loop
    runs that callback.
    """
    found: object = getattr(loop, "_ready", None)  # the due callbacks of asyncio's own loops
    if isinstance(found, deque):
        ready = cast("deque[asyncio.Handle]", found)
        forking.keep(list(ready))
        ready.clear()
        ready.append(Real.Handle(_end_awaiting, (), loop, Context()))


def _end_awaiting() -> None:
    forking.end_child(
        ExecutionError(
            "a child process that was forked in async code used `await`, but its event loop "
            "stayed in the parent; call .remote(...) in the child, and end it with os._exit(0)"
        )
    )


class _NoContext:
    """In place of the context of a callback: it runs in no context of its own."""

    def run(self, callback: Callable[..., object], *args: object) -> object:
        return callback(*args)

    def get(self, variable: object, default: object = None) -> object:
        return default


def let_nest(loop: asyncio.AbstractEventLoop, fileno: int) -> type[asyncio.Handle] | None:
    """Let the reader of `fileno` run within itself; return the class of the loop's handles.

    User code may run its loop within a task, as ``nest_asyncio`` does.  A loop calls a reader in
    one context each time, and nobody can enter a context that he is in.

    None if this is not a loop of asyncio's own, with a selector.
    """
    try:
        handle: Any = cast(Any, loop)._selector.get_key(fileno).data[0]
        handle._context = _NoContext()
    except (AttributeError, KeyError, TypeError):
        return None
    kind = cast("type[asyncio.Handle]", type(handle))
    return kind if kind.__module__ == "asyncio.events" and hasattr(loop, "_ready") else None


class TaskLane:
    """The async inputs of one container.  Made on the loop's thread."""

    def __init__(
        self,
        *,
        lock: threading.Lock,
        clock: Clock,
        settle: Settle,
        container: object,
        loop: asyncio.AbstractEventLoop,
        around: Around | None = None,
        why_it_waits: WhyItWaits | None = None,
    ) -> None:
        self._lock = lock
        self._settle = settle
        self._container = container  # only passed to `settle`
        self._loop = loop
        self._around = around
        self._first_look = None if why_it_waits is None else FirstLook(loop, why_it_waits)
        self.instance: object = None
        # With a virtual clock, the clock must know that the loop is busy before the bell
        # wakes the loop; otherwise virtual time could pass in between.
        self._mark_busy: Callable[[], None] | None = (
            getattr(loop, "mark_busy", None) if clock.virtual else None
        )
        self._mark_sent: Callable[[], None] | None = (
            getattr(loop, "mark_sent", None) if clock.virtual else None
        )
        participants = clock.participants
        # Chooses which of the inputs that were granted together starts first.
        self._choices: Choices | None = None if participants is None else participants.choices
        self._make_task: type[InputTask] = NumberedInputTask if clock.virtual else InputTask
        # Guarded by the pool's lock:
        # The inputs that are GRANTED and wait for a task, first in, first out.  An input that
        # is cancelled in this queue becomes SETTLED; `_take` skips it.
        self._ready: deque[Input] = deque()
        # True if `place` need not ring the bell.
        # Invariant: if _ready is not empty, the loop's thread will look at it.  Either the bell
        # was rung since that thread last found _ready empty, or that thread is in code of this
        # class (or `_start_due` is due on the loop), which looks again before it leaves.
        self._awake = False
        # Invariant: once true, it stays true, and the bell is not rung any more.
        self._closed = False

        # Touched by the loop's thread only:
        # The task whose first step `_start` runs.  If it ends in that step, it may run the
        # next input itself, but makes no task for it: `_start_ready`, which called `_start`, does.
        self._stepping: InputTask | None = None
        # An input that is RUNNING, and whose task is made next, or which has the same task next.
        self._following: Input | None = None
        # The fewest references to a new task that were counted: see `_run_in_turn`.
        self._references = self._weak_references = sys.maxsize
        # How many more inputs start in this turn of the loop.  If none, none is taken: what is
        # granted, and has not begun, can be cancelled at once.
        self._left = 0
        self._is_due = False  # the loop will call `_start_due`
        # The context of the task that is made, whose first step `call_soon` keeps: see `_start`.
        # Other threads may call that meanwhile, by a mistake of the user's, without this context.
        self._making: Context | None = None
        self._step: Callable[[], object] | None = None  # the step that it has kept
        slow = config.slow_loop_seconds
        self._watch: LoopWatch | None = (
            None if slow is None else LoopWatch(loop, Real.get_ident(), slow)
        )
        self._bell = LoopBell()
        loop.add_reader(self._bell.fileno, self._on_ring)
        # Whether this lane runs the first steps of its tasks: not on a loop in virtual time, which
        # chooses the order of the steps, nor on a loop that is not asyncio's own, or on which an
        # enter hook has set something in place of `call_soon`.
        handles: type[asyncio.Handle] | None = None
        if not clock.virtual and "call_soon" not in getattr(loop, "__dict__", {}):
            handles = let_nest(loop, self._bell.fileno)
        self._runs_steps = handles is not None
        self._own_call_soon: object = None
        if handles is not None:
            self._own_call_soon = vars(loop)["call_soon"] = self._make_call_soon(handles)

    def _after_fork(self, *, here: bool) -> None:
        """Disable the lane in a forked child; `here` is true on the loop's thread.

        The child shares file descriptors with the parent.  A ring in the child would wake
        the parent, so the bell is closed here.  The loop's selector is shared too, so the
        loop must not run here any more.
        """
        self._lock = Real.Lock()
        self._settle = end_child
        if not self._closed:
            self._closed = True
            self._bell.close()
        if here:
            stop_inherited(self._loop)

    # -- called by the container, under the pool's lock -------------------------

    def place(self, input: Input) -> Effect | None:
        """Queue a granted input; return the effect that wakes the loop, None if it is awake."""
        self._ready.append(input)
        if self._awake:
            return None
        self._awake = True
        return self._ring

    def cancel(self, input: Input) -> Effect | None:
        """Return the effect that cancels the task of `input`; None if it has no task yet.

        The effect keeps this task, and does not read the input's task later:
            1. an attempt runs out of time, and its cancel is on its way to the loop,
            2. the attempt ends, and the input's next attempt starts, in a new task,
            3. the cancel arrives, and must not cancel the new task.
        """
        task: InputTask | None = input.runner
        if task is None:
            return None  # `_code` looks at `input.cancellation` when it begins
        outcome, look = input.cancellation, self._first_look
        if type(outcome) is Failure and look is not None:  # its time is over
            look.expect(task, outcome)
            return lambda: self._call_soon(self._time_out, task)
        return lambda: self._call_soon(self._cancel_task, task)

    # -- from any thread, without a lock ----------------------------------------

    def _ring(self) -> None:
        if self._mark_busy is not None:
            self._mark_busy()
        lock = self._lock
        if not lock.acquire(False):
            acquire_in_turns(lock)
        try:
            # `close` closes the bell under this lock.  After that the number of the bell's
            # descriptor may belong to another file, so do not write to it.
            if not self._closed:
                self._bell.ring()
        finally:
            lock.release()
        if self._mark_sent is not None:
            self._mark_sent()

    def _call_soon(self, callback: Callable[[InputTask], object], task: InputTask) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, task, context=Context())
        except RuntimeError:
            pass  # the loop is closed; the pool settles the inputs that were left

    # -- on the loop's thread -----------------------------------------------------

    def _cancel_task(self, task: InputTask) -> None:
        with self._lock:
            if task.shields:
                task.cancel_due = True
                return
        task.cancel_input()

    def _time_out(self, task: InputTask) -> None:
        if self._first_look is not None:
            self._first_look.look(slept=False)  # if it could not be the first
        self._cancel_task(task)

    def placing(self, work: Callable[[], object]) -> None:
        """Do `work`, which may place inputs, without a ring for them."""
        with self._lock:
            awake, self._awake = self._awake, True
        try:
            work()
        finally:
            with self._lock:
                self._awake = awake or bool(self._ready)
                is_due = self._awake and not awake
            if is_due:
                self._start_soon()

    def _on_ring(self) -> None:
        self._bell.clear()
        if not self._is_due:  # else not twice in one turn of the loop
            self._start_ready()

    def _start_soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._start_due, context=Context())

    def _start_due(self) -> None:
        self._is_due = False
        self._start_ready()

    def _start_ready(self) -> None:
        """Start `_following`, then the inputs of `_ready`, and those that get their slots.

        An input that ends in its first step may have its slot granted to another input.  That
        one is started by the loop below, not by recursion.
        """
        looks = self._awake  # if true, `place` may not have rung, so look at _ready before leaving
        outer, self._left = self._left, STARTS_PER_TURN
        while self._left:
            input = self._following
            if input is None:
                lock = self._lock
                if not lock.acquire(False):
                    acquire_in_turns(lock)
                try:
                    input = self._take()
                    # If _ready is empty now, `place` must ring for the next input.
                    self._awake = looks = bool(self._ready)
                finally:
                    lock.release()
            self._left -= 1
            if input is not None:
                self._following = input
                del input  # many inputs may have run when `_start` returns
                self._start()
            if (not looks and self._following is None and not self._ready) or self._closed:
                break  # closed: this is a child process, which the input has forked
        else:
            # _awake may be true, so that `place` does not ring: `_start_ready` comes again.
            self._start_soon()
        self._left = outer

    def _take(self) -> Input | None:
        ready = self._ready
        if self._choices is not None and len(ready) > 1:
            move_to_front(ready, self._choices.pick(len(ready)))
        while ready:
            input = ready.popleft()
            if input.state is _GRANTED:  # else the input was cancelled in the queue
                input.state = _RUNNING
                return input
        return None

    def _start(self) -> None:
        """Make the task of `_following`, and run its first step if `_runs_steps`.

        If the function's inputs end in their first step, the task has an empty context of its own,
        and that step may run many of them, each in its context: see `_run_in_turn`.

        A new task has the loop call its first step soon, by ``loop.call_soon``.  While the task
        is made, that keeps the step, and this method runs it.  The step needs no callback of the
        loop then, which costs as much as all else that the loop does for an input.  A task that is
        made with ``eager_start=True`` (Python 3.12) runs its first step before its constructor
        returns: another thread could not cancel the input in that step, because the input does not
        know its task yet.
        """
        input, self._following = self._following, None
        assert input is not None
        target = input.call.target
        # Not if user code has set something in place of `call_soon`, which wants each first step:
        # that is asked when a task is made.
        if (
            self._runs_steps
            and target.ends_at_once
            and vars(self._loop).get("call_soon") is self._own_call_soon
        ):
            run, context = self._run_in_turn, Context()
        else:
            run, context = self._run, input.call.context.copy()
            if decimal_context in context:
                own_decimal_context(context)
        # Not made by loop.create_task: a task factory that user code sets on the loop is for
        # the user's tasks.
        self._making, make_task = context, self._make_task
        task = input.runner = make_task(
            run(input), loop=self._loop, context=context, name=target.name
        )
        self._making = None
        if self._watch is not None:
            self._watch.begin(input)
        step = self._step
        del input  # as in `_run`
        if step is not None:
            self._step = None
            # Not None if the code of an input runs the loop, within its own first step.
            outer, self._stepping = self._stepping, task
            try:
                context.run(step)
            finally:
                self._stepping = outer
        del task, context, step

    def _make_call_soon(self, make: type[asyncio.Handle]) -> Callable[..., asyncio.Handle | None]:
        """Return the ``call_soon`` of the loop, which keeps the first step of a task of this lane.

        For all else it does what the loop's own does, in fewer calls.
        """
        loop: Any = self._loop
        stock, ready = loop.call_soon, loop._ready

        def call_soon(
            callback: Callable[..., object], *args: Any, context: Context | None = None
        ) -> asyncio.Handle | None:
            if context is not None and context is self._making:
                self._step = callback
                return None
            if loop._closed or loop._debug:
                handle: asyncio.Handle = stock(callback, *args, context=context)
                return handle
            handle = make(callback, args, loop, context)
            ready.append(handle)
            return handle

        return call_soon

    async def _run(self, input: Input) -> None:
        """Run one input in this task, settle it, and start the input that gets its slot."""
        task: InputTask = input.runner
        outcome: Outcome | None
        try:
            outcome = await self._code(input)
        except GeneratorExit as error:
            # What the code waits for has failed with it, or the task is collected.  The interpreter
            # closes `_code` for it, and does not throw it in: the outcome of that is lost.
            outcome = None if input.state is _SETTLED else failure_of(error)
        if outcome is None:
            return
        input.call.target.ends_at_once = self._stepping is task
        effects = self._settle_input(task, input, outcome)
        # The caller may run as soon as it is woken, and this frame must not keep the result then.
        # Both refer to an error, too.  From CPython 3.12 on, its traceback refers through the
        # user's coroutine to this frame, which would close a reference cycle.
        del input, outcome
        if effects:
            carry_out(effects)
        del effects
        if self._stepping is not task:
            self._start_within(task)
        del task  # its context refers to the error, too

    async def _run_in_turn(self, input: Input) -> None:
        """Run one input after the other in this task, while each ends in its first step.

        To make a task costs more than all else that the loop does for such an input.  No code can
        tell that another input had the task before: the next input gets it only if none refers to
        it, and none has changed it.
        """
        task: InputTask = input.runner
        target = input.call.target
        references = weak_references = 0
        following: Input | None = input
        while following is not None:
            # Counted in one place only: elsewhere the interpreter may hold references of its own.
            count = sys.getrefcount(task)
            if not references:  # no code of a user has run in this task
                # Without that of the input, and without those of threads that look at all tasks.
                references = self._references = min(self._references, count - 1)
                weak_references = min(self._weak_references, getweakrefcount(task))
                self._weak_references = weak_references
            else:
                if (
                    not self._left
                    or following.call.target is not target  # the task has its name
                    or not target.ends_at_once
                    or count > references
                    or getweakrefcount(task) != weak_references
                    or task.is_changed
                    or task._callbacks
                ):
                    del following
                    return
                self._left -= 1
                self._following = None
                following.runner = task
                if self._watch is not None:
                    self._watch.begin(following)
            input = following
            call = input.call
            context = call.context.copy()
            if decimal_context in context:
                own_decimal_context(context)
            code = self._code(input)
            _set_own_context(task, context)  # past `__setattr__`: this is no change
            outcome: Outcome | None
            try:
                future = context.run(code.send, None)
            except StopIteration as end:
                outcome = end.value
            else:
                target.ends_at_once = False
                try:
                    steps = _drive(context, code, future)
                    del future
                    outcome = await ByHand(steps, code)
                    del steps
                except GeneratorExit as error:  # as in `_run`
                    outcome = None if input.state is _SETTLED else failure_of(error)
            del call, context, code
            if outcome is None:
                return
            effects = self._settle_input(task, input, outcome)
            # As in `_run`.  The context refers to the input, too.
            del input, following, outcome, task.own_context
            if effects:
                carry_out(effects)
            del effects
            if self._stepping is not task:
                self._start_within(task)
                return
            following = self._following

    async def _code(self, input: Input) -> Outcome | None:
        """Run the code of one input, and return how it ended; None if nobody waits for it."""
        running_input.set(input)
        outcome: Outcome
        try:
            if input.cancellation is not None:
                outcome = input.cancellation
            elif self._stepping is not input.runner and input.runner.cancelled_early:
                raise asyncio.CancelledError
            else:
                target = input.call.target
                if target.is_plain and input.kwargs is None and self._around is None:
                    result = target.function(*input.args)  # as `_call`, without its cost
                else:
                    result = self._call(target, input)
                if target.is_generator:
                    if is_awaitable(result):  # an async def with is_generator=True
                        result = await result
                    if not is_iterable(result, asynchronously=True):
                        raise refusal(target.name, target.kind, result)
                    await stream_of(input.call).drive_async(result)
                    outcome = Value(None)
                else:
                    if type(result) is COROUTINE or is_awaitable(result):
                        result = await result
                        kind: type = type(result)  # pyright: ignore[reportUnknownVariableType]
                        if id(kind) not in FINISHED and unfinished(result):
                            raise refusal(target.name, target.kind, result)
                    elif unfinished(result):
                        raise refusal(target.name, target.kind, result)
                    # Else a value: `singledispatch` may have called a plain implementation.
                    # As ``Value(result)``, without the cost of ``__init__``.
                    outcome = _new_value(Value)
                    outcome.value = result
                del result
        except BaseException as error:
            # Also SystemExit and KeyboardInterrupt, which would stop the loop: the loop
            # belongs to the container, and one input must not stop it.
            outcome = explained(failure_of(error))
        if self._watch is not None:
            self._watch.end(input)
        # If it is settled, the container closed its loop before this coroutine ended
        # (`LEFTOVER_GRACE`), and the pool settled the input.  The coroutine ends only now, perhaps
        # in the garbage collector, on a thread that may hold any lock.  So nothing takes a lock.
        is_over = input.state is _SETTLED
        try:
            return None if is_over else outcome
        finally:
            # Both refer to an error, whose traceback refers to this frame: a cycle.
            del input, outcome

    def _settle_input(self, task: InputTask, input: Input, outcome: Outcome) -> Sequence[Effect]:
        """Settle `input`, and let `_following` be the one that comes next, if there is one.

        Returns:
            The effects to carry out.
        """
        lock = self._lock
        if not lock.acquire(False):
            acquire_in_turns(lock)
        try:
            if input.cancellation is not None:
                task.is_changed = True  # its cancel may be on its way
            # `_start_ready` starts the input that `settle` may grant the slot to: `place` need
            # not ring for it.
            awake, self._awake = self._awake, True
            is_next = self._following is None and not self._ready
            settle = self._settle  # in two steps: CPython 3.11 looks up a method otherwise
            following, effects = settle(self._container, input, outcome, True if is_next else None)
            if following is not None:
                self._following = following
            elif self._stepping is task and self._ready and self._left and self._following is None:
                # `_start_ready`, which called `_start`, need not take the lock for the next one.
                self._following = self._take()
            self._awake = awake
        finally:
            lock.release()
        if input.outcome is not None:  # else the input may run its next attempt by now
            input.args, input.kwargs, input.runner = (), None, None
        return effects

    def _start_within(self, task: InputTask) -> None:
        """Start what is ready, within a later step of `task`."""
        if self._following is None and not self._ready:
            return
        if not self._runs_steps:
            self._start_ready()
            return
        # The first steps of other tasks come within a step of this task.
        Real._leave_task(self._loop, task)
        try:
            self._start_ready()
        finally:
            Real._enter_task(self._loop, task)

    def _call(self, target: Target, input: Input) -> Any:
        """Call a method, a wrapped function, or a function with keyword arguments."""
        function: Callable[..., Any] = target.function
        if self._around is not None:
            function = self._around(input, function)
        args: tuple[Any, ...] = input.args
        if target.is_method:
            args = (self.instance, *args)
        kwargs = input.kwargs or {}
        del input  # refers to the error, whose traceback refers to this frame: a cycle
        return function(*args, **kwargs)

    # -- the end ------------------------------------------------------------------

    def close(self) -> None:
        """Detach the lane from the loop.  On the loop's thread, with no input left to run."""
        self._loop.remove_reader(self._bell.fileno)
        if self._runs_steps:
            vars(self._loop).pop("call_soon", None)
            self._own_call_soon = None  # it refers to this lane: a cycle
        if self._watch is not None:
            self._watch.close()
        with self._lock:
            self._closed = True
            self._bell.close()
