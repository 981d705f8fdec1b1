"""Callers: how they wait for inputs, blocking or awaiting.

Every wait of a caller for inputs goes through this file.  ``waits.py`` records the wait while
it lasts, and ``deadlock.py`` checks it when it begins.  Exception: while no stream is open,
the wait of a caller outside of inputs is neither recorded nor checked.  The folder ``calling``
calls this file, with no lock held.  Begin at `park_for`, for threads, and `wait_for`, for tasks.
"""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable
from functools import partial
from typing import cast

from ..clocks.clock import RealWaiter, Waiter
from ..clocks.parking import park
from ..containers.container import Container
from ..containers.task_lane import InputTask
from ..context import current_input, running_input
from ..guards.cells import current_cell
from ..input import Input
from ..pools.pool import Pool
from ..real import Real
from ..thread_state import thread_state
from .async_waiters import AsyncioWaiter, AsyncWaiter, wait_in
from .deadlock import check_wait, task_wait_ended
from .waits import On, Reader, TaskWaits, Wait, open_streams, task_waits_of, waits_in_progress


def park_for(pool: Pool, waiter: Waiter, on: On, timeout: float | None = None) -> bool:
    """Block the calling thread in `park` until `on` wakes it.

    Returns:
        False if `timeout` seconds passed first.

    Raises:
        DeadlockError: if the wait can never end, and no input that has not begun can be failed
            instead.
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
    # The flow may be in a wait already, if a finalizer or signal handler interrupted that
    # wait and calls here.
    before = waits_in_progress.get(flow)
    waits_in_progress[flow] = wait
    try:
        if timeout is None:
            check_wait(wait)
        woken = park(pool.clock, waiter, timeout)
    finally:
        if before is None:
            waits_in_progress.pop(flow, None)  # a forked child has cleared the dict
        else:
            waits_in_progress[flow] = before
        if unblock_loop is not None:
            unblock_loop()
    if wait.error is not None:
        raise wait.error
    return woken


def read_for(container: Container, input: Input, waiter: Waiter) -> None:
    """Read what comes of `input` from the process of `container`, before `park_for`.

    Only on threads whose waits nobody has to know.
    """
    read = container.read_for
    if read is not None and isinstance(waiter, RealWaiter) and is_unknown():
        read(input, waiter)


def is_unknown() -> bool:
    """Whether no search for deadlocks looks at a wait of this thread: see `park_for`.

    Such a thread is in no container, and reads no stream.
    """
    return thread_state.container is None and not open_streams and current_cell() is None


def wait_for(pool: Pool, waiter: AsyncWaiter, on: On, timed: bool = False) -> Awaitable[None]:
    """Return an awaitable that waits by ``waiter.wait()`` until `on` wakes the task.

    Raises:
        DeadlockError: if the wait can never end, and no input that has not begun can be failed
            instead.
    """
    participants = pool.clock.participants
    if participants is not None:
        participants.refuse_await()
    # The context variable alone says that most callers are outside of any input, which saves the
    # call of `current_input`.
    caller = None if running_input.get(None) is None else current_input()
    if caller is None and not open_streams:
        if participants is not None:
            return wait_in(pool.clock, waiter)
        # The task awaits the future itself: one coroutine less for each input that waits.
        return waiter if isinstance(waiter, AsyncioWaiter) else waiter.wait()
    return _wait_for(pool, waiter, on, timed, caller)


async def _wait_for(
    pool: Pool, waiter: AsyncWaiter, on: On, timed: bool, caller: Input | None
) -> None:
    task = _current_task()
    if isinstance(task, InputTask):
        # None until another task of the input waits, or a search needs the TaskWaits: most
        # inputs have one task, and then its entry in `waits_in_progress` is enough.
        tasks: TaskWaits | None = task.task_waits
    else:
        tasks = _task_waits_here(caller)
        if tasks is None:
            # The task belongs to no input on this loop.  Its wait can hold up only a generator
            # whose stream it reads.
            if task is None or not open_streams:
                await wait_in(pool.clock, waiter)
                return
            caller = None
    wait = Wait(task, caller, pool, on, timed, True, waiter)
    of: weakref.ref[TaskWaits] | None = None
    if tasks is not None:
        tasks.changes += 1
        if not isinstance(task, InputTask):
            tasks.waits[task] = wait
            of = tasks.weak
    waits_in_progress[task] = wait
    is_collected = False
    try:
        if not timed and (tasks is None or not (tasks.is_watched or tasks.is_suspected)):
            check_wait(wait)
        tasks = None
        if pool.clock.participants is None:
            await waiter.wait()
        else:
            await wait_in(pool.clock, waiter)
    except GeneratorExit:
        # The coroutine is closed, perhaps by the garbage collector on a thread that holds
        # some lock: take no lock below.
        is_collected = True
        raise
    finally:
        if isinstance(task, InputTask):
            tasks = task.task_waits  # a search on another thread may have made it meanwhile
        elif of is not None:
            tasks = of()
        if tasks is None:
            waits_in_progress.pop(task, None)
        else:
            tasks.changes += 1  # before the wait is removed: see `TaskWaits.changes`
            waits_in_progress.pop(task, None)
            tasks.waits.pop(task, None)
            if tasks.is_of_thread and not tasks.waits:
                cell = current_cell()
                if cell is not None:
                    cell.task_waits = None  # else it keeps the input's result alive
            elif not is_collected:
                task_wait_ended(tasks)
    if wait.error is not None:
        raise wait.error


def _task_waits_here(caller: Input | None) -> TaskWaits | None:
    """Return the TaskWaits of `caller` for the running loop; None if the loop is not the input's.

    The loop is the input's if it is the container's loop that runs the input, or a loop that
    the sync input itself runs on its worker's thread.
    """
    loop = Real._get_running_loop()
    if caller is None or loop is None:
        return None
    root: object = caller.runner
    if isinstance(root, InputTask):
        return task_waits_of(caller, root) if root.get_loop() is loop else None
    # A sync input that runs a loop of its own, on its worker's thread.
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
    """Mark the loop of the calling thread's container as blocked, during a blocking call.

    The container then gets no async inputs, which would have to wait for this call.

    Returns:
        The function that ends this, to be called once.  None on any thread that is not the
        thread T of a container; nothing is marked then.
    """
    container: Container | None = thread_state.container
    if container is None or current_cell() is not None:
        return None
    pool = cast(Pool, container.host)
    pool.block_loop(container)
    return partial(pool.unblock_loop, container)


class ReaderHere:
    """Finds the reader of a stream, and says for which thread and input that holds.

    The reader is mostly the same as for the previous item: see `_read` in ``calling/waited.py``.
    """

    __slots__ = ("input", "thread")

    def __init__(self) -> None:
        self.thread: int = 0  # no thread
        self.input: Input | None = None

    def find(self) -> Reader:
        reader = reader_here()
        # Not for a task: on the same thread, in the same input, another task may read the next
        # item.
        self.thread = Real.get_ident() if reader[2] is None else 0
        self.input = running_input.get(None)
        return reader


def reader_here() -> Reader:
    """Return the calling flow, as the reader of a stream."""
    cell = current_cell()
    if cell is not None:
        thread: object = cell
        input = cell.input
    else:
        thread = thread_state.container or Real.get_ident()
        input = running_input.get(None)
        if input is not None:  # spares readers outside of inputs a call per item
            input = current_input()
    loop = Real._get_running_loop()
    return thread, input, None if loop is None else Real.current_task(loop)
