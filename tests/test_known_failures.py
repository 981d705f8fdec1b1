"""Failures that other systems of this kind have had: each may not happen here.

Ordered by virtual time, events and gates.  Who plays in a race is numbered by step.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

import moorage
from moorage import App, FunctionCall
from moorage.exception import ExecutionError, InputCancelledError
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.runtime.containers.container import ContainerState
from moorage.runtime.containers.slots import Slots
from moorage.runtime.input import Input, InputState, Kind, Target, next_call_number
from moorage.runtime.outcome import Value
from moorage.runtime.pools.autoscaler import Limits
from moorage.runtime.pools.capacity import Capacity
from moorage.runtime.pools.pool import Pool
from moorage.runtime.pools.pool_options import PoolOptions
from moorage.testing import Probe


def balances(function):
    """Its statistics, which say that nothing is under way and nothing was lost."""
    seen = function.statistics()
    assert (seen.queued, seen.waiting, seen.running, seen.outside, seen.abandoned) == (0,) * 5
    assert seen.accepted == seen.succeeded + seen.failed + seen.cancelled
    return seen


# -- a pool whose containers do nothing by themselves -----------------------------------


class Call:
    def __init__(self) -> None:
        self.number = next_call_number()
        self.target = Target("f", lambda: None, Kind.SYNC)
        self.context = contextvars.Context()
        self.settled_times = 0

    def settled(self, input: Input, /) -> None:
        self.settled_times += 1


class Still:
    """A container that keeps what it is given until the test ends it."""

    def __init__(self, number: int, target: int, limit: int) -> None:
        self.number, self.target, self.slots = number, target, Slots(limit)
        self.state = ContainerState.STARTING
        self.idle_since: float | None = None
        self.started_at = 0.0
        self.read_for = None
        self.takes_no_more = self.given_up = False
        self.placed: list[Input] = []
        self.stops = 0

    def boot(self) -> None: ...
    def place(self, input: Input) -> None:
        self.placed.append(input)

    def cancel(self, input: Input) -> None: ...
    def stop(self) -> None:
        self.stops += 1

    def places(self) -> list[str]:
        return []

    def give_up(self) -> None: ...
    def kill(self) -> None: ...
    def join(self, timeout: float) -> list[str]:
        return []


class Stage:
    def __init__(self, clock: VirtualClock, *, max_inputs: int = 4, most: int = 1) -> None:
        self.containers: list[Any] = []
        self.pool = Pool(
            PoolOptions("f", Limits(max_inputs, max_inputs, 0, most, 0, 60.0), timeout=None),
            self.make,
            clock=clock,
            capacity=Capacity(9, 99),
        )

    def make(self, host: object, number: int, target: int, limit: int) -> Any:
        self.containers.append(Still(number, target, limit))
        return self.containers[-1]

    def submit(self, count: int) -> list[Input]:
        inputs = [Input(Call(), 0, (), None) for _ in range(count)]
        assert self.pool.submit(inputs)
        return inputs

    def run(self, input: Input) -> None:
        with self.pool.lock:
            input.state = InputState.RUNNING

    def end(self, input: Input) -> None:
        with self.pool.lock:
            _, effects = self.pool.settle(input.container, input, Value(None), None)
        for effect in effects:
            effect()

    def close(self) -> None:
        self.pool.close()
        for input in [i for c in self.containers for i in list(c.slots.held)]:
            self.end(input)
        for container in self.containers:
            if container.state is ContainerState.STOPPING:
                self.pool.container_stopped(container)
        assert self.pool.statistics().containers == ()


@pytest.fixture
def clock():
    with VirtualClock() as clock:
        yield clock


def test_a_woken_waiter_that_is_cancelled_passes_its_wake_up_on(clock):
    # 1. A holds the only slot, B and C wait.  2. A ends, and B is granted the slot.
    # 3. Before B's code begins, B is cancelled.  4. C must be woken in its place.
    stage = Stage(clock, max_inputs=1)
    a, b, c = stage.submit(3)
    stage.pool.container_ready(stage.containers[0])
    stage.run(a)
    stage.end(a)
    assert b.state is InputState.GRANTED
    assert stage.pool.cancel(b)
    assert c.state is InputState.GRANTED
    assert stage.containers[0].placed == [a, b, c]
    stage.run(c)
    stage.end(c)
    assert stage.pool.statistics().running == 0
    stage.close()


def test_a_cancel_of_a_waiter_and_of_the_holder_wakes_the_third():
    # The same through the public surface, with callers that await.
    # 1. A runs, B and C await a slot.  2. In one turn of the caller's loop B and A are
    # cancelled.  3. C gets the slot.
    app = App()

    @app.function(serialized=True, max_containers=1)
    async def work(who):
        ran.append(who)
        await (asyncio.Event().wait() if who == "a" else asyncio.sleep(0))
        return who

    ran: list[str] = []

    async def main():
        async with app.run(clock=clock):
            a, b, c = (asyncio.ensure_future(work.remote.aio(who)) for who in "abc")
            await asyncio.sleep(1)
            assert ran == ["a"]
            b.cancel()  # first: else B might begin on A's slot before its own cancel comes
            a.cancel()
            assert await c == "c"
            assert (await asyncio.gather(a, b, return_exceptions=True)) != []
            assert ran == ["a", "c"]
            balances(work)

    with VirtualClock() as clock, asyncio.Runner(loop_factory=clock.new_event_loop) as runner:
        runner.run(main())


@pytest.mark.parametrize("between", ["nothing", "one ends", "one is cancelled"])
def test_a_limit_lowered_and_raised_again_does_not_over_grant(clock, between):
    # 1. Four hold slots, four wait.  2. The limit falls to 1, then rises to 3, maybe with
    # an end in between.  3. Nobody may be granted while three or more hold slots.
    stage = Stage(clock)
    inputs = stage.submit(8)
    (container,) = stage.containers
    stage.pool.container_ready(container)
    for input in inputs[:4]:
        stage.run(input)
    stage.pool.resize(container, 1)
    if between == "one ends":
        stage.end(inputs[0])
    elif between == "one is cancelled":
        stage.pool.cancel(inputs[0])  # its caller is answered, its slot is held on
        stage.pool.cancel(inputs[4])
    stage.pool.resize(container, 3)
    held = 3 if between == "one ends" else 4
    assert len(container.slots.held) == held
    assert len(container.placed) == 4
    for input in inputs[4 - held : 4]:
        stage.end(input)
        assert len(container.slots.held) <= 3
    assert container.slots.peak == 4
    stage.close()


def test_a_cancel_that_lands_after_the_output_releases_no_second_slot(clock):
    # 1. A's code has ended and A is settled: its slot is free, and B has it.  2. A cancel
    # of A arrives.  3. A's container reports its end once more.  B keeps its slot.
    stage = Stage(clock, max_inputs=1)
    a, b, c = stage.submit(3)
    (container,) = stage.containers
    stage.pool.container_ready(container)
    stage.run(a)
    stage.end(a)
    assert not stage.pool.cancel(a)
    stage.end(a)
    assert list(container.slots.held) == [b]
    assert c.state is InputState.QUEUED
    assert a.call.settled_times == 1
    assert isinstance(a.outcome, Value)
    assert stage.pool.statistics().succeeded == 1
    stage.close()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_cancel_after_the_result_is_harmless(kind):
    app = App()
    work = _one_slot(app, kind)
    with VirtualClock() as clock, app.run(clock=clock):
        calls = [work.spawn(0) for _ in range(5)]
        assert FunctionCall.gather(*calls) == [0] * 5
        for call in calls * 3:
            call.cancel()
        assert [call.get() for call in calls] == [0] * 5
        assert work.remote(0) == 0
        seen = balances(work)
        assert (seen.succeeded, seen.cancelled) == (6, 0)


def _one_slot(app, kind):
    """Runs for so many seconds, with one slot, and says who began."""
    if kind == "sync":

        @app.function(serialized=True, max_containers=1)
        def work(seconds, began=None):
            if began is not None:
                began.append(seconds)
            clock = moorage.runtime.context.current_input().container.host.clock
            clock.wait(clock.make_waiter(), seconds)
            moorage.check_cancelled()
            return seconds

    else:

        @app.function(serialized=True, max_containers=1)
        async def work(seconds, began=None):
            if began is not None:
                began.append(seconds)
            await asyncio.sleep(seconds)
            return seconds

    return work


# -- a cancel at any await point --------------------------------------------------------

AWAITS = 4  # in each place below


@asynccontextmanager
async def resource(step):
    await step("acquire")
    try:
        yield
    finally:
        await step("release")


async def plainly(step, nested):
    for _ in range(AWAITS):
        await step("await")


async def in_finally(step, nested):
    try:
        await step("body")
    finally:
        for _ in range(AWAITS):
            await step("finally")


async def in_async_with(step, nested):
    for _ in range(AWAITS // 2):
        async with resource(step), resource(step):
            await step("body")


async def in_nested_awaits(step, nested):
    for _ in range(AWAITS):
        await nested.remote.aio(1)


async def in_a_nested_spawn(step, nested):
    for _ in range(AWAITS):
        call = await nested.spawn.aio(1)
        try:
            await call.get.aio()
        finally:
            await step("finally")


async def in_a_nested_map(step, nested):
    async for _ in nested.map.aio([1, 1, 1]):
        await step("between")


async def in_a_task_group(step, nested):
    async with asyncio.TaskGroup() as group:
        for _ in range(AWAITS):
            group.create_task(step("in a task"))


async def in_a_shield(step, nested):
    with moorage.shield():
        await step("shielded")
    await step("after")


BODIES = [
    plainly,
    in_finally,
    in_async_with,
    in_nested_awaits,
    in_a_nested_spawn,
    in_a_nested_map,
    in_a_task_group,
    in_a_shield,
]


@pytest.mark.parametrize("way", ["handle", "task"])
@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_a_cancel_at_any_await_point_leaks_no_slot(body, way):
    # Each await lasts one second, so a cancel at k / 2 s lands before, at, and after each.
    # At whole seconds it races the end of the await: 1. the timer of the await is due,
    # 2. so is that of the cancel, set later.
    app = App()
    takes = 30.0  # more than any of them

    async def step(name):
        await asyncio.sleep(1)

    @app.function(serialized=True, max_containers=1)
    async def work():
        await body(step, nested)

    @app.function(serialized=True, max_containers=1)
    async def nested(seconds):
        await asyncio.sleep(seconds)

    @app.function(serialized=True, max_containers=1)
    async def other():
        return "other"

    async def main():
        async with app.run(clock=clock):
            loop = asyncio.get_running_loop()
            began = loop.time()
            await work.remote.aio()
            lasts = loop.time() - began
            assert 1 <= lasts < takes
            tried = 0
            for half in range(2 * int(lasts) + 3):
                if way == "handle":
                    call = await work.spawn.aio()
                    await asyncio.sleep(half / 2)
                    await call.cancel.aio()
                    await asyncio.gather(call.get.aio(), return_exceptions=True)
                else:
                    task = asyncio.ensure_future(work.remote.aio())
                    await asyncio.sleep(half / 2)
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
                # The next gets the slot, however long the clean-up takes.
                assert await work.remote.aio() is None
                assert await nested.remote.aio(0) is None
                assert balances(work).accepted == 1 + 2 * (half + 1)
                balances(nested)
                tried += 1
            assert tried > 2

    with VirtualClock() as clock, asyncio.Runner(loop_factory=clock.new_event_loop) as runner:
        runner.run(main())


# -- the queue, and counts --------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_the_queue_goes_on_when_running_and_queued_are_cancelled_together(kind):
    # 1. One runs, nine wait.  2. All of one call are cancelled at once, the running one
    # first, so that its slot might go to one that is about to be cancelled.  3. What was
    # submitted behind them runs, and none of them.
    app = App()
    work = _one_slot(app, kind)
    with VirtualClock() as clock, app.run(clock=clock):
        began: list[float] = []
        call = work.experimental_spawn_map([5.0] * 10, kwargs={"began": began})
        behind = work.spawn(1.0, began)
        clock.sleep(1)
        assert began == [5.0]
        call.cancel()
        assert behind.get() == 1.0
        assert began == [5.0, 1.0]
        for index in range(10):
            with pytest.raises(InputCancelledError):
                call.get(index=index)
        clock.sleep(10)  # a thread ends when its code does, and its container is replaced
        seen = balances(work)
        assert (seen.succeeded, seen.cancelled) == (1, 10)


def test_counts_never_fall_below_zero(clock):
    # Everything that lowers a count, twice in a row and in the wrong order.
    stage = Stage(clock, max_inputs=2)
    inputs = stage.submit(5)
    (container,) = stage.containers

    def counts_hold():
        s = stage.pool.statistics()
        assert min(s.queued, s.running, s.abandoned, s.waiting, s.cancelled, s.succeeded) >= 0
        assert s.accepted == s.queued + s.running - s.abandoned + s.succeeded + s.cancelled

    stage.pool.cancel_all(inputs[4:] * 2)
    counts_hold()
    stage.pool.container_ready(container)
    stage.pool.cancel(inputs[1])  # granted
    counts_hold()
    stage.run(inputs[0])
    stage.pool.cancel_all([*inputs, *inputs])
    counts_hold()
    stage.pool.cancel_running()
    stage.pool.cancel_running()
    counts_hold()
    stage.end(inputs[0])
    counts_hold()
    s = stage.pool.statistics()
    assert (s.queued, s.running, s.abandoned, s.cancelled) == (0, 0, 0, 5)
    stage.close()
    counts_hold()


# -- contexts ---------------------------------------------------------------------------


def test_contexts_are_neither_lost_nor_leaked_through_threads_and_generators():
    # 1. Two callers with different contexts share one worker, or one loop, in turn.
    # 2. Each sees its own value, not the one before it; what it sets goes nowhere.
    app = App()
    who = contextvars.ContextVar("who", default="nobody")

    @app.function(serialized=True, max_containers=1)
    def sync():
        seen = who.get()
        who.set("leaked by sync")
        return seen

    @app.function(serialized=True, max_containers=1)
    def generator():
        for _ in range(3):
            yield who.get()
        who.set("leaked by a generator")

    @app.function(serialized=True, max_containers=1)
    async def asynchronous():
        seen = who.get()
        who.set("leaked by async")
        return seen, await asyncio.to_thread(who.get)

    @app.function(serialized=True, max_containers=1)
    async def async_generator():
        for _ in range(3):
            yield who.get()
            await asyncio.sleep(0)
        who.set("leaked by an async generator")

    def as_caller(name):
        who.set(name)
        assert sync.remote() == name
        assert asynchronous.remote() == (name, "leaked by async")
        assert list(generator.remote_gen()) == [name] * 3
        assert list(async_generator.remote_gen()) == [name] * 3
        assert sync.spawn().get() == name
        return who.get()

    with app.run():
        for name in ("first", "second"):
            assert contextvars.copy_context().run(as_caller, name) == name
            assert who.get() == "nobody"
            assert sync.remote() == "nobody"
            assert asynchronous.remote() == ("nobody", "leaked by async")
            # A generator that is stepped from two contexts runs in one, its caller's.
            steps = contextvars.copy_context().run(_first_step, who, name, generator)
            assert list(steps) == [name] * 2


def _first_step(who, name, generator):
    who.set(name)
    steps = iter(generator.remote_gen())
    assert next(steps) == name
    return steps


# -- containers -------------------------------------------------------------------------


@pytest.mark.parametrize("drain", [False, True])
@pytest.mark.parametrize("inside", ["idle", "running", "running away", "starting", "retired"])
def test_exit_hooks_run_once_for_each_enter_however_the_run_is_left(inside, drain):
    if drain and inside == "running away":
        pytest.skip("a drain waits for it")
    app = App()
    entered, exited, stuck = [], [], threading.Event()

    @app.cls(serialized=True, max_containers=3, scaledown_window=2)
    @moorage.concurrent(max_inputs=2)
    class Work:
        @moorage.enter()
        async def enter(self):
            await asyncio.sleep(0 if inside == "running away" else 1)
            entered.append(id(self))
            keep.append(self)  # so that no id comes twice

        @moorage.exit()
        def leave(self):
            exited.append(id(self))
            raise ValueError("an exit hook that fails is run no second time")

        @moorage.method()
        async def work(self, seconds):
            await asyncio.sleep(seconds)

        @moorage.method()
        async def stop_fetching(self):
            moorage.experimental.stop_fetching_inputs()

        @moorage.method()
        def run_away(self):
            assert stuck.wait(30)

    keep: list[object] = []
    if inside == "running away":  # in real time, for a thread that computes takes that
        probe = Probe()
        with app.run(grace=1, probe=probe):
            Work().run_away.spawn()
            probe.wait_until(lambda: probe.events.of("started"))
        stuck.set()
        assert len(entered) == 1
        assert exited == entered
        return
    with VirtualClock() as clock:
        with app.run(clock=clock, drain=drain, grace=5):
            made = Work()
            if inside != "starting":
                made.work.remote(0)
            if inside == "running":
                calls = [made.work.spawn(3) for _ in range(5)]
                clock.sleep(2)
                del calls
            elif inside == "retired":
                made.stop_fetching.remote()
                made.work.remote(0)
            elif inside == "starting":
                made.work.spawn(0)
                clock.sleep(0.5)
        stuck.set()
    assert sorted(exited) == sorted(entered)
    assert entered or (inside == "starting" and not drain)


@pytest.mark.parametrize("when", ["starting", "idle", "busy"])
def test_a_drained_container_takes_no_work(clock, when):
    # 1. It is told to fetch no more, 2. work comes, and more room than it needs: 3. only
    # another container may take it.
    stage = Stage(clock, max_inputs=2, most=3)
    before = stage.submit(1)
    first = stage.containers[0]
    if when == "starting":
        stage.pool.stop_fetching(first)
        stage.pool.container_ready(first)
        assert first.placed == []
    else:
        stage.pool.container_ready(first)
        stage.run(before[0])
        if when == "idle":
            clock.sleep(1)  # so that the next ones are thought to take as long
            stage.end(before[0])
        stage.pool.stop_fetching(first)
    there = list(first.placed)
    stage.submit(4)
    for container in stage.containers[1:]:
        if container.state is ContainerState.STARTING:
            stage.pool.container_ready(container)
    if when == "busy":
        stage.end(before[0])
    stage.pool.resize(first, 1)
    stage.pool.resize(first, 2)
    assert first.placed == there
    assert first.stops == 1
    assert stage.pool.statistics().queued == 0
    stage.close()


def test_a_run_that_is_drained_takes_no_calls_from_outside(in_threads, until_draining):
    app = App()
    go_on = threading.Event()

    @app.function(serialized=True)
    def work(waits):
        return waits and go_on.wait(30)

    def leave():
        with app.run(drain=True):
            entered.set()
            work.spawn(True)

    entered = threading.Event()
    leaving = in_threads(leave)
    assert entered.wait(30)
    run = app._runs.run
    until_draining(run)
    with pytest.raises(ExecutionError):
        work.remote(False)
    go_on.set()
    leaving.result()


def counted(function):
    """How many of its inputs run; 0 while it has no pool."""
    seen = function.statistics()
    return seen.running if seen is not None else 0


# -- aclose racing __anext__ ------------------------------------------------------------

WHAT = ["stream", "async stream", "map", "map of an iterator", "map of an async source"]


@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize("steps", [0, 1, 2])
def test_aclose_while_another_task_sits_in_anext(what, steps, run_async):
    # 1. A task awaits the next result, which does not come.  2. Another closes the reader.
    # 3. The first is told so; the input ends, its slot is free, nothing is left.
    app = App()
    probe = Probe()

    @app.function(serialized=True, max_containers=1)
    async def work(value):
        if value >= steps:
            await asyncio.Event().wait()
        return value

    @app.function(serialized=True, max_containers=1)
    async def stream():
        for value in range(10):
            if value >= steps:
                await asyncio.Event().wait()
            yield value

    @app.function(serialized=True, max_containers=1)
    def sync_stream():
        for value in range(10):
            if value >= steps:
                wait.remote()
            yield value

    @app.function(serialized=True)
    async def wait():
        await asyncio.Event().wait()

    async def source():
        for value in range(10):
            yield value

    def make():
        if what == "stream":
            return sync_stream.remote_gen.aio(), sync_stream
        if what == "async stream":
            return stream.remote_gen.aio(), stream
        given = {"map": range(10), "map of an iterator": iter(range(10))}.get(what)
        return work.map.aio(source() if given is None else given), work

    async def main():
        async with app.run(probe=probe):
            results, function = make()
            for value in range(steps):
                assert await anext(results) == value
            told = []

            async def read():
                try:
                    await anext(results)
                except (InputCancelledError, StopAsyncIteration) as error:
                    told.append(error)

            with anyio.fail_after(30):
                async with anyio.create_task_group() as group:
                    group.start_soon(read)
                    await probe.wait_until.aio(lambda: counted(function) == 1)
                    await anyio.wait_all_tasks_blocked()
                    await results.aclose()
                    await results.aclose()
                await probe.wait_until.aio(lambda: counted(function) == 0)
            assert len(told) == 1
            with pytest.raises(StopAsyncIteration):
                await anext(results)
            balances(function)

    run_async(main)


@pytest.mark.parametrize("ordered", [True, False])
def test_aclose_just_after_a_result_came_does_not_leave_the_reader_waiting(ordered, run_async):
    # 1. A task awaits the next result.  2. It comes: the task's wake-up is on its way.
    # 3. Before the task runs, another closes the map, which drops that result.  4. The
    # task finds none, and none will come: it must not wait on.
    app = App()
    probe = Probe()
    gate = threading.Event()

    @app.function(serialized=True, max_containers=1)
    def work(value):
        assert gate.wait(30)
        return value

    async def main():
        async with app.run(probe=probe):
            results = work.map.aio(range(1), order_outputs=ordered)
            told = []

            async def read():
                try:
                    told.append(await anext(results))
                except (InputCancelledError, StopAsyncIteration) as error:
                    told.append(error)

            with anyio.fail_after(30):
                async with anyio.create_task_group() as group:
                    group.start_soon(read)
                    await probe.wait_until.aio(lambda: counted(work) == 1)
                    await anyio.wait_all_tasks_blocked()
                    gate.set()
                    while not work.statistics().succeeded:
                        pass  # this loop gets no turn, and so the reader none
                    await results.aclose()
            assert len(told) == 1
            balances(work)

    run_async(main)


# -- queued, then cancelled -------------------------------------------------------------


@pytest.mark.parametrize("way", ["handle", "task", "map", "queue_timeout", "leaving"])
def test_queued_sync_work_that_is_cancelled_never_runs(way, in_threads):
    # 1. One holds the only slot.  2. Others are queued, and cancelled.  3. The slot comes
    # free.  4. None of them runs, then or later.
    app = App()
    probe = Probe()
    ran: list[str] = []
    gate, began = threading.Event(), threading.Event()

    # Long enough for a container to start for the first input, on a machine that is busy.
    @app.function(
        serialized=True, max_containers=1, queue_timeout=2 if way == "queue_timeout" else None
    )
    def work(name):
        ran.append(name)
        if name == "first":
            began.set()
            assert gate.wait(30)

    async def cancel_tasks():
        tasks = [asyncio.ensure_future(work.remote.aio("never")) for _ in range(3)]
        await probe.wait_until.aio(lambda: work.statistics().queued == 3)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    with app.run(grace=20, probe=probe):
        first = work.spawn("first")
        assert began.wait(30)
        if way == "task":
            asyncio.run(cancel_tasks())
        elif way == "map":
            results = work.map(["never"] * 3)
            reading = in_threads(lambda: next(results))
            probe.wait_until(lambda: work.statistics().queued == 3)
            results.close()
            with pytest.raises(InputCancelledError):
                reading.result()
        else:
            calls = [work.spawn("never") for _ in range(3)]
            if way == "handle":
                for call in calls:
                    call.cancel()
            elif way == "queue_timeout":
                for call in calls:
                    with pytest.raises(moorage.exception.QueueTimeoutError):
                        call.get()
            else:
                app._runs.run.pools and [pool.close(cancel_running=False) for pool in _pools(app)]
        gate.set()
        if way != "leaving":
            first.get()
            work.remote("last")
            balances(work)
    assert ran == (["first"] if way == "leaving" else ["first", "last"])


def _pools(app):
    return list(app._runs.run.pools.values())
