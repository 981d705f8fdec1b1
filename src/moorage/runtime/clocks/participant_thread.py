"""Participant threads: threads that take part in a virtual clock from their start.

Owns `ParticipantThread`.  A participant starts such a thread; ``anyio_threads.py`` does so for
blocking portals, and ``waiting/async_waiters.py`` for an awaitable that needs a loop of its own.
Begin at `ParticipantThread.run`.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures
from typing import TYPE_CHECKING, Any

from ..real import Real
from .awaited_futures import mark
from .participants import Participants

if TYPE_CHECKING:
    from threading import Thread
else:
    Thread = Real.Thread


class ParticipantThread(Thread):
    """A thread that takes part in `clock`, and keeps it open, while it runs.

    Args:
        part: what errors call the thread.
        options: those of `threading.Thread`.
    """

    def __init__(
        self, clock: Any, part: str, *, target: Callable[[], object], **options: Any
    ) -> None:
        super().__init__(target=target, **options)
        self._participants: Participants = clock.participants
        self._key = object()
        self._part = part
        self._ended: futures.Future[None] = futures.Future()
        mark(self._ended, clock)

    def start(self) -> None:
        # In line from now on, and not from when the thread comes: that is not the same each time.
        self._participants.begin_scope(self._key, self._part)
        try:
            super().start()
        except BaseException:
            self._participants.end_scope(self._key)
            raise

    def run(self) -> None:
        self._participants.bind_thread(self._key)
        try:
            super().run()
        finally:
            self._ended.set_result(None)  # wakes `join`, before this thread gives up the turn
            self._participants.end_scope(self._key)

    def join(self, timeout: float | None = None) -> None:
        """Wait until the thread has ended; a participant of its clock waits in virtual time."""
        if self.ident is not None:
            try:
                self._ended.result(timeout)
            except futures.TimeoutError:
                return
        super().join(timeout)
