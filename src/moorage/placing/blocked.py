"""Blocked: which code of this process waits for the calling program, and has waited for a while.

Owns what a container's process says for the search for deadlocks, which is in the calling program:
that an input, or the loop, can go on only if one of some calls ends.  A wait that ends soon is
never mentioned, so that a call costs no further message: a timer looks every `LOOKS_EVERY` seconds
at the waits in progress, as long as there are any.

Sync code is blocked by its wait alone.  An async input is blocked if all its tasks are: the loop
is asked, as in ``runtime/waiting/deadlock.py``.  When a task of such an input moves, the calling
program hears at once that the input is no longer blocked.

Begin at `Blocked.note`, then `_look`, then `_ask_loop`.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from array import array
from collections.abc import Sequence
from contextvars import Context
from typing import Any, Final, NamedTuple, Protocol

from ..exception import DeadlockError
from ..runtime.clocks.clock import system_clock
from ..runtime.containers.task_lane import InputTask
from ..runtime.guards.cells import Cell
from ..runtime.input import Input
from ..runtime.pools.batching import batch_of
from ..runtime.real import Real
from ..runtime.waiting.async_waiters import AsyncioWaiter
from ..runtime.waiting.awaited import Future, Task, find_movers
from ..runtime.waiting.waits import TaskWaits, Wait, task_waits_of, waiting, waits_in_progress

# Seconds between two looks; a wait that is younger is not mentioned.  While no wait begins or ends,
# the looks become rarer.
LOOKS_EVERY: Final = 0.1
LOOKS_AT_LEAST_EVERY: Final = 1.0

# The most seconds until the tasks of an input are looked at again, because a look at all tasks
# of a loop takes time.
LOOKS_AT_TASKS_EVERY: Final = 2.0

# How often a loop is asked again at once, because a callback is due.
TRIES: Final = 2

# What is blocked: sync code of the input; all tasks of the input; the loop, or a hook.
SYNC: Final = 0
TASKS: Final = 1
LOOP: Final = 2


class Said(NamedTuple):
    """What a message BLOCKED says: see ``calls.py``."""

    what: int  # SYNC, TASKS or LOOP
    is_map: bool  # the calls are those of one map
    numbers: Sequence[int]  # the calls of which any ends the wait; none: it is blocked no more


def packed_said(what: int, is_map: bool, numbers: Sequence[int]) -> bytes:
    return array("Q", [what, is_map, *numbers]).tobytes()


def opened_said(data: bytes) -> Said:
    what, is_map, *numbers = array("Q", data)
    return Said(what, bool(is_map), numbers)


class Link(Protocol):
    """What this file needs of the link."""

    def number_of(self, input: Input) -> int: ...
    def say_blocked(self, parent: Input | None, data: bytes) -> None: ...


class _Look:
    """When the tasks of an input are looked at next, and what was said about them."""

    __slots__ = ("changes", "due", "numbers", "pause")

    def __init__(self) -> None:
        self.due = 0.0
        self.pause = LOOKS_EVERY
        self.changes = -1  # `TaskWaits.changes` when they were said to be blocked; else -1
        self.numbers: list[int] = []  # the calls that were mentioned then


class Blocked:
    """Says what is blocked.

    Args:
        link: the calls of this process.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._lock: threading.Lock = Real.Lock()  # a leaf
        # Invariant: true if the timer is set, or its callback runs.
        self._looks = False
        # Of the timer's thread: the waits of sync code that were mentioned, with their calls; the
        # waits that the last look saw; and the seconds until the next one.
        self._said: dict[Wait, list[int]] = {}
        self._seen: set[Wait] = set()
        self._pause = LOOKS_EVERY
        # Written by the timer's thread; single operations are atomic.
        self._tasks: weakref.WeakKeyDictionary[TaskWaits, _Look] = weakref.WeakKeyDictionary()

    def renew(self) -> None:
        """In a forked child: nothing is said."""
        self._lock = Real.Lock()
        self._looks = True

    def note(self, wait: Wait) -> None:
        """Note that a wait has begun, or that a wait beside `wait` has ended."""
        if wait.awaits and self._tasks:
            self._note_move(wait)
        if not self._looks:
            self._look_soon()

    def _look_soon(self) -> None:
        with self._lock:
            is_set, self._looks = self._looks, True
        if not is_set:
            system_clock.call_at(system_clock.now() + self._pause, self._look)

    def _note_move(self, wait: Wait) -> None:
        """Say that the input of `wait` is blocked no more, if it was said to be blocked."""
        tasks = _tasks_of(wait)
        look = None if tasks is None else self._tasks.get(tasks)
        if tasks is not None and look is not None and look.changes != -1:
            self._unsay_tasks(tasks, look)

    def _unsay_tasks(self, tasks: TaskWaits, look: _Look) -> None:
        look.changes = -1
        self._link.say_blocked(tasks.input, packed_said(TASKS, False, ()))

    # -- on the timer's thread ---------------------------------------------------------------

    def _look(self) -> None:
        try:
            self._look_once()
        finally:
            # Also after an error, or no later deadlock would be found.
            with self._lock:
                self._looks = False
            # The timer was set until now for any wait that has begun meanwhile.
            if waits_in_progress or self._seen or self._said or self._has_said_tasks():
                self._look_soon()

    def _has_said_tasks(self) -> bool:
        return any(seen.changes != -1 for _, seen in self._all_tasks())

    def _all_tasks(self) -> list[tuple[TaskWaits, _Look]]:
        while True:
            try:
                return list(self._tasks.items())
            except RuntimeError:
                pass  # tasks of another thread have ended meanwhile

    def _look_once(self) -> None:
        now = system_clock.now()
        waits = [wait for wait in waiting() if wait.pool.is_elsewhere and not wait.timed]
        before, self._seen = self._seen, set(waits)
        self._pause = min(2 * self._pause, LOOKS_AT_LEAST_EVERY)
        if self._seen != before:
            self._pause = LOOKS_EVERY
        for wait in self._said.keys() - self._seen:
            del self._said[wait]
            self._unsay(wait)
        for moved, seen in self._all_tasks():
            if seen.changes not in (-1, moved.changes):
                self._unsay_tasks(moved, seen)
            elif seen.changes != -1 and seen.numbers != self._numbers_of_all(moved.current()):
                # One of several calls has ended, and the others do not wake the task.
                seen.changes, seen.due = -1, now
        asked: dict[asyncio.AbstractEventLoop, set[TaskWaits]] = {}
        for wait in waits:
            if now - wait.since < LOOKS_EVERY:
                continue
            if not wait.awaits:
                self._say_sync(wait)
                continue
            tasks = _tasks_of(wait)
            if tasks is None:
                continue
            look = self._tasks.get(tasks)
            if look is None:
                look = self._tasks[tasks] = _Look()
            if look.changes == -1 and look.due <= now:
                look.pause = min(2 * look.pause, LOOKS_AT_TASKS_EVERY)
                look.due = now + look.pause
                asked.setdefault(tasks.loop, set()).add(tasks)
        for loop, those in asked.items():
            try:
                loop.call_soon_threadsafe(self._ask_loop, loop, those, context=Context())
            except RuntimeError:
                pass  # the loop is closed

    def _say_sync(self, wait: Wait) -> None:
        if wait.error is not None or isinstance(wait.flow, int):
            return  # an int: a thread that runs no input
        if wait in self._said and isinstance(wait.on, Input):
            return
        numbers = self._numbers_of(wait)
        # The wait for several calls goes on when one of them has ended.
        if not numbers or self._said.get(wait) == numbers:
            return
        self._said[wait] = numbers
        what = _what_of(wait)
        if what == LOOP or wait.caller is not None:
            self._link.say_blocked(wait.caller, packed_said(what, _is_of_map(wait), numbers))

    def _unsay(self, wait: Wait) -> None:
        """Say that a wait has ended, unless an answer has ended it."""
        if self._numbers_of(wait):
            self._link.say_blocked(wait.caller, packed_said(_what_of(wait), False, ()))

    def _numbers_of(self, wait: Wait) -> list[int]:
        """Return the numbers of the calls of which any ends `wait`; none if one has ended."""
        inputs = [input for _, input in wait.targets()]
        if _is_of_map(wait):
            call: Any = wait.on
            with wait.pool.lock:
                inputs = [] if call.done else list(call.pending)
        numbers = [self._link.number_of(input) for input in inputs]
        return numbers if all(numbers) else []

    def _numbers_of_all(self, waits: Sequence[Wait]) -> list[int]:
        """Return the numbers of the calls of which any ends one of `waits`; none as above."""
        numbers: list[int] = []
        for wait in waits:
            found = self._numbers_of(wait)
            if wait.timed or not found:
                return []
            numbers += found
        return numbers

    # -- on a loop ----------------------------------------------------------------------------

    def _ask_loop(
        self, loop: asyncio.AbstractEventLoop, asked: set[TaskWaits], tries: int = TRIES
    ) -> None:
        """Say which of these inputs are blocked.  On the thread of `loop`."""
        run_now: set[TaskWaits] = set()
        live = [tasks for tasks in asked if not tasks.has_ended]
        movers = find_movers(loop, {tasks.input for tasks in live}, _sits_in)
        for tasks in live:
            look = self._tasks.get(tasks)
            mover = movers.get(tasks.input)
            if mover is not None and mover.future is None and mover.when is None:
                # Some callback is due, maybe that of this loop for what wakes it.
                run_now.add(tasks)
            if mover is not None or look is None:
                continue
            waits = tasks.current()
            numbers = self._numbers_of_all(waits)
            if numbers:
                look.pause = LOOKS_EVERY
                look.changes, look.numbers = tasks.changes, numbers
                is_map = len(waits) == 1 and _is_of_map(waits[0])
                self._link.say_blocked(tasks.input, packed_said(TASKS, is_map, numbers))
        if run_now and tries:
            loop.call_soon(self._ask_loop, loop, run_now, tries - 1, context=Context())

    # -- what the calling program has found: on the thread that reads ------------------------------

    def refuse(self, input: Input, text: str) -> None:
        """Raise the error of a deadlock where this process waits for `input`."""
        for wait in waiting():
            on: Any = wait.on
            if on is input.call or any(target is input for _, target in wait.targets()):
                if wait.error is None:
                    wait.error = DeadlockError(text)
                    wait.waiter.wake()
                return


def _what_of(wait: Wait) -> int:
    return SYNC if isinstance(wait.flow, Cell) else LOOP


def _is_of_map(wait: Wait) -> bool:
    return wait.on is not None and not wait.targets()


def _tasks_of(wait: Wait) -> TaskWaits | None:
    """Return the waits of the tasks of the input of `wait`; None if it is no input's."""
    caller, flow = wait.caller, wait.flow
    if caller is None:
        return None
    if isinstance(flow, InputTask):
        return task_waits_of(batch_of(caller), flow)
    root: object = batch_of(caller).runner
    if isinstance(root, InputTask):
        return task_waits_of(caller, root)
    cell: Any = getattr(root, "cell", None)
    found: TaskWaits | None = getattr(cell, "task_waits", None)
    return found if found is not None and found.input is caller else None


def _sits_in(task: Task, future: Future) -> bool:
    """Tell whether `task` is in a wait of this library, and `future` is the future of that wait."""
    wait = waits_in_progress.get(task)
    waiter = None if wait is None else wait.waiter
    return isinstance(waiter, AsyncioWaiter) and waiter is future
