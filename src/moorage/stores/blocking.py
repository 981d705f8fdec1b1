"""Blocking: how a caller waits for items of a queue, or for room in it, and loses no item.

Owns the waits of ``queue.py``: of threads (`get`, `put`, `next_item`), and of tasks on asyncio and
trio (`get_async`, `put_async`, `next_item_async`).  Time is that of the clock in which the caller
takes part.

Begin at `get`, then `_wait`, then `get_async`.

An item is the caller's when it leaves this file.  Until then, each exception from outside (the
cancellation of the input or of the task, Ctrl-C, the end of a loop) puts it back to its place.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from ..exception import NotFoundError
from ..runtime.background import in_background
from ..runtime.clocks.clock import Clock, system_clock
from ..runtime.clocks.clock_of_here import clock_of_here
from ..runtime.clocks.timekeeper import Timer
from ..runtime.thread_state import thread_state
from ..runtime.uninterruptible import uninterruptible
from ..runtime.waiting.async_waiters import make_async_waiter
from ..runtime.waiting.open_waits import park_openly, refuse_real_loop, wait_openly
from .lines import Getter, Lines, Putter, Waiting, Watcher

T = TypeVar("T")

Shown = Callable[[], str]
"""Returns how the queue is called, as in "Queue 'jobs'"."""


def clock_here() -> Clock:
    """Return the clock in which the calling thread takes part: a virtual one, or the real one."""
    if thread_state.clock is None:
        return system_clock
    return clock_of_here() or system_clock


# -- threads -------------------------------------------------------------------------------


def get(
    lines: Lines,
    getter: Getter,
    block: bool,
    timeout: float | None,
    shown: Shown,
    read: Callable[[Getter], T],
) -> T:
    """Take items and return what `read` makes of them, which may run user code.

    Without `block`, `getter` may have no items.

    Raises:
        queue.Empty: if none came within `timeout` seconds.
        NotFoundError: if the queue was deleted meanwhile.
    """
    try:
        with uninterruptible:
            if not lines.take(getter) and (block or lines.gone):
                _wait(lines, getter, timeout, shown)
    except BaseException:
        lines.leave(getter)
        raise
    return _read(lines, getter, read)


def put(lines: Lines, putter: Putter, block: bool, timeout: float | None, shown: Shown) -> None:
    """Put items, in one step.

    Raises:
        queue.Full: if there was no room, within `timeout` seconds.
        NotFoundError: if the queue was deleted meanwhile.
    """
    try:
        with uninterruptible:
            if not lines.put(putter):
                _wait(lines, putter, timeout if block else 0.0, shown)
    except BaseException:
        lines.leave(putter)
        raise


def next_item(lines: Lines, watcher: Watcher, timeout: float, shown: Shown) -> bool:
    """Read the next item into `watcher`; false if none comes within `timeout` seconds."""
    try:
        with uninterruptible:
            if not lines.look(watcher):
                _wait(lines, watcher, timeout, shown)
    except queue.Empty:
        return False
    except BaseException:
        lines.leave(watcher)
        raise
    return True


def _wait(lines: Lines, waiting: Waiting, timeout: float | None, shown: Shown) -> None:
    if timeout is None or timeout > 0:
        clock = system_clock if thread_state.clock is None else clock_here()
        waiter = clock.make_waiter()
        waiting.waiter = waiter
        if lines.join(waiting):
            park_openly(clock, waiter, timeout, _saying(waiting, shown))
            if waiting.over and not lines.gone:
                return
    _check(lines, waiting, timeout, shown)


# -- tasks ---------------------------------------------------------------------------------


async def get_async(
    lines: Lines,
    getter: Getter,
    block: bool,
    timeout: float | None,
    shown: Shown,
    read: Callable[[Getter], T],
) -> T:
    """As `get`, for asyncio and trio."""
    try:
        with uninterruptible:
            there = lines.take(getter)
        if not there and (block or lines.gone):
            await _wait_async(lines, getter, timeout, shown)
    except GeneratorExit:
        # The garbage collector closes the task, maybe while this thread holds some lock.  So
        # this code must take no lock.
        in_background(partial(lines.leave, getter))
        raise
    except BaseException:
        lines.leave(getter)
        raise
    return _read(lines, getter, read)


async def put_async(
    lines: Lines, putter: Putter, block: bool, timeout: float | None, shown: Shown
) -> None:
    """As `put`, for asyncio and trio."""
    try:
        with uninterruptible:
            there = lines.put(putter)
        if there:
            return
        await _wait_async(lines, putter, timeout if block else 0.0, shown)
    except GeneratorExit:
        in_background(partial(lines.leave, putter))  # as in `get_async`
        raise
    except BaseException:
        lines.leave(putter)
        raise


async def next_item_async(lines: Lines, watcher: Watcher, timeout: float, shown: Shown) -> bool:
    """As `next_item`, for asyncio and trio."""
    try:
        if not lines.look(watcher):
            await _wait_async(lines, watcher, timeout, shown)
    except queue.Empty:
        return False
    except GeneratorExit:
        in_background(partial(lines.leave, watcher))  # as in `get_async`
        raise
    except BaseException:
        lines.leave(watcher)
        raise
    return True


async def _wait_async(lines: Lines, waiting: Waiting, timeout: float | None, shown: Shown) -> None:
    if timeout is None or timeout > 0:
        refuse_real_loop()
        waiter = make_async_waiter()
        waiting.waiter = waiter
        timer: Timer | None = None
        with uninterruptible:
            is_in_line = lines.join(waiting)
        if is_in_line:
            if timeout is not None:
                clock = clock_here()
                timer = clock.call_at(clock.now() + timeout, waiter.wake)
            try:
                await wait_openly(waiter, _saying(waiting, shown))
            finally:
                if timer is not None:
                    timer.cancel()
    _check(lines, waiting, timeout, shown)


# -- both ----------------------------------------------------------------------------------


def _read(lines: Lines, getter: Getter, read: Callable[[Getter], T]) -> T:
    try:
        return read(getter)
    except BaseException:
        # `read` has left in `getter` the items that go back.
        if getter.items:
            lines.leave(getter)
        raise


def _check(lines: Lines, waiting: Waiting, timeout: float | None, shown: Shown) -> None:
    """Raise unless `waiting` has got what it waited for."""
    is_over = lines.is_over(waiting)
    if is_over and not lines.gone:
        return
    if lines.gone and not _has(waiting):
        raise NotFoundError(
            f"{shown()} is gone: it was deleted, or its block has ended; "
            "write the call before the end of the block"
        )
    if is_over:
        return
    why = ""
    if waiting.refused:
        why = ", and another process waits for this queue; only one process can wait, so ask again"
    elif timeout:
        why = f", after {timeout:g} s"
    if isinstance(waiting, Putter):
        room = f"room for {len(waiting.values)} more"
        raise queue.Full(f"{shown()} has no {room} in this partition{why}")
    raise queue.Empty(f"{shown()} has no item in this partition{why}")


def _has(waiting: Any) -> bool:
    return bool(
        waiting.numbers
        if isinstance(waiting, Putter)
        else waiting.items
        if isinstance(waiting, Getter)
        else waiting.item
    )


def _saying(waiting: Waiting, shown: Shown) -> Callable[[], str]:
    # Without `waiting`, which refers to the task: a task on a closed loop must be freed.
    return partial(_said, isinstance(waiting, Putter), waiting.key, shown)


def _said(puts: bool, key: bytes, shown: Shown) -> str:
    partition = f", partition {key.decode()!r}" if key else ""
    if puts:
        return f"waits for room in {shown()}{partition}, which any code may make"
    return f"waits for an item of {shown()}{partition}, which any code may put"
