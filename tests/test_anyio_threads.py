"""anyio in virtual time: ``to_thread``, ``from_thread`` and blocking portals."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from moorage.testing import VirtualClock


@pytest.fixture
def clock():
    with VirtualClock() as clock:
        yield clock


# -- to_thread -------------------------------------------------------------------


def test_time_stands_while_a_thread_works(clock):
    def works():
        sum(range(1_000_000))  # real work
        return clock.now()

    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 100)
            assert await anyio.to_thread.run_sync(works) == 0

    clock.run(main())
    assert clock.now() == 100


def test_a_thread_sleeps_in_virtual_time(clock):
    async def main():
        async with anyio.create_task_group() as group:
            for seconds in (3, 1, 2):
                group.start_soon(anyio.to_thread.run_sync, clock.sleep, seconds)
        return clock.now()

    assert clock.run(main()) == 3


def test_the_limiter_counts_in_virtual_time(clock):
    async def main():
        limiter = anyio.CapacityLimiter(2)
        async with anyio.create_task_group() as group:
            for _ in range(6):
                group.start_soon(run, limiter)
        return clock.now()

    async def run(limiter):
        await anyio.to_thread.run_sync(clock.sleep, 10, limiter=limiter)

    assert clock.run(main()) == 30


def test_threads_take_turns_in_the_order_in_which_they_were_handed_over(clock):
    steps = []

    def step(n):
        steps.append(n)
        clock.sleep(1)
        steps.append(n)

    async def main():
        async with anyio.create_task_group() as group:
            for n in range(8):
                group.start_soon(anyio.to_thread.run_sync, step, n)

    for _ in range(10):
        steps.clear()
        clock.run(main())
        assert steps == [*range(8), *range(8)]


def test_a_thread_that_is_abandoned_holds_no_time_up_when_it_has_ended(clock):
    ended = []

    def naps():
        clock.sleep(50)
        ended.append(clock.now())

    async def main():
        with anyio.move_on_after(5):
            await anyio.to_thread.run_sync(naps, abandon_on_cancel=True)
        assert clock.now() == 5
        await anyio.sleep(100)
        assert clock.now() == 105

    clock.run(main())
    assert ended == [50]
    assert repr(clock).endswith("busy: MainThread>")


def test_a_thread_that_outlives_its_loop_still_takes_part(clock):
    ended = []

    def naps():
        clock.sleep(50)
        ended.append(clock.now())

    async def main():
        with anyio.move_on_after(5):
            await anyio.to_thread.run_sync(naps, abandon_on_cancel=True)

    clock.run(main())
    clock.sleep(100)
    assert ended == [50]


def test_an_error_and_a_cancellation_come_through(clock):
    def fails():
        clock.sleep(1)
        raise LookupError("cup")

    def checks():
        clock.sleep(10)
        anyio.from_thread.check_cancelled()
        raise AssertionError("not cancelled")

    async def main():
        with pytest.raises(LookupError, match="cup"):
            await anyio.to_thread.run_sync(fails)
        with anyio.move_on_after(5) as scope:
            await anyio.to_thread.run_sync(checks)
        assert scope.cancelled_caught
        return clock.now()

    assert clock.run(main()) == 11


def test_workers_are_used_again_and_end_with_the_loop(clock):
    async def main():
        threads = set()
        for _ in range(5):
            threads.add(await anyio.to_thread.run_sync(threading.current_thread))
            await anyio.sleep(5)
        await anyio.sleep(100)  # idle for longer than anyio keeps a worker
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(anyio.to_thread.run_sync, clock.sleep, 1)
        return threads

    threads = clock.run(main())
    assert len(threads) == 1
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_threads_call_their_loop_back(clock):
    async def nap(seconds):
        await asyncio.sleep(seconds)
        return clock.now()

    def calls():
        assert anyio.from_thread.run(nap, 7) == 7
        assert anyio.from_thread.run_sync(clock.now) == 7
        with anyio.from_thread.start_blocking_portal() as portal:
            assert portal.call(nap, 3) == 10
        return asyncio.run(nap(5))

    async def main():
        return await anyio.to_thread.run_sync(calls)

    assert clock.run(main()) == 15


def test_loops_in_real_time_have_threads_as_before(clock):
    def works():
        return type(threading.current_thread().queue).__name__

    async def main():
        return await anyio.to_thread.run_sync(works)

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        assert runner.run(main()) == "Queue"
    assert clock.run(main()) == "_JobQueue"


# -- portals ---------------------------------------------------------------------


@contextlib.asynccontextmanager
async def slow_to_enter():
    await asyncio.sleep(2)
    yield "in"
    await asyncio.sleep(3)


async def nap(seconds, *, task_status=anyio.TASK_STATUS_IGNORED):
    await anyio.sleep(1)
    task_status.started("begun")
    await anyio.sleep(seconds)
    return seconds


def test_each_way_to_wait_for_a_portal_is_a_rest(clock):
    with anyio.from_thread.start_blocking_portal() as portal:
        assert portal.call(nap, 4) == 4
        assert clock.now() == 5
        assert portal.start_task_soon(nap, 4).result() == 4
        assert clock.now() == 10
        future, begun = portal.start_task(nap, 4)
        assert (begun, clock.now()) == ("begun", 11)
        assert future.exception() is None
        assert clock.now() == 15
        with portal.wrap_async_context_manager(slow_to_enter()) as inside:
            assert (inside, clock.now()) == ("in", 17)
        assert clock.now() == 20
        futures = [portal.start_task_soon(nap, seconds) for seconds in (9, 4)]
        done, _ = concurrent.futures.wait(futures, return_when="FIRST_COMPLETED")
        assert (done, clock.now()) == ({futures[1]}, 25)
        assert [f.result() for f in concurrent.futures.as_completed(futures)] == [4, 9]
        assert clock.now() == 30


def test_a_limit_of_a_wait_is_virtual(clock):
    with anyio.from_thread.start_blocking_portal() as portal:
        future = portal.start_task_soon(nap, 99)
        with pytest.raises(TimeoutError):
            future.result(timeout=30)
        assert clock.now() == 30
        assert concurrent.futures.wait([future], timeout=30).not_done == {future}
        assert clock.now() == 60
        future.cancel()
        with pytest.raises(concurrent.futures.CancelledError):
            future.result()


def test_a_portal_provider(clock):
    provider = anyio.from_thread.BlockingPortalProvider()
    with provider as portal:
        assert portal.call(nap, 4) == 4
    assert clock.now() == 5


def test_tasks_of_a_portal_go_on_while_the_test_sleeps(clock):
    async def ticks():
        for _ in range(3):
            await anyio.sleep(10)
            times.append(clock.now())

    times = []
    with anyio.from_thread.start_blocking_portal() as portal:
        portal.start_task_soon(ticks)
        clock.sleep(25)
        assert times == [10, 20]
    assert times == [10, 20, 30]


def test_an_error_in_the_block_cancels_what_is_left(clock):
    def fails():
        with anyio.from_thread.start_blocking_portal() as portal:
            portal.start_task_soon(nap, 1000)
            raise LookupError

    with pytest.raises(LookupError):
        fails()
    assert clock.now() < 1000


def test_a_portal_of_a_loop_of_the_clock_serves_its_threads(clock):
    async def main():
        async with anyio.from_thread.BlockingPortal() as portal:
            return await anyio.to_thread.run_sync(portal.call, nap, 4)

    assert clock.run(main()) == 4
    assert clock.now() == 5


def test_the_thread_of_a_portal_ends(clock):
    with anyio.from_thread.start_blocking_portal() as portal:
        thread = portal.call(threading.current_thread)
        assert thread.name.startswith("asyncio-portal")
    assert not thread.is_alive()
    assert repr(clock).endswith("busy: MainThread>")


# -- run_coroutine_threadsafe ------------------------------------------------------


def test_a_loop_in_a_thread_of_the_test_is_waited_for_in_virtual_time(clock):
    loop = asyncio.new_event_loop()  # of the clock
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        future = asyncio.run_coroutine_threadsafe(nap(10), loop)
        assert future.result() == 10
        assert clock.now() == 11
        with pytest.raises(TimeoutError):
            asyncio.run_coroutine_threadsafe(nap(10), loop).result(timeout=5)
        assert clock.now() == 16
        clock.sleep(100)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
