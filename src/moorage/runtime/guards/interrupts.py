"""Interrupts: Ctrl-C in the main thread, deferred while code of ours changes state.

Owns the handler of SIGINT that is installed while a run is open, if Python's own
was in force; any other is left alone.  In an uninterruptible region (``uninterruptible.py``) the
KeyboardInterrupt waits for its end; in a wait, and everywhere else, it comes at
once.  All of it happens on the main thread, which alone runs signal handlers, so
there is no lock.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, ClassVar, Final

from .. import forking
from ..clocks.clock import Waiter
from ..clocks.timekeeper import process_timekeeper
from ..real import Real
from ..thread_state import thread_state
from ..uninterruptible import begins_uninterruptible

_Outer = tuple[int, "_Outer | None"]


class Interrupts:
    """The guard of the main thread."""

    # A signal that comes when the thread has let go of the interpreter, and does not
    # sleep yet, does not end its sleep.  That is a matter of microseconds, or of
    # milliseconds on a busy machine, at the beginning of a wait.
    first_waits: ClassVar[tuple[float, ...]] = (0.05, 1.0)

    def __init__(self) -> None:
        self._depth = 0  # of uninterruptible regions
        # The depth up to which a KeyboardInterrupt may come: that of the wait, if any.
        self._open_to = 0
        # The same of the waits around it: a signal's handler may wait within one.
        self._outer: _Outer | None = None
        self._pending = False
        self._installed = False
        self._leaves = False  # gives SIGINT back at the end of the region

    def install(self) -> None:
        """Take over SIGINT, if this is the main thread and Python's own handler has it."""
        if Real.current_thread() is not Real.main_thread():
            return
        thread_state.guard = self
        self._leaves = False
        if not self._installed and Real.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._installed = True  # before it is: a Ctrl-C may come in between
            Real.set_signal(signal.SIGINT, self._handle)

    def resume(self) -> None:
        """In a forked child, whose main thread may be another than before."""
        self._depth = self._open_to = 0
        self._outer = None
        self._pending = False
        if thread_state.guard is None and self._installed:
            thread_state.guard = self

    def uninstall(self) -> None:
        """Give SIGINT back, unless somebody else has taken it since."""
        if Real.current_thread() is not Real.main_thread() or not self._installed:
            return
        if self._depth:
            self._leaves = True  # what is left of the region is not to be broken either
        else:
            self._give_back()

    def _give_back(self) -> None:
        self._installed = self._leaves = False
        if Real.getsignal(signal.SIGINT) == self._handle:
            Real.set_signal(signal.SIGINT, signal.default_int_handler)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._depth > self._open_to:
            self._pending = True
            return
        if frame is not None and frame.f_code in begins_uninterruptible:
            # A region is about to begin here, or has just ended: it comes once more,
            # in the region or after it.
            self.strike_again()
            return
        # Also if the wait is over just now, before `end_wait` could say so.
        self._open_to = 0
        if self._depth == 0 and Real._get_running_loop() is not None:
            # asyncio.run() would have installed its own, had Python's been in force.
            runner = _runner(frame)
            if runner is not None:
                runner["self"]._on_sigint(signum, frame, runner["task"])
                return
        raise KeyboardInterrupt

    # -- the guard ----------------------------------------------------------------

    def enter(self) -> None:
        self._depth += 1

    def exit(self) -> None:
        if self._leaves and self._depth == 1:
            self._give_back()
        # It may have been installed within the region that ends.
        self._depth = max(0, self._depth - 1)
        self._raise_pending()

    def begin_wait(self, waiter: Waiter, /) -> None:
        # No call in here: a handler may run at each, and its Ctrl-C be held off for
        # good if it came between the look and the opening.
        if self._pending:
            self._pending = False
            raise KeyboardInterrupt
        self._outer = (self._open_to, self._outer)
        self._open_to = self._depth

    def end_wait(self) -> None:
        # None in a child that was forked within it.
        outer = self._outer
        if outer is None:
            self._open_to = 0
        else:
            self._open_to, self._outer = outer

    def let_in(self, step: Callable[[], object]) -> None:
        """Take `step`, which only waits, open to Ctrl-C: also within a region."""
        if thread_state.guard is not self:
            step()
            return
        if self._pending:
            self._pending = False
            raise KeyboardInterrupt
        self._open_to = self._depth
        try:
            step()
        finally:
            self._open_to = 0

    def may_strike(self) -> bool:
        return True

    def strike_again(self) -> None:
        """Let it come once more, soon: where it landed it would be lost, or break something."""
        ident = Real.get_ident()
        process_timekeeper.post(lambda: Real.pthread_kill(ident, signal.SIGINT))

    def _raise_pending(self) -> None:
        if self._pending and self._depth <= self._open_to:
            self._pending = False
            self._open_to = 0
            raise KeyboardInterrupt


def _runner(frame: FrameType | None) -> dict[str, Any] | None:
    """The variables of the ``asyncio.Runner.run`` below `frame`, if there is one."""
    while frame is not None:
        if frame.f_code is asyncio.Runner.run.__code__:
            found = frame.f_locals
            return found if "task" in found and hasattr(found["self"], "_on_sigint") else None
        frame = frame.f_back
    return None


interrupts: Final = Interrupts()
begins_uninterruptible.add(Interrupts.enter.__code__)


forking.in_child(interrupts.resume)
