"""First looks: why an input that ran out of time waits, seen before its loop runs on.

Owns the moment of the look: on the thread of a container's loop, after the timeout has woken
the loop and before any task runs.  The task lane makes the object and calls it; what is looked
for is passed in (``waiting/other_loops.py``).  Inputs that end in time cost nothing.

Begin at `FirstLook`, then `FirstLook.expect`.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

from ..outcome import Failure
from ..real import Real

Task: TypeAlias = "asyncio.Task[Any]"
WhyItWaits = Callable[[Task, bool], str | None]
"""Returns a note for the error of a task that ran out of time: see ``waiting/other_loops.py``."""


class FirstLook:
    """Looks at the tasks of timed-out inputs before anything else runs on their loop.

    A future that another thread completes does not wake the loop:
        1. a task of the loop waits for a Lock, and the loop sleeps,
        2. code on another loop releases the Lock, and the task's step is due here,
        3. the timeout of the input wakes the loop,
        4. the loop runs the task's step, then the callback that cancels the task.
    After 4 the task does not wait any more.  So the look comes between 3 and the step: there
    the loop calls its `time`, which is replaced until then.  On a loop that is not asyncio's own,
    the look comes after 4.
    """

    __slots__ = ("_due", "_ident", "_loop", "_own_time", "_time", "_why")

    def __init__(self, loop: asyncio.AbstractEventLoop, why: WhyItWaits) -> None:
        self._loop = loop
        self._ident = Real.get_ident()
        self._why = why
        self._time: Callable[[], float] = loop.time
        # What somebody has set on the loop in place of its method, as a test may; else None.
        self._own_time: Callable[[], float] | None = getattr(loop, "__dict__", {}).get("time")
        # The timed-out tasks, each with its failure.  Any thread appends, then sets `time`; the
        # loop's thread resets `time`, then takes all.  So no entry is left behind.
        self._due: deque[tuple[Task, Failure]] = deque()

    def expect(self, task: Task, failure: Failure) -> None:
        """Look at `task` when the loop wakes.  On any thread; the caller then wakes the loop.

        The pool calls this under its lock for all inputs that run out of time together, before
        it wakes the loop for the first of them: the wake-up also wakes the others.
        """
        self._due.append((task, failure))
        try:
            vars(self._loop)["time"] = self._look_and_tell_time
        except TypeError:
            pass  # a loop without attributes, such as uvloop's

    def _look_and_tell_time(self) -> float:
        if self._due and Real.get_ident() == self._ident:
            frame = sys._getframe(1)
            if frame.f_code.co_name == "_run_once":
                inside = frame.f_locals
                if "event_list" in inside:  # the loop has asked its selector, and runs nothing yet
                    timeout = inside.get("timeout")
                    self.look(slept=timeout is None or timeout > 0)
        return self._time()

    def look(self, *, slept: bool) -> None:
        """Look at the tasks that are expected.  On the loop's thread."""
        if hasattr(self._loop, "__dict__"):
            if self._own_time is None:
                vars(self._loop).pop("time", None)
            else:
                vars(self._loop)["time"] = self._own_time
        due = self._due
        while due:
            task, failure = due.popleft()
            if failure.note is None:
                failure.note = self._why(task, slept)
