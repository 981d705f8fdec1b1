"""Blocked calls: a call of users' code that waits in a virtual clock until something is free.

Owns `Blocked`, what such a call waits for, and `wait_until_free`.  ``blocking.py`` (locks and
queues) and ``started.py`` (``Thread.join``) make them; the clock looks at each rest which of them
are free (`Participants.look`).  Begin at `wait_until_free`.
"""

from __future__ import annotations

from collections.abc import Callable

from .parking import park_call
from .reach import VirtualTime


class Blocked:
    """What a blocking call waits for; the call may wait several times until it succeeds."""

    __slots__ = ("about", "again", "background", "is_free", "what")

    def __init__(
        self,
        what: object,
        is_free: Callable[[], bool],
        *,
        about: Callable[[], str],
        background: bool,
    ) -> None:
        self.what: object = what
        # Called under the clock's lock, so it runs no user code.
        self.is_free: Callable[[], bool] = is_free
        self.about: Callable[[], str] = about
        self.again: bool = False  # it was woken once already, and keeps its place in the line
        # True for a thread that the code started, and that runs nothing but the standard
        # library now: a worker of an executor without work.
        self.background: bool = background


def wait_until_free(clock: VirtualTime, blocked: Blocked, until: float | None) -> bool:
    """Wait in `clock` until what `blocked` waits for is free; false if `until` comes first.

    When the call returns, another participant may have taken it again.
    """
    waiter = clock.make_waiter()
    waiter.blocked, waiter.about = blocked, blocked.about
    left = None if until is None else max(0.0, until - clock.now())
    try:
        return park_call(clock, waiter, left)
    finally:
        clock.participants.look_again(blocked)
