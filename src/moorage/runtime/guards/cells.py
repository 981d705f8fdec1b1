"""Cells: how a sync input is cancelled without harm to any other input.

Owns the cell of each worker thread: whose code the thread runs, for which input, and how far
the cancellation of that input has come.  A worker of ``containers/thread_lane.py`` makes its
cell; the thread lane and the waits of the engine call it.  Begin at `Cell.cancel`, then
`strike`, then `begin` and `end`.

A cancellation has two steps.  `Cell.cancel` sets the flag that `check_cancelled` reads, and
ends the engine's wait that the thread is in, if there is one.  After a grace
(`config.cancel_grace`) comes a *strike*: `Cell.strike` raises InputCancellation in the user's
code, at any instruction, asynchronously (CPython's ``PyThreadState_SetAsyncExc``).

How a strike hits no other code.  The exception lands in the thread some instructions after
another thread sent it.  So a strike is sent under the cell's lock, and only while the cell
says that user code runs.  And code that makes the cell say otherwise, also under the cell's
lock, first lets a strike that is on its way land (`Cell._let_land`).  Hence at most one strike
is sent for each input (a further one only if the first was lost, see `strike_again`).  The
strike lands in the code of that input, or in the engine's lines right before or after it, where
the outcome of the input is already a cancellation.
"""

from __future__ import annotations

import enum
import functools
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Final

from ... import config
from ...exception import InputCancellation
from .. import forking
from ..clocks.clock import Clock, Waiter, system_clock
from ..clocks.stuck import why_blocked
from ..clocks.timekeeper import Timer, process_timekeeper
from ..input import Input
from ..outcome import Failure
from ..real import Real
from ..thread_state import thread_state

# Real seconds after which code that was cancelled in a wait in virtual time is struck, though
# virtual time stands.
COMPUTES: Final = 2.0


class CellState(enum.Enum):
    """Whose code a worker thread runs."""

    ENGINE = "engine"  # code of moorage, which a strike must not hit
    USER = "user"  # code of the input, which a strike may hit


ENGINE: Final = CellState.ENGINE
USER: Final = CellState.USER


class Cell:
    """The cancel cell of one worker thread, and its guard in uninterruptible regions."""

    # No short waits at first: `cancel` always wakes the waiter.
    first_waits: ClassVar[tuple[float, ...]] = ()

    __slots__ = (
        "_clock",
        "_depth",
        "_due",
        "_grace",
        "_raised",
        "_sent",
        "cancelled",
        "ident",
        "input",
        "lock",
        "shield",
        "state",
        "task_waits",
        "waiter",
    )

    def __init__(self, clock: Clock = system_clock) -> None:
        self._clock = clock
        # What the tasks of `input` wait for, if `input` runs an event loop on this thread, with
        # asyncio.run for example; see ``waiting/waits.py``.  Written by this thread, read by any.
        self.task_waits: Any = None
        # Guards all fields below.  The lock of a virtual clock may be taken while this lock is
        # held, to wake `waiter`; no other lock may.
        self.lock: threading.Lock = Real.Lock()
        self.ident: int = 0  # the thread's ident, set by `bind_cell`
        self.state: CellState = ENGINE
        self.input: Input | None = None  # None outside of user code
        self.shield: int = 0  # depth of `shield` blocks; while above 0, cancellation is deferred
        self.waiter: Waiter | None = None  # the engine's wait that this thread is in
        # True from the cancel of `input` until its code has ended.
        self.cancelled: bool = False
        self._depth = 0  # depth of uninterruptible regions within the user's code
        # True once InputCancellation was raised or sent for `input`: no further strike is sent.
        self._raised = False
        self._sent = False  # a strike was sent, and may still be on its way
        # A strike was due in an uninterruptible region or a `shield` block, and is raised at
        # the end of it.
        self._due = False
        # The end of the grace by a virtual clock.
        self._grace: Timer | None = None

    # -- the worker -----------------------------------------------------------

    def begin(self, input: Input) -> bool:
        """Begin the user code of `input`; false if `input` is cancelled and must not run."""
        lock = self.lock
        # ``with lock:`` takes twice as long.  It is needed where a strike may land between the
        # two lines, which it does not before the state is USER.
        lock.acquire()
        try:
            self.input = input
            self.shield = 0
            # The pool sets `input.cancellation` under its lock, then calls `cancel`.  So either
            # this line sees the cancellation, or `cancel` finds this cell at this input.
            self.cancelled = cancelled = input.cancellation is not None
            if not cancelled:
                self.state = USER
        finally:
            lock.release()
        return not cancelled

    def end(self) -> None:
        """End the user code of the input.

        Raises:
            InputCancellation: if a strike was on its way.  The cell is unchanged then; call
                `end` again, no second strike comes.
        """
        with self.lock:
            if self._sent:
                self._let_land()
            self.state = ENGINE
            self.input = None
            self.task_waits = None
            if self.cancelled:
                self._depth = 0
                self._raised = self._sent = self._due = False
                if self._grace is not None:
                    self._grace.cancel()
                    self._grace = None

    # -- the canceller, on any thread -----------------------------------------

    def cancel(self, input: Input) -> None:
        """Set the flag for `input`, end the engine's wait that it is in, and plan a strike.

        Does nothing if the thread runs another input by now.
        """
        grace = None if input.call.target.is_cooperative else config.cancel_grace
        participants = self._clock.participants
        failure = input.cancellation
        if participants is not None and isinstance(failure, Failure) and failure.note is None:
            # Before the wake-up, after which the input's place is lost.
            failure.note = why_blocked(self.waiter, self.ident)
        timer: Timer | None = None
        with self.lock:
            if self.input is not input:
                return
            self.cancelled = True
            if participants is not None and grace is not None:
                when = self._clock.now() + grace
                timer = self._clock.call_when_past(when, partial(self.strike, input))
                self._grace = timer
            if self.waiter is not None and self.shield == 0:
                self.waiter.wake()
        if grace is None:
            return
        if participants is None or timer is None:
            system_clock.call_at(system_clock.now() + grace, partial(self.strike, input))
            return
        # By the virtual clock, so that each run of a test is the same.  But virtual time stands
        # while the thread computes, so there is a limit in real time too: the grace, if the
        # thread computes now; else longer, as the thread computes when its wait has ended.
        of = timer
        limit = grace if participants.runs(input) else max(grace, COMPUTES)
        system_clock.call_at(system_clock.now() + limit, lambda: self._strike_at_last(of))

    def _strike_at_last(self, grace: Timer) -> None:
        """Strike the input whose grace in virtual time this is, if its code still runs."""
        with self.lock:
            input = self.input if self._grace is grace else None
        if input is not None:
            self.strike(input)

    def strike(self, input: Input) -> None:
        """Raise InputCancellation in the user's code of `input`, if that code still runs."""
        send = _sender()
        with self.lock:
            if self.input is not input or self._raised:
                return
            if self.state is USER and not self.shield:
                if send is not None:
                    send(self.ident)
                    self._raised = self._sent = True
            else:
                self._due = True

    def may_strike(self) -> bool:
        input = self.input
        return (
            input is not None
            and config.cancel_grace is not None
            and not input.call.target.is_cooperative
        )

    def strike_again(self) -> None:
        """Send the strike once more, soon: it landed where it cannot be raised.

        For example in a finalizer, out of which Python lets no exception go.
        """
        with self.lock:
            input = self.input
            self._raised = self._sent = False
        if input is not None:
            process_timekeeper.post(lambda: self.strike(input))

    # -- the guard (see `Guard` in ``thread_state.py``), and calls from user code -----------

    def enter(self) -> None:
        with self.lock:
            if self._sent:
                self._let_land()
            self.state = ENGINE
            self._depth += 1

    def exit(self) -> None:
        with self.lock:
            self._depth -= 1
            if self._depth or self.input is None:
                return
            self.state = USER
            if not self._due or self.shield:
                return
            self._due = False
            self._raised = True
        raise InputCancellation

    def begin_wait(self, waiter: Waiter, /) -> None:
        self.enter()
        with self.lock:
            if not self.cancelled or self.shield:
                self.waiter = waiter
                return
            self._raised = True
        self.exit()
        raise InputCancellation

    def end_wait(self) -> None:
        with self.lock:
            self.waiter = None
            cancelled = self.cancelled and self.shield == 0
            if cancelled:
                self._raised = True
        self.exit()
        if cancelled:
            raise InputCancellation

    def check(self) -> None:
        """Raise InputCancellation if the input is cancelled and not shielded."""
        with self.lock:
            if self._sent:
                self._let_land()
            if not self.cancelled or self.shield:
                return
            self._raised = True
        raise InputCancellation

    def add_shield(self) -> None:
        with self.lock:
            if self._sent:
                self._let_land()
            self.shield += 1

    def drop_shield(self) -> None:
        with self.lock:
            self.shield = max(0, self.shield - 1)
            if self.shield or not self._due or self.state is ENGINE:
                return
            self._due = False
            self._raised = True
        raise InputCancellation

    def _let_land(self) -> None:
        """Let a strike that is on its way land here; afterwards none is on its way.

        The interpreter looks for a pending exception whenever a Python function begins.

        Raises:
            InputCancellation: if a strike was on its way.
        """
        _nothing()
        self._sent = False

    def __repr__(self) -> str:
        return f"<Cell {self.state.value}, input {self.input!r}, cancelled {self.cancelled}>"


def _nothing() -> None:
    pass


@functools.cache
def _sender() -> Callable[[int], object] | None:
    """Return the function that raises InputCancellation, soon, in the thread with an ident.

    None if this Python cannot do so.
    """
    try:
        import ctypes

        send = ctypes.pythonapi.PyThreadState_SetAsyncExc
    except (ImportError, AttributeError):  # pragma: no cover - not CPython, or without ctypes
        return None
    kind = ctypes.py_object(InputCancellation)
    return lambda ident: send(ctypes.c_ulong(ident), kind)


def bind_cell(cell: Cell | None) -> None:
    """Make `cell` the cell and the guard of this thread; None for no guard."""
    if cell is not None:
        cell.ident = Real.get_ident()
    thread_state.guard = cell


def strike_again() -> None:
    """Call `Guard.strike_again` of this thread; for code that caught a strike in a finalizer."""
    if thread_state.guard is not None:
        thread_state.guard.strike_again()


def current_cell() -> Cell | None:
    """Return the cell of this thread; None if the thread is not a worker."""
    guard = thread_state.guard
    return guard if isinstance(guard, Cell) else None


def _after_fork() -> None:
    """Unbind the cell in a forked child, whose thread is not a worker of any container."""
    cell = current_cell()
    if cell is not None:
        # Renew the lock in place: the worker's code still refers to this cell, and may use it.
        forking.renew(cell.lock)
        cell.cancelled = False
        cell.waiter = None
        thread_state.guard = None


forking.in_child(_after_fork)
