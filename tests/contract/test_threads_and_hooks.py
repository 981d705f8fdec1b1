"""What runs where: threads, tasks, the loop and the hooks."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter

import pytest

import moorage

from .work import SYNC, drive, in_both_times, shaped


@pytest.mark.parametrize("shape", SYNC)
def test_sync_inputs_run_on_at_most_max_inputs_threads_without_a_loop(way, shape, world):
    threads = set()

    async def body(seconds):
        threads.add(threading.get_ident())
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        await world.sleep(seconds)

    code, options = shaped(shape, body)
    with way.open(code, world.clock, max_inputs=3, **options) as container:
        for handle in [container.submit(seconds) for seconds in [1, 2, 3, 1] * 3]:
            handle.result()
        assert len(threads) == 3
        assert threading.get_ident() not in threads


@in_both_times
@pytest.mark.parametrize("mixed", [False, True])
def test_without_concurrent_what_enter_binds_to_its_thread_works_in_sync_inputs(way, world, mixed):
    local = threading.local()
    seen = []

    class Work:
        @moorage.enter()
        def enter(self):
            local.connection = "connection"
            seen.append(threading.get_ident())

        @moorage.method()
        def run(self, x):
            seen.append(threading.get_ident())
            return local.connection

        if mixed:  # another method needs no loop; its container is one of sync code still

            @moorage.method()
            def other(self, x):
                return local.connection

        @moorage.exit()
        def leave(self):
            seen.append(threading.get_ident())
            assert local.connection == "connection"

    with way.open(Work, world.clock) as container:
        for x in range(5):
            assert container.submit(x).result() == "connection"
        if mixed:
            assert container.submit(0, "other").result() == "connection"
    assert len(seen) == 7
    assert len(set(seen)) == 1


@in_both_times
def test_async_inputs_are_tasks_on_the_one_loop_that_the_hooks_had(way, world):
    loops, tasks = [], []
    door = world.door()

    class Work:
        @moorage.enter()
        async def enter(self):
            loops.append(asyncio.get_running_loop())

        @moorage.method()
        async def run(self, x):
            loops.append(asyncio.get_running_loop())
            tasks.append(asyncio.current_task())
            with world.at_work(x):
                await door.wait()

        @moorage.exit()
        async def leave(self):
            loops.append(asyncio.get_running_loop())

    with way.open(Work, world.clock, max_inputs=3) as container:
        handles = [container.submit(x) for x in range(3)]
        world.wait_for(lambda: world.running == 3)
        assert len({id(task) for task in tasks}) == 3
        door.open()
        for handle in handles:
            handle.result()
        tasks.clear()
    assert len(loops) == 5
    assert len({id(loop) for loop in loops}) == 1
    assert loops[0].is_closed()


def test_methods_of_both_kinds_share_the_slots_and_sync_ones_run_on_no_loop(way, world):
    async def body(x):
        with world.at_work(x):
            await world.sleep(1)

    class Work:
        @moorage.method()
        async def run(self, x):
            await body(x)

        @moorage.method()
        def sync(self, x):
            drive(body(x))

    with way.open(Work, world.clock, max_inputs=2) as container:
        handles = [container.submit(x, "sync" if x % 2 else "run") for x in range(6)]
        for _ in range(3):
            world.sleep_here(0)
            assert world.running == 2
            world.sleep_here(1)
        for handle in handles:
            handle.result()
        assert world.peak == 2
        assert Counter(world.began[:2]) == Counter([0, 1])


@pytest.mark.elsewhere
@in_both_times
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_hooks_run_once_each_in_their_order(way, world, kind):
    log = world.notes()

    def noting(name):
        if kind == "sync":
            return lambda self: log.append(name)

        async def hook(self):
            await asyncio.sleep(0)
            log.append(name)

        return hook

    class Base:
        first = moorage.enter()(noting("base enter"))
        last = moorage.exit()(noting("base exit"))

    class Work(Base):
        second = moorage.enter()(noting("enter"))
        end = moorage.exit()(noting("exit"))

        @moorage.method()
        def run(self, x):
            log.append(x)

    with way.open(Work, world.clock) as container:
        for x in range(3):
            container.submit(x).result()
        assert log == ["base enter", "enter", 0, 1, 2]
    assert sorted(log[-2:]) == ["base exit", "exit"]
    assert len(log) == 7


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_what_a_failed_enter_raised_reaches_who_waits_and_no_exit_hook_runs(
    way, world, kind, caplog
):
    log = []

    def load():
        log.append("enter")
        raise LookupError("no weights")

    class Work:
        if kind == "sync":

            @moorage.enter()
            def enter(self):
                load()

        else:

            @moorage.enter()
            async def enter(self):
                load()

        @moorage.method()
        def run(self, x):
            log.append("ran")

        @moorage.exit()
        def leave(self):
            log.append("exit")

    def use():
        with way.open(Work, world.clock) as container:
            handles = [container.submit(x) for x in range(2)]
            for handle in handles:
                with pytest.raises(LookupError, match="no weights"):
                    handle.result()
            handles[0].result()

    with pytest.raises(LookupError, match="no weights") as caught:
        use()
    assert caught.traceback[-1].name == "load"
    assert set(log) == {"enter"}
