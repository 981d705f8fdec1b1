"""Open waits: waits that any code may end, such as the wait for an item of a queue.

Owns how such a wait is made (`park_openly`, `wait_openly`), and which of them are in progress,
for ``describing/text.py``.  The search for deadlocks does not know these waits: somebody may always
put an item, so an input in such a wait counts as one that makes progress.  ``stores/blocking.py``
calls this file, with no lock held.

Begin at `park_openly`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .. import forking
from ..clocks.clock import Clock, Waiter
from ..clocks.parking import park
from ..clocks.patched_time import current_virtual_clock
from ..context import current_input
from ..guards.cells import current_cell
from ..input import Input
from ..real import Real
from ..thread_state import thread_state
from .async_waiters import AsyncioWaiter, AsyncWaiter
from .callers import block_loop


class OpenWait:
    """One open wait in progress."""

    __slots__ = ("_caller", "said")

    def __init__(self, caller: Input | None, said: Callable[[], str]) -> None:
        self._caller = id(caller)
        # Returns what is waited for, as in "waits for an item of Queue 'jobs'".
        self.said: Callable[[], str] = said

    def is_of(self, input: Input) -> bool:
        """Tell whether `input` waits.  Not for an input that has ended."""
        return self._caller == id(input)


# The open waits, by the id of the flow: of a worker's cell, of a task, of another thread.  By ids,
# for a task that waits on a closed loop must be freed: only then does it end its wait.  No lock
# guards this dict: its single operations are atomic.
open_waits: Final[dict[int, OpenWait]] = {}


def _after_fork() -> None:
    forking.keep(dict(open_waits))
    open_waits.clear()


forking.in_child(_after_fork)


def park_openly(
    clock: Clock, waiter: Waiter, timeout: float | None, said: Callable[[], str]
) -> bool:
    """Block this thread until `waiter` is woken; false if `timeout` seconds pass first.

    Raises:
        InputCancellation, KeyboardInterrupt: see `park`.
    """
    cell = current_cell()
    unblock_loop = None
    if cell is not None:
        flow = id(cell)
        caller = cell.input
    else:
        flow = Real.get_ident()
        caller = current_input()
        if thread_state.container is not None:
            unblock_loop = block_loop()
    before = open_waits.get(flow)  # a signal handler may wait within a wait
    open_waits[flow] = OpenWait(caller, said)
    try:
        return park(clock, waiter, timeout)
    finally:
        if before is None:
            open_waits.pop(flow, None)  # a forked child has cleared the dict
        else:
            open_waits[flow] = before
        if unblock_loop is not None:
            unblock_loop()


async def wait_openly(waiter: AsyncWaiter, said: Callable[[], str]) -> None:
    """Wait, on asyncio or trio, until `waiter` is woken."""
    loop = Real._get_running_loop()
    if loop is None:
        await waiter.wait()
        return
    flow = id(Real.current_task(loop))
    open_waits[flow] = OpenWait(current_input(), said)
    try:
        if isinstance(waiter, AsyncioWaiter):
            await waiter  # one coroutine less
        else:
            await waiter.wait()
    finally:
        open_waits.pop(flow, None)


def refuse_real_loop() -> None:
    """Refuse an await on a loop in real time that would wait for virtual time to pass.

    Raises:
        InvalidError: if this thread takes part in a virtual clock, and its loop does not.
    """
    if thread_state.clock is not None:
        clock = current_virtual_clock()
        if clock is not None:
            clock.participants.refuse_await()
