"""Inputs whose tasks wait for one another: none hangs, and none is accused that gets on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Iterator

import anyio
import pytest

import moorage
from moorage import config
from moorage.exception import DeadlockError
from moorage.runtime import background
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.runtime.waiting import callers
from moorage.runtime.waiting.waits import open_streams, waits_in_progress
from onlooker import messages_of_moorage

GRACE = config.deadlock_grace


@pytest.fixture(autouse=True)
def every_wait_ends() -> Iterator[None]:
    yield
    assert not waits_in_progress
    assert not open_streams


@pytest.fixture
def clock() -> Iterator[VirtualClock]:
    with VirtualClock() as clock:
        yield clock


async def nap(seconds, result=None):
    """Always in virtual time."""
    return await asyncio.sleep(seconds, result)


def as_tasks(*coroutines):
    return [asyncio.create_task(coroutine) for coroutine in coroutines]


# -- ways to wait for the children `a` and `b`, of which neither can get a slot --------------


async def in_gather(a, b):
    return sum(await asyncio.gather(a, b))


async def in_nested_gathers(a, b):
    return sum(sum(x) for x in await asyncio.gather(asyncio.gather(a), asyncio.gather(b)))


async def in_a_task_group(a, b):
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(a), group.create_task(b)]
    return sum(task.result() for task in tasks)


async def in_a_task_group_of_anyio(a, b):
    results = []

    async def append(coroutine):
        results.append(await coroutine)

    async with anyio.create_task_group() as group:
        group.start_soon(append, a)
        group.start_soon(append, b)
    return sum(results)


async def in_wait(a, b):
    done, _ = await asyncio.wait(as_tasks(a, b), return_when=asyncio.FIRST_EXCEPTION)
    return sum(task.result() for task in done)


async def in_wait_for_the_first(a, b):
    done, _ = await asyncio.wait(as_tasks(a, b), return_when=asyncio.FIRST_COMPLETED)
    return sum(task.result() for task in done)


async def as_completed(a, b):
    return sum([await result for result in asyncio.as_completed([a, b])])


async def one_task_after_the_other(a, b):
    a, b = as_tasks(a, b)
    return await a + await b


async def in_a_task_of_a_task(a, b):
    async def both():
        return sum(await asyncio.gather(a, b))

    return await asyncio.create_task(in_a_group(both()))


async def in_a_group(coroutine):
    async with asyncio.TaskGroup() as group:
        task = group.create_task(coroutine)
    return task.result()


async def shielded(a, b):
    return sum(await asyncio.gather(asyncio.shield(a), asyncio.shield(b)))


async def shielded_alone(a, b):
    a, b = as_tasks(a, b)
    return await asyncio.shield(a) + await asyncio.shield(b)


async def in_wait_for_without_a_limit(a, b):
    return await asyncio.wait_for(asyncio.gather(a, b), None)


async def in_a_timeout_without_a_limit(a, b):
    async with asyncio.timeout(None):
        return await in_gather(a, b)


async def in_an_async_generator(a, b):
    async def results():
        for result in await asyncio.gather(a, b):
            yield result

    return sum([result async for result in results()])


async def after_a_while(a, b):
    a, b = as_tasks(a, b)
    await nap(3)
    await nap(4)
    return sum(await asyncio.gather(a, b))


async def after_a_shield_ran_out(a, b):
    both = asyncio.gather(a, b)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(both), 7)
    return sum(await both)


async def beside_one_that_sleeps(a, b):
    results = await asyncio.gather(a, nap(3), nap(7), b)
    return results[0] + results[-1]


async def beside_one_that_steps(a, b):
    async def steps():
        for _ in range(7):
            await asyncio.sleep(0)
            await nap(1)

    results = await asyncio.gather(a, steps(), b)
    return results[0] + results[-1]


async def with_one_in_time(a, b):
    async def at_most(seconds, coroutine):
        async with asyncio.timeout(seconds):
            return await coroutine

    results = await asyncio.gather(at_most(7, a), b, return_exceptions=True)
    raise results[1]


async def by_eager_tasks(a, b):
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)
    try:
        return sum(await asyncio.gather(a, b))
    finally:
        loop.set_task_factory(None)


async def by_tasks_in_python(a, b):
    loop = asyncio.get_running_loop()
    loop.set_task_factory(
        lambda loop, coro, **given: asyncio.tasks._PyTask(coro, loop=loop, **given)
    )
    try:
        return sum(await asyncio.gather(a, b))
    finally:
        loop.set_task_factory(None)


AT_ONCE = [
    in_gather,
    in_nested_gathers,
    in_a_task_group,
    in_a_task_group_of_anyio,
    in_wait,
    in_wait_for_the_first,
    as_completed,
    one_task_after_the_other,
    in_a_task_of_a_task,
    shielded,
    shielded_alone,
    in_wait_for_without_a_limit,
    in_a_timeout_without_a_limit,
    in_an_async_generator,
    by_tasks_in_python,
]
if sys.version_info >= (3, 12):
    AT_ONCE.append(by_eager_tasks)
AFTER_7_SECONDS = [
    after_a_while,
    after_a_shield_ran_out,
    beside_one_that_sleeps,
    beside_one_that_steps,
    with_one_in_time,
]


def errors_in(error):
    if isinstance(error, BaseExceptionGroup):
        return [one for inner in error.exceptions for one in errors_in(inner)]
    return [error]


@pytest.mark.parametrize(
    ("way", "when"),
    [(way, GRACE) for way in AT_ONCE] + [(way, 7 + GRACE) for way in AFTER_7_SECONDS],
)
def test_children_that_wait_for_the_slot_of_their_parent(way, when, clock, caplog):
    app = moorage.App("tree")

    @app.function(max_containers=1)
    async def tree(depth):
        if not depth:
            return 1
        return await way(tree.remote.aio(0), tree.remote.aio(0))

    with app.run(clock=clock), caplog.at_level(logging.WARNING):
        call = tree.spawn(1)
        with pytest.raises((DeadlockError, BaseExceptionGroup)) as raised:
            call.get()
        assert {type(error) for error in errors_in(raised.value)} == {DeadlockError}
        assert clock.now() == when
        warnings = messages_of_moorage(caplog)
        assert "tree gets no slot: all slots of tree are held" in warnings[0]
        assert tree.remote(0) == 1


# -- other ways in which a child of an input's task waits -------------------------------------


async def by_remote(f):
    await f.remote.aio(0)


async def by_spawn(f):
    await f.spawn(0).get.aio()


async def by_map(f):
    return [x async for x in f.map.aio([0, 0])]


async def by_map_of_an_async_iterable(f):
    async def items():
        yield 0

    return [x async for x in f.map.aio(items())]


async def by_gather_of_calls(f):
    await moorage.FunctionCall.gather.aio(f.spawn(0), f.spawn(0))


@pytest.mark.parametrize(
    "child", [by_remote, by_spawn, by_map, by_map_of_an_async_iterable, by_gather_of_calls]
)
def test_what_a_task_of_the_input_waits_for(child, clock):
    app = moorage.App("children")

    @app.function(max_containers=1)
    async def f(n):
        if n:
            try:
                await asyncio.gather(child(f), child(f))
            except DeadlockError:
                return "another way"
        return "leaf"

    with app.run(clock=clock):
        assert f.remote(1) == "another way"
        assert clock.now() == GRACE


def test_a_circle_of_functions_that_gather(clock):
    app = moorage.App("circle")

    @app.function(max_containers=1)
    async def a(n):
        return 1 + sum(await asyncio.gather(b.remote.aio(n - 1), b.remote.aio(0))) if n else 0

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=2)
    async def b(n):
        return 1 + sum(await asyncio.gather(a.remote.aio(n - 1), a.remote.aio(0))) if n else 0

    with app.run(clock=clock):
        with pytest.raises(DeadlockError, match="a gets no slot: all slots of a are held"):
            a.remote(2)
        assert a.remote(1) == 1


def test_each_of_several_containers_is_held_by_one_that_gathers(clock):
    app = moorage.App("several")

    @app.function(max_containers=3)
    async def f(n):
        await nap(n)
        return n and sum(await asyncio.gather(f.remote.aio(0), f.remote.aio(0)))

    with app.run(clock=clock):
        results = list(f.map([1, 2, 3], return_exceptions=True))
        # The first to fail lets the others on.
        assert sorted(type(result).__name__ for result in results) == [
            "DeadlockError",
            "int",
            "int",
        ]


def test_every_child_is_told_where_each_of_them_is_waited_for(clock):
    app = moorage.App("all")

    @app.function(max_containers=1)
    async def f(n):
        if not n:
            return "leaf"
        results = await asyncio.gather(*(f.remote.aio(0) for _ in range(n)), return_exceptions=True)
        return [type(result).__name__ for result in results]

    with app.run(clock=clock):
        assert f.remote(5) == ["DeadlockError"] * 5
        assert clock.now() == GRACE


def test_a_batch_that_gathers(clock):
    app = moorage.App("batch")

    @app.function(max_containers=1)
    @moorage.batched(max_batch_size=2, wait_ms=0)
    async def f(numbers):
        if not any(numbers):
            return numbers
        await asyncio.gather(f.remote.aio(0), f.remote.aio(0))
        return numbers

    with app.run(clock=clock):
        with pytest.raises(DeadlockError):
            f.remote(1)
        assert f.remote(0) == 0


def test_an_input_that_runs_a_loop_of_its_own(clock):
    app = moorage.App("runner")

    @app.function(max_containers=1)
    def f(n):
        async def both():
            return await asyncio.gather(f.remote.aio(0), f.remote.aio(0))

        if not n:
            return "leaf"
        loop = clock.new_event_loop()
        try:
            return loop.run_until_complete(both())
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()

    with app.run(clock=clock):
        with pytest.raises(DeadlockError):
            f.remote(1)
        assert f.remote(0) == "leaf"


def test_an_input_that_runs_a_loop_of_its_own_in_real_time(monkeypatch):
    monkeypatch.setattr(config, "deadlock_grace", 0.01)
    app = moorage.App("runner")

    @app.function(max_containers=1)
    def f(n):
        async def both():
            return await asyncio.gather(f.remote.aio(0), f.remote.aio(0))

        return asyncio.run(both()) if n else "leaf"

    with app.run():
        with pytest.raises(DeadlockError):
            f.remote(1)
        assert f.remote(0) == "leaf"


def test_a_generator_whose_reader_gathers(clock):
    app = moorage.App("stream")

    @app.function(max_containers=1)
    async def items(n):
        for number in range(n):
            yield number

    @app.function()
    async def reads():
        async for _ in items.remote_gen.aio(100):
            await asyncio.gather(count(), count())

    async def count():
        return len([x async for x in items.remote_gen.aio(1)])

    with app.run(clock=clock):
        with pytest.raises(DeadlockError, match="waits for the reader of its items"):
            reads.remote()
        assert list(items.remote_gen(2)) == [0, 1]


def test_a_child_that_blocks_the_loop(clock):
    app = moorage.App("blocks")

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=3)
    async def f(n):
        async def child():
            return f.remote(0)

        return n and await asyncio.gather(child(), nap(100))

    told = pytest.raises(DeadlockError, match="blocks its container's event loop")
    with app.run(clock=clock), pytest.warns(moorage.exception.AsyncUsageWarning), told:
        f.remote(1)


def test_the_error_comes_at_once_without_a_grace(clock, monkeypatch):
    monkeypatch.setattr(config, "deadlock_grace", 0)
    app = moorage.App("hasty")

    @app.function(max_containers=1)
    async def f(n):
        return n and sum(await asyncio.gather(f.remote.aio(0), f.remote.aio(0)))

    with app.run(clock=clock):
        with pytest.raises(DeadlockError):
            f.remote(1)
        assert clock.now() == 0


def test_nothing_is_kept_of_what_was_looked_at(clock):
    import gc
    import weakref

    app = moorage.App("kept")

    class Result:
        pass

    seen = []

    @app.function(max_containers=1)
    async def f(n):
        if n:
            await asyncio.gather(f.remote.aio(0), nap(1), return_exceptions=True)
        result = Result()
        seen.append(weakref.ref(result))
        return result

    with app.run(clock=clock):
        gc.disable()
        try:
            for _ in range(3):
                f.remote(1)
            f.remote(0)  # the pool's queue lets go of the inputs that were taken out of it
            assert background._cleanup.flush(30)  # what an alarm's step has dropped dies there
            assert [ref() for ref in seen[:3]] == [None] * 3
        finally:
            gc.enable()


def test_the_end_of_a_wait_is_counted_before_the_wait_is_taken_out(clock, monkeypatch):
    """1. A wait is taken out, 2. the search reads an old count, 3. the end is counted: no."""
    app = moorage.App("counted")
    seen = []

    class Known(dict):
        def pop(self, task, default=None):
            tasks = moorage.runtime.context.current_input().runner.task_waits
            seen.append((tasks.changes, task in tasks.waits))
            return super().pop(task, default)

    @app.function()
    async def leaf():
        pass

    @app.function()
    async def f():
        with monkeypatch.context() as patch:
            patch.setattr(callers, "waits_in_progress", Known())
            await asyncio.create_task(leaf.remote.aio())

    with app.run(clock=clock):
        f.remote()
    assert seen == [(2, True)]


# -- honest programs ---------------------------------------------------------------------------


async def each_with_a_limit(f):
    results = await asyncio.gather(
        asyncio.wait_for(f.remote.aio(0), 60),
        asyncio.wait_for(f.remote.aio(0), 50),
        return_exceptions=True,
    )
    return [type(result) for result in results] == [TimeoutError] * 2


async def one_with_a_limit(f):
    async with asyncio.TaskGroup() as group:
        other = group.create_task(f.remote.aio(0))

        async def gives_up():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(60):
                    await f.remote.aio(0)
            other.cancel()

        group.create_task(gives_up())
    return True


async def a_limit_around_all(f):
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(60):
            await asyncio.gather(f.remote.aio(0), f.remote.aio(0))
    return True


async def a_limit_for_all(f):
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.gather(f.remote.aio(0), f.remote.aio(0)), 60)
    return True


async def a_limit_of_wait(f):
    done, pending = await asyncio.wait(as_tasks(f.remote.aio(0), f.remote.aio(0)), timeout=60)
    for task in pending:
        task.cancel()
    return not done


async def a_limit_of_as_completed(f):
    tasks = as_tasks(f.remote.aio(0), f.remote.aio(0))
    with contextlib.suppress(TimeoutError):
        for result in asyncio.as_completed(tasks, timeout=60):
            await result
    for task in tasks:
        task.cancel()
    return True


async def a_limit_of_anyio(f):
    with anyio.move_on_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(f.remote.aio, 0)
            group.start_soon(f.remote.aio, 0)
    return True


async def a_limit_of_get(f):
    with contextlib.suppress(TimeoutError):
        await asyncio.gather(f.spawn(0).get.aio(timeout=60), f.spawn(0).get.aio())
    return True


async def a_race(f):
    tasks = as_tasks(f.remote.aio(0), nap(60, True))
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return done.pop().result()


async def a_race_as_completed(f):
    tasks = as_tasks(f.remote.aio(0), nap(60, True))
    for result in asyncio.as_completed(tasks):
        found = await result
        break
    for task in tasks:
        task.cancel()
    return found


async def a_sibling_that_raises(f):
    async def fails():
        await nap(60)
        raise ValueError

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(f.remote.aio(0))
            group.create_task(fails())
    except* ValueError:
        pass
    return True


async def one_that_is_shielded(f):
    task = asyncio.create_task(f.remote.aio(0))
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(task), 60)
    return task.cancel()


async def a_task_that_cancels(f):
    both = asyncio.gather(f.remote.aio(0), f.remote.aio(0))

    async def watch():
        await nap(60)
        both.cancel()

    watching = asyncio.create_task(watch())
    with contextlib.suppress(asyncio.CancelledError):
        await both
    await watching
    return True


async def a_timer_that_cancels(f):
    both = asyncio.gather(f.remote.aio(0), f.remote.aio(0))
    asyncio.get_running_loop().call_later(60, both.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await both
    return True


async def an_event_that_a_task_waits_for(f):
    event = asyncio.Event()
    asyncio.get_running_loop().call_later(30, event.set)
    call = asyncio.create_task(f.remote.aio(0))

    async def gives_up():
        await event.wait()
        await nap(30)
        call.cancel()

    await asyncio.gather(call, gives_up(), return_exceptions=True)
    return True


async def a_watch_over_the_one_that_waits_itself(f):
    me = asyncio.current_task()

    async def watch():
        await nap(60)
        me.cancel()

    watching = asyncio.create_task(watch())
    try:
        await f.remote.aio(0)
    except asyncio.CancelledError:
        me.uncancel()
    await watching
    return True


async def a_limit_around_a_call_of_its_own(f):
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(60):
            await f.remote.aio(0)
    return True


async def a_thread(f):
    call = asyncio.create_task(f.remote.aio(0))

    async def gives_up():
        await asyncio.to_thread(f.sleep, 60)
        call.cancel()

    await asyncio.gather(call, gives_up(), return_exceptions=True)
    return True


async def a_queue(f):
    queue = asyncio.Queue()

    async def put():
        await nap(60)
        await queue.put(True)

    putting = asyncio.create_task(put())
    call = asyncio.create_task(f.remote.aio(0))
    result = await queue.get()
    await putting
    call.cancel()
    return result


async def a_child_in_a_foreign_context(f):
    import contextvars

    async def gives_up():
        await nap(60)
        call.cancel()

    call = asyncio.create_task(f.remote.aio(0))
    other = asyncio.create_task(gives_up(), context=contextvars.Context())
    await asyncio.gather(call, other, return_exceptions=True)
    return True


HONEST = [
    each_with_a_limit,
    one_with_a_limit,
    a_limit_around_all,
    a_limit_for_all,
    a_limit_of_wait,
    a_limit_of_as_completed,
    a_limit_of_anyio,
    a_limit_of_get,
    a_race,
    a_race_as_completed,
    a_sibling_that_raises,
    one_that_is_shielded,
    a_task_that_cancels,
    a_timer_that_cancels,
    an_event_that_a_task_waits_for,
    a_watch_over_the_one_that_waits_itself,
    a_limit_around_a_call_of_its_own,
    a_thread,
    a_queue,
    a_child_in_a_foreign_context,
]


@pytest.mark.parametrize("way", HONEST)
def test_an_honest_program_is_neither_accused_nor_warned(way, clock, caplog):
    app = moorage.App("honest")

    @app.function(max_containers=1)
    async def f(n):
        return await way(f) if n else "leaf"

    f.sleep = clock.sleep
    with app.run(clock=clock), caplog.at_level(logging.WARNING):
        assert f.remote(1) is True
        assert clock.now() == 60
        assert f.remote(0) == "leaf"
    assert not messages_of_moorage(caplog)


def test_a_slot_is_left_for_the_children(clock):
    app = moorage.App("enough")

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=3)
    async def tree(depth):
        await nap(1)
        return 1 + sum(await asyncio.gather(*(tree.remote.aio(depth - 1),) * 1)) if depth else 1

    with app.run(clock=clock):
        assert tree.remote(2) == 3


def test_a_task_that_goes_on_after_its_input_holds_nobody_up(clock):
    app = moorage.App("left behind")
    tasks = []

    @app.function(max_containers=1)
    async def f(n):
        if n:
            tasks.append(asyncio.create_task(f.remote.aio(0)))
            await nap(1)
        return "leaf"

    with app.run(clock=clock):
        assert f.remote(1) == "leaf"
        clock.sleep(GRACE)
        assert tasks[0].result() == "leaf"


def test_a_task_that_two_inputs_await_is_nobodys_wait(clock):
    """It is made by one input, whose end does not end it, and awaited by another one too."""
    app = moorage.App("shared")
    shared = []

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=2)
    async def f(what):
        if what == "makes":
            shared.append(asyncio.create_task(f.remote.aio("leaf")))
            await nap(30)
            return what
        if what == "awaits":
            await nap(1)
            return await asyncio.gather(shared[0])
        return what

    with app.run(clock=clock):
        calls = [f.spawn("makes"), f.spawn("awaits")]
        assert [call.get() for call in calls] == ["makes", ["leaf"]]
        assert clock.now() == 30


def test_a_loop_that_does_not_answer_is_waited_for(clock):
    app = moorage.App("busy")

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=2)
    async def f(n):
        if n == "block":
            await nap(1)
            clock.sleep(60)
            return n
        await nap(0.5)
        if n == "leaf":
            return n
        return await asyncio.gather(f.remote.aio("leaf"), f.remote.aio("leaf"))

    with app.run(clock=clock):
        calls = [f.spawn("block"), f.spawn("gather")]
        assert [call.get() for call in calls] == ["block", ["leaf", "leaf"]]
        assert clock.now() == 62


def test_a_loop_of_uvloop(monkeypatch):
    uvloop = pytest.importorskip("uvloop")
    monkeypatch.setattr(config, "deadlock_grace", 0.01)
    before = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    app = moorage.App("uvloop")

    @app.function(max_containers=1)
    async def f(what):
        assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
        if what == "leaf":
            return what
        try:
            async with asyncio.timeout(0.2 if what == "limit" else None):
                return await asyncio.gather(f.remote.aio("leaf"), f.remote.aio("leaf"))
        except TimeoutError:
            return "out of time"

    try:
        with app.run():
            with pytest.raises(DeadlockError):
                f.remote("no limit")
            assert f.remote("limit") == "out of time"
            assert f.remote("leaf") == "leaf"
    finally:
        asyncio.set_event_loop_policy(before)
