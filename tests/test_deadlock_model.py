"""Random small worlds of pools and call trees, in virtual time, against a brute-force model.

Every world must come to its end with no input out of time; and whenever an
input is failed as deadlocked, the model must find that it cannot get on: it
lets everybody who may move end at once, over and over, which is kinder than any
real order of events.
"""

from __future__ import annotations

import asyncio
import os
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import partial

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import moorage
from moorage import config
from moorage.exception import AsyncUsageWarning, DeadlockError
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.runtime.containers.container import ContainerState
from moorage.runtime.context import current_input
from moorage.runtime.input import Input
from moorage.runtime.pools.batching import batch_of, members_of
from moorage.runtime.pools.capacity import Capacity
from moorage.runtime.pools.pool import Pool
from moorage.runtime.waiting import waits
from moorage.runtime.waiting.cycles import Node, cycle_of, mark_alive
from moorage.runtime.waiting.surveys import survey_of

EXAMPLES = int(os.environ.get("MOORAGE_EXAMPLES", "60"))

FOREVER = 1e6


@dataclass(frozen=True)
class PoolSpec:
    asynchronous: bool
    slots: int
    containers: int
    kept: int
    batch: int = 0  # how many make a batch; 0 if it makes none


@dataclass(frozen=True)
class Tree:
    """One input: where it runs, how long it computes first, and what it then waits for."""

    pool: int
    seconds: int
    way: str
    catches: bool
    children: tuple[Tree, ...]


WAYS = (
    "one by one",
    "map",
    "gather",
    "timed",
    "blocking",
    # By tasks of the input; a synchronous one has none, and calls one by one.
    "tasks",
    "told of each",
    "task group",
    "tasks in turn",
    "tasks beside a sleeper",
    "tasks awaited late",
    "race",
    "limits",
    "nested tasks",
)

pools = st.lists(
    st.builds(
        PoolSpec,
        st.booleans(),
        st.integers(1, 3),
        st.integers(1, 2),
        st.sampled_from([0, 0, 1]),
        st.sampled_from([0, 0, 1, 2, 3]),
    ),
    min_size=1,
    max_size=3,
)


def trees(count: int) -> st.SearchStrategy[Tree]:
    def node(children: st.SearchStrategy[tuple[Tree, ...]]) -> st.SearchStrategy[Tree]:
        return st.builds(
            Tree,
            st.integers(0, count - 1),
            st.integers(0, 3),
            st.sampled_from(WAYS),
            st.booleans(),
            children,
        )

    return st.recursive(
        node(st.just(())),
        lambda inner: node(st.lists(inner, min_size=1, max_size=3).map(tuple)),
        max_leaves=8,
    )


worlds = pools.flatmap(
    lambda specs: st.tuples(
        st.just(specs),
        st.lists(st.tuples(st.integers(0, 4), trees(len(specs))), min_size=1, max_size=5),
        st.sampled_from([32, 32, 1, 2, 3]),
        st.sampled_from([0.0, 5.0]),
    )
)


class Model:
    """What would become of the inputs at the best: a reduction of the graph by moves."""

    def __init__(self, all_pools: list[Pool], room: int, free: Counter[Input]) -> None:
        self.room = room
        self.waits = dict(waits.waits_in_progress)
        self.of_tasks = defaultdict(list)
        for wait in self.waits.values():
            if wait.caller is not None and isinstance(wait.flow, asyncio.Task):
                self.of_tasks[wait.caller].append(wait)
        self.free = free  # the tasks of each input that sleep, or have a limit
        self.surveys = {pool: survey_of(pool) for pool in all_pools}
        self.queued = {input: pool for pool, seen in self.surveys.items() for input in seen.queued}
        # Live containers: who holds their slots, and how many they may give.
        self.held = {}
        self.container_of = {}
        self.pool_of = {}
        for pool, seen in self.surveys.items():
            for container, state, limit, holders in seen.containers:
                self.held[container] = set(holders)
                self.pool_of[container] = pool, state, limit
                for input in holders:
                    self.container_of[input] = container
        self.retrying = {i for seen in self.surveys.values() for i in seen.waiting}
        while self.move():
            pass

    def live(self, input):
        return input in self.queued or batch_of(input) in self.container_of

    def over(self, wait):
        """Whether a wait may end by now."""
        if wait is None or wait.timed:
            return True
        targets = [input for _, input in wait.targets()]
        if not targets:
            members = [member for holder in self.container_of for member in members_of(holder)]
            all_live = [*self.queued, *members]
            targets = [input for input in all_live if input.call is wait.on]
            if not targets or wait.on.done:
                return True
        return any(not self.live(input) or input.outcome is not None for input in targets)

    def loop_runs(self, container):
        return self.over(self.waits.get(container))

    def may_end(self, input):
        container = self.container_of[input]
        runner = input.runner
        its = self.of_tasks[input]
        tasks_may = not its or self.free[input] > 0 or any(self.over(wait) for wait in its)
        if input.call.target.is_async:
            return self.loop_runs(container) and tasks_may
        wait = self.waits.get(getattr(runner, "cell", None))
        if wait is None or wait.caller is not input:
            return tasks_may
        return self.over(wait)

    def may_begin(self, input):
        pool = self.queued[input]
        for container, (owner, state, limit) in self.pool_of.items():
            if owner is not pool:
                continue
            if state is ContainerState.STARTING:
                return True
            if (
                state is ContainerState.READY
                and len(self.held[container]) < limit
                and (not input.call.target.is_async or self.loop_runs(container))
            ):
                return True
        mine = [
            c
            for c, (owner, state, _) in self.pool_of.items()
            if owner is pool and state in (ContainerState.STARTING, ContainerState.READY)
        ]
        if len(mine) >= pool.options.limits.max_containers:
            return False
        if not mine:
            return True
        used = 0
        for other in self.surveys:
            containers = [c for c, (owner, _, _) in self.pool_of.items() if owner is other]
            idle = [c for c in containers if not self.held[c] and self.loop_runs(c)]
            if other in self.queued.values():
                idle = [c for c in idle if self.pool_of[c][1] is not ContainerState.READY]
            used += max(len(containers) - len(idle), other.options.limits.min_containers)
        return used < self.room

    def move(self):
        for input in list(self.container_of):
            if self.may_end(input):
                self.held[self.container_of.pop(input)].discard(input)
                return True
        for input in list(self.queued):
            if self.may_begin(input):
                del self.queued[input]
                return True
        return False


class World:
    def __init__(self, specs: list[PoolSpec], room: int, clock: VirtualClock) -> None:
        self.clock = clock
        self.room = room
        self.app = moorage.App("world")
        self.functions = [self.define(index, spec) for index, spec in enumerate(specs)]
        self.failed = 0
        self.free: Counter[Input] = Counter()
        self.accused: list[str] = []

    def define(self, index, spec):
        def run(tree):
            self.clock.sleep(tree.seconds)
            if not tree.children:
                return 1
            try:
                return self.wait(tree)
            except (DeadlockError, BaseExceptionGroup):
                if not tree.catches:
                    raise
                return 0

        async def run_async(tree):
            await asyncio.sleep(tree.seconds)
            if not tree.children:
                return 1
            try:
                if tree.way == "blocking":
                    return self.wait(tree)
                return await self.wait_async(tree)
            except (DeadlockError, BaseExceptionGroup):
                if not tree.catches:
                    raise
                return 0

        decorate = self.app.function(
            name=f"f{index}",
            max_containers=spec.containers,
            min_containers=min(spec.kept, spec.containers),
            timeout=FOREVER,
            scaledown_window=3600,
        )

        def run_batch(trees):
            return [run(tree) for tree in trees]

        async def run_batch_async(trees):
            return [await run_async(tree) for tree in trees]

        body = run_async if spec.asynchronous else run
        if spec.batch:
            body = moorage.batched(max_batch_size=spec.batch, wait_ms=2000)(
                run_batch_async if spec.asynchronous else run_batch
            )
        return decorate(moorage.concurrent(max_inputs=spec.slots)(body))

    def wait(self, tree):
        function = self.functions
        if tree.way == "map":
            return sum(function[tree.children[0].pool].map(tree.children))
        if tree.way == "gather":
            calls = [function[child.pool].spawn(child) for child in tree.children]
            return sum(moorage.FunctionCall.gather(*calls))
        if tree.way == "timed":
            try:
                return function[tree.children[0].pool].spawn(tree.children[0]).get(timeout=4)
            except TimeoutError:
                return 0
        return sum(function[child.pool].remote(child) for child in tree.children)

    async def wait_async(self, tree):
        function = self.functions
        if tree.way == "map":
            results = function[tree.children[0].pool].map.aio(tree.children)
            return sum([x async for x in results])
        if tree.way == "gather":
            calls = [function[child.pool].spawn(child) for child in tree.children]
            return sum(await moorage.FunctionCall.gather.aio(*calls))
        if tree.way == "timed":
            call = function[tree.children[0].pool].spawn(tree.children[0])
            try:
                return await call.get.aio(timeout=4)
            except TimeoutError:
                return 0
        if WAYS.index(tree.way) >= WAYS.index("tasks"):
            return await self.wait_in_tasks(
                tree.way,
                [partial(function[child.pool].remote.aio, child) for child in tree.children],
            )
        return sum([await function[child.pool].remote.aio(child) for child in tree.children])

    async def wait_in_tasks(self, way, calls):
        if way == "nested tasks":
            inner = self.wait_in_tasks("tasks", calls)
            return await asyncio.create_task(self.wait_in_tasks("task group", [lambda: inner]))
        if way == "task group":
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(call()) for call in calls]
            return sum(task.result() for task in tasks)
        if way == "limits":
            calls = [partial(self.limited, call) for call in calls]
        tasks = [asyncio.create_task(call()) for call in calls]
        if way == "tasks in turn":
            return sum([await task for task in tasks])
        if way == "tasks beside a sleeper":
            tasks.append(asyncio.create_task(self.sleep(5)))
        if way == "tasks awaited late":
            await self.sleep(3)
        if way == "race":
            tasks.append(asyncio.create_task(self.sleep(4)))
            done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            return sum(task.result() for task in done)
        if way == "told of each":
            results = await asyncio.gather(*tasks, return_exceptions=True)
            return sum(result for result in results if isinstance(result, int))
        return sum(await asyncio.gather(*tasks))

    async def limited(self, call):
        input = current_input()
        self.free[input] += 1
        try:
            return await asyncio.wait_for(call(), 4)
        except TimeoutError:
            return 0
        finally:
            self.free[input] -= 1

    async def sleep(self, seconds):
        input = current_input()
        self.free[input] += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self.free[input] -= 1
        return 0

    def check(self, pool, input):
        """`input` is about to be failed: is that right?"""
        self.failed += 1
        model = Model(list(self.app._runs.run.pools.values()), self.room, self.free)
        if not model.live(input):
            self.accused.append(f"{input!r} would have got on")

    def run(self, roots):
        calls = []
        for pause, tree in roots:
            self.clock.sleep(pause)
            calls.append(self.functions[tree.pool].spawn(tree))
        for call in calls:
            try:
                call.get()
            except (DeadlockError, BaseExceptionGroup):
                pass
        # Nobody waits for these any more, but they must come to their end too.
        self.clock.sleep(FOREVER / 2)
        for pool in list(self.app._runs.run.pools.values()):
            s = pool.statistics()
            assert (s.queued, s.running, s.waiting) == (0, 0, 0)


LEAF = Tree(1, 0, "one by one", False, ())
# f1, first in line for room, is served by the slot that it has, and leaves the line to f2.
FIRST_IN_LINE_NEEDS_NO_ROOM = (
    [PoolSpec(False, 1, 2, 0), PoolSpec(False, 1, 2, 1), PoolSpec(False, 1, 2, 0)],
    [
        (0, Tree(0, 0, "one by one", False, (Tree(0, 0, "map", False, (LEAF, LEAF)),))),
        (0, Tree(2, 0, "one by one", False, (Tree(2, 0, "one by one", False, ()),))),
    ],
    3,
    0.0,
)


@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
@example(FIRST_IN_LINE_NEEDS_NO_ROOM)
@given(worlds)
def test_every_world_ends_and_none_is_accused_that_would_get_on(world):
    specs, roots, room, grace = world
    drop = Pool.drop
    with pytest.MonkeyPatch.context() as patch, VirtualClock() as clock, warnings.catch_warnings():
        warnings.simplefilter("ignore", AsyncUsageWarning)
        patch.setattr(config, "deadlock_grace", grace)
        patch.setattr(config, "max_containers", room)
        made = World(specs, room, clock)

        def checked(pool, input, outcome):
            made.check(pool, input)
            return drop(pool, input, outcome)

        patch.setattr(Pool, "drop", checked)
        with made.app.run(clock=clock):
            made.run(roots)
    assert not made.accused
    assert not waits.waits_in_progress


# -- the solver alone ---------------------------------------------------------------------------

graphs = st.integers(1, 8).flatmap(
    lambda count: st.lists(
        st.tuples(
            st.integers(0, 3), st.lists(st.tuples(st.integers(0, count - 1), st.integers(1, 2)))
        ),
        min_size=count,
        max_size=count,
    )
)


@settings(max_examples=300, deadline=None)
@given(graphs)
def test_what_is_alive_is_the_least_that_follows(graph):
    nodes = [Node(index, need) for index, (need, _) in enumerate(graph)]
    for node, (_, edges) in zip(nodes, graph, strict=True):
        for other, weight in edges:
            node.after(nodes[other], weight)
    mark_alive(nodes)
    alive: set[int] = set()
    while True:
        more = {
            index
            for index, (need, edges) in enumerate(graph)
            if sum(weight for other, weight in edges if other in alive) >= need
        }
        if more <= alive:
            break
        alive |= more
    assert {node.what for node in nodes if node.alive} == alive
    cycle = cycle_of(nodes)
    assert all(not node.alive and any(fed in cycle for fed, _ in node.feeds) for node in cycle)


def test_capacity_of_its_own_is_surveyed():
    capacity = Capacity(max_containers=3, max_sync_slots=7)
    seen = capacity.survey()
    assert (seen.most_containers, seen.most_sync_slots, seen.line) == (3, 7, ())
