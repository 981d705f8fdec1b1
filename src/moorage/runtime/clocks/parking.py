"""Parking: the one way to block a thread on behalf of a caller.

Owns :func:`park`, and `park_call` for calls of users' code.  Every blocking wait of a user's
thread calls one of them, so that a cancellation and Ctrl-C can end the wait, in real and in virtual
time.
"""

from __future__ import annotations

from typing import Any, Protocol

from ...exception import ExecutionError
from ..thread_state import thread_state


class CanWait(Protocol):
    """The part of a clock that a wait needs: see `Clock`."""

    virtual: bool

    def wait(self, waiter: Any, timeout: float | None = None) -> bool: ...


def park(clock: CanWait, waiter: Any, timeout: float | None = None) -> bool:
    """Block this thread until `waiter` is woken; false if `timeout` seconds pass first.

    Raises:
        InputCancellation: if the input that this thread runs is cancelled before or
            during the wait.
        KeyboardInterrupt: on the main thread, after Ctrl-C.
        ExecutionError: on the thread that all waits for other processes depend on: see
            `ThreadState.reads_for_all`.
    """
    if thread_state.reads_for_all:
        raise ExecutionError(
            "a finalizer (__del__) runs on the thread that reads what worker processes "
            "write, and must not wait there; write spawn(...) in it, and no get()"
        )
    guard = thread_state.guard
    if guard is None:
        return clock.wait(waiter, timeout)
    guard.begin_wait(waiter)
    try:
        if not clock.virtual:
            # Begin with short waits: a signal that comes just before the thread sleeps does
            # not end that sleep.  See `Guard.first_waits`.
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


def park_call(clock: CanWait, waiter: Any, timeout: float | None = None) -> bool:
    """As `park`, for a blocking call of the user's own code, such as ``time.sleep``.

    Where no cancellation may strike the code, a cancellation does not end the wait either.
    """
    guard = thread_state.guard
    if guard is None or guard.may_strike():
        return park(clock, waiter, timeout)
    return clock.wait(waiter, timeout)
