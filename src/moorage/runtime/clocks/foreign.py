"""Foreign tasks: tasks on loops in real time that wait for what a virtual run does.

Owns `ForeignWait`.  Such a loop takes no part in the clock, so the clock sees its tasks only
because they are noted here.  If time is stuck they get a `ClockStuckError`, as threads do.
``async_waiters.py`` notes each wait (`Participants.note_foreign`); ``clock_thread.py`` ends it.
"""

from __future__ import annotations

from collections.abc import Callable

from ...exception import ClockStuckError
from ..real import Real


class ForeignWait:
    """The wait of one task on a foreign loop.  The clock's lock guards `error`."""

    __slots__ = ("clock", "coroutine", "error", "loop", "thread", "thread_name", "wake")

    def __init__(self, wake: Callable[[], object]) -> None:
        self.wake: Callable[[], object] = wake  # called with no lock held
        loop = Real._get_running_loop()
        self.loop: str = "trio" if loop is None else "an event loop"
        self.clock: object = getattr(loop, "clock", None)  # None in real time
        task = None if loop is None else Real.current_task(loop)
        self.coroutine: object = None if task is None else task.get_coro()
        self.thread: int = Real.get_ident()
        self.thread_name: str = Real.current_thread().name
        self.error: ClockStuckError | None = None  # raised when the wait ends
