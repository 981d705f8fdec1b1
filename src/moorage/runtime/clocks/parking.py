"""Parking: the one way to wait on behalf of a caller.

Owns :func:`park`.  Every blocking wait of a user's thread comes here, so that a cancellation
and Ctrl-C can end it, in real and in virtual time.
"""

from __future__ import annotations

from typing import Any, Protocol

from ..thread_state import thread_state


class CanWait(Protocol):
    """A clock, as far as a wait needs it: see `Clock`."""

    virtual: bool

    def wait(self, waiter: Any, timeout: float | None = None) -> bool: ...


def park(clock: CanWait, waiter: Any, timeout: float | None = None) -> bool:
    """Wait until `waiter` is woken; false if `timeout` seconds pass first.

    Every blocking wait on behalf of a caller comes here.

    Raises:
        InputCancellation: if this thread runs an input that is cancelled,
            before or during the wait.
        KeyboardInterrupt: on the main thread.
    """
    guard = thread_state.guard
    if guard is None:
        return clock.wait(waiter, timeout)
    guard.begin_wait(waiter)
    try:
        if not clock.virtual:
            for seconds in guard.first_waits:
                if timeout is not None:
                    if timeout <= seconds:
                        break
                    timeout -= seconds
                if clock.wait(waiter, seconds):
                    return True
        return clock.wait(waiter, timeout)
    finally:
        guard.end_wait()
