"""Preemption: sync code is switched between two of its lines, at lines that a seed chooses.

Owns the trace function of the threads of one virtual clock.  ``participants.py`` sets it on each
thread that begins to take part, if the clock was made for it (`explore` with ``preempt``).
Begin at `Preemption.trace`.

Only lines of the user's own files count: no line of the standard library, of installed packages
or of moorage.  So no lock of these is held at a switch.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from .choices import Choices

# No file below these directories is the user's own.
_NOT_THE_USERS: Final = tuple(
    {
        os.path.join(path, "")
        for path in (
            sysconfig.get_path("stdlib"),
            sysconfig.get_path("platstdlib"),
            sysconfig.get_path("purelib"),
            sysconfig.get_path("platlib"),
            os.path.dirname(os.path.dirname(os.path.dirname(__file__))),
        )
        if path
    }
)

# The lines are chosen among the first 10, 40, 160, 640 or 2,560, so that short and long
# programs are both switched somewhere.
_SCALES: Final = (10, 40, 160, 640, 2560)


class Preemption:
    """Where the code of one virtual clock is switched.  Used by the holder of the turn only."""

    def __init__(self, choices: Choices, count: int, switch: Callable[[], bool]) -> None:
        self._switch = switch
        scale = _SCALES[choices.pick(len(_SCALES))]
        # The numbers of the lines after which a switch is due, the last one first.
        self._points = sorted((choices.pick(scale) for _ in range(count)), reverse=True)
        self._line = 0  # how many lines have run
        self._is_users: dict[str, bool] = {}  # by file

    def begin(self) -> None:
        """Trace the calling thread from now on."""
        if self._points:
            sys.settrace(self.trace)

    def trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        """Return the function that traces the lines of `frame`; None for code of others."""
        if not self._points:
            return None
        file = frame.f_code.co_filename
        is_users = self._is_users.get(file)
        if is_users is None:
            # Generated code ("<string>") is no file: dataclasses run such code in moorage too.
            is_users = not file.startswith(("<", *_NOT_THE_USERS))
            self._is_users[file] = is_users
        return self._trace_line if is_users else None

    def _trace_line(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line" and self._points:
            self._line += 1
            if self._line > self._points[-1]:
                # Taken out first, because other threads come here during the switch.
                point = self._points.pop()
                if not self._switch():
                    self._points.append(point)  # there was nobody to switch to: it stays due
        return self._trace_line
