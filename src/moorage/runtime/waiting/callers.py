"""Callers: how they wait for inputs, be it blocking or awaiting.

Every wait of a caller for inputs comes here.  ``waits.py`` notes the wait while it lasts,
and ``deadlock.py`` looks at it when it begins.  The wait of a caller that is no input is
neither noted nor looked at while no stream is open.  Begin reading at `park_for`, for
threads, and `wait_for`, for tasks.
"""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable
from functools import partial
from typing import cast

from ..clocks.clock import Waiter
from ..clocks.parking import park
from ..containers.container import Container
from ..containers.task_lane import InputTask
from ..context import current_input, running_input
from ..guards.cells import current_cell
from ..input import Input
from ..pools.pool import Pool
from ..real import Real
from ..thread_state import thread_state
from .async_waiters import AsyncWaiter
from .deadlock import check_wait, task_wait_ended
from .waits import On, Reader, TaskWaits, Wait, open_streams, task_waits_of, waits_in_progress


def park_for(pool: Pool, waiter: Waiter, on: On, timeout: float | None = None) -> bool:
    """`park`, for `on`; false if `timeout` seconds pass first.

    Raises:
        DeadlockError: if it can never end, and no queued input can be failed instead.
        InputCancellation: see `park`.
    """
    cell = current_cell()
    flow: object = cell if cell is not None else thread_state.container
    if flow is None:
        if not open_streams:
            return park(pool.clock, waiter, timeout)
        flow = Real.get_ident()
    caller = current_input() if cell is None else cell.input
    wait = Wait(flow, caller, pool, on, timeout is not None, False, waiter)
    unblock_loop = block_loop() if cell is None else None
    before = waits_in_progress.get(flow)  # of whoever a finalizer or a signal interrupts
    waits_in_progress[flow] = wait
    try:
        if timeout is None:
            check_wait(wait)
        woken = park(pool.clock, waiter, timeout)
    finally:
        if before is None:
            waits_in_progress.pop(flow, None)  # not there in a forked child
        else:
            waits_in_progress[flow] = before
        if unblock_loop is not None:
            unblock_loop()
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
    caller = current_input()
    if caller is None and not open_streams:
        return waiter.wait()
    return _wait_for(pool, waiter, on, timed, caller)


async def _wait_for(
    pool: Pool, waiter: AsyncWaiter, on: On, timed: bool, caller: Input | None
) -> None:
    task = _current_task()
    if type(task) is InputTask:
        # Made only if other tasks of the input have waited, or the search has asked.
        tasks: TaskWaits | None = task.task_waits
    else:
        tasks = _task_waits_here(caller)
        if tasks is None:
            # A task of nobody's: it holds up no input, but for the generator that it reads.
            if task is None or not open_streams:
                await waiter.wait()
                return
            caller = None
    wait = Wait(task, caller, pool, on, timed, True, waiter)
    of: weakref.ref[TaskWaits] | None = None
    if tasks is not None:
        tasks.changes += 1
        if type(task) is not InputTask:
            tasks.waits[task] = wait
            of = tasks.weak
    waits_in_progress[task] = wait
    is_collected = False
    try:
        if not timed and (tasks is None or not (tasks.is_watched or tasks.is_suspected)):
            check_wait(wait)
        tasks = None
        await waiter.wait()
    except GeneratorExit:
        is_collected = True  # maybe while some lock is held: take none here
        raise
    finally:
        if type(task) is InputTask:
            tasks = task.task_waits  # which another thread may have made meanwhile
        elif of is not None:
            tasks = of()
        if tasks is None:
            waits_in_progress.pop(task, None)
        else:
            tasks.changes += 1  # first: see there
            waits_in_progress.pop(task, None)
            tasks.waits.pop(task, None)
            if tasks.is_of_thread and not tasks.waits:
                cell = current_cell()
                if cell is not None:
                    cell.task_waits = None  # it would keep the input's result alive
            elif not is_collected:
                task_wait_ended(tasks)
    if wait.error is not None:
        raise wait.error


def _task_waits_here(caller: Input | None) -> TaskWaits | None:
    """Those of `caller`, if the task that calls is one that it has made on this loop."""
    loop = Real._get_running_loop()
    if caller is None or loop is None:
        return None
    root: object = caller.runner
    if type(root) is InputTask:
        return task_waits_of(caller, root) if root.get_loop() is loop else None
    # A synchronous input that runs a loop of its own, on its own thread.
    cell = current_cell()
    if cell is None or cell.input is not caller:
        return None
    found: TaskWaits | None = cell.task_waits
    if found is None or found.input is not caller or found.loop is not loop:
        cell.task_waits = found = TaskWaits(caller, loop, None)
    return found


def _current_task() -> object:
    loop = Real._get_running_loop()
    if loop is not None:
        return Real.current_task(loop)
    import trio

    return trio.lowlevel.current_task()


def block_loop() -> Callable[[], None] | None:
    """Let the container whose thread T calls get no asynchronous inputs.

    For blocking calls: those inputs would wait for this call.  It returns what
    ends that, to be called once; None, and nothing happens, on any other thread.
    """
    container: Container | None = thread_state.container
    if container is None or current_cell() is not None:
        return None
    pool = cast(Pool, container.host)
    pool.block_loop(container)
    return partial(pool.unblock_loop, container)


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
        thread = thread_state.container or Real.get_ident()
        input = running_input.get(None)
        if input is not None:  # else it is spared a call, for each item
            input = current_input()
    loop = Real._get_running_loop()
    return thread, input, None if loop is None else Real.current_task(loop)
