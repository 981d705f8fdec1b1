"""The task lane: runs the asynchronous inputs of one container on its loop.

Owns the queue of inputs that hold a slot and wait for a task, and the bell
that wakes the loop for them; both guarded by the pool's lock, which is passed
in.  The container makes it, on the thread of its loop, and calls it; it
reports back through the `settle` callable.

One task is made for each input, when it has a slot, in the input's own
context.  The task runs the user's coroutine, settles the input, and starts the
task of the input that the settling granted, with no detour through the pool.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final, cast

from ... import config
from ...exception import ExecutionError
from .. import forking
from ..captured import decimal_context, own_decimal_context
from ..clocks.clock import Clock, acquire_in_turns
from ..context import running_input
from ..effects import Around, Effect, Settle, carry_out, end_child
from ..input import Input, InputState
from ..outcome import Outcome, Value, failure_of
from ..real import Real
from .loopwatch import LoopWatch
from .streaming import stream_of

# Inputs started in a row before the loop gets a turn for everything else.
STARTS_PER_TURN: Final = 128

_GRANTED: Final = InputState.GRANTED
_RUNNING: Final = InputState.RUNNING
_SETTLED: Final = InputState.SETTLED


class Bell:
    """Wakes a loop from any thread, for less than its own wake-up costs.

    An eventfd where there is one, else a socket pair.  Ringing twice before
    the loop looks wakes it once.
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
        except BlockingIOError:  # pragma: no cover - full: rung often enough
            pass

    def hush(self) -> None:
        """Take the rings out; the loop calls it before it looks."""
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


class InputTask(asyncio.Task[None]):
    """The task of one input, which settles it however it ends.

    A plain task that is cancelled before its first step never enters its
    coroutine, and its input would be lost: this one enters it, and ends there.
    Any code on the loop may cancel all tasks it finds, so it is not enough
    that ours does not.
    """

    cancelled_early: bool = False
    # Of this task and those that its input has made; made by ``waits.py`` when needed.
    task_waits: Any = None
    # Guarded by the pool's lock, as `shield` may be used in another thread.
    shields: int = 0  # blocks that hold the input's cancellation off
    cancel_due: bool = False  # it came meanwhile

    def cancel(self, msg: object = None) -> bool:
        coroutine: Any = self.get_coro()
        if Real.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
            self.cancelled_early = True
            return True
        return super().cancel(msg)

    def drop_shield(self, lock: threading.Lock) -> None:
        """A `shield` block has ended; a cancellation that came meanwhile comes now."""
        with lock:
            self.shields -= 1
            due = self.cancel_due and not self.shields
            if due:
                self.cancel_due = False
        if not due:
            return
        loop = self.get_loop()
        if Real._get_running_loop() is loop:
            self.cancel()
        else:
            try:
                loop.call_soon_threadsafe(self.cancel, context=Context())
            except RuntimeError:
                pass  # the loop is closed, and this task with it


def stop_inherited(loop: asyncio.AbstractEventLoop) -> None:
    """In a child that was forked on the thread of `loop`: let it run nothing more.

    What is due on it would run here a second time.  The input in which the
    child was forked goes on until it awaits; then the loop takes the next thing
    that is due, and finds the end of the child.
    """
    found: object = getattr(loop, "_ready", None)  # that of asyncio's own loops
    if isinstance(found, deque):
        ready = cast("deque[asyncio.Handle]", found)
        forking.keep(list(ready))
        ready.clear()
        ready.append(Real.Handle(_end_awaiting, (), loop, Context()))


def _end_awaiting() -> None:
    forking.end_child(
        ExecutionError(
            "a child that was forked in asynchronous code awaited, and its event loop stayed "
            "behind; call .remote(...) there, and end it with os._exit(0)"
        )
    )


class TaskLane:
    """The asynchronous inputs of one container.  Made on its loop's thread."""

    def __init__(
        self,
        *,
        lock: threading.Lock,
        clock: Clock,
        settle: Settle,
        container: object,
        loop: asyncio.AbstractEventLoop,
        around: Around | None = None,
    ) -> None:
        self._lock = lock
        self._settle = settle
        self._container = container  # only handed on to `settle`
        self._loop = loop
        self._around = around
        self.instance: object = None
        # A virtual loop must be known to be busy before it is woken.
        self._mark_busy: Callable[[], None] | None = (
            getattr(loop, "mark_busy", None) if clock.virtual else None
        )
        self._mark_sent: Callable[[], None] | None = (
            getattr(loop, "mark_sent", None) if clock.virtual else None
        )
        # Guarded by the pool's lock.
        # Granted, waiting for a task, first in, first out.  Those that were cancelled
        # meanwhile are SETTLED, and passed over by `_take`.
        self._ready: deque[Input] = deque()
        # Invariant: if _ready is not empty, the loop's thread is awake: the
        # bell was rung since it last found _ready empty, or it is in this
        # class's code and will look before it leaves.
        self._awake = False
        # Invariant: once true, for ever, and the bell is not rung any more.
        self._closed = False

        # Touched by the loop's thread only.
        # True while tasks are made.  Whoever settles an input in there starts nothing: the
        # outermost call does.
        self._starting = False
        slow = config.slow_loop_seconds
        self._watch: LoopWatch | None = (
            None if slow is None else LoopWatch(loop, Real.get_ident(), slow)
        )
        self._bell = Bell()
        loop.add_reader(self._bell.fileno, self._answer)

    def _after_fork(self, *, here: bool) -> None:
        """In a forked child; `here`: the child's thread is that of the loop.

        The descriptors are shared with the parent: the bell is closed and never
        rung here, and the loop, whose selector is shared too, does nothing more.
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
        """Take a granted input; return how to wake the loop for it, if it must be."""
        self._ready.append(input)
        if self._awake:
            return None
        self._awake = True
        return self._ring

    def cancel(self, input: Input) -> Effect | None:
        """How to cancel the task of a running input; None if that will see by itself.

        The task, not whichever the input has later:
            1. an attempt runs out of time, and its cancel is on its way to the loop,
            2. it ends, and is tried again, in a task of its own,
            3. the cancel arrives.
        """
        task: InputTask | None = input.runner
        if task is None:
            return None  # not made yet: it looks for the cancellation when it begins
        return lambda: self._call_soon(self._cancel_task, task)

    # -- from any thread, without a lock ----------------------------------------

    def _ring(self) -> None:
        if self._mark_busy is not None:
            self._mark_busy()
        with self._lock:
            # The loop's owner closes the bell under the lock: its descriptor
            # may be another file's by now.
            if not self._closed:
                self._bell.ring()
        if self._mark_sent is not None:
            self._mark_sent()

    def _call_soon(self, callback: Callable[[InputTask], object], task: InputTask) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, task, context=Context())
        except RuntimeError:
            pass  # the loop is closed; its container has settled what was left

    # -- on the loop's thread -----------------------------------------------------

    def _cancel_task(self, task: InputTask) -> None:
        with self._lock:
            if task.shields:
                task.cancel_due = True
                return
        task.cancel()

    def _answer(self) -> None:
        self._bell.hush()
        self._start_ready()

    def _start_ready(self) -> None:
        # Were a task ever to run, and settle, inside _start, as eager tasks
        # do: what that grants is started here, in this loop, not by recursion.
        if self._starting:
            return
        self._starting = True
        try:
            for _ in range(STARTS_PER_TURN):
                with self._lock:
                    input = self._take()
                    # From here on whoever places an input rings, unless there
                    # is more to start.
                    self._awake = more = bool(self._ready)
                if input is not None:
                    self._start(input)
                if not more and not self._ready:
                    return
        finally:
            self._starting = False
        # Still awake: whoever places an input meanwhile need not ring.
        self._loop.call_soon(self._start_ready, context=Context())

    def _take(self) -> Input | None:
        ready = self._ready
        while ready:
            input = ready.popleft()
            if input.state is _GRANTED:  # else it was cancelled meanwhile
                input.state = _RUNNING
                return input
        return None

    def _start(self, input: Input) -> None:
        context = input.call.context.copy()
        if decimal_context in context:
            own_decimal_context(context)
        # Made directly: a task factory that user code sets is for its own tasks.
        input.runner = InputTask(self._run(input), loop=self._loop, context=context)
        if self._watch is not None:
            self._watch.begin(input)

    async def _run(self, input: Input) -> None:
        """Run one input in this task, settle it, and start the one that gets its slot."""
        running_input.set(input)
        outcome: Outcome
        try:
            if input.cancellation is not None:
                outcome = input.cancellation
            elif input.runner.cancelled_early:
                raise asyncio.CancelledError
            else:
                target = input.call.target
                function: Callable[..., Any] = target.function
                if self._around is not None:
                    function = self._around(input, function)
                args: tuple[Any, ...] = input.args
                if target.is_method:
                    args = (self.instance, *args)
                kwargs = input.kwargs
                result = function(*args) if kwargs is None else function(*args, **kwargs)
                if target.is_generator:
                    if Real.iscoroutine(result):  # said to give a generator when awaited
                        result = await result
                    await stream_of(input.call).drive_async(result)
                    outcome = Value(None)
                else:
                    outcome = Value(await result)
                del args, kwargs, result
        except BaseException as error:
            # Also what would stop the loop: that is the container's, not this input's.
            outcome = failure_of(error)
        if self._watch is not None:
            self._watch.end(input)
        if input.state is _SETTLED:
            # Its container gave it up at the end of its own grace, and this
            # coroutine is only now collected, maybe under somebody's lock.
            return
        lock = self._lock
        if not lock.acquire(False):
            acquire_in_turns(lock)
        try:
            # This task takes what the settling may grant: no need to ring.
            awake, self._awake = self._awake, True
            nested = self._starting
            following, effects = self._settle(
                self._container, input, outcome, None if nested or self._ready else True
            )
            if following is None and not nested:
                following = self._take()
            self._awake = awake
        finally:
            lock.release()
        if input.outcome is not None:  # else it may be under way again
            input.args, input.kwargs, input.runner = (), None, None
        # They lead to the error, and its traceback, from CPython 3.12 on, through
        # the user's coroutine back to this frame.
        del input, outcome
        if effects:
            carry_out(effects)
        del effects
        if following is not None:
            self._starting = True
            try:
                self._start(following)
            finally:
                self._starting = False
        # Whoever is outermost looks for what was granted on the way.
        if self._ready and not self._starting:
            self._start_ready()

    # -- the end ------------------------------------------------------------------

    def close(self) -> None:
        """Let go of the loop.  On its thread, when no input is left to run."""
        self._loop.remove_reader(self._bell.fileno)
        if self._watch is not None:
            self._watch.close()
        with self._lock:
            self._closed = True
            self._bell.close()
