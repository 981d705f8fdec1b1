"""Waits: who waits for whom at the moment.

Owns the waits of ours that are under way, and what holds an input up.  Every
wait of a caller for inputs is noted here by ``callers.py``, and read by
``deadlock.py`` and by whoever describes what goes on.

A *flow* is what waits: the cell of a worker, a task, a container (its thread T:
the loop, or the hooks), or, outside, a thread.  An input gets on while none of
the flows that carry it sits in a wait, or that wait will end.

A flow that is no input is noted only while a stream is open, whose generator
may wait for it: else it costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from ..exception import DeadlockError
from . import forking
from .batching import batch_of
from .cancellation import Cell
from .clock import Waiter
from .input import Input, InputState, Target
from .streaming import Stream, stream_of
from .wakers import AsyncioWaiter, AsyncWaiter

if TYPE_CHECKING:
    from .pools.pool import Pool

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
"""Who read last: the flow of its thread, the input that ran there, and its task."""

On = Input | MapLike | Sequence[tuple["Pool", Input]] | None
"""For what a flow waits: an input, any of a map's, any of several, or room in a backlog."""


class Wait:
    """One wait of ours that is under way."""

    __slots__ = ("awaits", "caller", "error", "flow", "on", "pool", "since", "timed", "waiter")

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


# By flow.  A dict, for its single operations are atomic.
known: Final[dict[object, Wait]] = {}

# The calls of streams whose generators have not ended.
open_streams: Final[dict[object, None]] = {}


def waiting() -> list[Wait]:
    """The waits of inputs that are under way; those of others only while a stream is open."""
    return list(known.values())


def _after_fork() -> None:
    forking.keep(dict(known), dict(open_streams))
    known.clear()
    open_streams.clear()


forking.in_child(_after_fork)


def blockers_of(input: Input) -> list[Wait]:
    """The waits that `input`, which has a slot, sits in: each must end for it to get on."""
    found: list[Wait] = []
    input = batch_of(input)  # which is what carries its members
    if input.state is SETTLED or input.state is WAITING:
        return found
    runner: Any = input.runner
    target = input.call.target
    if target.is_async:
        wait = known.get(input.container)
        if wait is not None:
            found.append(wait)
        if runner is not None:
            wait = known.get(runner)
            if wait is not None:
                found.append(wait)
    elif runner is not None:
        wait = known.get(getattr(runner, "cell", None))
        if wait is not None and wait.caller is input:
            found.append(wait)
    if target.is_generator:
        # In this order, or: 1. the stream is full, 2. its reader takes all of it and begins
        # to wait for the next item, 3. so each seems to wait for the other.
        reading = blockers_of_reader(cast(Read, input.call))
        if reading and stream_of(input.call).is_full:
            found += reading
    return found


def blockers_of_reader(call: Read) -> list[Wait]:
    if call.reader is None:
        return []
    thread, input, task = call.reader
    found: list[Wait] = []
    wait = known.get(thread)
    # Its worker may be at another input by now: then the reader has ended.
    if wait is not None and (input is None or wait.caller is input):
        found.append(wait)
    wait = known.get(task)
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
