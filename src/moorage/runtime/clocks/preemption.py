"""Preemption: sync code is switched between two of its lines, at lines that a seed chooses.

Owns the points of one run at which the participant with the turn lets another one go on, and how
the lines of the user's files are seen: by ``sys.monitoring`` from Python 3.12 on, else by
``sys.settrace``.  ``explore`` enters `watch` in each run; ``participants.py`` calls `begin` on each
thread that begins to take part.  Begin at `Preemption.at_line`.

Only lines of the user's own files count: no line of the standard library, of installed packages
or of moorage.  So no lock of these is held at a switch.  Code that runs wherever it happens to,
also while such a lock is held, does not count either: see `_ANYWHERE`.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, Final

from ..real import Real
from .choices import Choices

if TYPE_CHECKING:
    from .participants import Participants

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

# The names of code that is not switched: a module's own code runs under the lock of the import, a
# finalizer wherever an object dies, and a descriptor wherever an attribute is read or set.
_ANYWHERE: Final = frozenset({"<module>", "__del__", "__get__", "__set__", "__delete__"})

# A point is one of the first n lines that run while another participant could go on, or one of
# the first n places in the code, for an n of these: short and long programs, and narrow
# races in loops, are all switched somewhere.
_LINES: Final = (4, 10, 25, 60, 150, 400, 1000, 2500)
_PLACES: Final = (3, 6, 12, 24, 48)

# A place is switched at its first, second or ... time.
_TIMES: Final = (1, 1, 1, 1, 2, 2, 3, 4)

# The tool ids of ``sys.monitoring`` that have no meaning of their own.
_TOOLS: Final = (4, 3)


class Preemption:
    """Where the code of one virtual clock is switched.

    Used by the holder of the turn only, except `begin` and `watch`.
    """

    def __init__(self, choices: Choices, count: int, participants: Participants) -> None:
        self._choices = choices
        self._participants = participants
        # The numbers of the lines before which a switch is due.
        self._lines: set[int] = set()
        # The numbers of the places before which a switch is due, and at which time.
        self._places: dict[int, int] = {}
        if choices.draw(4):
            choices.together = 4  # a switch needs another participant that could go on
        if choices.draw(2):
            most = _LINES[choices.draw(len(_LINES))]
            self._lines = {choices.draw(most) + 1 for _ in range(count)}
        else:
            most = _PLACES[choices.draw(len(_PLACES))]
            for _ in range(count):
                self._places[choices.draw(most) + 1] = _TIMES[choices.draw(len(_TIMES))]
        # How many lines have run while another participant could go on.
        self._line = 0
        # The number of each place, and how often it has run: by code and line.
        self._seen: dict[tuple[CodeType, int], list[int]] = {}
        self._is_users: dict[str, bool] = {}  # by file
        self._monitoring: _Monitoring | None = None

    @contextmanager
    def watch(self) -> Generator[None]:
        """In this context, see the lines of threads that call `begin`; called by who explores."""
        self._monitoring = _Monitoring.start(self._at_line_of)
        traced = sys.gettrace()
        try:
            yield
        finally:
            self._lines, self._places = set(), {}
            if self._monitoring is not None:
                self._monitoring.stop()
            elif sys.gettrace() is not traced:
                sys.settrace(traced)

    def begin(self) -> None:
        """See the lines of the calling thread from now on."""
        if self._monitoring is None and (self._lines or self._places):
            sys.settrace(self._trace)

    def at_line(self, code: CodeType, line: int) -> None:
        """Switch before this line, if a switch is due here and another participant can go on."""
        participants = self._participants
        turns = participants.turns
        holder = turns.holder
        if not turns.is_contended or participants.key_of_thread.get(Real.get_ident()) is not holder:
            return
        self._line += 1
        place = self._seen.get((code, line))
        if place is None:
            place = self._seen[code, line] = [len(self._seen) + 1, 0]
        place[1] += 1
        if self._line in self._lines:
            self._lines.discard(self._line)
        elif self._places.get(place[0]) == place[1]:
            del self._places[place[0]]
        else:
            return
        self._choices.note(self._line)
        participants.switch()

    def is_users(self, code: CodeType) -> bool:
        """Whether `code` is the user's own, and may be switched."""
        file = code.co_filename
        is_users = self._is_users.get(file)
        if is_users is None:
            # Generated code ("<string>") is no file: dataclasses run such code in moorage too.
            is_users = not file.startswith(("<", *_NOT_THE_USERS))
            self._is_users[file] = is_users
        return is_users and code.co_name not in _ANYWHERE

    # -- sys.settrace ------------------------------------------------------------------------

    def _trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        """Return the function that traces the lines of `frame`; None for code of others."""
        if not (self._lines or self._places):
            return None
        return self._trace_line if self.is_users(frame.f_code) else None

    def _trace_line(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line" and (self._lines or self._places):
            self.at_line(frame.f_code, frame.f_lineno)
        return self._trace_line

    # -- sys.monitoring ----------------------------------------------------------------------

    def _at_line_of(self, code: CodeType, line: int) -> bool:
        """See one line of any thread; false if the lines of `code` need not be seen."""
        if not self.is_users(code):
            return False
        if self._lines or self._places:
            self.at_line(code, line)
        return True


class _Monitoring:
    """A tool of ``sys.monitoring``, beside those of debuggers and of coverage."""

    restarted = False  # true after the first tool of this process

    def __init__(self, tool: int) -> None:
        self._tool = tool

    if sys.version_info >= (3, 12):

        @classmethod
        def start(cls, see: Callable[[CodeType, int], bool]) -> _Monitoring | None:
            """Call `see` for each line of code for which it has not returned false.

            None if no tool id is free.
            """
            monitoring = sys.monitoring
            tool = next((tool for tool in _TOOLS if monitoring.get_tool(tool) is None), None)
            if tool is None:
                return None
            disable = monitoring.DISABLE

            def at_line(code: CodeType, line: int) -> Any:
                return None if see(code, line) else disable

            monitoring.use_tool_id(tool, "moorage.testing.explore")
            monitoring.register_callback(tool, monitoring.events.LINE, at_line)
            monitoring.set_events(tool, monitoring.events.LINE)
            if not cls.restarted:
                # Another tool of this id may have disabled lines of the user's files before.
                cls.restarted = True
                monitoring.restart_events()
            return cls(tool)

        def stop(self) -> None:
            monitoring = sys.monitoring
            monitoring.set_events(self._tool, 0)
            monitoring.register_callback(self._tool, monitoring.events.LINE, None)
            monitoring.free_tool_id(self._tool)

    else:

        @classmethod
        def start(cls, see: Callable[[CodeType, int], bool]) -> _Monitoring | None:
            return None

        def stop(self) -> None: ...
