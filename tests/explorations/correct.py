"""Correct programs: they hold in each order, so no seed may make them fail.

Owns `CORRECT`, each program with the `preempt` that it is run with.  They rely on what asyncio,
anyio, threading and moorage promise: the order of ``call_soon``, the fairness of locks and
queues, the order of timers of different times, the order of the inputs of one pool.
Begin at `CORRECT`.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import deque

import anyio

import moorage

# -- async code on one loop ---------------------------------------------------------------


async def producers_and_consumers():
    items, seen = asyncio.Queue(2), []

    async def produce(start):
        for n in range(start, start + 5):
            await items.put(n)
            await asyncio.sleep(n % 2)

    async def consume():
        while True:
            seen.append(await items.get())
            await asyncio.sleep(1)
            items.task_done()

    consumers = [asyncio.ensure_future(consume()) for _ in range(2)]
    await asyncio.gather(produce(0), produce(10))
    await items.join()
    for consumer in consumers:
        consumer.cancel()
    await asyncio.gather(*consumers, return_exceptions=True)
    assert sorted(seen) == [*range(5), *range(10, 15)]
    assert [n for n in seen if n < 10] == [*range(5)]


async def a_lock_is_fair():
    lock, came, went = asyncio.Lock(), [], []

    async def enter(n):
        await asyncio.sleep(1)
        came.append(n)
        async with lock:
            went.append(n)
            await asyncio.sleep(1)

    await asyncio.gather(*(enter(n) for n in range(5)))
    assert came == went


async def a_condition_loses_no_item():
    condition, items, got = asyncio.Condition(), deque(), []

    async def take():
        async with condition:
            await condition.wait_for(lambda: items)
            got.append(items.popleft())

    async def give(n):
        await asyncio.sleep(n % 2)
        async with condition:
            items.append(n)
            condition.notify()

    await asyncio.gather(*(take() for _ in range(4)), *(give(n) for n in range(4)))
    assert sorted(got) == [0, 1, 2, 3]


async def an_event_lets_all_go():
    event, passed = asyncio.Event(), []

    async def wait(n):
        await asyncio.sleep(n % 3)
        await event.wait()
        passed.append(n)

    async def open_it():
        await asyncio.sleep(1)
        event.set()

    async with asyncio.TaskGroup() as group:
        for n in range(6):
            group.create_task(wait(n))
        group.create_task(open_it())
    assert sorted(passed) == [*range(6)]


async def a_semaphore_bounds():
    room, inside, most = asyncio.Semaphore(3), 0, 0

    async def work(n):
        nonlocal inside, most
        async with room:
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(1 + n % 2)
            inside -= 1

    await asyncio.gather(*(work(n) for n in range(9)))
    assert most == 3
    assert not inside


async def a_barrier_of_tasks():
    barrier, before, after = asyncio.Barrier(3), [], []

    async def run(n):
        await asyncio.sleep(1)
        before.append(n)
        async with barrier:
            after.append(n)
            assert len(before) == 3

    await asyncio.gather(*(run(n) for n in range(3)))
    assert len(after) == 3


async def callbacks_stay_in_order():
    loop, order, done = asyncio.get_running_loop(), [], asyncio.Event()

    def first(start):
        for n in range(start, start + 5):
            loop.call_soon(order.append, n)

    loop.call_later(1, first, 0)
    loop.call_later(1, first, 10)
    loop.call_later(1.5, loop.call_soon, done.set)
    asyncio.ensure_future(asyncio.to_thread(time.sleep, 1))
    await done.wait()
    assert [n for n in order if n < 10] == [*range(5)]
    assert [n for n in order if n > 9] == [*range(10, 15)]


async def callbacks_of_threads_stay_in_order():
    loop, order = asyncio.get_running_loop(), []

    def tell(start):
        for n in range(start, start + 4):
            loop.call_soon_threadsafe(order.append, n)

    await asyncio.gather(asyncio.to_thread(tell, 0), asyncio.to_thread(tell, 10))
    await asyncio.sleep(0)
    assert [n for n in order if n < 10] == [*range(4)]
    assert [n for n in order if n > 9] == [*range(10, 14)]


async def timers_of_different_times_stay_in_order():
    order = []

    async def note(when):
        await asyncio.sleep(when)
        order.append(when)

    # The first two differ by a rounding error.
    times = [0.3, 0.1 + 0.2, 0.4, 0.5, 0.6]
    await asyncio.gather(*(note(when) for when in reversed(times)))
    assert order == times


async def steps_of_tasks_alternate():
    """Tasks that are ready run in turn: asyncio's queue is first in, first out."""
    steps = []

    async def walk(name):
        for n in range(4):
            steps.append((name, n))
            await asyncio.sleep(0)

    await asyncio.sleep(1)
    await asyncio.gather(walk("a"), walk("b"))
    assert steps == [(name, n) for n in range(4) for name in "ab"]


async def a_timeout_that_is_handled():
    saved = []

    async def save():
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            saved.append("undone")
            raise
        saved.append("done")

    try:
        await asyncio.wait_for(save(), 1)
    except TimeoutError:
        pass
    assert len(saved) == 1


async def one_of_two_is_first():
    async def ask(name):
        await asyncio.sleep(1)
        return name

    tasks = [asyncio.ensure_future(ask(name)) for name in "ab"]
    done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    assert {task.result() for task in done} <= {"a", "b"}
    assert all(task.done() for task in tasks)


async def a_group_that_fails():
    ended = []

    async def hold(n):
        try:
            await asyncio.sleep(10)
        finally:
            ended.append(n)

    async def fail():
        await asyncio.sleep(1)
        raise LookupError

    try:
        async with asyncio.TaskGroup() as group:
            for n in range(4):
                group.create_task(hold(n))
            group.create_task(fail())
    except* LookupError:
        ended.append("told")
    assert sorted(ended[:-1]) == [0, 1, 2, 3]
    assert ended[-1] == "told"


# -- anyio --------------------------------------------------------------------------------


async def groups_and_scopes():
    seen = []
    with anyio.move_on_after(2.5) as scope:
        async with anyio.create_task_group() as group:
            for n in range(5):
                group.start_soon(anyio.sleep, n)
            group.start_soon(anyio.sleep, 100)
            seen.append(1)
    assert scope.cancelled_caught
    assert seen == [1]


async def nested_scopes():
    ended = []

    async def hold(n):
        try:
            with anyio.CancelScope():
                await anyio.sleep(100)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(1)
            ended.append(n)

    async with anyio.create_task_group() as outer:
        async with anyio.create_task_group() as inner:
            for n in range(4):
                inner.start_soon(hold, n)
            await anyio.sleep(1)
            inner.cancel_scope.cancel()
        assert sorted(ended) == [0, 1, 2, 3]
        outer.start_soon(hold, 4)
        await anyio.sleep(1)
        outer.cancel_scope.cancel()
    assert ended[-1] == 4
    assert anyio.current_time() == 4


async def a_memory_stream():
    send, receive = anyio.create_memory_object_stream(1)
    got = []

    async def give(stream, start):
        async with stream:
            for n in range(start, start + 4):
                await stream.send(n)

    async def take(stream):
        async with stream:
            async for n in stream:
                got.append(n)
                await anyio.sleep(n % 2)

    async with anyio.create_task_group() as group, send, receive:
        group.start_soon(give, send.clone(), 0)
        group.start_soon(give, send.clone(), 10)
        group.start_soon(take, receive.clone())
        group.start_soon(take, receive.clone())
    assert sorted(got) == [0, 1, 2, 3, 10, 11, 12, 13]


async def locks_of_anyio():
    lock, limiter, count = anyio.Lock(), anyio.CapacityLimiter(2), 0

    async def add():
        nonlocal count
        async with limiter, lock:
            before = count
            await anyio.sleep(1)
            count = before + 1

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(add)
    assert count == 5


async def a_task_that_says_when_it_is_ready():
    log = []

    async def serve(*, task_status):
        await anyio.sleep(1)
        log.append("ready")
        task_status.started(8080)
        await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        log.append(await group.start(serve))
        group.cancel_scope.cancel()
    assert log == ["ready", 8080]


# -- a web app ----------------------------------------------------------------------------


async def a_starlette_app():
    import httpx
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    app, lock, stock = moorage.App(), asyncio.Lock(), {"book": 2}

    @app.function(max_containers=2)
    async def price(n):
        await asyncio.sleep(1)
        return 10 * n

    async def buy(request):
        async with lock:
            if not stock["book"]:
                return JSONResponse({"error": "sold out"}, status_code=409)
            amount = await price.remote.aio(stock["book"])
            stock["book"] -= 1
        return JSONResponse({"price": amount})

    web = Starlette(routes=[Route("/buy", buy, methods=["POST"])])
    transport = httpx.ASGITransport(app=web)
    async with app.run(), httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
        answers = await asyncio.gather(*(client.post("/buy") for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 409, 409]
    assert sorted(a.json()["price"] for a in answers if a.is_success) == [10, 20]


# -- moorage --------------------------------------------------------------------------------


def a_pipeline():
    app = moorage.App()

    @app.function(max_containers=2)
    @moorage.batched(max_batch_size=3, wait_ms=100)
    async def embed(ns):
        return [n * 2 for n in ns]

    @app.function(max_containers=2, retries=2)
    @moorage.concurrent(max_inputs=3)
    def fetch(n):
        return n + 1

    @app.function(max_containers=2)
    @moorage.concurrent(max_inputs=3)
    async def both(n):
        return await embed.remote.aio(await fetch.remote.aio(n))

    with app.run():
        assert list(both.map(range(6))) == [2 * (n + 1) for n in range(6)]
        assert sorted(both.map(range(6), order_outputs=False)) == [2 * (n + 1) for n in range(6)]


def retried_until_it_works():
    app, tries = moorage.App(), {}

    @app.function(max_containers=2, retries=moorage.Retries(max_retries=3, initial_delay=1.0))
    @moorage.concurrent(max_inputs=2)
    async def fetch(n):
        tries[n] = tries.get(n, 0) + 1
        if tries[n] <= n:
            raise ConnectionError(n)
        return n

    with app.run():
        assert list(fetch.map(range(4))) == [0, 1, 2, 3]
    assert tries == {0: 1, 1: 2, 2: 3, 3: 4}


def spawned_and_gathered():
    app = moorage.App()

    @app.function(max_containers=2)
    def square(n):
        time.sleep(n % 2)
        return n * n

    with app.run():
        calls = [square.spawn(n) for n in range(5)]
        assert moorage.FunctionCall.gather(*calls) == [0, 1, 4, 9, 16]


def streamed_in_order():
    app = moorage.App()

    @app.function(max_containers=2)
    def count(n):
        for each in range(n):
            time.sleep(1)
            yield each

    @app.function(max_containers=2)
    async def doubled(n):
        async for each in count.remote_gen.aio(n):
            yield 2 * each

    with app.run():
        assert list(doubled.remote_gen(4)) == [0, 2, 4, 6]


def one_slot_is_a_queue():
    """Inputs of one caller come in order to the one slot of a pool."""
    app, order = moorage.App(), []

    @app.function(max_containers=1)
    async def note(n):
        await asyncio.sleep(n % 2)
        order.append(n)

    with app.run():
        for call in [note.spawn(n) for n in range(5)]:
            call.get()
    assert order == [0, 1, 2, 3, 4]


async def cancelled_in_each_state():
    app, ran, undone = moorage.App(), [], []

    @app.function(max_containers=1)
    async def work(n):
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            undone.append(n)
            raise
        ran.append(n)

    async with app.run():
        calls = [await work.spawn.aio(n) for n in range(4)]
        await asyncio.sleep(2)
        for call in calls[1:3]:
            await call.cancel.aio()
        results = await asyncio.gather(*(c.get.aio() for c in calls), return_exceptions=True)
    assert results[0] is None
    assert results[3] is None
    assert [n for n in ran if n in (0, 3)] == [0, 3]
    assert not set(ran) & set(undone)


def a_class_that_counts():
    app = moorage.App()

    @app.cls(max_containers=1)
    @moorage.concurrent(max_inputs=4)
    class Counter:
        @moorage.enter()
        async def begin(self):
            self.lock, self.count = asyncio.Lock(), 0

        @moorage.method()
        async def add(self, n):
            async with self.lock:
                before = self.count
                await asyncio.sleep(0.5)
                self.count = before + n
            return self.count

    with app.run():
        counts = list(Counter().add.map([1, 2, 3, 4]))
    assert max(counts) == 10


# -- sync code, switched between two lines too ------------------------------------------------


def a_count_under_a_lock():
    app, lock, counts = moorage.App(), threading.Lock(), {"n": 0}

    @app.function(max_containers=2)
    @moorage.concurrent(max_inputs=3)
    def add(n):
        with lock:
            before = counts["n"]
            counts["n"] = before + 1

    with app.run():
        list(add.map(range(6)))
    assert counts["n"] == 6


def a_locked_singleton():
    app, made = moorage.App(), []

    class Client:
        instance = None
        lock = threading.Lock()

        @classmethod
        def get(cls):
            if cls.instance is None:
                with cls.lock:
                    if cls.instance is None:
                        made.append(1)
                        cls.instance = cls()
            return cls.instance

    @app.function(max_containers=2)
    @moorage.concurrent(max_inputs=2)
    def use(n):
        return Client.get()

    with app.run():
        assert len(set(use.map(range(4)))) == 1
    assert made == [1]


def each_its_own_key():
    app, counts = moorage.App(), {}

    @app.function(max_containers=2)
    @moorage.concurrent(max_inputs=3)
    def count(n):
        seen = counts.get(n, 0)
        counts[n] = seen + 1
        return counts[n]

    with app.run():
        assert list(count.map(range(8))) == [1] * 8


def a_worker_pool():
    """A pool of threads around a Condition, used by the inputs of a function."""
    app = moorage.App()

    class Pool:
        def __init__(self, size):
            self.condition, self.free = threading.Condition(), list(range(size))

        def take(self):
            with self.condition:
                while not self.free:
                    self.condition.wait()
                return self.free.pop()

        def give(self, connection):
            with self.condition:
                self.free.append(connection)
                self.condition.notify()

    pool, used, most = Pool(2), set(), []

    @app.function(max_containers=2)
    @moorage.concurrent(max_inputs=3)
    def ask(n):
        connection = pool.take()
        try:
            assert connection not in used, "two have one connection"
            used.add(connection)
            most.append(len(used))
            time.sleep(1)
            used.discard(connection)
        finally:
            pool.give(connection)
        return n

    with app.run():
        assert list(ask.map(range(6))) == [*range(6)]
    assert max(most) == 2
    assert sorted(pool.free) == [0, 1]


def a_queue_of_threads():
    app, jobs, done = moorage.App(), queue.Queue(2), queue.Queue()

    @app.function()
    def produce(start):
        for n in range(start, start + 4):
            jobs.put(n)
        jobs.put(None)

    @app.function(max_containers=2)
    def consume(n):
        while (job := jobs.get()) is not None:
            time.sleep(1)
            done.put(job)
            jobs.task_done()
        jobs.task_done()

    with app.run():
        calls = [consume.spawn(0), consume.spawn(1), produce.spawn(0), produce.spawn(10)]
        for call in calls:
            call.get()
        jobs.join()
    got = [done.get() for _ in range(done.qsize())]
    assert sorted(got) == [0, 1, 2, 3, 10, 11, 12, 13]


# Each program, and at how many lines of it is switched.
CORRECT = {
    producers_and_consumers: 0,
    a_lock_is_fair: 0,
    a_condition_loses_no_item: 0,
    an_event_lets_all_go: 0,
    a_semaphore_bounds: 0,
    a_barrier_of_tasks: 0,
    callbacks_stay_in_order: 0,
    callbacks_of_threads_stay_in_order: 0,
    timers_of_different_times_stay_in_order: 0,
    steps_of_tasks_alternate: 0,
    a_timeout_that_is_handled: 0,
    one_of_two_is_first: 0,
    a_group_that_fails: 0,
    groups_and_scopes: 0,
    nested_scopes: 0,
    a_memory_stream: 0,
    locks_of_anyio: 0,
    a_task_that_says_when_it_is_ready: 0,
    a_starlette_app: 0,
    a_pipeline: 3,
    retried_until_it_works: 3,
    spawned_and_gathered: 3,
    streamed_in_order: 3,
    one_slot_is_a_queue: 3,
    cancelled_in_each_state: 0,
    a_class_that_counts: 3,
    each_its_own_key: 3,
    a_count_under_a_lock: 3,
    a_locked_singleton: 3,
    a_worker_pool: 3,
    a_queue_of_threads: 3,
}
