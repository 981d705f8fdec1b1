"""Waits: who waits for whom at the moment.

Owns the moorage waits in progress, and the rule of what blocks an input.  ``callers.py``
records every wait of a caller for inputs here; ``deadlock.py``, ``waiting_graph.py`` and
``describing/text.py`` read the waits.  Begin at `Wait`, then `blockers_of`.

A *flow* is what waits: the cell of a worker, a task, a container (its thread T, which runs
the loop and the hooks), an input that runs in another process, or, outside of
containers, the id of a thread.  A sync input makes
progress if its thread is in no wait, or in a wait that will end.  An async input makes
progress if its container's thread does, and at least one of its tasks does: the task that
runs the input, or a task made by it.  `TaskWaits` holds the waits of an input's tasks.

The wait of a flow outside of inputs and hooks is recorded only while a stream is open, because
the generator of the stream may wait for that flow.  Otherwise such a wait costs nothing.
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
    """The call of a map, as far as this file needs it: its reader waits for any of its inputs."""

    @property
    def target(self) -> Target: ...
    @property
    def done(self) -> list[Input]: ...


class Read(Protocol):
    """The call of a stream, as far as this file needs it."""

    @property
    def stream(self) -> Stream: ...
    @property
    def reader(self) -> Reader | None: ...


Reader = tuple[object, Input | None, object]
"""The last reader of a stream: the flow of its thread, the input that ran there (None outside
of inputs), and its task if the reader awaits."""

On = Input | MapLike | Sequence[tuple["Pool", Input]] | None
"""What a flow waits for: an input, any input of a map, any of several inputs, or (None) room in
a backlog."""


class OfMap(list["tuple[Pool, Input]"]):
    """The unsettled inputs of a map whose reader is in another process."""

    @property
    def target(self) -> Target:
        return self[0][1].call.target


class Wait:
    """One moorage wait in progress."""

    __slots__ = (
        "awaits",
        "caller",
        "error",
        "flow",
        "grace_ends_at",
        "on",
        "pool",
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
        self.pool: Pool = pool  # the pool of `on`; of several inputs, the first one's pool
        self.on: On = on
        self.timed: bool = timed  # the wait has a time limit, so it ends by itself
        self.awaits: bool = awaits  # a task waits, and its thread goes on
        self.waiter: Waiter | AsyncWaiter = waiter
        self.since: float = pool.clock.now()  # seconds of the pool's clock
        # The end of the grace, which begins when a search first finds this wait in a deadlock.
        # Guarded by the search's lock.
        self.grace_ends_at: float | None = None
        # The error that the flow raises at the end of the wait.  The search sets it before it
        # wakes the flow.
        self.error: DeadlockError | None = None

    def targets(self) -> list[tuple[Pool, Input]]:
        """Return the inputs of which any ends the wait; empty for a map, or for room."""
        on = self.on
        if isinstance(on, Input):
            return [(self.pool, on)]
        return list(on) if isinstance(on, Sequence) else []

    def __repr__(self) -> str:
        return f"<Wait of {self.caller!r} for {self.on!r}>"


class TaskWaits:
    """The waits of one input's tasks on one loop, and the loop's last answer about the tasks.

    Only the loop's thread writes the fields, except `is_watched` and `is_suspected`.  Any
    thread reads them.
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
        # The task that runs the input (the *root*); None if a sync input runs the loop.  Weak,
        # because the task refers to this object: a reference cycle would keep the input's
        # result alive.
        self._root: weakref.ref[InputTask] | None = None if root is None else weakref.ref(root)
        # The waits by task.  The wait of the root is not here, only in `waits_in_progress`.
        self.waits: dict[object, Wait] = {}
        # Waiting tasks refer to this object only weakly.  When the input ends, this object
        # is freed and `_forget` removes the waits of its tasks from `waits_in_progress`.
        # Otherwise tasks left behind on a closed loop would stay there for good.
        self.weak: weakref.ref[TaskWaits] = weakref.ref(self, partial(_forget, self.waits))
        # How often a wait of these tasks has begun or ended.  Invariant: the count goes up
        # before an ended wait is removed.  Otherwise:
        #     1. A task's wait ends, and is removed.
        #     2. The search reads the old count and no such wait: it takes the task, which
        #        runs, for one that was found blocked.
        #     3. The count goes up, too late.
        self.changes: int = 0
        # The value of `changes` when the loop found each of the input's tasks blocked; -1
        # before that.  Invariant: while both are equal, no task of the input has moved since,
        # because a blocked task moves only when one of these waits ends.
        self.blocked_at: int = -1
        # True from the moment the loop is asked until it finds no mover; while it watches a
        # mover, it checks again after that has acted.  Meanwhile the input counts as making
        # progress, and its waits need no check.  Set under the search's lock.
        self.is_watched: bool = False
        # The timer at which the loop checks again.  It is cancelled when the root ends, so
        # that no timer of moorage stays on the loop after the input: virtual time would run
        # up to that timer.
        self._timer: asyncio.TimerHandle | None = None
        # True while the input is in a deadlock whose grace has not ended.  The search checks
        # its waits at the end of the grace.  Guarded by the search's lock.
        self.is_suspected: bool = False

    @property
    def has_ended(self) -> bool:
        """True if the attempt of the input has ended.  On the loop's thread."""
        if self._root is None:
            return not self.waits
        root = self._root()
        return root is None or root.done()

    @property
    def is_of_thread(self) -> bool:
        """True if a sync input runs the loop, on its worker's thread."""
        return self._root is None

    def set_timer(self, timer: asyncio.TimerHandle) -> None:
        """Keep `timer` until the root ends, then cancel it.  On the loop's thread.

        Cancels the timer that was kept before.
        """
        before, self._timer = self._timer, timer
        if before is not None:
            before.cancel()
        elif self._root is not None:
            root, this = self._root(), self.weak
            if root is not None:
                root.add_done_callback(lambda _: _cancel_timer(this), context=Context())

    def current(self) -> list[Wait]:
        """Return the waits in progress: the root's first, then the others, oldest first."""
        found = list(self.waits.copy().values())
        root = None if self._root is None else waits_in_progress.get(self._root())
        return found if root is None else [root, *found]

    def wait_of_loop(self) -> Wait | None:
        """Return the blocking wait in which the loop's thread sits, if it is a container's."""
        return None if self._root is None else waits_in_progress.get(self.input.container)

    def eldest(self) -> Wait | None:
        """Return the oldest of `waits`, else the root's wait, else None.  On the loop's thread."""
        for wait in self.waits.values():
            return wait
        return None if self._root is None else waits_in_progress.get(self._root())

    def __repr__(self) -> str:
        return f"<TaskWaits of {self.input!r}: {len(self.waits)}>"


def _forget(waits: dict[object, Wait], _: object) -> None:
    """Remove the waits of an ended input.  Called when its TaskWaits is freed; takes no lock."""
    for task in list(waits):
        waits_in_progress.pop(task, None)


def _cancel_timer(of: weakref.ref[TaskWaits]) -> None:
    tasks = of()
    if tasks is not None and tasks._timer is not None:
        tasks._timer.cancel()


Blocker = Wait | TaskWaits
"""What an input must wait for: a wait that must end, or waits of which any must end."""


def task_waits_of(input: Input, root: InputTask) -> TaskWaits:
    """Return the TaskWaits of `input`, which `root` runs; make it if needed.  On any thread."""
    found = root.task_waits
    if found is None:
        # The loop and a search on another thread must get the same object.
        with _making:
            found = root.task_waits
            if found is None:
                root.task_waits = found = TaskWaits(input, root.get_loop(), root)
    return cast(TaskWaits, found)


_making: Final = Real.Lock()  # a leaf: no other lock is taken under it


# The recorded waits, by flow.  No lock guards this dict: its single operations are atomic.
waits_in_progress: Final[dict[object, Wait]] = {}

# The calls of streams whose generators have not ended.  A dict used as a set; no lock either.
open_streams: Final[dict[object, None]] = {}


def waiting() -> list[Wait]:
    """Return the waits in progress of inputs and hooks, and of outside flows if recorded."""
    return list(waits_in_progress.values())


def _after_fork() -> None:
    forking.renew(_making)
    forking.keep(dict(waits_in_progress), dict(open_streams))
    waits_in_progress.clear()
    open_streams.clear()


forking.in_child(_after_fork)


def blockers_of(input: Input) -> list[Blocker]:
    """Return what blocks `input`, which has a slot: each blocker must end.

    Empty if the input makes progress.  A result with TaskWaits is a guess until the input's
    loop has checked the tasks.
    """
    found: list[Blocker] = []
    input = batch_of(input)  # members of a batch run as the batch's input
    if input.state is SETTLED or input.state is WAITING:
        return found
    runner: Any = input.runner
    target = input.call.target
    if target.is_async:
        wait = waits_in_progress.get(input.container)
        if wait is not None:
            found.append(wait)
        if runner is None:
            # It runs in another process, which says if all its tasks are blocked.
            wait = waits_in_progress.get(input)
            if wait is not None:
                found.append(wait)
        else:
            _add_tasks(runner, found)
            errand: Input | None = getattr(runner, "errand", None)
            if errand is not None:
                found += blockers_of(errand)
    elif runner is None:
        # It runs in another process, which says what its code waits for.
        wait = waits_in_progress.get(input)
        if wait is not None:
            found.append(wait)
    else:
        cell: Cell | None = getattr(runner, "cell", None)
        wait = waits_in_progress.get(cell)
        if wait is not None:
            if wait.caller is input:
                found.append(wait)
        elif cell is not None:
            # The input may run a loop of its own, for example by asyncio.run.
            tasks: TaskWaits | None = cell.task_waits
            is_its = tasks is not None and tasks.input is input
            if tasks is not None and is_its and tasks.waits and not tasks.is_watched:
                found.append(tasks)
    if target.is_generator:
        # Read the reader's waits before `is_full`.  In the other order:
        # 1. This function finds the stream full.
        # 2. The reader takes all items and begins to wait for the next one.
        # 3. This function finds that wait: generator and reader seem to wait for each other.
        reading = blockers_of_reader(cast(Read, input.call))
        if reading and stream_of(input.call).is_full:
            found += reading
    return found


def _add_tasks(root: InputTask, found: list[Blocker]) -> None:
    """Add to `found` what blocks the tasks of the input that `root` runs."""
    tasks: TaskWaits | None = root.task_waits
    if tasks is None:
        wait = waits_in_progress.get(root)
        if wait is not None:
            found.append(wait)
    elif not tasks.is_watched and (tasks.waits or root in waits_in_progress):
        found.append(tasks)


def blockers_of_reader(call: Read) -> list[Blocker]:
    """Return what blocks the last reader of the stream of `call`."""
    if call.reader is None:
        return []
    thread, input, task = call.reader
    found: list[Blocker] = []
    wait = waits_in_progress.get(thread)
    # A worker that runs another input by now has finished the input that read.
    if wait is not None and (not isinstance(thread, Cell) or wait.caller is input):
        found.append(wait)
    if task is not None:
        root: object = None if input is None else input.runner
        if isinstance(root, InputTask):
            # Any task of the input may close the stream, not only the one that reads.
            _add_tasks(root, found)
        else:
            wait = waits_in_progress.get(task)
            if wait is not None:
                found.append(wait)
    return found


def ends(wait: Wait) -> bool:
    """Tell whether `wait` surely ends: it is timed or cancelled, or its result is there."""
    if wait.timed or wait.error is not None:
        return True
    flow, waiter = wait.flow, wait.waiter
    if isinstance(flow, Cell):
        # A cancelled input leaves this wait, unless it is inside `shield()`.
        caller = wait.caller
        if caller is not None and caller.cancellation is not None and not flow.shield:
            return True
    elif isinstance(waiter, AsyncioWaiter) and waiter.done():
        return True  # the waiter is woken, or the task is cancelled
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
