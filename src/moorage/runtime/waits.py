"""Waits: who waits for whom, and what happens when they wait for one another.

Owns the waits of ours that are under way, and the search for knots: inputs that
hold slots and wait for inputs that need them.  Every wait of a caller for
inputs comes here.  One that is no input itself is written down only while a
stream is open, whose generator may wait for it: else it costs nothing.

A *flow* is what waits: the cell of a worker, a task, a container (its thread T:
the loop, or the hooks), or, outside, a thread.  An input gets on while none of
the flows that carry it sits in a wait, or that wait will end.

The search runs when a flow begins to wait, and after the few other events that
take a slot away.  It holds one pool's lock at a time.  That is enough:

    1. It looks at each pool in turn, and at the waits, and finds a dead part.
    2. It looks again: each pool in it has changed nothing since, and each wait
       in it is the same.  So between 1 and 2 all were so at once.
    3. What is dead stays dead: nobody in it moves, and nobody else can help.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from .. import config
from ..exception import DeadlockError
from .cancellation import Cell, current_cell, park
from .clock import Clock, Waiter
from .container import Container, ContainerState
from .context import hosting, running_input
from .executor import InputTask
from .input import Call, Input, InputState, Target
from .knots import Node, knot_of, revive
from .outcome import Failure
from .streaming import Stream, stream_of
from .wakers import AsyncWaiter

if TYPE_CHECKING:
    from .pool import Pool, Survey

logger: Final = logging.getLogger("moorage")

QUEUED: Final = InputState.QUEUED
GRANTED: Final = InputState.GRANTED
SETTLED: Final = InputState.SETTLED
WAITING: Final = InputState.WAITING

# The most waits that a message about a knot names.
SHOWN: Final = 6


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


# -- how callers wait ---------------------------------------------------------------


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
        flow = threading.get_ident()
    caller = running_input.get(None) if cell is None else cell.input
    wait = Wait(flow, caller, pool, on, timeout is not None, False, waiter)
    let_loop_go = hold_loop() if cell is None else None
    known[flow] = wait
    try:
        if timeout is None:
            _look(wait)
        woken = park(pool.clock, waiter, timeout)
    finally:
        del known[flow]
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
    if running_input.get(None) is None and not open_streams:
        return waiter.wait()
    return _wait_for(pool, waiter, on, timed)


async def _wait_for(pool: Pool, waiter: AsyncWaiter, on: On, timed: bool) -> None:
    task = _current_task()
    is_input = type(task) is InputTask
    # What other tasks of an input's wait for does not hold the input up.
    if task is None or (not is_input and not open_streams):
        await waiter.wait()
        return
    caller = running_input.get(None) if is_input else None
    known[task] = wait = Wait(task, caller, pool, on, timed, True, waiter)
    try:
        if not timed:
            _look(wait)
        await waiter.wait()
    finally:
        del known[task]
    if wait.error is not None:
        raise wait.error


def _current_task() -> object:
    if asyncio._get_running_loop() is not None:
        return asyncio.current_task()
    import trio

    return trio.lowlevel.current_task()


def hold_loop() -> Callable[[], object] | None:
    """Let the container whose thread T calls get no asynchronous inputs.

    For blocking calls: those inputs would wait for this call.  It returns what
    ends that, to be called once; None, and nothing happens, on any other thread.
    """
    container: Container | None = hosting.container
    if container is None or current_cell() is not None:
        return None
    pool = _pool_of(container)
    pool.hold_loop(container)
    return partial(pool.let_loop_go, container)


def reader_here() -> Reader:
    """The flow that calls, as the reader of a stream."""
    cell = current_cell()
    if cell is not None:
        thread: object = cell
        input = cell.input
    else:
        thread = hosting.container or threading.get_ident()
        input = None
    loop = asyncio._get_running_loop()
    return thread, input, None if loop is None else asyncio.current_task(loop)


def producer_waits(call: Read) -> None:
    """The generator of `call` begins to wait for its reader.  On its own flow, no lock held."""
    for wait in _blockers_of_reader(call):
        _look(wait)


def look_at(pool: Pool) -> None:
    """A slot of `pool` went away: see whether those that wait in its queue can get on."""
    if known and pool.glance(_blockers) is not None:
        _look_closely([], pool)


def look_at_all() -> None:
    """Bounds were changed: see whether everybody that waits can get on."""
    if known:
        _look_closely(waiting())


# -- the search -------------------------------------------------------------------------

# One search at a time: two that find the same knot must not both cut it.
_looking: Final = threading.Lock()


class _Suspicion:
    """A knot of which some await, and may have a timeout of their own: looked at later."""

    def __init__(self, starts: list[Wait], pools: set[Pool]) -> None:
        self.starts = starts
        self.pools = pools

    def look_again(self) -> None:
        """The grace is over.  On the clock's thread."""
        with _looking:
            _suspicions.remove(self)
        _look_closely(self.starts, patient=False)


_suspicions: Final[list[_Suspicion]] = []  # guarded by _looking


def _look(wait: Wait) -> None:
    """`wait` has begun, and is known: cut the knot that it closes, if it does."""
    seen: set[Pool] = set()
    if _gets_on(wait, seen):
        return
    if _suspicions:
        with _looking:
            for suspicion in _suspicions:
                if not seen.isdisjoint(suspicion.pools):
                    suspicion.starts.append(wait)
                    return
    _look_closely([wait])


def _gets_on(wait: Wait, seen: set[Pool]) -> bool:
    """Whether `wait` surely ends, as far as that is quickly seen.

    It follows only what one live input decides; most ends at the first step.
    """
    waits = [wait]
    met = {wait}
    while waits:
        wait = waits.pop()
        if _ends(wait):
            return True
        targets: list[tuple[Pool, Input | None]] = [*wait.targets()]
        for pool, input in targets or [(wait.pool, None)]:
            if input is not None and input.state is not QUEUED:
                ways = [_blockers(input)]
            elif pool in seen:
                continue
            else:
                seen.add(pool)
                found = pool.glance(_blockers)
                if found is None:
                    return True
                ways = found
            for blockers in ways:
                if not blockers:
                    return True
                if len(blockers) == 1 and blockers[0] not in met:
                    met.add(blockers[0])
                    waits.append(blockers[0])
    return False


def _blockers(input: Input) -> list[Wait]:
    """The waits that `input`, which has a slot, sits in: each must end for it to get on."""
    found: list[Wait] = []
    if input.state is SETTLED or input.state is WAITING:
        return found
    runner: Any = input.runner
    target = input.call.target
    if target.is_async:
        wait = known.get(input.container)
        if wait is not None:
            found.append(wait)
        # One that is being cancelled is thrown out of its own wait.
        if runner is not None and input.cancellation is None:
            wait = known.get(runner)
            if wait is not None:
                found.append(wait)
    elif runner is not None:
        wait = known.get(getattr(runner, "cell", None))
        if wait is not None and wait.caller is input:
            found.append(wait)
    if target.is_generator and stream_of(input.call).is_full:
        found += _blockers_of_reader(cast(Read, input.call))
    return found


def _blockers_of_reader(call: Read) -> list[Wait]:
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


def _ends(wait: Wait) -> bool:
    """Whether it ends by itself: it has a limit, or what it waits for is there."""
    if wait.timed or wait.error is not None:
        return True
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


def _pool_of(container: Container) -> Pool:
    return cast("Pool", container.host)


def _look_closely(starts: list[Wait], pool: Pool | None = None, *, patient: bool = True) -> None:
    """Cut, one by one, the knots in which `starts`, or those in `pool`'s queue, are."""
    while True:
        told: str | None = None
        with _looking:
            scene = _Scene(starts, pool)
            knot = scene.knot()
            if not knot:
                return
            if not scene.is_still_so():
                continue
            waits = [node.what for node in knot if isinstance(node.what, Wait)]
            victim = scene.victim(knot)
            text = _message(scene, knot, victim)
            grace = config.deadlock_grace
            if patient and grace > 0 and any(wait.awaits for wait in waits):
                suspicion = _Suspicion(starts or waits, scene.dead_pools())
                _suspicions.append(suspicion)
                told = text
                clock: Clock = waits[0].pool.clock
                clock.call_at(clock.now() + grace, suspicion.look_again)
            else:
                error = DeadlockError(text)
                if victim is None:
                    # Nobody is queued: the youngest that waits is told itself.
                    wait = max(waits, key=lambda wait: wait.since)
                    wait.error = error
        if told is not None:
            logger.warning("%s\n(raised as DeadlockError in %g s unless it ends)", told, grace)
            return
        if victim is None:
            wait.waiter.wake()
        else:
            # If it has got a slot meanwhile, by a raised limit: the next look sees that.
            scene.pool_of[victim].drop(victim, Failure(error))


class _Scene:
    """All that some waits depend on, as it was at one moment if `is_still_so` says so."""

    def __init__(self, starts: Iterable[Wait], pool: Pool | None) -> None:
        self.waits: dict[Wait, Node] = {}
        self.inputs: dict[Input, Node] = {}  # queued, or with a slot
        self.pool_of: dict[Input, Pool] = {}
        self.surveys: dict[Pool, Survey] = {}
        self.served: dict[tuple[Pool, bool], Node] = {}  # can an input of its queue get a slot
        self.readers: list[tuple[Read, Reader | None]] = []
        self.nodes: list[Node] = []
        self._room: dict[Pool, Node] = {}  # of those in line for it
        self._capacity: object = None
        self._pending: list[Wait] = []  # their nodes are made, not yet what they need
        self._by_call: dict[Pool, dict[Call, list[Node]]] = {}
        if pool is not None:
            self._add_pool(pool)
        for wait in starts:
            if known.get(wait.flow) is wait:
                self._add_wait(wait)
        while self._pending:
            self._link(self._pending.pop())
        revive(self.nodes)

    def knot(self) -> set[Node]:
        if all(node.alive for node in self.nodes):
            return set()
        return knot_of(self.nodes)

    def dead_pools(self) -> set[Pool]:
        return {pool for (pool, _), node in self.served.items() if not node.alive}

    def is_still_so(self) -> bool:
        """Whether nothing that is dead has changed since it was looked at."""
        for wait, node in self.waits.items():
            if not node.alive and (known.get(wait.flow) is not wait or _ends(wait)):
                return False
        pools = {self.pool_of[input] for input, node in self.inputs.items() if not node.alive}
        for pool in pools | self.dead_pools():
            if pool.version() != self.surveys[pool].version:
                return False
            if self._room.get(pool) is not None and pool.capacity.survey() != self._capacity:
                return False
        return all(call.reader is reader for call, reader in self.readers)

    def victim(self, knot: set[Node]) -> Input | None:
        """The youngest input that has not begun and for which one in the knot waits."""
        found = [
            node.what
            for node in knot
            if isinstance(node.what, Input)
            and node.what.state in (QUEUED, GRANTED)
            and any(fed in knot and isinstance(fed.what, Wait) for fed, _ in node.feeds)
        ]
        found += [
            input
            for node in knot
            if isinstance(node.what, Wait) and node.what.on is None
            for input in self.surveys[node.what.pool].queued
        ]
        return max(found, key=lambda input: (input.call.number, input.index), default=None)

    # -- making the graph --------------------------------------------------------------

    def _node(self, what: object, need: int) -> Node:
        node = Node(what, need)
        self.nodes.append(node)
        return node

    def _add_wait(self, wait: Wait) -> Node:
        node = self.waits.get(wait)
        if node is None:
            self.waits[wait] = node = self._node(wait, 0 if _ends(wait) else 1)
            self._pending.append(wait)
        return node

    def _link(self, wait: Wait) -> None:
        """Tell the node of `wait` what it needs: any of its targets."""
        node = self.waits[wait]
        if node.need <= 0:
            return
        targets = wait.targets()
        for pool, input in targets:
            self._add_pool(pool)
            found = self.inputs.get(input)
            if found is None:  # settled, or it waits for its next attempt
                node.need = 0
                return
            node.after(found)
        if targets:
            return
        pool = wait.pool
        self._add_pool(pool)
        on = wait.on
        if on is None:
            queued = self.surveys[pool].queued
            if not queued:
                node.need = 0  # there is room
            for kind in {input.call.target.is_async for input in queued}:
                node.after(self.served[pool, kind])
            return
        call = cast(Call, on)
        for input in self.surveys[pool].waiting:
            if input.call is call:
                node.need = 0
        by_call = self._by_call.get(pool)
        if by_call is None:
            self._by_call[pool] = by_call = {}
            for input, found in self.inputs.items():
                if self.pool_of[input] is pool:
                    by_call.setdefault(input.call, []).append(found)
        outstanding = by_call.get(call)
        if outstanding is None:
            node.need = 0  # its feeder is at work
        else:
            for found in outstanding:
                node.after(found)

    def _add_pool(self, pool: Pool) -> None:
        if pool in self.surveys:
            return
        survey = pool.survey()
        self.surveys[pool] = survey
        for_kind = {
            is_async: self._node((pool, is_async), 0 if survey.grows else 1)
            for is_async in (False, True)
        }
        for is_async, node in for_kind.items():
            self.served[pool, is_async] = node
        for input in survey.queued:
            self._add_input(pool, input, 1).after(for_kind[input.call.target.is_async])
        for container, state, limit, holders in survey.containers:
            loop_wait = known.get(container)
            held: list[Node] = []
            for input in holders:
                blockers = _blockers(input)
                node = self._add_input(pool, input, len(blockers))
                held.append(node)
                for wait in blockers:
                    node.after(self._add_wait(wait))
                if input.call.target.is_generator:
                    call = cast(Read, input.call)
                    self.readers.append((call, call.reader))
            if state is ContainerState.STARTING:
                for node in for_kind.values():
                    if loop_wait is None:
                        node.need = 0
                    else:
                        node.after(self._add_wait(loop_wait))
            elif state is ContainerState.READY:
                slot = self._node(container, max(0, len(held) - limit + 1))
                for node in held:
                    slot.after(node)
                for_kind[False].after(slot)
                if loop_wait is not None:
                    # It is passed over until its loop runs again.
                    both = self._node(container, 2)
                    both.after(slot)
                    both.after(self._add_wait(loop_wait))
                    slot = both
                for_kind[True].after(slot)
        if survey.in_line:
            self._add_line(pool)
            room = self._room.get(pool)
            for node in for_kind.values():
                if room is None:
                    node.need = 0  # it was granted at this very moment
                else:
                    node.after(room)

    def _add_input(self, pool: Pool, input: Input, need: int) -> Node:
        self.inputs[input] = node = self._node(input, need)
        self.pool_of[input] = pool
        return node

    def _add_line(self, pool: Pool) -> None:
        """Who waits for room, strictly in turn, and which containers may make some."""
        if self._capacity is not None:
            return
        seen = pool.capacity.survey()
        self._capacity = seen
        containers, sync_slots = seen.containers, seen.sync_slots
        before: Node | None = None
        rooms: list[tuple[Node, Node]] = []
        for tenant, slots in seen.line:
            waiting = cast("Pool", tenant)
            count = self._node((waiting, "containers"), containers - seen.most_containers + 1)
            threads = self._node((waiting, "sync slots"), sync_slots + slots - seen.most_sync_slots)
            self._room[waiting] = room = self._node((waiting, "room"), 2)
            room.after(count)
            room.after(threads)
            if before is not None:
                room.need += 1
                room.after(before)
            before = room
            rooms.append((count, threads))
            if waiting.options.limits.min_containers:
                # It may keep what it gets.
                containers += 1
                sync_slots += slots
        for tenant in seen.tenants:
            other = cast("Pool", tenant)
            self._add_pool(other)
            self._add_freed(other, rooms)

    def _add_freed(self, pool: Pool, rooms: list[tuple[Node, Node]]) -> None:
        """The containers of `pool` that may go: once all that they hold has ended."""
        survey = self.surveys[pool]
        slots = pool.options.sync_slots
        kinds = {input.call.target.is_async for input in survey.queued}
        spare: list[Node] = []
        for container, state, _, holders in survey.containers:
            loop_wait = known.get(container)
            freed = self._node(container, len(holders))
            for input in holders:
                freed.after(self.inputs[input])
            if loop_wait is not None:
                freed.need += 1
                freed.after(self._add_wait(loop_wait))
            if state in (ContainerState.STARTING, ContainerState.READY):
                # Its pool lets it go when nobody is queued there.
                for kind in kinds:
                    freed.need += 1
                    freed.after(self.served[pool, kind])
                spare.append(freed)
            else:
                for count, threads in rooms:
                    count.after(freed)
                    if slots:
                        threads.after(freed, slots)
        for index in range(min(survey.spare, len(spare))):
            enough = self._node(pool, index + 1)
            for freed in spare:
                enough.after(freed)
            for count, threads in rooms:
                count.after(enough)
                if slots:
                    threads.after(enough, slots)


# -- what is said about it ----------------------------------------------------------------


def _message(scene: _Scene, knot: set[Node], victim: Input | None) -> str:
    waits = [node.what for node in knot if isinstance(node.what, Wait)]
    waits.sort(key=lambda wait: wait.since)
    lines = ["these wait for one another, and none of them can ever end:"]
    lines += [f"  {_waiting_of(wait)}" for wait in waits[:SHOWN]]
    if len(waits) > SHOWN:
        lines.append(f"  and {len(waits) - SHOWN} more")
    blocking = any(not wait.awaits and not isinstance(wait.flow, (int, Cell)) for wait in waits)
    full = [
        node.what
        for node in knot
        if isinstance(node.what, Input)
        and node.what.call.target.is_generator
        and node.what.state not in (QUEUED, GRANTED)
        and stream_of(node.what.call).is_full
    ]
    if full:
        name = full[0].call.target.name
        lines.append(
            f"{_stuck(scene, victim)} {name}, which waits for the reader of its items; "
            f"read all of {name}'s items, or close() it, before waiting for anything else"
        )
        return "\n".join(lines)
    names = sorted({pool.options.name for pool in scene.dead_pools()}) or ["its function"]
    shown = " and ".join(names)
    if blocking:
        lines.append(
            f"{_stuck(scene, victim)} a container's event loop, which a blocking call holds up; "
            "write `await ....aio(...)` for every call inside of an async function"
        )
    elif victim is None:
        lines.append(
            "an input waits for itself, or several in a circle; "
            "write return instead of waiting, and read the result outside of them"
        )
    else:
        target = victim.call.target
        local = f"the method's .local({'...'})" if target.is_method else f"{target.name}.local(...)"
        lines.append(
            f"{target.name} gets no slot: all of {shown} are held by inputs that wait for it; "
            f"call {local}, which needs none, spawn it and return without waiting, "
            f"or raise max_inputs or max_containers of {shown}"
        )
    return "\n".join(lines)


def _stuck(scene: _Scene, victim: Input | None) -> str:
    return "an input waits for" if victim is None else f"{victim.call.target.name} waits for"


def _waiting_of(wait: Wait) -> str:
    if wait.caller is not None:
        who = f"{wait.caller.call.target.name} ({wait.caller.input_id})"
    elif wait.flow is hosting.container or not isinstance(wait.flow, (int, Cell)):
        who = "a task or a hook"
    else:
        who = "a caller outside"
    on = wait.on
    if on is None:
        return f"{who} waits for room in the backlog of {wait.pool.options.name}"
    if isinstance(on, Input):
        return f"{who} waits for {on.call.target.name} ({on.input_id}), which {_state_of(on)}"
    if isinstance(on, Sequence):
        return f"{who} waits for any of {len(on)} calls, of {on[0][1].call.target.name} first"
    return f"{who} waits for the results of a map over {on.target.name}"


def _state_of(input: Input) -> str:
    if input.state is QUEUED:
        return "is queued"
    if input.state is GRANTED:
        return "has a slot and cannot begin"
    return "runs"
