"""Mailboxes: how other threads wake what runs on an event loop, one wake-up for many.

Owns `Mailbox`, one for each loop, and `mailbox_here`.  The exchanges of a loop's requests post
themselves; the loop is woken once, and calls all that were posted.  What the loop's own thread
calls soon is gathered in the same way.

Begin at `Mailbox.post`, then `Mailbox.soon`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context

from ..runtime import forking
from ..runtime.real import Real
from ..runtime.thread_state import thread_state


class Mailbox:
    """What is to be called on one loop."""

    __slots__ = ("_due", "_lock", "_posted", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop: asyncio.AbstractEventLoop = loop
        self._lock = Real.Lock()
        # Guarded by `_lock`.  Invariant: if not empty, `_deliver` is scheduled, or the thread
        # that found the list empty is about to schedule it.
        self._posted: list[Callable[[], object]] = []
        # Touched on the loop only.  Invariant: if not empty, `_call_due` is scheduled.
        self._due: list[Callable[[], object]] = []

    def post(self, callback: Callable[[], object]) -> None:
        """Call `callback` on the loop, soon; from any thread.  Dropped if the loop is closed."""
        with self._lock:
            self._posted.append(callback)
            if len(self._posted) > 1:
                return
        try:
            # In an empty context: the loop would keep this thread's context alive until then.
            self.loop.call_soon_threadsafe(self._deliver, context=Context())
        except RuntimeError:
            pass  # the loop is closed: nothing waits there any more

    def soon(self, callback: Callable[[], object]) -> None:
        """Call `callback` after the present callback of the loop, in this turn or in the next.

        On the loop's thread only.  As `call_soon`, which makes two objects for each callback.
        """
        due = self._due
        due.append(callback)
        if len(due) == 1:
            self.loop.call_soon(self._call_due, context=Context())

    def _call_due(self) -> None:
        due, self._due = self._due, []
        self._call(due)

    def _deliver(self) -> None:
        with self._lock:
            posted, self._posted = self._posted, []
        self._call(posted)

    def _call(self, callbacks: list[Callable[[], object]]) -> None:
        for callback in callbacks:
            try:
                callback()
            except Exception as error:  # of one request, and the others go on
                details = {"message": "a request has failed", "exception": error}
                self.loop.call_exception_handler(details)


def mailbox_here() -> Mailbox:
    """Return the mailbox of the loop that runs on this thread."""
    loop = Real.get_running_loop()
    found: Mailbox | None = thread_state.web_mailbox
    if found is None or found.loop is not loop:
        thread_state.web_mailbox = found = Mailbox(loop)
    return found


def _after_fork() -> None:
    # A thread that does not exist in the child may have held the lock of this mailbox.
    thread_state.web_mailbox = None


forking.in_child(_after_fork)
