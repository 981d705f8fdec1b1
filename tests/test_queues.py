"""Queues: items, waits, partitions and their ends, in both stores."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import queue
import signal
import threading
import warnings
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import moorage as modal
from moorage import testing
from moorage.exception import (
    ClockStuckError,
    DeserializationError,
    InputCancelledError,
    InvalidError,
    NotFoundError,
    RequestSizeError,
    SerializationError,
)
from moorage.runtime.waiting.open_waits import open_waits
from moorage.stores import partitions, sqlite_items

trio = pytest.importorskip("trio")


EXAMPLES = int(os.environ.get("MOORAGE_EXAMPLES", "120"))  # of the models


@pytest.fixture(params=["memory", "file"])
def store(request, monkeypatch, tmp_path):
    """Named objects are in this process, or in a file."""
    monkeypatch.setenv("MOORAGE_HOME", str(tmp_path))
    monkeypatch.setattr(modal.config, "persist", request.param == "file")
    yield request.param
    for each in modal.Queue.objects.list():
        modal.Queue.objects.delete(each.name)
    assert not open_waits


@pytest.fixture
def q(store):
    return modal.Queue.from_name("q", create_if_missing=True).hydrate()


def set_most(monkeypatch, most):
    for module in (partitions, sqlite_items, modal.queue):
        monkeypatch.setattr(module, "MOST_ITEMS", most)


def started(action):
    """Run `action` in a thread, which is in its wait when this function returns."""
    before = len(open_waits)
    thread = ThreadPoolExecutor(1)
    call = thread.submit(action)
    while len(open_waits) == before and not call.done():
        pass
    thread.shutdown(wait=False)
    return call


# -- at once -------------------------------------------------------------------------------------


def test_first_in_first_out(q):
    assert q.put(1) is None
    assert q.put_many([2, 3, 4, None]) is None
    assert (q.len(), q.len(total=True)) == (5, 5)
    assert (q.get(), q.get_many(2), q.get(), q.get()) == (1, [2, 3], 4, None)
    assert (q.get(block=False), q.get_many(3, block=False)) == (None, [])
    q.put_many([])
    assert q.len() == 0


def test_items_are_copies(q):
    item = [1]
    q.put(item)
    item.append(2)
    assert q.get() == [1]


def test_partitions_are_queues_of_their_own(q):
    q.put("default")
    q.put("a", partition="a")
    q.put_many(["b", "c"], partition="ü" * 32)
    assert (q.len(), q.len(partition="a"), q.len(total=True)) == (1, 1, 4)
    assert q.get(partition="a") == "a"
    assert q.get(False, partition="a") is None
    q.clear()
    assert (q.len(), q.len(total=True)) == (0, 2)
    q.clear(partition="ü" * 32)
    q.put("d", partition="d")
    q.put("e")
    q.clear(all=True)
    assert q.len(total=True) == 0
    for wrong in ("", "a" * 65, "ü" * 33):
        for call in (
            lambda wrong=wrong: q.put(1, partition=wrong),
            lambda wrong=wrong: q.get(partition=wrong),
            lambda wrong=wrong: q.len(partition=wrong),
            lambda wrong=wrong: next(iter(q.iterate(partition=wrong))),
        ):
            with pytest.raises(InvalidError):
                call()
    with pytest.raises(InvalidError):
        q.len(partition="a", total=True)
    with pytest.raises(InvalidError):
        q.clear(partition="a", all=True)


def test_empty_and_full_are_those_of_the_standard_library(q, monkeypatch):
    set_most(monkeypatch, 2)
    for call in (lambda: q.get(timeout=0), lambda: q.get_many(2, timeout=0.001)):
        with pytest.raises(queue.Empty, match="Queue 'q'"):
            call()
    q.put_many([1, 2])
    for call in (
        lambda: q.put(3, block=False),
        lambda: q.put(3, timeout=0),
        lambda: q.put(3, timeout=0.001),
        lambda: q.put_many([3], block=False),
    ):
        with pytest.raises(queue.Full, match="Queue 'q'") as caught:
            call()
        assert type(caught.value) is queue.Full
    q.get()
    with pytest.raises(queue.Full):
        q.put_many([3, 4], timeout=0)
    assert q.get_many(5) == [2]


def test_what_never_fits_is_refused_at_once(q):
    with pytest.raises(queue.Full):
        q.put_many(range(5001))
    q.put_many(range(5000))
    with pytest.raises(queue.Full):
        q.put(1, block=False)
    assert q.get_many(5001) == list(range(5000))


def test_timeouts_that_are_ignored_warn(q):
    with pytest.warns(UserWarning, match="Timeout is ignored for non-blocking get"):
        assert q.get(block=False, timeout=1) is None
    with pytest.warns(UserWarning, match="Timeout is ignored for non-blocking get"):
        assert q.get_many(1, block=False, timeout=1) == []
    with pytest.warns(UserWarning, match="`timeout` argument is ignored"):
        q.put(1, block=False, timeout=1)
    with pytest.warns(UserWarning, match="`timeout` argument is ignored"):
        q.put_many([1], block=False, timeout=1)


@pytest.mark.parametrize(
    "call",
    [
        lambda q: q.get(timeout="1"),
        lambda q: q.get(timeout=float("nan")),
        lambda q: q.get_many("1"),
        lambda q: q.get_many(0),
        lambda q: q.put(1, partition_ttl=0),
        lambda q: q.put(1, partition_ttl="1"),
        lambda q: q.put(1, partition=1),
        lambda q: q.put(1, timeout=[]),
        lambda q: next(iter(q.iterate(item_poll_timeout=None))),
    ],
)
def test_wrong_arguments_say_what_to_write(q, call):
    with pytest.raises(InvalidError, match="; write "):
        call(q)


def test_limits_of_strict_mode(q, monkeypatch):
    q.put(bytes(2**20))
    q.get()
    monkeypatch.setattr(modal.config, "strict", True)
    with pytest.raises(RequestSizeError, match="1 MiB"):
        q.put(bytes(2**20))
    q.put_many([bytes(2**20 - 100)] * 60)
    with pytest.raises(RequestSizeError, match="64 MiB"):
        q.put_many([bytes(2**20 - 100)] * 5)
    assert q.get_many(0) == []
    assert q.len() == 60


class Fails:
    def __reduce__(self):
        return (_fail, ("no",))


def _fail(text):
    raise ZeroDivisionError(text)


def test_an_item_that_cannot_be_read_is_dropped_and_the_others_stay(q):
    q.put_many([1, Fails(), 3])
    with pytest.raises(DeserializationError, match="Queue 'q'") as caught:
        q.get_many(3)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert q.get_many(3) == [1, 3]
    q.put(Fails())
    with pytest.raises(DeserializationError):
        list(q.iterate())
    with pytest.raises(DeserializationError):
        q.get()
    assert q.len() == 0


def test_what_cannot_be_pickled_is_refused_and_nothing_is_put(q):
    with pytest.raises(SerializationError, match="Queue 'q'"):
        q.put_many([1, threading.Lock()])
    assert q.len() == 0


def test_async_forms(q):
    async def main():
        await q.put.aio(1)
        await q.put_many.aio([2, 3], partition="a")
        assert await q.len.aio(total=True) == 3
        assert await q.get.aio() == 1
        assert [item async for item in q.iterate.aio(partition="a")] == [2, 3]
        assert await q.get_many.aio(5, partition="a") == [2, 3]
        assert await q.get.aio(block=False) is None
        assert await q.get_many.aio(2, block=False) == []
        with pytest.raises(queue.Empty):
            await q.get.aio(timeout=0.001)
        await q.put.aio(1)
        await q.clear.aio(all=True)
        assert (await q.info.aio()).name == "q"

    asyncio.run(main())
    trio.run(main)


def test_handles_of_one_name_are_one_queue(q):
    q.put(1)
    assert modal.Queue.from_name("q").get() == 1
    q.put(2)
    by_id = modal.Queue.from_id(q.object_id)
    assert pickle.loads(pickle.dumps(by_id)).get() == 2
    assert by_id.len() == 0
    assert by_id.object_id.startswith("qu-")
    with pytest.raises(NotFoundError):
        modal.Queue.from_name("other").len()


def test_iterate_reads_by_position_and_removes_nothing(q):
    q.put_many([1, 2, 3, 4])
    items = iter(q.iterate())
    assert next(items) == 1
    assert q.get_many(3) == [1, 2, 3]
    q.put(5)
    assert list(items) == [4, 5]
    assert list(q.iterate()) == [4, 5]
    assert q.len() == 2


def test_an_iterator_that_nobody_reads_warns(q):
    with pytest.warns(UserWarning, match="never read"):
        q.iterate()
    with pytest.warns(UserWarning, match="never read"):
        q.iterate.aio()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(q.iterate()) == []


# -- waits ----------------------------------------------------------------------------------------


def test_a_blocked_get_takes_what_is_put(q):
    call = started(q.get)
    q.put("a")
    assert call.result() == "a"
    call = started(lambda: q.get_many(5))
    q.put_many([1, 2, 3])
    assert call.result() == [1, 2, 3]


def test_a_blocked_put_comes_in_when_there_is_room(q, monkeypatch):
    set_most(monkeypatch, 2)
    q.put_many([1, 2])
    first = started(lambda: q.put_many([3, 4]))
    second = started(lambda: q.put(5))
    assert q.get() == 1
    with pytest.raises(queue.Full):  # there is room for one, but others wait
        q.put(6, block=False)
    assert q.get_many(2) == [2]
    first.result()
    assert q.get_many(9) == [3, 4]
    second.result()
    assert q.get() == 5
    q.put_many([1, 2])
    third = started(lambda: q.put(3))
    q.clear()
    third.result()
    assert q.get() == 3


def test_getters_are_served_in_their_order_by_one_item_each(q):
    calls = [started(q.get) for _ in range(3)]
    asked = asyncio.new_event_loop()
    task = asked.create_task(q.get.aio())
    asked.run_until_complete(asyncio.sleep(0))
    last = started(q.get)
    for index, call in enumerate(calls):
        q.put(index)
        assert call.result() == index
    q.put("task")
    assert not last.done()
    assert asked.run_until_complete(task) == "task"
    asked.close()
    q.put("last")
    assert last.result() == "last"


def test_waits_end_with_the_queue(store):
    with modal.Queue.ephemeral() as q:
        getter, reader = started(q.get), started(lambda: list(q.iterate(item_poll_timeout=60)))
    for each in (getter, reader):
        with pytest.raises(NotFoundError):
            each.result()
    for use in (q.len, lambda: q.put(1), lambda: q.get(False), lambda: q.put(1, block=False)):
        with pytest.raises(NotFoundError):
            use()


def test_an_abandoned_task_loses_no_item(q):
    loop = asyncio.new_event_loop()
    task = loop.create_task(q.get.aio())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    q.put("a")
    assert q.get(timeout=0) == "a"
    task._log_destroy_pending = False
    del task
    gc.collect()

    # The loop closes after the item was given to the task, and before the task runs.
    loop = asyncio.new_event_loop()
    task = loop.create_task(q.get.aio())
    loop.run_until_complete(asyncio.sleep(0))
    q.put("b")
    assert q.len() == 0
    loop.close()
    task._log_destroy_pending = False
    del task, loop
    gc.collect()
    assert q.get(timeout=0) == "b"
    with pytest.raises(queue.Empty):  # until the next wait, the thread refers to the closed loop
        asyncio.run(q.get.aio(timeout=0.001))
    gc.collect()


def test_a_task_that_is_cancelled_with_an_item_puts_it_back_to_the_front(q):
    async def main():
        task = asyncio.create_task(q.get_many.aio(2))
        await asyncio.sleep(0)
        await q.put_many.aio([1, 2])
        await q.put.aio(3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert q.get_many(5) == [1, 2, 3]
        # The next getter in line gets it.
        first, second = (asyncio.create_task(q.get.aio()) for _ in range(2))
        await asyncio.sleep(0)
        q.put("a")
        first.cancel()
        assert await second == "a"

    asyncio.run(main())


def test_a_put_that_is_cancelled_has_put_nothing(q, monkeypatch):
    set_most(monkeypatch, 1)

    async def main():
        q.put(1)
        task = asyncio.create_task(q.put.aio(2))
        await asyncio.sleep(0)
        assert q.get() == 1  # lets the task in
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert q.len() == 0

    asyncio.run(main())


def test_trio_tasks_wait_and_are_cancelled(q):
    async def main():
        async with trio.open_nursery() as nursery:
            got = []

            async def get():
                got.append(await q.get.aio())

            nursery.start_soon(get)
            await trio.testing.wait_all_tasks_blocked()
            q.put(1)
        assert got == [1]
        with trio.move_on_after(0.001):
            await q.get.aio()
        q.put(2)
        assert await q.get.aio() == 2
        with pytest.raises(queue.Empty):
            await q.get.aio(timeout=0.001)

    import trio.testing

    trio.run(main)


def test_ctrl_c_ends_a_wait_and_loses_nothing(q):
    app = modal.App()

    @app.function()
    def put_later():
        while not open_waits:
            pass
        signal.raise_signal(signal.SIGINT)

    with app.run():
        call = put_later.spawn()
        with pytest.raises(KeyboardInterrupt):
            q.get()
        call.get()
        q.put(1)
        assert q.get() == 1


# -- in inputs ------------------------------------------------------------------------------------


app = modal.App("queues")


@app.function(timeout=86400)
@modal.concurrent(max_inputs=10)
def get_sync(name, **options):
    return modal.Queue.from_name(name).get(**options)


@app.function(timeout=86400)
@modal.concurrent(max_inputs=10)
async def get_async(name, **options):
    return await modal.Queue.from_name(name).get.aio(**options)


@app.function()
def put_all(name, items):
    for item in items:
        modal.Queue.from_name(name).put(item)


@pytest.mark.parametrize("function", [get_sync, get_async], ids=["sync", "async"])
def test_a_cancelled_input_leaves_its_wait_at_once(q, function, capsys):
    with testing.VirtualClock() as clock, app.run(clock=clock):
        call = function.spawn("q")
        clock.sleep(1)
        assert len(open_waits) == 1
        modal.describe()
        said = capsys.readouterr().err
        assert "waits for an item of Queue 'q', which any code may put" in said
        call.cancel()
        with pytest.raises(InputCancelledError):
            call.get()
        clock.sleep(0)  # the caller is answered before the code has ended
        assert clock.now() == 1
        assert not open_waits
        q.put(1)
        assert q.get() == 1


@pytest.mark.parametrize("function", [get_sync, get_async], ids=["sync", "async"])
def test_timeouts_are_exact_in_virtual_time(q, function):
    with testing.VirtualClock() as clock, app.run(clock=clock):
        with pytest.raises(queue.Empty):
            function.remote("q", timeout=12345.5)
        assert clock.now() == 12345.5
        with pytest.raises(queue.Empty):
            q.get(timeout=0.5)
        assert clock.now() == 12346
        call = function.spawn("q", timeout=10)
        clock.sleep(9)
        q.put("in time")
        assert call.get() == "in time"
        assert clock.now() == 12355


def test_tasks_of_a_virtual_loop_wait_in_its_time(q):
    clock = testing.VirtualClock()

    async def main():
        task = asyncio.create_task(q.get.aio())
        with pytest.raises(queue.Empty):
            await q.get.aio(timeout=100)
        assert clock.now() == 100
        await q.put.aio(1)
        assert await task == 1
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await q.get.aio()
        assert clock.now() == 105

    clock.run(main())


def test_a_wait_that_nobody_ends_stops_virtual_time_and_says_so(q):
    with (
        testing.VirtualClock(stuck_after=0.2) as clock,
        app.run(clock=clock),
        pytest.raises(ClockStuckError),
    ):
        q.get()
    q.put(1)
    assert q.get() == 1


@pytest.mark.parametrize("function", [get_sync, get_async], ids=["sync", "async"])
def test_inputs_that_wait_for_a_queue_are_no_deadlock(q, function):
    with testing.VirtualClock() as clock, app.run(clock=clock):
        calls = [function.spawn("q") for _ in range(3)]
        clock.sleep(1000)
        put_all.remote("q", "abc")
        assert [call.get() for call in calls] == ["a", "b", "c"]


def test_producers_and_consumers_over_map(q):
    with app.run():
        got = []
        consumers = [get_sync.spawn("q") for _ in range(4)]
        consumers += [get_async.spawn("q") for _ in range(4)]
        list(put_all.map(["q"] * 4, [[n, n + 10] for n in range(4)]))
        got = [call.get() for call in consumers]
    assert sorted(got) == [0, 1, 2, 3, 10, 11, 12, 13]


taken = []


@app.function()
def keep_sync(name):
    taken.append(modal.Queue.from_name(name).get())


@app.function()
async def keep_async(name):
    taken.append(await modal.Queue.from_name(name).get.aio())


@pytest.mark.parametrize("function", [keep_sync, keep_async], ids=["sync", "async"])
def test_cancels_that_race_with_puts_lose_no_item(q, function):
    races = 200 if modal.config.persist else 1000
    kept = []
    with app.run(), ThreadPoolExecutor(1) as other:
        for race in range(races):
            call = function.spawn("q")
            if race % 2:
                while not open_waits and not taken:
                    pass
            put = other.submit(q.put, race)
            call.cancel()
            put.result()
            try:
                call.get()
            except InputCancelledError:
                pass  # the code may have taken the item, and may still run
            while not taken:
                try:
                    kept.append(q.get(timeout=0.01))
                    break
                except queue.Empty:
                    pass
            else:
                kept.append(taken.pop())
            while open_waits:
                pass
    assert kept == list(range(races))
    assert q.len() == 0
    assert not taken


def test_a_blocking_get_in_async_code_blocks_its_loop_only(q):
    with app.run():

        @app.function()
        @modal.concurrent(max_inputs=2)
        async def blocks():
            return q.get()

    with app.run():
        call = blocks.spawn()
        while not open_waits:
            pass
        q.put(1)
        assert call.get() == 1


# -- the end of partitions ------------------------------------------------------------------------


def test_a_partition_ends_after_its_last_put(store):
    with testing.VirtualClock() as clock, modal.Queue.ephemeral() as q:
        q.put(1, partition="a", partition_ttl=10)
        q.put(2)
        clock.sleep(9)
        q.put(3, partition="a", partition_ttl=10)
        clock.sleep(9.9)
        assert q.len(partition="a") == 2
        clock.sleep(0.1)
        assert (q.len(partition="a"), q.len(total=True)) == (0, 1)
        assert q.get(block=False, partition="a") is None
        clock.sleep(86400 - 19.5)
        assert q.len() == 1
        clock.sleep(0.5)
        assert q.len() == 0


def test_items_that_go_back_end_with_their_partition(store):
    with testing.VirtualClock() as clock, modal.Queue.ephemeral() as q:
        q.put_many([1, Fails(), 3], partition="a", partition_ttl=10)
        with pytest.raises(DeserializationError):
            q.get_many(3, partition="a")
        assert q.len(partition="a") == 2
        clock.sleep(9)
        assert q.len(partition="a") == 2
        clock.sleep(1)
        assert q.len(partition="a") == 0


def test_a_named_queue_keeps_the_time_of_the_run(q):
    with testing.VirtualClock() as clock:
        q.put(1, partition_ttl=10)
        clock.sleep(10)
        assert q.get(block=False) is None


def test_the_end_of_a_full_partition_lets_in_who_waits(store, monkeypatch):
    set_most(monkeypatch, 2)
    clock = testing.VirtualClock()

    async def main():
        async with modal.Queue.ephemeral() as q:
            await q.put_many.aio([1, 2], partition_ttl=10)
            await q.put.aio(3)
            assert clock.now() == 10
            assert await q.get.aio() == 3

    clock.run(main())


def test_the_timer_frees_partitions_that_nobody_uses():
    with testing.VirtualClock() as clock, modal.Queue.ephemeral() as q:
        for n in range(100):
            q.put(n, partition=str(n), partition_ttl=100)
        lines = q._lines
        assert len(lines._lines) == 101 - 1
        clock.sleep(100)
        clock.sleep(100)
        assert len(lines._lines) <= 1
        assert lines._items.keys() == []


def test_iterate_waits_for_new_items(store):
    clock = testing.VirtualClock()

    async def main():
        async with modal.Queue.ephemeral() as q:
            q.put("a")

            async def puts():
                for item in "bcd":
                    await asyncio.sleep(4)
                    q.put(item)

            task = asyncio.create_task(puts())
            found = [(item, clock.now()) async for item in q.iterate.aio(item_poll_timeout=5)]
            assert found == [("a", 0), ("b", 4), ("c", 8), ("d", 12)]
            assert clock.now() == 17
            assert q.len() == 4
            await task

    clock.run(main())
    with testing.VirtualClock() as clock, modal.Queue.ephemeral() as q:
        q.put(1)
        assert list(q.iterate(item_poll_timeout=7)) == [1]
        assert clock.now() == 7


# -- races ----------------------------------------------------------------------------------------


def test_threads_and_loops_race(q, monkeypatch):
    set_most(monkeypatch, 7)
    producers, consumers, each = 4, 4, 60 if modal.config.persist else 400
    got = []

    def produce_in_thread(index):
        for n in range(each):
            q.put((index, n))

    def produce_in_loop(index):
        async def main():
            for n in range(0, each, 2):
                await q.put_many.aio([(index, n), (index, n + 1)])

        asyncio.run(main())

    def consume_in_thread():
        mine = []
        while (item := q.get()) is not None:
            mine.append(item)
        return mine

    def consume_in_loop():
        async def main():
            mine = []

            async def consume():
                while (items := await q.get_many.aio(3)) and None not in items:
                    mine.extend(items)
                mine.extend(item for item in items if item is not None)
                for _ in range(items.count(None) - 1):
                    await q.put.aio(None)

            async def wavers():
                while not stop.is_set():
                    task = asyncio.create_task(q.get_many.aio(2))
                    await asyncio.sleep(0)
                    task.cancel()
                    try:
                        found = await task
                    except asyncio.CancelledError:
                        continue
                    mine.extend(item for item in found if item is not None)
                    for _ in range(found.count(None)):
                        await q.put.aio(None)

            other = asyncio.create_task(wavers())
            await consume()
            await other
            return mine

        return asyncio.run(main())

    stop = threading.Event()
    with ThreadPoolExecutor(16) as threads:
        consuming = [threads.submit(consume_in_thread) for _ in range(consumers)]
        consuming += [threads.submit(consume_in_loop) for _ in range(2)]
        producing = [threads.submit(produce_in_thread, n) for n in range(producers)]
        producing += [threads.submit(produce_in_loop, n + producers) for n in range(2)]
        for call in producing:
            call.result()
        stop.set()
        for _ in consuming:
            q.put(None)
        got = [call.result() for call in consuming]
    flat = [item for mine in got for item in mine if item is not None]
    assert sorted(flat) == [(p, n) for p in range(producers + 2) for n in range(each)]
    for mine in got[:consumers]:
        for producer in range(producers + 2):
            numbers = [n for p, n in mine if p == producer]
            assert numbers == sorted(numbers)


# -- a model, in virtual time ---------------------------------------------------------------------

MOST = 3


@dataclass
class Waiter:
    number: int
    deadline: float
    most: int = 0
    values: list = field(default_factory=list)
    ttl: float = 0.0


@dataclass
class Partition:
    """A deque with waiters, as the queue should behave."""

    items: deque = field(default_factory=deque)
    getters: list = field(default_factory=list)
    putters: list = field(default_factory=list)
    ends: float = float("inf")


class Reference:
    def __init__(self):
        self.partitions = {None: Partition(), "a": Partition()}
        self.results = {}
        self.now = 0.0

    def settle(self, p):
        moved = True
        while moved:
            moved = False
            while p.getters and p.items:
                getter = p.getters.pop(0)
                n = min(getter.most, len(p.items))
                self.results[getter.number] = [p.items.popleft() for _ in range(n)]
                moved = True
            while p.putters and len(p.items) + len(p.putters[0].values) <= MOST:
                putter = p.putters.pop(0)
                p.items.extend(putter.values)
                p.ends = self.now + putter.ttl
                self.results[putter.number] = "put"
                moved = True

    def advance(self, when):
        while True:
            events = [p.ends for p in self.partitions.values()]
            for p in self.partitions.values():
                events += [w.deadline for w in p.getters + p.putters]
            first = min(events)
            if first > when:
                break
            self.now = first
            for p in self.partitions.values():
                for line, error in ((p.getters, "Empty"), (p.putters, "Full")):
                    for waiter in [w for w in line if w.deadline <= first]:
                        line.remove(waiter)
                        self.results[waiter.number] = error
                if p.ends <= first:
                    p.items.clear()
                    p.ends = float("inf")
                self.settle(p)
        self.now = when

    def get(self, number, partition, most, block, timeout):
        p = self.partitions[partition]
        if p.items:
            self.results[number] = [p.items.popleft() for _ in range(min(most, len(p.items)))]
            self.settle(p)
        elif not block:
            self.results[number] = []
        else:
            p.getters.append(Waiter(number, self.now + timeout, most))

    def put(self, number, partition, values, block, timeout, ttl):
        p = self.partitions[partition]
        if not p.putters and len(p.items) + len(values) <= MOST:
            p.items.extend(values)
            p.ends = self.now + ttl
            self.results[number] = "put"
            self.settle(p)
        elif not block or len(values) > MOST:
            self.results[number] = "Full"
        else:
            p.putters.append(Waiter(number, self.now + timeout, values=values, ttl=ttl))

    def cancel(self, number):
        for p in self.partitions.values():
            for line in (p.getters, p.putters):
                for waiter in [w for w in line if w.number == number]:
                    line.remove(waiter)
                    self.results[number] = "cancelled"
            self.settle(p)

    def clear(self, partition):
        p = self.partitions[partition]
        p.items.clear()
        self.settle(p)


PARTITIONS = st.sampled_from([None, "a"])
# Commands come at whole seconds, timeouts end at halves, and partitions at quarters: at no moment
# do two things happen whose order is open.
TIMEOUTS = st.sampled_from([0.5, 1.5, 3.5, 1000.5])
COMMANDS = st.lists(
    st.one_of(
        st.tuples(
            st.just("get"), PARTITIONS, st.integers(1, 4), st.booleans(), TIMEOUTS, st.booleans()
        ),
        st.tuples(
            st.just("put"),
            PARTITIONS,
            st.integers(1, 4),
            st.booleans(),
            TIMEOUTS,
            st.sampled_from([2.25, 5.25, 10000.25]),
            st.booleans(),
        ),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("wait"), st.integers(1, 3)),
        st.tuples(st.just("clear"), PARTITIONS),
    ),
    max_size=25,
)


def check_against_the_reference(make, commands):
    clock = testing.VirtualClock()
    reference = Reference()
    results, tasks, values = {}, {}, iter(range(10**6))
    lines = ThreadPoolExecutor(32)

    async def outcome(number, call):
        try:
            found = await call
        except (queue.Empty, queue.Full) as error:
            found = type(error).__name__
        except asyncio.CancelledError:
            found = "cancelled"
        results[number] = "put" if found is None else found

    async def main():
        loop = asyncio.get_running_loop()
        with make() as q:
            for number, (kind, *arguments) in enumerate(commands):
                if kind == "wait":
                    await clock.sleep.aio(arguments[0])
                    reference.advance(clock.now())
                elif kind == "clear":
                    q.clear(partition=arguments[0])
                    reference.clear(arguments[0])
                elif kind == "cancel":
                    task = tasks.get(arguments[0])
                    if task is not None and not task.done():
                        task.cancel()
                        reference.cancel(arguments[0])
                else:
                    if kind == "get":
                        partition, most, block, timeout, threaded = arguments
                        reference.get(number, partition, most, block, timeout)
                        method, given = q.get_many, (most, block)
                        options = {"partition": partition}
                    else:
                        partition, count, block, timeout, ttl, threaded = arguments
                        items = [next(values) for _ in range(count)]
                        reference.put(number, partition, items, block, timeout, ttl)
                        method, given = q.put_many, (items, block)
                        options = {"partition": partition, "partition_ttl": ttl}
                    if block:
                        options["timeout"] = timeout
                    if threaded:
                        work = loop.run_in_executor(
                            lines, lambda m=method, g=given, o=options: m(*g, **o)
                        )
                        loop.create_task(outcome(number, work))
                    else:
                        tasks[number] = loop.create_task(
                            outcome(number, method.aio(*given, **options))
                        )
                await clock.sleep.aio(0)
                assert results == reference.results, (number, kind)
                for partition, p in reference.partitions.items():
                    assert q.len(partition=partition) == len(p.items)
                    there = list(q.iterate(partition=partition))
                    assert there == list(p.items)
            await clock.sleep.aio(1001)
            reference.advance(clock.now())
            assert results == reference.results

    try:
        clock.run(main())
    finally:
        lines.shutdown()


@settings(max_examples=EXAMPLES, deadline=None)
@given(COMMANDS)
def test_model_in_memory(commands):
    with pytest.MonkeyPatch.context() as patch:
        set_most(patch, MOST)
        check_against_the_reference(modal.Queue.ephemeral, commands)


# A partition ends while a putter waits for room: the work of its timer is done on another thread.
# Without care the own time of the putter was over before that work had begun.
ENDS_WHILE_A_PUTTER_WAITS = [
    ("put", "a", 3, False, 0.5, 2.25, False),
    ("wait", 1),
    ("put", "a", 1, True, 1.5, 5.25, False),
    ("wait", 2),
]


@settings(max_examples=EXAMPLES // 4, deadline=None)
@given(COMMANDS)
@example(ENDS_WHILE_A_PUTTER_WAITS)
def test_model_in_a_file(tmp_path_factory, commands):
    from contextlib import contextmanager

    @contextmanager
    def named():
        modal.Queue.objects.delete("model", allow_missing=True)
        yield modal.Queue.from_name("model", create_if_missing=True)

    with pytest.MonkeyPatch.context() as patch:
        set_most(patch, MOST)
        patch.setenv("MOORAGE_HOME", str(tmp_path_factory.getbasetemp() / "queues"))
        patch.setattr(modal.config, "persist", True)
        check_against_the_reference(named, commands)
