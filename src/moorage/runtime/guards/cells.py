"""Cells: what it takes to cancel a synchronous input without harming another.

Owns the cell of each worker thread: whose code runs on it, for which input, and
how far the input's cancellation has come.  There are two rungs.  `Cell.cancel`
sets the flag that `check_cancelled` reads and ends the wait of ours that the
thread sits in; `Cell.strike`, a grace later, raises InputCancellation in the
user's code, wherever that is.

How no other code is struck.  An exception for another thread (CPython's
``PyThreadState_SetAsyncExc``) lands some instructions after it was sent.  So it is
sent under the cell's lock, and only while the cell says that user code runs; and
whoever makes the cell say otherwise, again under its lock, first lets one that is
on its way land (`Cell._let_land`).  Hence at most one is sent for each input, and
it lands in that input's code, or at the very border, where its outcome is known
to be a cancellation already.
"""

from __future__ import annotations

import enum
import functools
import threading
from collections.abc import Callable
from typing import Any, ClassVar, Final

from ... import config
from ...exception import InputCancellation
from .. import forking
from ..clocks.clock import Waiter, system_clock
from ..clocks.timekeeper import process_timekeeper
from ..input import Input
from ..real import Real
from ..thread_state import thread_state


class CellState(enum.Enum):
    """Whose code a worker thread runs."""

    OURS = "ours"  # an exception from outside must not strike here
    USER = "user"


OURS: Final = CellState.OURS
USER: Final = CellState.USER


class Cell:
    """The cancel cell of one worker thread, and its guard in uninterruptible regions."""

    first_waits: ClassVar[tuple[float, ...]] = ()

    __slots__ = (
        "_depth",
        "_due",
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

    def __init__(self) -> None:
        # Of a loop that `input` runs on this thread, as asyncio.run does; see ``waits.py``.
        # Touched by this thread, read by any.
        self.task_waits: Any = None
        # Guards all below.  A leaf, but that a virtual clock's is taken to wake `waiter`.
        self.lock: threading.Lock = Real.Lock()
        self.ident: int = 0  # of the thread, once it is bound
        self.state: CellState = OURS
        self.input: Input | None = None  # None outside of user code
        self.shield: int = 0  # depth; cancellation waits while it is above 0
        self.waiter: Waiter | None = None  # the wait of ours this thread sits in
        # True from the cancel of `input` until its code has ended.
        self.cancelled: bool = False
        self._depth = 0  # of uninterruptible regions within the user's code
        self._raised = False  # it has been told, in one way or another: no strike
        self._sent = False  # a strike was sent, and may still be on its way
        self._due = False  # the strike came while it must not: it is raised afterwards

    # -- the worker -----------------------------------------------------------

    def begin(self, input: Input) -> bool:
        """User code begins for `input`; false if it is cancelled already, and must not run."""
        with self.lock:
            self.input = input
            self.shield = 0
            # Set under the pool's lock before `cancel` is called, so either we see
            # it now or that will find us at this input.
            self.cancelled = cancelled = input.cancellation is not None
            if not cancelled:
                self.state = USER
        return not cancelled

    def end(self) -> None:
        """User code has ended.

        Raises:
            InputCancellation: if a strike was on its way; it was the only one, so
                call this again.
        """
        with self.lock:
            if self._sent:
                self._let_land()
            self.state = OURS
            self.input = None
            self.task_waits = None
            if self.cancelled:
                self._depth = 0
                self._raised = self._sent = self._due = False

    # -- who cancels, on any thread -------------------------------------------

    def cancel(self, input: Input) -> None:
        """Set the flag for `input`, and end the wait of ours that it sits in."""
        with self.lock:
            # The thread may be at its next input by now.
            if self.input is not input:
                return
            self.cancelled = True
            if self.waiter is not None and self.shield == 0:
                self.waiter.wake()
        grace = config.cancel_grace
        if grace is not None and not input.call.target.is_cooperative:
            # Real time, also in virtual runs: a thread that computes takes real time.
            system_clock.call_at(system_clock.now() + grace, lambda: self.strike(input))

    def strike(self, input: Input) -> None:
        """Raise InputCancellation in the user's code for `input`, if it still runs."""
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
        """The strike landed where it cannot be raised: send it once more, soon."""
        with self.lock:
            input = self.input
            self._raised = self._sent = False
        if input is not None:
            process_timekeeper.post(lambda: self.strike(input))

    # -- the guard, and what user code asks -----------------------------------

    def enter(self) -> None:
        with self.lock:
            if self._sent:
                self._let_land()
            self.state = OURS
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
            if self.shield or not self._due or self.state is OURS:
                return
            self._due = False
            self._raised = True
        raise InputCancellation

    def _let_land(self) -> None:
        """Take a strike that is on its way, here; afterwards none is.

        The interpreter looks for one whenever a function begins.
        """
        _nothing()
        self._sent = False

    def __repr__(self) -> str:
        return f"<Cell {self.state.value}, input {self.input!r}, cancelled {self.cancelled}>"


def _nothing() -> None:
    pass


@functools.cache
def _sender() -> Callable[[int], object] | None:
    """Raises InputCancellation in the thread with this ident, soon; None if nothing can."""
    try:
        import ctypes

        send = ctypes.pythonapi.PyThreadState_SetAsyncExc
    except (ImportError, AttributeError):  # pragma: no cover - not CPython, or without ctypes
        return None
    kind = ctypes.py_object(InputCancellation)
    return lambda ident: send(ctypes.c_ulong(ident), kind)


def bind_cell(cell: Cell | None) -> None:
    """Make `cell` the cell, and the guard, of this worker thread."""
    if cell is not None:
        cell.ident = Real.get_ident()
    thread_state.guard = cell


def strike_again() -> None:
    """See `Guard.strike_again`; for code that has caught the strike in a finalizer."""
    if thread_state.guard is not None:
        thread_state.guard.strike_again()


def current_cell() -> Cell | None:
    """The cell of this thread if it is a worker, else None."""
    guard = thread_state.guard
    return guard if isinstance(guard, Cell) else None


def _after_fork() -> None:
    """In a forked child: its thread is nobody's worker, and no cancel finds it."""
    cell = current_cell()
    if cell is not None:
        # In its place: the worker's code knows it, and may come back to it.
        forking.renew(cell.lock)
        cell.cancelled = False
        cell.waiter = None
        thread_state.guard = None


forking.in_child(_after_fork)
