"""The graph of who waits for whom: pools, containers, slots, inputs and waits as nodes.

Owns the translation of pools, containers, inputs and waits into nodes of ``cycles.py``.
``deadlock.py`` makes one graph for each search, and holds the search's lock.  The graph takes
one pool's lock at a time.  Begin at `WaitingGraph.__init__`, then `_add_pool`, then `_link`.

The graph does not see all pools at one moment.  Its dead part is true if `is_still_so`
returns True afterwards:

    1. The graph reads each pool in turn, and the waits, and finds a dead part.
    2. `is_still_so` reads again: no pool and no wait in the dead part has changed since 1.
       So there was a moment between 1 and 2 at which all of them were as the graph says.
    3. A dead part stays dead: none of its inputs moves, and nothing outside can help.

An input whose tasks wait is dead only if its loop has checked the tasks, and found each of
them blocked.  Until then the graph counts the input as waiting for any of the waits of its
tasks, and the search asks the loops of the inputs in the cycle (`unasked`):

    1. The loop finds each task blocked, while `TaskWaits.changes` has some value.
    2. The graph finds the same value: no wait of these tasks has begun or ended since 1.  So
       none of the tasks has moved, and each waits for one of the waits that the graph sees.
    3. `is_still_so` finds the same value once more.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Final, cast

from ..containers.container import ContainerState
from ..containers.task_lane import InputTask
from ..input import Call, Input, InputState
from ..pools.batching import members_of
from ..pools.capacity import CapacitySurvey
from .cycles import Node, cycle_of, mark_alive
from .surveys import Survey, survey_of, version_of
from .waits import (
    Blocker,
    Read,
    Reader,
    TaskWaits,
    Wait,
    blockers_of,
    ends,
    task_waits_of,
    waits_in_progress,
)

if TYPE_CHECKING:
    from ..pools.pool import Pool

NOT_BEGUN: Final = (InputState.QUEUED, InputState.OUTSIDE, InputState.GRANTED)


class WaitingGraph:
    """All that some waits depend on; true of one moment if `is_still_so` returns True."""

    def __init__(
        self, starts: Iterable[Wait], pool: Pool | None, given_up: AbstractSet[Input]
    ) -> None:
        self._given_up = given_up  # inputs about to be failed: they count as settled
        self.waits: dict[Wait, Node] = {}
        self.tasks: dict[TaskWaits, Node] = {}
        self.inputs: dict[Input, Node] = {}  # the inputs that are queued or have a slot
        self.pool_of: dict[Input, Pool] = {}
        self.surveys: dict[Pool, Survey] = {}
        # Alive if a sync (False) or async (True) input in the queue of the pool gets a slot.
        self.served: dict[tuple[Pool, bool], Node] = {}
        # The calls of streams with their readers, as the graph read them.
        self.readers: list[tuple[Read, Reader | None]] = []
        self.nodes: list[Node] = []
        # For each pool in the capacity's line: alive if the pool gets room for a container.
        self._room: dict[Pool, Node] = {}
        self._changes: dict[TaskWaits, int] = {}  # `TaskWaits.changes`, as the graph read it
        # The blocking wait in which the loop of these tasks sits, if any.  If that wait is
        # dead, so are the tasks, and their loop cannot be asked.
        self._loop_waits: dict[TaskWaits, Node | None] = {}
        self._capacity: CapacitySurvey | None = None
        self._pending: list[Wait] = []  # waits with a node that `_link` has not linked yet
        self._by_call: dict[Pool, dict[Call, list[Node]]] = {}
        if pool is not None:
            self._add_pool(pool)
        for wait in starts:
            if waits_in_progress.get(wait.flow) is wait:
                self._add_wait(wait)
        while self._pending:
            self._link(self._pending.pop())
        mark_alive(self.nodes)

    def cycle(self) -> set[Node]:
        """Return the nodes of the deadlock; empty if there is none."""
        if all(node.alive for node in self.nodes):
            return set()
        return cycle_of(self.nodes)

    def dead_pools(self) -> set[Pool]:
        """Return the pools that give no slot to some input of their queue."""
        return {pool for (pool, _), node in self.served.items() if not node.alive}

    def unasked(self, cycle: set[Node]) -> list[TaskWaits]:
        """Return the TaskWaits in `cycle` whose loops must be asked whether each task is blocked.

        Left out are those whose loop has answered since their last change, and those whose loop
        sits in a dead wait and so cannot answer.
        """
        return [
            tasks
            for tasks, node in self.tasks.items()
            if node in cycle
            and tasks.blocked_at != self._changes[tasks]
            and ((loop_wait := self._loop_waits[tasks]) is None or loop_wait.alive)
        ]

    def is_still_so(self) -> bool:
        """Tell whether the dead part is unchanged since the graph read it."""
        for tasks, node in self.tasks.items():
            if not node.alive and (tasks.changes != self._changes[tasks] or tasks.is_watched):
                return False
        for wait, node in self.waits.items():
            # Read `ends` before `waits_in_progress`.  In the other order:
            # 1. This method finds `wait` in progress.
            # 2. The flow wakes, takes all items of a stream, and begins another wait.
            # 3. `ends` finds no items, so `wait` seems to wait still, for a stream that was
            #    full when the graph read it.
            if not node.alive and (ends(wait) or waits_in_progress.get(wait.flow) is not wait):
                return False
        pools = {self.pool_of[input] for input, node in self.inputs.items() if not node.alive}
        for pool in pools | self.dead_pools():
            if version_of(pool) != self.surveys[pool].version:
                return False
            if self._room.get(pool) is not None and pool.capacity.survey() != self._capacity:
                return False
        return all(call.reader is reader for call, reader in self.readers)

    def victim(self, cycle: set[Node]) -> Input | None:
        """Return the youngest input that has not begun and for which a wait in `cycle` waits.

        For a wait for room in a backlog, these are all inputs in that queue.  None if there is
        no such input.
        """
        found = [
            node.what
            for node in cycle
            if isinstance(node.what, Input)
            and node.what.state in NOT_BEGUN
            and any(fed in cycle and isinstance(fed.what, Wait) for fed, _ in node.feeds)
        ]
        found += [
            input
            for node in cycle
            if isinstance(node.what, Wait) and node.what.on is None
            for input in self.surveys[node.what.pool].queued
        ]
        return max(found, key=lambda input: (input.call.number, input.index), default=None)

    def forget(self) -> None:
        """Unlink the nodes: else their reference cycles keep results alive until a collection."""
        for node in self.nodes:
            node.feeds.clear()
            node.needs.clear()

    # -- making the graph --------------------------------------------------------------

    def _node(self, what: object, need: int) -> Node:
        node = Node(what, need)
        self.nodes.append(node)
        return node

    def _add_wait(self, wait: Wait) -> Node:
        node = self.waits.get(wait)
        if node is None:
            self.waits[wait] = node = self._node(wait, 0 if ends(wait) else 1)
            self._pending.append(wait)
        return node

    def _add_blocker(self, blocker: Blocker) -> Node:
        if isinstance(blocker, Wait):
            root = blocker.flow
            if not isinstance(root, InputTask) or blocker.caller is None:
                return self._add_wait(blocker)
            blocker = task_waits_of(blocker.caller, root)
        node = self.tasks.get(blocker)
        if node is None:
            # Read the count before the waits: see `TaskWaits.changes`.
            self._changes[blocker] = blocker.changes
            waits = blocker.current()
            # The input is watched, or waits no more, if that changed after `blockers_of`.
            need = 0 if blocker.is_watched or not waits else 1
            self.tasks[blocker] = node = self._node(blocker, need)
            loop_wait = blocker.wait_of_loop()
            self._loop_waits[blocker] = None if loop_wait is None else self._add_wait(loop_wait)
            for wait in waits:
                node.after(self._add_wait(wait))
        return node

    def _link(self, wait: Wait) -> None:
        """Link the node of `wait` to the nodes that it needs: any of its targets."""
        node = self.waits[wait]
        if node.need <= 0:
            return
        targets = wait.targets()
        for pool, input in targets:
            self._add_pool(pool)
            found = self.inputs.get(input)
            # The input is settled, or about to be, or waits for its next attempt: the wait ends,
            # or a timer goes on.
            if found is None or input in self._given_up:
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
                node.need = 0  # the backlog has room
            for kind in {input.call.target.is_async for input in queued}:
                node.after(self.served[pool, kind])
            return
        call = cast(Call, on)
        for input in (*self.surveys[pool].waiting, *self._given_up):
            # Skip an input that is settled by now: the reader of the map may have taken its
            # result already, and the input wakes the reader only once.
            if input.call is call and input.outcome is None:
                node.need = 0
        by_call: dict[Call, list[Node]] | None = self._by_call.get(pool)
        if by_call is None:
            by_call = {}
            self._by_call[pool] = by_call
            for input, found in self.inputs.items():
                if self.pool_of[input] is pool:
                    by_call.setdefault(input.call, []).append(found)
        outstanding = by_call.get(call)
        if outstanding is None:
            node.need = 0  # no input is outstanding: the map's feeder is about to submit some
        else:
            for found in outstanding:
                node.after(found)

    def _add_pool(self, pool: Pool) -> None:
        if pool in self.surveys:
            return
        survey = survey_of(pool)
        self.surveys[pool] = survey
        for_kind = {
            is_async: self._node((pool, is_async), 0 if survey.grows else 1)
            for is_async in (False, True)
        }
        for is_async, node in for_kind.items():
            self.served[pool, is_async] = node
        for input in survey.queued:
            self._add_input(pool, input, 1).after(for_kind[input.call.target.is_async])
        # Inputs that must run alone.  If no container is on probation, the next event finds one.
        alone = self._node((pool, "alone"), 0 if survey.alone_in is None else 1)
        for input in survey.alone:
            self._add_input(pool, input, 1).after(alone)
        for container, state, limit, holders in survey.containers:
            loop_wait = waits_in_progress.get(container)
            held: list[Node] = []
            for input in holders:
                blockers = blockers_of(input)
                node = self._add_input(pool, input, len(blockers))
                for member in members_of(input):
                    self.inputs[member] = node
                    self.pool_of[member] = pool
                held.append(node)
                for blocker in blockers:
                    node.after(self._add_blocker(blocker))
                if input.call.target.is_generator:
                    call = cast(Read, input.call)
                    self.readers.append((call, call.reader))
            if container is survey.alone_in:
                # Empty again, it takes the next of them; if it stops then, another one does.
                emptied = self._node((container, "empty"), len(held))
                for node in held:
                    emptied.after(node)
                alone.after(emptied)
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
                    # The pool gives this container no async input until the loop runs again:
                    # both a slot and the end of the loop's wait are needed.
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
                    node.need = 0  # the pool left the line after its survey: it has got room
                else:
                    node.after(room)

    def _add_input(self, pool: Pool, input: Input, need: int) -> Node:
        self.inputs[input] = node = self._node(input, need)
        self.pool_of[input] = pool
        return node

    def _add_line(self, pool: Pool) -> None:
        """Add the pools that wait for room, and the containers whose end may make room.

        Room goes to the pools in line strictly in their order.  Does nothing the second time.
        """
        if self._capacity is not None:
            return
        seen = pool.capacity.survey()
        self._capacity = seen
        containers, sync_slots = seen.containers, seen.sync_slots
        before: list[Node] = []
        rooms: list[tuple[Node, Node]] = []
        for tenant, slots in seen.line:
            waiting = cast("Pool", tenant)
            count = self._node((waiting, "containers"), containers - seen.most_containers + 1)
            threads = self._node((waiting, "sync slots"), sync_slots + slots - seen.most_sync_slots)
            self._room[waiting] = room = self._node((waiting, "room"), 2)
            room.after(count)
            room.after(threads)
            # A pool earlier in the line leaves it when its queue is empty, that is, when its
            # inputs are served: by the room that it waits for, or by the slots that it has.
            for node in before:
                room.need += 1
                room.after(node)
            rooms.append((count, threads))
            self._add_pool(waiting)
            survey = self.surveys[waiting]
            kinds = {input.call.target.is_async for input in survey.queued}
            before += [self.served[waiting, kind] for kind in kinds]
            if survey.spare < 0:
                # This pool is below `min_containers`: it keeps the room that it gets, so the
                # pools behind it need that much more.
                containers += 1
                sync_slots += slots
        for tenant in seen.tenants:
            other = cast("Pool", tenant)
            self._add_pool(other)
            self._add_freed(other, rooms)

    def _add_freed(self, pool: Pool, rooms: list[tuple[Node, Node]]) -> None:
        """Add the containers of `pool` that may stop, after all inputs in them have ended.

        Each node in `rooms` is the pair (containers, sync slots) of one pool in line.
        """
        survey = self.surveys[pool]
        slots = pool.options.sync_slots
        kinds = {input.call.target.is_async for input in survey.queued}
        spare: list[Node] = []
        for container, state, _, holders in survey.containers:
            if container.given_up:
                continue  # a given up container has released its room already
            loop_wait = waits_in_progress.get(container)
            freed = self._node(container, len(holders))
            for input in holders:
                freed.after(self.inputs[input])
            if loop_wait is not None:
                freed.need += 1
                freed.after(self._add_wait(loop_wait))
            if state in (ContainerState.STARTING, ContainerState.READY):
                # The pool stops this container only when the pool's queue is empty.
                for kind in kinds:
                    freed.need += 1
                    freed.after(self.served[pool, kind])
                spare.append(freed)
            else:
                for count, threads in rooms:
                    count.after(freed)
                    if slots:
                        threads.after(freed, slots)
        # At most `survey.spare` of these containers may stop.  The node for n counts as free
        # once any n of them are free.
        for index in range(min(survey.spare, len(spare))):
            enough = self._node(pool, index + 1)
            for freed in spare:
                enough.after(freed)
            for count, threads in rooms:
                count.after(enough)
                if slots:
                    threads.after(enough, slots)
