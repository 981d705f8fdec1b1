"""Verdicts: the outcomes that come from the pool, not from the user's code.

Owns the outcomes of cancels, of the three time limits and of failed starts, and the error of a
full backlog.  Each message says what to write instead.  Pure: the pool calls these functions.

Begin at `ran_out`.
"""

from __future__ import annotations

from typing import Final

from ...exception import FunctionTimeoutError, QueueTimeoutError, ResourceExhaustedError
from ..outcome import Cancelled, Failure

CANCELLED: Final = Cancelled("the input was cancelled")
LEFT: Final = Cancelled(
    "the input was cancelled because its app's run was left; "
    "call it, and read its result, inside `with app.run():`"
)
LOST: Final = Cancelled("the input did not end before its container did")


def full(name: str, most: int | None, queued: int, count: int) -> ResourceExhaustedError:
    """Return the error of a submission that is refused because the backlog is full."""
    wanted = "one more" if count == 1 else f"{count} more at once"
    return ResourceExhaustedError(
        f"{queued} of at most {most} inputs wait for a slot of {name}, which leaves no room for "
        f'{wanted}; call later, or write on_full="wait" beside max_backlog='
    )


def ran_out(name: str, timeout: float) -> Failure:
    """Return the failure of an input that ran for longer than its timeout."""
    return Failure(
        FunctionTimeoutError(
            f"an input of {name} ran for longer than its timeout of {timeout:g} s; "
            "give the function a longer one with timeout="
        )
    )


def waited_too_long(name: str, timeout: float) -> Failure:
    """Return the failure of an input that was queued for longer than its queue_timeout."""
    return Failure(
        QueueTimeoutError(
            f"an input of {name} got no slot within its queue_timeout of {timeout:g} s, and did "
            "not run; give the function more slots with max_containers= or concurrent, or a "
            "longer wait with queue_timeout="
        )
    )


def started_too_slowly(name: str, timeout: float) -> Failure:
    """Return the failure of inputs whose container did not start in time."""
    return Failure(
        FunctionTimeoutError(
            f"a container of {name} took longer to start than its startup_timeout of "
            f"{timeout:g} s; give the function a longer one with startup_timeout="
        )
    )
