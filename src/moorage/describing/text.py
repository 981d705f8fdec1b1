"""The description: what every run of this process does now, in words.

Owns the text that ``describe.py`` prints.  `Pool.snapshot` collects the state of a pool under
its lock, ``runtime/places.py`` finds where threads and tasks are, and
``runtime/waiting/waits.py`` knows who waits for whom.  Begin at `text`, then
`_Describing.lines`, then `_pool`, `_container` and `_holder`.

The text is for programs that hang.  It may be made anywhere, also in a signal handler that
interrupted moorage's code under a lock.  So this file waits for no lock longer than
`LOCK_TIMEOUT`, and never shows or keeps objects of the user's, nor calls their methods.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from os.path import join
from types import FrameType
from typing import Final, TypeVar

from ..placing.remote import ASKS_FOR, Place, Question, RemoteContainer
from ..running import runs
from ..runtime.clocks.clock import system_clock
from ..runtime.containers.container import Container, ContainerState
from ..runtime.containers.streaming import stream_of
from ..runtime.containers.thread_lane import Worker
from ..runtime.guards.cells import Cell
from ..runtime.input import Input, InputState
from ..runtime.outcome import PACKAGE
from ..runtime.places import place_in_stack, place_in_task, place_of_caller
from ..runtime.pools.batching import BatchCall
from ..runtime.pools.capacity import process_capacity
from ..runtime.pools.pool import Pool
from ..runtime.pools.pool_options import labelled
from ..runtime.pools.snapshot import ContainerSnapshot, HeldSlot, PoolSnapshot
from ..runtime.real import Real
from ..runtime.stacks import current_frames, outwards
from ..runtime.waiting.open_waits import OpenWait, open_waits
from ..runtime.waiting.waits import OfMap, Wait, waiting
from ..web.bridge import WebCall

T = TypeVar("T")

# Seconds to wait for a pool's lock.  Pools hold their lock for microseconds.  But a signal
# handler may run this code in the very thread that holds the lock: then waiting is in vain.
LOCK_TIMEOUT: Final = 0.5

# The files that carry questions to the processes of containers.
_CARRIES: Final = join(PACKAGE, "placing", "")

# The most groups that are shown: of containers in a pool, of inputs in a container, and of
# outside callers.  Also the most numbers shown of containers that are alike.
SHOWN: Final = 12


def text(here: FrameType | None) -> str:
    """Describe all open runs.

    Args:
        here: the frame of the calling thread that asks, below the frames of this library.
    """
    return "\n".join(_Describing(here).lines()) + "\n"


class _Describing:
    """One description, with what is read once for all of it: stacks, thread names, waits."""

    def __init__(self, here: FrameType | None) -> None:
        self._here = here
        self._stacks: dict[int, FrameType | None] = dict(current_frames())
        # `current_frames` has this method's own frame for this thread.  That frame refers to
        # `self`, so keeping it would make a reference cycle.
        self._stacks[Real.get_ident()] = here
        self._names = {t.ident: t.name for t in Real.all_threads()}
        # The threads that were described together with their container or input.
        self._ours: set[int | None] = set()
        self._waits = {wait.flow: wait for wait in waiting()}
        self._open_waits: dict[int, OpenWait] = open_waits.copy()
        # What the processes of containers say of their inputs; None of one that says nothing.
        self._elsewhere: dict[Container, dict[Input, Place] | None] = {}

    def lines(self) -> list[str]:
        open_runs = runs.open_runs()
        room = process_capacity.hint()
        count = f"{len(open_runs)} run{'s are' if len(open_runs) != 1 else ' is'} open"
        lines = [
            f"moorage: {count}; containers {room.containers} of {room.most_containers}, "
            f"threads {room.sync_slots} of {room.most_sync_slots}"
        ]
        seen = [
            [(pool, pool.snapshot(LOCK_TIMEOUT)) for pool in list(run.pools.values())]
            for run in open_runs
        ]
        self._ask([pool for pools in seen for _, pool in pools if pool is not None])
        for run, pools in zip(open_runs, seen, strict=True):
            state = " (is being left)" if run.closed else " (ambient)" if run.ambient else ""
            lines.append(f"{run.name}{state}:{'' if pools else ' nothing was called'}")
            for pool, snapshot in pools:
                lines += [f"  {line}" for line in self._pool(pool, snapshot)]
        return lines + self._outside()

    def _ask(self, pools: list[PoolSnapshot]) -> None:
        """Ask the processes of containers where the code of their inputs is; all at once.

        Not if that may wait for a lock that this very thread holds: a signal handler has
        interrupted what carries the question.
        """
        if any(step.f_code.co_filename.startswith(_CARRIES) for step in outwards(self._here)):
            return
        asked: list[tuple[RemoteContainer, Question]] = []
        for pool in pools:
            for seen in pool.containers:
                container = seen.container
                if isinstance(container, RemoteContainer) and seen.held:
                    question = container.ask_for_inputs()
                    if question is not None:
                        asked.append((container, question))
        clock = system_clock
        until = clock.now() + ASKS_FOR
        for container, question in asked:
            left = max(0.0, until - clock.now())
            self._elsewhere[container] = container.places_of_inputs(question, left)

    # -- pools --------------------------------------------------------------------

    def _pool(self, pool: Pool, seen: PoolSnapshot | None) -> list[str]:
        if seen is None:
            return [f"{pool.options.label}: in the midst of a change; ask again"]
        limits = seen.limits
        held = sum(slot.members for container in seen.containers for slot in container.held)
        facts = [f"{held} running"]
        if seen.queued:
            facts.insert(0, f"{seen.queued} queued")
            first = ", the first "
            if seen.first is not None and isinstance(seen.first.call, WebCall):
                first += f"{seen.first.shown}{_from_client(seen.first.call)} "
            facts[0] += _since(seen.now, getattr(seen.first, "queued_at", None), first)
        if seen.must_run_alone:
            facts[0] += f", {seen.must_run_alone} of them to run alone"
        if seen.outside:
            facts.append(f"{seen.outside} waiting for room in the backlog")
        if seen.waiting:
            facts.append(f"{seen.waiting} waiting to be tried again")
            if seen.next_attempt_at is not None:
                facts[-1] += f", the next in {_seconds(seen.next_attempt_at - seen.now)}"
        bounds = f"max_inputs={limits.max_inputs}"
        if seen.max_batch_size is not None:
            bounds = f"max_batch_size={seen.max_batch_size}, {bounds}"
        if limits.target_inputs != limits.max_inputs:
            bounds += f", target_inputs={limits.target_inputs}"
        if limits.max_containers is not None:
            bounds += f", max_containers={limits.max_containers}"
        if seen.max_backlog is not None:
            bounds += f", max_backlog={seen.max_backlog}"
        lines = [f"{labelled(seen.name, seen.variant)} ({bounds}): {'; '.join(facts)}"]
        if not seen.is_open:
            lines.append("  its run is being left: it takes nothing more")
        elif seen.queued:
            lines.append(f"  {_why_not_more(seen)}")
        elif seen.in_line and len(seen.containers) < limits.min_containers:
            lines.append(
                f"  has {len(seen.containers)} of min_containers={limits.min_containers}: "
                "the process has no room for more"
            )
        blocks = [self._container(container, seen) for container in seen.containers]
        kinds = _grouped(blocks, lambda block: block.key)
        for block, like in kinds[:SHOWN]:
            lines += [f"  {line}" for line in block.lines]
            if like:
                lines.append(f"  and {len(like)} more like it: {_numbers(like)}")
        return lines + _rest(kinds, "  and {} more containers, of {} other kinds")

    def _container(self, seen: ContainerSnapshot, pool: PoolSnapshot) -> _Block:
        state = seen.state
        thread = seen.container.thread
        ident = None if thread is None else thread.ident
        self._ours.add(ident)
        said = f"{state.value}, {len(seen.held)} of {seen.limit} slots held"
        age = ""
        if state is ContainerState.STARTING:
            said = "starting" + self._at(place_in_stack(self._stack(ident)))
            age = _since(pool.now, seen.started_at, ", ")
        elif state is ContainerState.STOPPING:
            said = "stopping" + self._at(place_in_stack(self._stack(ident)))
        elif seen.idle_since is not None:
            age = _since(pool.now, seen.idle_since, ", idle ")
        elif state is ContainerState.DRAINING or seen.takes_no_more:
            said += ", takes no more"
        elsewhere = self._elsewhere.get(seen.container, {})
        if elsewhere is None:
            said += ", its process does not answer"
        if seen.is_on_probation:
            said += ", on probation: it runs one at a time of the inputs that were lost twice"
        elif seen.limit != pool.limits.max_inputs:
            said += f" (its limit was set to {seen.limit})"
        wait = self._waits.get(seen.container)
        blocked = kind = ""
        if wait is not None:
            for_what, kind = _waits_for(wait, pool.now)
            blocked = f"  its thread is in a blocking call, which {for_what}"
        elif seen.loop_is_blocked:
            blocked = kind = "  its event loop is in a blocking call of moorage"
        # Containers that differ in their process only are alike: it is no part of the key.
        name = f"container {seen.container.number}"
        if seen.pid is not None:
            name += f" (process {seen.pid})"
        lines = [f"{name}: {said}{age}", *([blocked] * bool(blocked))]
        keys: list[Hashable] = [said, kind]
        holders = [self._holder(held, pool, ident, elsewhere or {}) for held in seen.held]
        kinds = _grouped(holders, lambda holder: holder.key)
        for first, like in kinds[:SHOWN]:
            lines.append(f"  {first.name} {first.id}{first.age}{first.where}")
            lines += [f"    {fact}" for fact in first.facts]
            if like:
                least = _seconds(min(holder.seconds for holder in like))
                lines.append(
                    f"  and {len(like)} more of {first.name} likewise, for {least} or more"
                )
            keys.append((first.key, len(like)))
        lines += _rest(kinds, "  and {} more, at {} other places")
        return _Block(seen.container.number, lines, tuple(keys))

    def _holder(
        self,
        held: HeldSlot,
        pool: PoolSnapshot,
        loop_thread: int | None,
        elsewhere: Mapping[Input, Place],
    ) -> _Holder:
        input, runner = held.input, held.runner
        target = input.call.target
        facts: list[str] = []
        place: str | None = None
        where = ""
        wait: Wait | None = None
        flow: object = runner
        shields = 0
        if isinstance(runner, Worker):
            cell: Cell = runner.cell
            flow = cell
            self._ours.add(cell.ident)
            where = f", in thread {self._names.get(cell.ident, cell.ident)}"
            place = place_in_stack(self._stack(cell.ident))
            wait = self._waits.get(cell)
            if wait is not None and wait.caller is not input:
                wait = None
            shields = cell.shield
        elif runner is not None:
            where = ", in a task"
            place = place_in_task(runner.get_coro(), self._stack(loop_thread))
            wait = self._waits.get(runner)
            shields = runner.shields
        else:
            wait = self._waits.get(input)  # the code in another process waits
            if input in elsewhere:
                said, place = elsewhere[input]
                where = f", {said}"
        name = kind = input.shown
        if isinstance(input.call, WebCall):
            name += _from_client(input.call)
        if isinstance(input.call, BatchCall):
            name = kind = f"batch of {held.members} of {name}"
            if held.settled and held.state is not InputState.ABANDONED:
                facts.append(f"{held.settled} of them were cancelled; it runs on for the others")
        if held.state is InputState.GRANTED:
            facts.append("has a slot and has not begun")
        elif held.state is InputState.ABANDONED:
            facts.append("was cancelled or out of time, and does not end")
        elif held.cancelling:
            facts.append("is being cancelled")
        if shields:
            facts.append("holds its cancellation off with shield()")
        key = [*facts]
        shown = [*facts]
        if wait is not None:
            for_what, kind = _waits_for(wait, pool.now)
            shown.append(for_what)
            key.append(kind)
        open_wait = self._open_waits.get(id(flow))
        if open_wait is not None and open_wait.is_of(input):
            said = open_wait.said()
            shown.append(said)
            key.append(said)
        if target.is_generator and stream_of(input.call).is_full:
            fact = "waits until its reader takes an item" + _reader_of(input)
            shown.append(fact)
            key.append(fact)
        at = self._at(place)
        seconds = pool.now - held.granted_at
        return _Holder(
            name,
            input.input_id,
            seconds,
            f"{where}{at}",
            shown,
            (kind, where.partition(" thread ")[0], place, *key),
        )

    def _stack(self, ident: int | None) -> FrameType | None:
        return None if ident is None else self._stacks.get(ident)

    @staticmethod
    def _at(place: str | None) -> str:
        return "" if place is None else f", at {place}"

    # -- outside --------------------------------------------------------------------

    def _outside(self) -> list[str]:
        """Describe the threads outside of inputs that wait in a call of moorage."""
        callers: list[tuple[str, str]] = []
        for ident, frame in sorted(self._stacks.items()):
            name = self._names.get(ident, f"thread {ident}")
            place = place_of_caller(frame)
            # Leave out moorage's own threads: they wait too when they have nothing to do.
            if place is not None and ident not in self._ours and not name.startswith("moorage-"):
                callers.append((name, place))
        lines: list[str] = []
        kinds = _grouped(callers, lambda caller: caller[1])
        for (name, place), like in kinds[:SHOWN]:
            more = f", and {len(like)} more threads" if like else ""
            lines.append(f"outside: {name} waits, at {place}{more}")
        return lines + _rest(kinds, "outside: and {} more threads, at {} other places")


class _Block:
    """The lines of one container; containers with equal keys are shown as one."""

    def __init__(self, number: int, lines: list[str], key: Hashable) -> None:
        self.number = number
        self.lines = lines
        self.key = key


class _Holder:
    """One held slot in words; slots with equal keys are shown as one."""

    def __init__(
        self, name: str, id: str, seconds: float, where: str, facts: list[str], key: Hashable
    ) -> None:
        self.name = name
        self.id = id
        self.seconds = seconds
        self.age = f", for {_seconds(seconds)}"
        self.where = where
        self.facts = facts
        self.key = key


def _grouped(things: Sequence[T], key: Callable[[T], Hashable]) -> list[tuple[T, list[T]]]:
    """Group things by key: for each key the first thing, and the list of the others."""
    groups: dict[Hashable, list[T]] = {}
    for thing in things:
        groups.setdefault(key(thing), []).append(thing)
    return [(group[0], group[1:]) for group in groups.values()]


def _rest(kinds: Sequence[tuple[object, Sequence[object]]], saying: str) -> list[str]:
    """Return the line about the groups beyond `SHOWN`; no line if there are none."""
    rest = kinds[SHOWN:]
    if not rest:
        return []
    return [saying.format(sum(1 + len(like) for _, like in rest), len(rest))]


def _numbers(blocks: Sequence[_Block]) -> str:
    shown = [str(block.number) for block in blocks[:SHOWN]]
    return ", ".join(shown) + (", ..." if len(blocks) > SHOWN else "")


def _why_not_more(seen: PoolSnapshot) -> str:
    """Say why a pool with a queue starts no further container, or that one is starting."""
    if seen.batch_due_at is not None and any(
        c.state is ContainerState.READY and len(c.held) < c.limit and not c.loop_is_blocked
        for c in seen.containers
    ):
        more = _seconds(max(0.0, seen.batch_due_at - seen.now))
        return f"waits for more inputs, to make a batch of them, for {more} at the most"
    states = [container.state for container in seen.containers]
    starting = states.count(ContainerState.STARTING)
    count = starting + states.count(ContainerState.READY)
    most = seen.limits.max_containers
    held = [str(c.container.number) for c in seen.containers if c.loop_is_blocked]
    blocked = f"the event loop of container {' and '.join(held)} is blocked" if held else ""
    if most is not None and count >= most:
        if starting:
            return f"waits for {starting} of max_containers={most} to start"
        said = f"starts no container: it has all of max_containers={most}"
        return f"{said}; {blocked}" if held else said
    if seen.in_line:
        return "starts no container: the process has no room for one, and it waits in line"
    if seen.now < seen.start_again_at:
        wait = _seconds(seen.start_again_at - seen.now)
        return f"starts no container for {wait} more: {seen.failed_starts} failed in a row"
    if starting:
        return f"waits for {starting} {'containers' if starting > 1 else 'container'} to start"
    if held:
        return blocked
    return "starts no container: its autoscaler wants no more than it has"


def _waits_for(wait: Wait, now: float) -> tuple[str, str]:
    """Say what `wait` is for; and the same without ids and times, as a key for grouping."""
    on = wait.on
    limit = ", with a timeout" if wait.timed else ""
    if on is None:
        said = f"waits for room in the backlog of {wait.pool.options.label}{limit}"
        return said, said
    if isinstance(on, Input):
        name = on.call.target.name
        said = "waits for the next item of" if on.call.target.is_generator else "waits for"
        state, age = _state_of(on, now)
        return (
            f"{said} {name} ({on.input_id}), which {state}{age}{limit}",
            f"{said} {name}, which {state}{limit}",
        )
    if isinstance(on, Sequence) and not isinstance(on, OfMap):
        first = on[0][1]
        said = f"waits for any of {len(on)} calls, of {first.call.target.name} first"
        return f"{said} ({first.input_id}){limit}", f"{said}{limit}"
    said = f"waits for results of a map over {on.target.name}{limit}"
    return said, said


def _state_of(input: Input, now: float) -> tuple[str, str]:
    state = input.state
    if state is InputState.QUEUED:
        return "is queued", _since(now, getattr(input, "queued_at", None), " ")
    if state is InputState.OUTSIDE:
        return "waits for room in the backlog", ""
    if state is InputState.GRANTED:
        return "has a slot and has not begun", ""
    if state is InputState.WAITING:
        return "waits to be tried again", ""
    return ("has ended" if state is InputState.SETTLED else "runs"), ""


def _reader_of(input: Input) -> str:
    reader = getattr(input.call, "reader", None)
    if reader is None:
        return ""
    by: Input | None = reader[1]
    return "" if by is None else f"; that is {by.call.target.name} ({by.input_id})"


def _from_client(call: WebCall) -> str:
    client = call.exchange.client
    return f" from {client}" if client else ""


def _since(now: float, since: float | None, before: str) -> str:
    return "" if since is None else f"{before}for {_seconds(now - since)}"


def _seconds(seconds: float) -> str:
    seconds = max(0.0, seconds)
    return f"{seconds:.0f} s" if seconds >= 100 else f"{round(seconds, 1):g} s"
