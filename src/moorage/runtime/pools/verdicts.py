"""Verdicts: the outcomes that come from the pool, not from the user's code.

Owns the outcomes of cancels, of the three time limits, of failed starts and of lost containers,
and the error of a full backlog.  Each message says what to write instead.  Pure: the pool calls
these functions.

Begin at `ran_out`.
"""

from __future__ import annotations

from typing import Final

from ...exception import (
    ContainerLostError,
    FunctionTimeoutError,
    QueueTimeoutError,
    ResourceExhaustedError,
)
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


def lost_in_a_row(name: str, how: str, losses: int) -> Failure:
    """Return the failure of an input that was lost again, the last time alone."""
    times = "twice" if losses == 2 else f"{losses} times"
    return Failure(
        ContainerLostError(
            f"an input of {name} was lost with its container {times}, the last time as the only "
            f"input there: {how}; look for what ends the process in {name}: os._exit, a crash in "
            "C code, or more memory than there is",
            how=how,
            losses=losses,
        )
    )


def lost_and_not_run_again(name: str, how: str, losses: int, why: str) -> Failure:
    """Return the failure of an input that was lost and may not run a second time.

    Args:
        why: the reason, as a clause: "the function is nonpreemptible".
    """
    return Failure(
        ContainerLostError(
            f"an input of {name} was lost with its container and is not run again, because "
            f"{why}: {how}; call {name} again if a second run does no harm",
            how=how,
            losses=losses,
        )
    )


def lost_while_starting(name: str, how: str) -> Failure:
    """Return the failure of inputs whose containers were lost before they were ready."""
    return Failure(
        ContainerLostError(
            f"the containers of {name} are lost while they start, the last one so: {how}; look "
            f"for what ends the process in the imports and enter hooks of {name}",
            how=how,
        )
    )
