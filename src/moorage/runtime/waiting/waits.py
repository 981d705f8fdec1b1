"""Waits: who waits for whom at the moment.

Owns the waits of ours that are under way, and what blocks an input.  ``callers.py`` notes
every wait of a caller for inputs here; ``deadlock.py``, and whoever describes what goes
on, reads them.  Begin reading at `blockers_of`.

A *flow* is what waits: the cell of a worker, a task, a container (its thread T: the loop,
or the hooks), or, outside, a thread.  A synchronous input gets on while its thread sits in
no wait, or in one that will end.  An asynchronous input gets on while its container's
thread does, and while any of its tasks does: the task that runs the input, or one that it
has made.  `TaskWaits` holds the waits of its tasks.

The wait of a flow that is no input's is noted only while a stream is open, because the
generator of the stream may wait for that flow: otherwise such a wait costs nothing.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Sequence
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from ...exception import DeadlockError
from .. import forking
from ..clocks.clock import Waiter
from ..containers.streaming import Stream, stream_of
from ..containers.task_lane import InputTask
from ..guards.cells import Cell
from ..input import Input, InputState, Target
from ..pools.batching import batch_of
from ..real import Real
from .async_waiters import AsyncioWaiter, AsyncWaiter

if TYPE_CHECKING:
    from ..pools.pool import Pool

QUEUED: Final = InputState.QUEUED
SETTLED: Final = InputState.SETTLED
WAITING: Final = InputState.WAITING


class MapLike(Protocol):
    """The call of a map: whoever reads it waits for any of its inputs."""

    @property
    def target(self) -> Target: ...
    @property
    def done(self) -> list[Input]: ...


class Read(Protocol):
    """The call of a stream."""

    @property
    def stream(self) -> Stream: ...
    @property
    def reader(self) -> Reader | None: ...


Reader = tuple[object, Input | None, object]
"""Who read last: the flow of its thread, the input that ran there, and its task if it awaits."""

On = Input | MapLike | Sequence[tuple["Pool", Input]] | None
"""For what a flow waits: an input, any of a map's, any of several, or room in a backlog."""


class Wait:
    """One wait of ours that is under way."""

    __slots__ = (
        "awaits",
        "caller",
        "error",
        "flow",
        "on",
        "pool",
        "ripe_at",
        "since",
        "timed",
        "waiter",
    )

    def __init__(
        self,
        flow: object,
        caller: Input | None,
        pool: Pool,
        on: On,
        timed: bool,
        awaits: bool,
        waiter: Waiter | AsyncWaiter,
    ) -> None:
        self.flow: object = flow
        self.caller: Input | None = caller  # the input that waits; None outside, and in hooks
        self.pool: Pool = pool  # of what it waits for; the first one, of several
        self.on: On = on
        self.timed: bool = timed  # it ends by itself
        self.awaits: bool = awaits  # in a task: its thread goes on
        self.waiter: Waiter | AsyncWaiter = waiter
        self.since: float = pool.clock.now()
        # When the patience ends that began when it was first found to be in a deadlock.
        self.ripe_at: float | None = None
        # Set, before it is woken, to be raised where it waits.
        self.error: DeadlockError | None = None

    def targets(self) -> list[tuple[Pool, Input]]:
        """The inputs it waits for, any of which ends it; of a map, or for room, none."""
        on = self.on
        if isinstance(on, Input):
            return [(self.pool, on)]
        return list(on) if isinstance(on, Sequence) else []

    def __repr__(self) -> str:
        return f"<Wait of {self.caller!r} for {self.on!r}>"


class TaskWaits:
    """The waits of one input's tasks on one loop, and what that loop last said of the tasks.

    Written on the loop's thread, but for `is_watched` and `is_suspected`; read anywhere.
    """

    __slots__ = (
        "__weakref__",
        "_root",
        "_timer",
        "blocked_at",
        "changes",
        "input",
        "is_suspected",
        "is_watched",
        "loop",
        "waits",
        "weak",
    )

    def __init__(
        self, input: Input, loop: asyncio.AbstractEventLoop, root: InputTask | None
    ) -> None:
        self.input: Input = input
        self.loop: asyncio.AbstractEventLoop = loop
        # The task that runs the input; None if a synchronous input runs the loop.  Weak,
        # because the task holds this: a cycle would keep the input's result.
        self._root: weakref.ref[InputTask] | None = None if root is None else weakref.ref(root)
        # By task, without that of `root`, which is in `known` only.
        self.waits: dict[object, Wait] = {}
        # What waits holds this only weakly.  When the input ends, what its tasks wait for is
        # forgotten: they may be left behind on a loop that was closed, and `known` would keep
        # them for good.
        self.weak: weakref.ref[TaskWaits] = weakref.ref(self, partial(_forget, self.waits))
        # How often a wait of these tasks has begun or ended.  Invariant: it is counted up
        # before a wait ends and is taken out, or:
        #     1. a wait ends and is taken out, 2. the search reads an old count, and no such
        #     wait, and takes a task that runs for one that was found blocked, 3. it is counted.
        self.changes: int = 0
        # `changes` when the loop found each of its tasks blocked; -1 before.  Invariant:
        # while both are equal no task of the input has moved since, because a task that is
        # blocked moves only when a wait of these ends.
        self.blocked_at: int = -1
        # The loop is asked, and has not answered; or it has found something that may make
        # the input go on, and looks again when that has happened.  The input counts as
        # getting on, and its waits need no look.  Guarded by the search's lock when set.
        self.is_watched: bool = False
        # At which the loop looks again; it ends with the root, so that nothing of ours is due
        # on the loop, least of all in virtual time, once the input has ended.
        self._timer: asyncio.TimerHandle | None = None
        # It is in a deadlock whose patience has not ended: its waits are looked at then.
        self.is_suspected: bool = False

    @property
    def has_ended(self) -> bool:
        """Whether the attempt has ended to which the tasks belong.  On the loop's thread."""
        if self._root is None:
            return not self.waits
        root = self._root()
        return root is None or root.done()

    @property
    def is_of_thread(self) -> bool:
        """Whether a synchronous input runs the loop, on its worker's thread."""
        return self._root is None

    def set_timer(self, timer: asyncio.TimerHandle) -> None:
        """Cancel `timer` when the input's task ends.  On the loop's thread."""
        before, self._timer = self._timer, timer
        if before is not None:
            before.cancel()
        elif self._root is not None:
            root, this = self._root(), self.weak
            if root is not None:
                root.add_done_callback(lambda _: _cancel_timer(this), context=Context())

    def current(self) -> list[Wait]:
        """The waits that are under way: that of the root first, then the eldest first."""
        found = list(self.waits.copy().values())
        root = None if self._root is None else waits_in_progress.get(self._root())
        return found if root is None else [root, *found]

    def wait_of_loop(self) -> Wait | None:
        """The blocking wait in which the loop's thread sits, if it is a container's."""
        return None if self._root is None else waits_in_progress.get(self.input.container)

    def eldest(self) -> Wait | None:
        """One of the waits that are under way.  On the loop's thread."""
        for wait in self.waits.values():
            return wait
        return None if self._root is None else waits_in_progress.get(self._root())

    def __repr__(self) -> str:
        return f"<TaskWaits of {self.input!r}: {len(self.waits)}>"


def _forget(waits: dict[object, Wait], _: object) -> None:
    for task in list(waits):
        waits_in_progress.pop(task, None)


def _cancel_timer(of: weakref.ref[TaskWaits]) -> None:
    tasks = of()
    if tasks is not None and tasks._timer is not None:
        tasks._timer.cancel()


Blocker = Wait | TaskWaits
"""A wait, or those of which any must end."""


def task_waits_of(input: Input, root: InputTask) -> TaskWaits:
    """The waits of the tasks of `input`, which `root` runs.  On any thread."""
    found = root.task_waits
    if found is None:
        # The loop and a search on another thread must find the same.
        with _making:
            found = root.task_waits
            if found is None:
                root.task_waits = found = TaskWaits(input, root.get_loop(), root)
    return cast(TaskWaits, found)


_making: Final = Real.Lock()  # a leaf


# By flow.  A dict, for its single operations are atomic.
waits_in_progress: Final[dict[object, Wait]] = {}

# The calls of streams whose generators have not ended.
open_streams: Final[dict[object, None]] = {}


def waiting() -> list[Wait]:
    """The waits of inputs that are under way; those of others only while a stream is open."""
    return list(waits_in_progress.values())


def _after_fork() -> None:
    forking.renew(_making)
    forking.keep(dict(waits_in_progress), dict(open_streams))
    waits_in_progress.clear()
    open_streams.clear()


forking.in_child(_after_fork)


def blockers_of(input: Input) -> list[Blocker]:
    """What `input`, which has a slot, sits in: each must end for it to get on.

    Empty if it gets on.  That it does not is a guess where its tasks are concerned, until
    its loop has looked at them.
    """
    found: list[Blocker] = []
    input = batch_of(input)  # which is what carries its members
    if input.state is SETTLED or input.state is WAITING:
        return found
    runner: Any = input.runner
    target = input.call.target
    if target.is_async:
        wait = waits_in_progress.get(input.container)
        if wait is not None:
            found.append(wait)
        if runner is not None:
            _add_tasks(runner, found)
    elif runner is not None:
        cell: Cell | None = getattr(runner, "cell", None)
        wait = waits_in_progress.get(cell)
        if wait is not None:
            if wait.caller is input:
                found.append(wait)
        elif cell is not None:
            # It may run a loop of its own, as by asyncio.run.
            tasks: TaskWaits | None = cell.task_waits
            is_its = tasks is not None and tasks.input is input
            if tasks is not None and is_its and tasks.waits and not tasks.is_watched:
                found.append(tasks)
    if target.is_generator:
        # In this order, or: 1. the stream is full, 2. its reader takes all of it and begins
        # to wait for the next item, 3. so each seems to wait for the other.
        reading = blockers_of_reader(cast(Read, input.call))
        if reading and stream_of(input.call).is_full:
            found += reading
    return found


def _add_tasks(root: InputTask, found: list[Blocker]) -> None:
    """Add to `found` what the tasks of an input sit in."""
    tasks: TaskWaits | None = root.task_waits
    if tasks is None:
        wait = waits_in_progress.get(root)
        if wait is not None:
            found.append(wait)
    elif not tasks.is_watched and (tasks.waits or root in waits_in_progress):
        found.append(tasks)


def blockers_of_reader(call: Read) -> list[Blocker]:
    if call.reader is None:
        return []
    thread, input, task = call.reader
    found: list[Blocker] = []
    wait = waits_in_progress.get(thread)
    # Its worker may be at another input by now: then the reader has ended.
    if wait is not None and (not isinstance(thread, Cell) or wait.caller is input):
        found.append(wait)
    if task is not None:
        root: object = None if input is None else input.runner
        if type(root) is InputTask:
            # Any task of the input may close the stream, not only the one that reads.
            _add_tasks(root, found)
        else:
            wait = waits_in_progress.get(task)
            if wait is not None:
                found.append(wait)
    return found


def ends(wait: Wait) -> bool:
    """Whether it ends: it has a limit, or was cancelled, or what it waits for is there."""
    if wait.timed or wait.error is not None:
        return True
    flow, waiter = wait.flow, wait.waiter
    if isinstance(flow, Cell):
        # Its input is on its way out of this wait, unless it shields itself.
        caller = wait.caller
        if caller is not None and caller.cancellation is not None and not flow.shield:
            return True
    elif isinstance(waiter, AsyncioWaiter) and waiter.future.done():
        return True  # woken, or its task was cancelled
    on = wait.on
    if isinstance(on, Input):
        if on.call.target.is_generator:
            stream = stream_of(on.call)
            return stream.has_items or stream.ended
        return on.outcome is not None
    if on is None:
        return False
    if isinstance(on, Sequence):
        return any(input.outcome is not None for _, input in on)
    return bool(on.done)
