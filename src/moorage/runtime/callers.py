"""Callers: how they wait for inputs, be it blocking or awaiting.

Every wait of a caller for inputs comes here.  It is noted in ``waits.py`` while
it lasts, and looked at by ``deadlock.py`` when it begins; for a caller that is
no input, and while no stream is open, it is just the wait.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import cast

from .cancellation import current_cell
from .clock import Waiter
from .container import Container
from .context import current_input, hosting
from .deadlock import look
from .executor import InputTask
from .input import Input
from .pool import Pool
from .real import Real
from .regions import park
from .waits import On, Reader, Wait, known, open_streams
from .wakers import AsyncWaiter


def park_for(pool: Pool, waiter: Waiter, on: On, timeout: float | None = None) -> bool:
    """`park`, for `on`; false if `timeout` seconds pass first.

    Raises:
        DeadlockError: if it can never end, and no queued input can be failed instead.
        InputCancellation: see `park`.
    """
    cell = current_cell()
    flow: object = cell if cell is not None else hosting.container
    if flow is None:
        if not open_streams:
            return park(pool.clock, waiter, timeout)
        flow = Real.get_ident()
    caller = current_input() if cell is None else cell.input
    wait = Wait(flow, caller, pool, on, timeout is not None, False, waiter)
    let_loop_go = hold_loop() if cell is None else None
    before = known.get(flow)  # of whoever a finalizer or a signal interrupts
    known[flow] = wait
    try:
        if timeout is None:
            look(wait)
        woken = park(pool.clock, waiter, timeout)
    finally:
        if before is None:
            known.pop(flow, None)  # not there in a forked child
        else:
            known[flow] = before
        if let_loop_go is not None:
            let_loop_go()
    if wait.error is not None:
        raise wait.error
    return woken


def wait_for(pool: Pool, waiter: AsyncWaiter, on: On, timed: bool = False) -> Awaitable[None]:
    """``waiter.wait()``, for `on`.

    Raises:
        DeadlockError: if it can never end, and no queued input can be failed instead.
    """
    participants = pool.clock.participants
    if participants is not None:
        participants.refuse_await()
    if current_input() is None and not open_streams:
        return waiter.wait()
    return _wait_for(pool, waiter, on, timed)


async def _wait_for(pool: Pool, waiter: AsyncWaiter, on: On, timed: bool) -> None:
    task = _current_task()
    is_input = type(task) is InputTask
    # What other tasks of an input's wait for does not hold the input up.
    if task is None or (not is_input and not open_streams):
        await waiter.wait()
        return
    caller = current_input() if is_input else None
    known[task] = wait = Wait(task, caller, pool, on, timed, True, waiter)
    try:
        if not timed:
            look(wait)
        await waiter.wait()
    finally:
        known.pop(task, None)
    if wait.error is not None:
        raise wait.error


def _current_task() -> object:
    loop = Real._get_running_loop()
    if loop is not None:
        return Real.current_task(loop)
    import trio

    return trio.lowlevel.current_task()


def hold_loop() -> Callable[[], None] | None:
    """Let the container whose thread T calls get no asynchronous inputs.

    For blocking calls: those inputs would wait for this call.  It returns what
    ends that, to be called once; None, and nothing happens, on any other thread.
    """
    container: Container | None = hosting.container
    if container is None or current_cell() is not None:
        return None
    pool = cast(Pool, container.host)
    pool.hold_loop(container)
    return partial(pool.let_loop_go, container)


class ReaderHere:
    """Finds, for each item anew, who reads a stream: mostly the same as before."""

    __slots__ = ("_input", "_reader", "_thread")

    def __init__(self) -> None:
        self._thread: int = 0
        self._input: Input | None = None
        self._reader: Reader | None = None

    def find(self) -> Reader:
        thread, input = Real.get_ident(), current_input()
        reader = self._reader
        if reader is None or thread != self._thread or input is not self._input:
            self._thread, self._input = thread, input
            reader = reader_here()
            # On a loop the next item may be read by another task.
            self._reader = reader if reader[2] is None else None
        return reader


def reader_here() -> Reader:
    """The flow that calls, as the reader of a stream."""
    cell = current_cell()
    if cell is not None:
        thread: object = cell
        input = cell.input
    else:
        thread = hosting.container or Real.get_ident()
        input = None
    loop = Real._get_running_loop()
    return thread, input, None if loop is None else Real.current_task(loop)
