"""Waiters of a virtual clock: where a thread waits for a wake-up or for virtual time to pass.

Owns `VirtualWaiter`, the `Waiter` (``clock.py``) of virtual time.  `VirtualClock.wait` waits at it;
``blocking.py`` does so for blocking calls of the user's code.

Begin at `VirtualWaiter.wake`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...exception import ClockStuckError
from ..real import Real

if TYPE_CHECKING:
    from .virtual_clock import VirtualClock


class VirtualWaiter:
    """A waiter of a virtual clock.

    The waker marks the waiting participant busy before that participant's thread can run, so
    time cannot move between the two.
    """

    __slots__ = (
        "_clock",
        "about",
        "blocked",
        "error",
        "fired",
        "key",
        "lock",
        "name",
        "thread",
        "timed",
        "timed_out",
        "waiting",
    )

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.lock: threading.Lock = Real.Lock()
        self.lock.acquire()
        # If set, returns what the thread waits for, for an error message; called with no
        # lock held.
        self.about: Callable[[], str] | None = None
        # What a blocking call of users' code waits for; None for the waits of moorage.  See
        # ``blocking.py``.
        self.blocked: Any = None
        # The clock's lock guards the fields below.
        self.fired: bool = False  # the wait has ended, or will not begin
        self.timed_out: bool = False
        self.timed: bool = False  # the wait has a timeout
        # Invariant: true while this waiter is in `VirtualClock._waiting`.
        self.waiting: bool = False
        # The waiting participant; None if the thread is not a participant.
        self.key: object = None
        self.name: str = ""  # of the waiting thread
        self.thread: int = 0  # its ident
        self.error: ClockStuckError | None = None  # raised at the end of the wait

    def wake(self) -> None:
        with self._clock._lock:
            self._clock._fire(self)

    def time_out(self) -> None:
        with self._clock._lock:
            if not self.fired:
                self.timed_out = True
                self._clock._fire(self)
