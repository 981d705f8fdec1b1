"""Interrupts: Ctrl-C on the main thread, deferred while the engine changes shared state.

Owns the handler of SIGINT that is installed while a run is open.  `install` replaces only
Python's own handler; a handler that the user set stays.  Runs (``running/``) install and
uninstall it; begin at `install`, then `_handle`.

In an uninterruptible region (``uninterruptible.py``) the KeyboardInterrupt waits for the end of
the region; in a wait, and everywhere else, it is raised at once.  Only the main thread runs
signal handlers, and all code here runs on it, so there is no lock.
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

    # Seconds.  A signal does not end a wait if it comes after the thread has released the
    # interpreter and before the thread sleeps.  That gap takes microseconds, on a busy machine
    # milliseconds.  So a wait begins with these short waits, each followed by a look.
    first_waits: ClassVar[tuple[float, ...]] = (0.05, 1.0)

    def __init__(self) -> None:
        self._depth = 0  # depth of uninterruptible regions
        # A KeyboardInterrupt is raised while `_depth` is at most this.  In a wait: the depth at
        # which the wait began; else 0.
        self._open_to = 0
        # `_open_to` of the waits around the current one, as a linked list: the handler of
        # another signal may run, and wait, within a wait.
        self._outer: _Outer | None = None
        self._pending = False  # a Ctrl-C was deferred
        self._installed = False
        self._uninstall_due = False  # `exit` restores Python's handler at the end of the region

    def install(self) -> None:
        """Become the guard of the main thread; install the handler if Python's is in force.

        Does nothing on any other thread.
        """
        if Real.current_thread() is not Real.main_thread():
            return
        thread_state.guard = self
        self._uninstall_due = False
        if not self._installed and Real.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._installed = True  # set first: a Ctrl-C may come between the two lines
            Real.set_signal(signal.SIGINT, self._handle)

    def resume(self) -> None:
        """Reset in a forked child, whose main thread may have been another thread before."""
        self._depth = self._open_to = 0
        self._outer = None
        self._pending = False
        if thread_state.guard is None and self._installed:
            thread_state.guard = self

    def uninstall(self) -> None:
        """Restore Python's handler, unless other code has set a handler since `install`."""
        if Real.current_thread() is not Real.main_thread() or not self._installed:
            return
        if self._depth:
            self._uninstall_due = True  # a Ctrl-C must not break the rest of the region either
        else:
            self._restore()

    def _restore(self) -> None:
        self._installed = self._uninstall_due = False
        if Real.getsignal(signal.SIGINT) == self._handle:
            Real.set_signal(signal.SIGINT, signal.default_int_handler)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._depth > self._open_to:
            self._pending = True
            return
        if frame is not None and frame.f_code in begins_uninterruptible:
            # A region is about to begin in this frame, or has just ended.  Send the signal
            # once more: it arrives in the region, which defers it, or after the region.
            self.strike_again()
            return
        # The KeyboardInterrupt ends the wait, also if the wait has just ended by itself and
        # `end_wait` has not run yet.
        self._open_to = 0
        if self._depth == 0 and Real._get_running_loop() is not None:
            # asyncio.run() installs its own handler only if Python's is in force.  It found
            # ours, so do what its handler does: cancel the main task.
            runner = _runner(frame)
            if runner is not None:
                runner["self"]._on_sigint(signum, frame, runner["task"])
                return
        raise KeyboardInterrupt

    def interrupt(self, frame: FrameType | None) -> None:
        """Do what Ctrl-C does, from the handler of another signal that interrupted `frame`."""
        self._handle(signal.SIGINT, frame)

    # -- the guard ----------------------------------------------------------------

    def enter(self) -> None:
        self._depth += 1

    def exit(self) -> None:
        # No function call in the common case, because this runs for each input.
        depth = self._depth
        if self._uninstall_due and depth == 1:
            self._restore()
        # Else 0: this guard may have been installed within the region that ends.
        if depth:
            self._depth = depth - 1
        # A signal handler may run when this method begins, or after it has returned, so not
        # between the line above and this look.
        if self._pending:
            self._raise_pending()

    def begin_wait(self, waiter: Waiter, /) -> None:
        # No function call in this method: a signal handler may run at each call.  A Ctrl-C
        # between the look at `_pending` and the last line would be deferred for ever.
        if self._pending:
            self._pending = False
            raise KeyboardInterrupt
        self._outer = (self._open_to, self._outer)
        self._open_to = self._depth

    def end_wait(self) -> None:
        # None in a child that was forked within the wait: see `resume`.
        outer = self._outer
        if outer is None:
            self._open_to = 0
        else:
            self._open_to, self._outer = outer

    def let_in(self, step: Callable[[], object]) -> None:
        """Run `step`, which only waits, and let Ctrl-C end it, also within a region."""
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
        """Send SIGINT to this thread once more, soon.

        Here the KeyboardInterrupt would be lost, or break an invariant.
        """
        ident = Real.get_ident()
        process_timekeeper.post(lambda: Real.pthread_kill(ident, signal.SIGINT))

    def _raise_pending(self) -> None:
        if self._pending and self._depth <= self._open_to:
            self._pending = False
            self._open_to = 0
            raise KeyboardInterrupt


def _runner(frame: FrameType | None) -> dict[str, Any] | None:
    """Return the locals of the ``asyncio.Runner.run`` that called `frame`; None without one."""
    while frame is not None:
        if frame.f_code is asyncio.Runner.run.__code__:
            found = frame.f_locals
            return found if "task" in found and hasattr(found["self"], "_on_sigint") else None
        frame = frame.f_back
    return None


interrupts: Final = Interrupts()
begins_uninterruptible.add(Interrupts.enter.__code__)


forking.in_child(interrupts.resume)
