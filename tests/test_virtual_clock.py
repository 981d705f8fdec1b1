"""The virtual clock as users have it: scopes, whole runs, stuck time, and what it does not see."""

from __future__ import annotations

import asyncio
import concurrent.futures
import math
import queue
import re
import subprocess
import sys
import threading

import anyio
import pytest
import trio

import moorage
from moorage.exception import ClockStuckError, InvalidError
from moorage.runtime.clocks.patched_time import current_virtual_clock
from moorage.testing import FakeContainer, VirtualClock


def in_thread(function):
    """Start `function` in a thread; its result is waited for by `.result(30)`."""
    future = concurrent.futures.Future()

    def run():
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    thread = threading.Thread(target=run)
    thread.start()
    future.add_done_callback(lambda _: None)
    future.thread = thread
    return future


def result_of(future):
    try:
        return future.result(30)
    finally:
        future.thread.join(30)


def run_in_real_time(main):
    """Run `main` on a loop that is named: what ``asyncio.run`` makes would be of the clock."""
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(main)


# -- scopes ----------------------------------------------------------------------


def test_importing_moorage_does_not_import_the_kit():
    code = "import moorage, sys; print([m for m in sys.modules if 'moorage.testing' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_scopes_nest_and_may_be_entered_again():
    clock = VirtualClock()
    for start in (0, 5):
        with clock:
            with clock, clock.participate("inner"):
                clock.sleep(2)
            assert repr(clock) == f"<VirtualClock at {start + 2} s, busy: MainThread>"
            clock.sleep(3)
        assert repr(clock) == f"<VirtualClock at {start + 5} s, busy: nobody>"
        assert clock._thread is None
        assert current_virtual_clock() is None


def test_each_thread_leaves_its_own_scope():
    clock = VirtualClock()
    entered, leave = threading.Event(), threading.Event()

    def other():
        with clock:
            entered.set()
            assert leave.wait(30)
        return current_virtual_clock()

    with clock:
        future = in_thread(other)
        assert entered.wait(30)
    # The first to come has left, the other has not.
    assert "busy: Thread" in repr(clock)
    leave.set()
    assert result_of(future) is None
    assert repr(clock) == "<VirtualClock at 0 s, busy: nobody>"


def test_leaving_in_a_thread_that_has_not_entered_is_refused():
    clock = VirtualClock()
    with clock:
        with pytest.raises(InvalidError, match="write `with clock:`, so that one thread"):
            result_of(in_thread(lambda: clock.__exit__(None, None, None)))
        clock.sleep(1)
    assert clock.now() == 1


def test_two_clocks_are_apart():
    with VirtualClock() as outer:
        with VirtualClock() as inner:
            assert current_virtual_clock() is inner
            inner.sleep(7)
        assert current_virtual_clock() is outer
        outer.sleep(1)
    assert (outer.now(), inner.now()) == (1, 7)
    assert current_virtual_clock() is None


def test_timers_stand_while_nobody_has_the_clock_open():
    clock = VirtualClock()
    fired = []
    with clock:
        clock.call_at(10, lambda: fired.append(clock.now()))
    assert fired == []
    with clock:
        clock.sleep(20)
    assert fired == [10]


def test_run_is_asyncio_run_in_virtual_time():
    async def main():
        async with asyncio.timeout(100):
            await asyncio.sleep(60)
        return clock.now()

    clock = VirtualClock()
    assert clock.run(main()) == 60
    assert clock.run(main()) == 120
    assert clock._thread is None


def test_sleep_aio_lets_the_tasks_of_its_loop_run():
    async def main():
        ticks = []

        async def tick():
            for _ in range(3):
                await asyncio.sleep(1)
                ticks.append(clock.now())

        task = asyncio.ensure_future(tick())
        await clock.sleep.aio(2.5)
        assert ticks == [1, 2]
        await task
        return clock.now()

    clock = VirtualClock()
    assert clock.run(main()) == 3


def test_sleep_aio_of_nothing_waits_until_all_others_wait():
    """A cancelled call ends at its caller first, and then in its containers."""
    app, clock, ended = moorage.App(), VirtualClock(), []

    @app.function()
    async def inner():
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("inner")

    @app.function()
    async def outer():
        try:
            await inner.remote.aio()
        finally:
            ended.append("outer")

    async def main():
        async with app.run(clock=clock):
            asking = asyncio.ensure_future(outer.remote.aio())
            await clock.sleep.aio(5)
            asking.cancel()
            await clock.sleep.aio(0)
            assert sorted(ended) == ["inner", "outer"]
            assert clock.now() == 5

    clock.run(main())


def test_sleep_aio_can_be_cancelled_and_wants_its_own_loop():
    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(clock.sleep.aio(3600), 1)
        assert clock.now() == 1
        with pytest.raises(InvalidError, match="an event loop of another clock"):
            await VirtualClock().sleep.aio(1)

    clock = VirtualClock()
    clock.run(main())
    with pytest.raises(InvalidError, match=r"`await clock\.sleep\.aio"):
        asyncio.run(clock.sleep.aio(1))


def test_between_two_runs_of_its_loop_a_thread_that_entered_on_it_holds_time():
    clock = VirtualClock()

    async def enter():
        await clock.__aenter__()
        clock.call_at(5, lambda: None)

    async def leave():
        await asyncio.sleep(1)
        await clock.__aexit__(None, None, None)

    with asyncio.Runner(loop_factory=clock.new_event_loop) as runner:
        runner.run(enter())
        assert repr(clock) == "<VirtualClock at 0 s, busy: MainThread>"
        runner.run(leave())
        assert clock.now() == 1
    assert repr(clock).endswith("busy: nobody>")


@pytest.mark.parametrize("way", ["with clock", "async with clock", "with run", "async with run"])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_loop_in_real_time_is_refused_with_what_to_write(way, backend):
    clock, app = VirtualClock(), moorage.App()

    async def main():
        manager = clock if "clock" in way else app.run(clock=clock)
        if way.startswith("async"):
            async with manager:
                raise AssertionError("entered")
        with manager:
            raise AssertionError("entered")

    with pytest.raises(InvalidError, match=r"clock\.run\(main\(\)\), asyncio\.Runner"):
        anyio.run(main, backend=backend)
    with app.run(clock=clock):  # nothing stayed behind
        clock.sleep(1)
    assert repr(clock) == "<VirtualClock at 1 s, busy: nobody>"


def test_a_run_makes_the_thread_take_part():
    app, clock = moorage.App(), VirtualClock()

    @app.function(timeout=7200)
    async def nap(seconds):
        await asyncio.sleep(seconds)
        return clock.now()

    with app.run(clock=clock):
        assert nap.remote(3600) == 3600
        calls = [nap.spawn(n) for n in (2, 1)]
        clock.sleep(1.5)
        assert calls[1].get() == 3601
        assert calls[0].get() == 3602
    assert repr(clock).endswith("busy: nobody>")
    assert clock._thread is None


def test_a_run_lives_by_the_clock_that_its_thread_lives_by():
    """So that a program which opens its run itself can be tested as it is."""
    app = moorage.App()

    @app.function(timeout=7200)
    async def nap(seconds):
        await asyncio.sleep(seconds)

    scope = app.run()

    def main():
        with scope:
            nap.remote(3600)

    async def main_async():
        async with scope:
            await nap.remote.aio(3600)

    with VirtualClock() as clock:
        main()
        with FakeContainer(nap) as container:
            container.call(3600)
    with VirtualClock() as other:  # entered again, it is by another clock
        main()
    other.run(main_async())
    assert (clock.now(), other.now()) == (7200, 7200)


def test_a_run_on_a_loop_in_real_time_is_in_real_time_also_where_the_thread_is_not():
    app = moorage.App()

    @app.function()
    def f():
        return current_virtual_clock()

    async def main():
        async with app.run():
            return await f.remote.aio()

    with VirtualClock():
        assert run_in_real_time(main()) is None


def test_a_run_on_a_loop_of_the_clock_takes_part():
    app, clock = moorage.App(), VirtualClock()

    @app.function(timeout=7200)
    def nap(seconds):
        clock.sleep(seconds)
        return clock.now()

    async def main():
        async with app.run(clock=clock):
            assert await nap.remote.aio(3600) == 3600
            await asyncio.sleep(10)
            return await nap.remote.aio(1)

    assert clock.run(main()) == 3611
    assert repr(clock).endswith("busy: nobody>")


def test_a_run_that_cannot_be_entered_leaves_the_clock():
    app, clock = moorage.App(), VirtualClock()
    with app.run():
        with pytest.raises(InvalidError, match="runs already"):
            app.run(clock=clock).__enter__()
        with pytest.raises(InvalidError, match="runs already"):
            clock.run(app.run(clock=clock).__aenter__())
    assert repr(clock) == "<VirtualClock at 0 s, busy: nobody>"


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), "5", True])
def test_stuck_after_is_checked(wrong):
    with pytest.raises(InvalidError, match=r"write VirtualClock\(stuck_after=5\)"):
        VirtualClock(stuck_after=wrong)


# -- stuck time ------------------------------------------------------------------


def test_a_wait_that_nothing_can_end_is_found():
    clock = VirtualClock(stuck_after=0.05)
    with clock:
        clock.sleep(3)
        with pytest.raises(ClockStuckError) as caught:
            clock.wait(clock.make_waiter())
    message = str(caught.value)
    assert message.startswith("virtual time stands at 3 s: for 0.05 real seconds nobody was busy")
    assert "MainThread waits in test_a_wait_that_nothing_can_end_is_found (" in message
    assert message.endswith("write VirtualClock(stuck_after=None)")


def test_a_loop_that_idles_for_ever_is_found_with_its_tasks():
    async def forget():
        await asyncio.Event().wait()

    async def main():
        task = asyncio.create_task(forget(), name="the forgotten")
        await task

    with pytest.raises(ClockStuckError, match=r"the forgotten on the event loop of MainThread wai"):
        VirtualClock(stuck_after=0.05).run(main())


def test_a_test_on_the_clocks_loop_hears_of_a_hog():
    app, clock = moorage.App(), VirtualClock(stuck_after=0.2)
    release = threading.Event()

    @app.function()
    def hog():
        release.wait(30)

    async def main():
        async with app.run(clock=clock):
            call = await hog.spawn.aio()
            try:
                await asyncio.sleep(10)
            finally:
                release.set()
                await call.get.aio()

    with pytest.raises(ClockStuckError, match="a worker of moorage-hog-1"):
        clock.run(main())


def test_who_waits_for_something_real_is_named_with_the_users_line():
    app, clock = moorage.App(), VirtualClock(stuck_after=0.1)
    release = threading.Event()

    @app.function()
    def listen():
        release.wait(30)

    with app.run(clock=clock):
        call = listen.spawn()
        with pytest.raises(ClockStuckError) as caught:
            clock.sleep(1)
        release.set()
        call.get()
    message = str(caught.value)
    assert "of moorage-listen-1 (in " in message
    here = r"listen \(tests/test_virtual_clock\.py:\d+\)"
    assert re.search(here + r", in \S+ \(threading\.py:\d+\)", message)


def test_a_real_loop_in_a_thread_that_takes_part_is_named():
    clock = VirtualClock(stuck_after=0.1)
    stuck = threading.Event()

    def other():
        with clock:
            try:
                clock.sleep(1)
            finally:
                stuck.set()

    async def main():
        future = in_thread(other)
        assert await asyncio.to_thread(stuck.wait, 30)
        with pytest.raises(ClockStuckError, match="one of them runs an event loop in real time"):
            await asyncio.to_thread(result_of, future)

    with clock:
        run_in_real_time(main())


def test_whoever_still_waits_when_the_clock_is_left_is_let_go():
    clock = VirtualClock()

    def sleeper():
        with clock.participate("the sleeper"):
            entered.set()
            clock.sleep(1000)

    entered = threading.Event()
    with clock:
        future = in_thread(sleeper)
        assert entered.wait(30)
    with pytest.raises(ClockStuckError, match="was left at"):
        result_of(future)


def test_stuck_after_none_waits_on():
    clock = VirtualClock(stuck_after=None)
    waiter = clock.make_waiter()

    def other():
        with clock.participate():
            return clock.wait(waiter)

    with clock:
        future = in_thread(other)
        with pytest.raises(concurrent.futures.TimeoutError):
            future.result(0.2)
        waiter.wake()
        assert result_of(future)


# -- what waits of users' code are to it ------------------------------------------


def test_asyncios_own_waits_are_virtual():
    clock = VirtualClock()

    async def main():
        items: asyncio.Queue[int] = asyncio.Queue()

        async def produce():
            for n in range(3):
                await asyncio.sleep(10)
                await items.put(n)

        producer = asyncio.create_task(produce())
        assert [await items.get() for _ in range(3)] == [0, 1, 2]
        assert clock.now() == 30
        await producer
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(items.get(), 5)
        with anyio.move_on_after(7) as scope:
            await anyio.sleep(100)
        assert scope.cancelled_caught
        await anyio.sleep(1)
        return clock.now()

    assert clock.run(main()) == 43


def test_threads_of_the_loops_executor_hold_up_time():
    clock = VirtualClock()

    def work():
        threading.Event().wait(0.05)  # real, and too short to be called stuck
        clock.sleep(5)
        return clock.now()

    async def main():
        async with asyncio.timeout(100):
            return await asyncio.to_thread(work), clock.now()

    assert clock.run(main()) == (5, 5)


def test_work_that_waits_for_a_thread_of_its_pool_does_not_hold_up_time():
    clock = VirtualClock()

    def work():
        clock.sleep(5)
        return clock.now()

    async def main():
        loop = asyncio.get_running_loop()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            jobs = [loop.run_in_executor(pool, work) for _ in range(4)]
            jobs.pop().cancel()
            return await asyncio.gather(*jobs)

    assert clock.run(main()) == [5, 10, 15]
    assert repr(clock).endswith("busy: nobody>")


def test_work_whose_caller_has_given_up_sleeps_to_its_end():
    clock = VirtualClock()
    woken = []

    def work():
        clock.sleep(3600)
        woken.append(clock.now())

    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.to_thread(work), 1)
        return clock.now()

    assert clock.run(main()) == 1
    assert woken == [3600]
    assert repr(clock).endswith("busy: nobody>")


@pytest.mark.parametrize("what", ["event", "queue", "thread", "future"])
def test_a_real_wait_of_a_participant_stands_still_and_is_named(what):
    """It works if something real ends it; else others hear where it is."""
    clock = VirtualClock(stuck_after=0.1)
    app = moorage.App()
    release = threading.Event()

    def wait():
        if what == "event":
            release.wait(30)
        elif what == "queue":
            items: queue.Queue[int] = queue.Queue()
            threading.Thread(target=lambda: (release.wait(30), items.put(1))).start()
            items.get(timeout=30)
        elif what == "thread":
            thread = threading.Thread(target=release.wait, args=(30,))
            thread.start()
            thread.join()
        else:
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                pool.submit(release.wait, 30).result(30)

    run = app.function()(wait)
    with app.run(clock=clock):
        call = run.spawn()
        with pytest.raises(ClockStuckError, match=r"a worker of moorage-\S+ \(in "):
            clock.sleep(1)
        release.set()
        call.get()


def test_trio_is_told_where_it_may_wait():
    async def main():
        with pytest.raises(InvalidError, match="was written on trio"):
            VirtualClock().__enter__()

    trio.run(main)


# -- what is dropped ---------------------------------------------------------------


@pytest.mark.parametrize("way", ["stream", "map"])
def test_time_stands_until_what_was_dropped_is_closed(way, monkeypatch):
    """What drops it may be a finalizer, so that another thread must close it."""
    app, clock = moorage.App(), VirtualClock()
    let_go = threading.Event()
    monkeypatch.setattr(
        "moorage.calling.waited.in_background",
        lambda callback: threading.Thread(target=lambda: (let_go.wait(30), callback())).start(),
    )

    @app.function(max_containers=1)
    async def numbers():
        for number in range(100):
            yield number

    @app.function(max_containers=1)
    async def works(x):
        await asyncio.sleep(x)
        return x

    with app.run(clock=clock):
        reader = numbers.remote_gen() if way == "stream" else works.map([0, 50, 60])
        assert next(iter(reader)) == 0
        del reader
        assert "what was dropped" in repr(clock)
        timer = threading.Timer(0.05, let_go.set)
        timer.start()
        try:
            assert works.remote(1) == 1  # its slot comes when the others have gone
            assert clock.now() == 1
        finally:
            let_go.set()
            timer.join()


@pytest.mark.parametrize("way", ["remote", "get"])
def test_awaiting_on_a_real_loop_what_only_virtual_time_ends_is_refused(way):
    app = moorage.App()

    @app.function()
    async def sleeps(seconds):
        await asyncio.sleep(seconds)

    async def main():
        if way == "remote":
            await sleeps.remote.aio(1)
        else:
            await sleeps.spawn(1).get.aio()

    clock = VirtualClock()
    with clock, app.run(clock=clock):
        with pytest.raises(InvalidError, match=r"clock\.run\(main\(\)\)"):
            run_in_real_time(main())
        clock.sleep(5)
        assert sleeps.statistics().running == 0


def test_a_thread_that_takes_no_part_hears_that_time_is_stuck(in_threads):
    app = moorage.App()

    @app.function()
    async def sleeps(seconds):
        await asyncio.sleep(seconds)

    clock = VirtualClock(stuck_after=0.2)
    with clock, app.run(clock=clock):
        call = in_threads(sleeps.remote, 1)
        call.thread.join()  # in real time, and holds time up
        with pytest.raises(ClockStuckError, match=r"write `with clock:` in that thread"):
            call.result()


def test_who_sleeps_for_ever_holds_no_time_up_and_is_told_so():
    clock = VirtualClock(stuck_after=0.2)
    with pytest.raises(ClockStuckError, match="nobody was busy"):
        clock.run(asyncio.sleep(math.inf))
    assert clock.now() == 0


@pytest.mark.parametrize("wrong", [math.nan, "1"])
def test_what_is_no_time_is_refused(wrong):
    with pytest.raises(InvalidError, match=r"write clock\.sleep\(1\.5\)"):
        VirtualClock().sleep(wrong)
