"""SIGTERM and SIGHUP end a program as Ctrl-C does: the run is left properly.

Owns `EndingSignals`, which turns signals into the KeyboardInterrupt of Ctrl-C, on the main
thread.  A second signal kills the process, as it would have without this file, and so does the
first one in a forked child.

Begin at `EndingSignals._handle`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from ..runtime import forking
from ..runtime.guards.interrupts import interrupts
from ..runtime.real import Real
from .errors import ENDED_BY_SIGNAL, INTERRUPTED


class EndingSignals:
    """What has ended the program, if it ends by a KeyboardInterrupt.

    Args:
        names: the signals beside Ctrl-C.  A system need not have them.
    """

    def __init__(self, *names: str) -> None:
        self._known = [getattr(signal, name) for name in names if hasattr(signal, name)]
        self._number: int | None = None  # of the signal that came; None for none, or for Ctrl-C

        self._taken: list[int] = []
        forking.know(self)

    @property
    def code(self) -> int:
        """The exit code of the command."""
        return INTERRUPTED if self._number is None else ENDED_BY_SIGNAL + self._number

    @property
    def name(self) -> str:
        """The signal's name, for a message."""
        return "Ctrl-C" if self._number is None else signal.Signals(self._number).name

    @contextmanager
    def taken(self) -> Generator[None, None, None]:
        """Take the signals until the block ends, except those that somebody else takes."""
        if Real.current_thread() is Real.main_thread():
            # Not what is ignored, as nohup does with SIGHUP.
            self._taken = [each for each in self._known if Real.getsignal(each) is signal.SIG_DFL]
        for number in self._taken:
            Real.set_signal(number, self._handle)
        try:
            yield
        finally:
            self._give_back()

    def _give_back(self) -> None:
        for number in self._taken:
            if Real.getsignal(number) == self._handle:
                Real.set_signal(number, signal.SIG_DFL)
        self._taken = []

    def _after_fork(self) -> None:
        """Let signals end the child at once, also where it waits and runs no handler."""
        if Real.current_thread() is Real.main_thread():
            self._give_back()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._number is not None:
            Real.set_signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self._number = number
        on_ctrl_c = Real.getsignal(signal.SIGINT)
        if callable(on_ctrl_c):
            on_ctrl_c(signal.SIGINT, frame)  # Python's, the engine's, asyncio's, or the program's
        else:  # Ctrl-C is ignored, as in a command behind which a script has written "&"
            interrupts.interrupt(frame)
