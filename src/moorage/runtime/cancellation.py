"""Cells: what it takes to cancel a synchronous input without harming another.

Owns the cell of each worker thread: whether user code or ours runs on it, the
shield, the flag that a cancel sets, and the wait of ours that the thread sits
in.  A cell's fields are guarded by its own lock, a leaf.  Workers note in it
that they enter and leave user code; every blocking wait of ours goes through
:func:`park`, so that a cancelled input leaves that wait at once.
"""

from __future__ import annotations

import enum
import threading
from typing import Final

from ..exception import InputCancellation
from . import forking
from .clock import Clock, Waiter
from .input import Input


class CellState(enum.Enum):
    """Whose code a worker thread runs."""

    OURS = "ours"  # an exception from outside must not strike here
    USER = "user"


OURS: Final = CellState.OURS
USER: Final = CellState.USER


class Cell:
    """The cancel cell of one worker thread."""

    __slots__ = ("cancelled", "input", "lock", "shield", "state", "waiter")

    def __init__(self) -> None:
        self.lock: threading.Lock = threading.Lock()
        self.state: CellState = OURS
        self.shield: int = 0  # depth; cancellation waits while it is above 0
        self.input: Input | None = None
        # True from the cancel of `input` until the thread takes its next input.
        self.cancelled: bool = False
        self.waiter: Waiter | None = None  # the wait of ours this thread sits in

    def cancel(self, input: Input) -> None:
        """Set the flag for `input`, and end the wait of ours that it sits in."""
        with self.lock:
            # The thread may be at its next input by now.
            if self.input is not input:
                return
            self.cancelled = True
            if self.waiter is not None and self.shield == 0:
                self.waiter.wake()

    def __repr__(self) -> str:
        return f"<Cell {self.state.value}, input {self.input!r}, cancelled {self.cancelled}>"


class _ThreadState(threading.local):
    cell: Cell | None = None


_this_thread: Final = _ThreadState()


def bind_cell(cell: Cell | None) -> None:
    """Make `cell` the cell of this worker thread."""
    _this_thread.cell = cell


def current_cell() -> Cell | None:
    """The cell of this thread if it is a worker, else None."""
    return _this_thread.cell


def _after_fork() -> None:
    """In a forked child: its thread is nobody's worker, and no cancel finds it."""
    cell = _this_thread.cell
    if cell is not None:
        # In its place: the worker's code knows it, and may come back to it.
        forking.renew(cell.lock)
        cell.cancelled = False
        cell.waiter = None
        _this_thread.cell = None


forking.in_child(_after_fork)


def park(clock: Clock, waiter: Waiter, timeout: float | None = None) -> bool:
    """Wait until `waiter` is woken; false if `timeout` seconds pass first.

    Every blocking wait on behalf of a caller comes here.

    Raises:
        InputCancellation: if this thread runs an input that is cancelled,
            before or during the wait.
    """
    cell = _this_thread.cell
    if cell is None:
        return clock.wait(waiter, timeout)
    with cell.lock:
        if cell.cancelled and cell.shield == 0:
            raise InputCancellation
        cell.waiter = waiter
        state, cell.state = cell.state, OURS
    try:
        woken = clock.wait(waiter, timeout)
    finally:
        with cell.lock:
            cell.waiter = None
            cell.state = state
            cancelled = cell.cancelled and cell.shield == 0
    if cancelled:
        raise InputCancellation
    return woken
