"""Functions: remote, spawn, get, cancel, local, and what a direct call is told."""

import asyncio
import threading

import pytest

import moorage
from moorage import App, FunctionCall
from moorage.exception import (
    AsyncUsageWarning,
    FunctionTimeoutError,
    InputCancelledError,
    InvalidError,
)
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.testing import FakeContainer, FakeStatistics


def test_remote_from_a_plain_thread():
    app = App()

    @app.function()
    def power(base, exponent=2):
        return base**exponent

    @app.function()
    async def negate(value):
        await asyncio.sleep(0)
        return -value

    with app.run():
        assert power.remote(3) == 9
        assert power.remote(2, exponent=5) == 32
        assert negate.remote(4) == -4


def test_remote_aio_from_any_loop(run_async):
    app = App()

    @app.function()
    def power(base, exponent=2):
        return base**exponent

    @app.function()
    async def negate(value):
        await asyncio.sleep(0)
        return -value

    async def main():
        return [await power.remote.aio(2, exponent=5), await negate.remote.aio(4)]

    with app.run():
        assert run_async(main) == [32, -4]


def test_remote_from_a_container_into_another_pool():
    app = App()

    @app.function()
    def inner(value):
        return value + 1

    @app.function()
    def outer(value):
        return inner.remote(value) * 10

    @app.function()
    async def outer_async(value):
        return await inner.remote.aio(value) * 100

    with app.run():
        assert outer.remote(1) == 20
        assert outer_async.remote(1) == 200


def test_a_blocking_remote_on_a_running_loop_works_and_warns():
    app = App()

    @app.function()
    def double(value):
        return 2 * value

    async def main():
        return double.remote(2)

    with app.run(), pytest.warns(AsyncUsageWarning, match=r"await .*remote\.aio") as caught:
        assert asyncio.run(main()) == 4
    assert caught[0].filename == __file__


def test_arguments_and_results_pass_by_reference():
    app = App()

    @app.function()
    def give_back(value):
        return value

    thing = object()
    with app.run():
        assert give_back.remote(thing) is thing


def test_a_direct_call_is_refused_with_advice():
    app = App()

    @app.function()
    def double(value):
        return 2 * value

    with pytest.raises(InvalidError, match=r"double\.remote\(\.\.\.\).*double\.local\(\.\.\.\)"):
        double(1)


def test_local_runs_here_as_if_undecorated():
    app = App()

    @app.function()
    @moorage.concurrent(max_inputs=2)
    def where():
        return threading.current_thread(), moorage.is_local()

    @app.function()
    async def later():
        return moorage.current_input_id()

    @app.function()
    def count():
        yield from range(3)

    assert where.local() == (threading.current_thread(), True)
    assert asyncio.run(later.local()) is None
    assert list(count.local()) == [0, 1, 2]


def test_a_generator_has_no_remote_and_a_function_no_remote_gen():
    app = App()

    @app.function()
    def count():
        yield 1

    @app.function()
    def one():
        return 1

    with pytest.raises(InvalidError, match=r"count is a generator.*count\.remote_gen"):
        count.remote()
    with pytest.raises(InvalidError, match=r"count is a generator.*count\.remote_gen"):
        count.spawn()
    with pytest.raises(InvalidError, match=r"count is a generator.*count\.remote_gen"):
        count.map([1])
    with pytest.raises(InvalidError, match=r"one is not a generator.*one\.remote"):
        one.remote_gen()


# -- spawn, get, cancel ---------------------------------------------------------------


def test_spawn_goes_on_and_get_waits(in_threads):
    app = App()
    gate = threading.Event()

    @app.function()
    def wait(value):
        assert gate.wait(10)
        return value

    with app.run():
        call = wait.spawn(7)
        assert isinstance(call, FunctionCall)
        assert call.object_id.startswith("fc-")
        getters = [in_threads(call.get) for _ in range(3)]
        with pytest.raises(TimeoutError):
            call.get(timeout=0)
        gate.set()
        assert [getter.result() for getter in getters] == [7, 7, 7]
        assert call.get() == 7, "as often as you like"
        assert call.get(timeout=0) == 7


def test_spawn_and_get_aio_from_any_loop(run_async):
    app = App()

    @app.function()
    async def double(value):
        return 2 * value

    async def main():
        call = await double.spawn.aio(4)
        return await call.get.aio(timeout=30)

    with app.run():
        assert run_async(main) == 8


def test_get_with_timeout_zero_raises_the_builtin_error(run_async):
    app = App()
    gate = threading.Event()

    @app.function()
    def wait():
        assert gate.wait(10)
        return "late"

    async def main():
        with pytest.raises(TimeoutError, match="it goes on"):
            await call.get.aio(timeout=0)

    with app.run():
        call = wait.spawn()
        with pytest.raises(TimeoutError, match="it goes on") as caught:
            call.get(timeout=0)
        assert caught.type is TimeoutError
        run_async(main)
        gate.set()
        assert call.get() == "late", "a get that timed out cancels nothing"


def test_get_times_out_in_virtual_time():
    app = App()

    @app.function()
    async def nap():
        await asyncio.sleep(5)
        return "rested"

    with VirtualClock() as clock, app.run(clock=clock):
        call = nap.spawn()
        with pytest.raises(TimeoutError):
            call.get(timeout=4)
        assert clock.now() == 4
        assert call.get(timeout=4) == "rested"
        assert clock.now() == 5


def test_a_cancelled_queued_input_never_runs():
    app = App()
    started, gate = threading.Event(), threading.Event()
    ran = []

    @app.function(max_containers=1)
    def work(value):
        ran.append(value)
        if value == "first":
            started.set()
            assert gate.wait(10)

    with app.run():
        first = work.spawn("first")
        assert started.wait(10)
        queued = work.spawn("queued")
        queued.cancel()
        with pytest.raises(InputCancelledError):
            queued.get()
        last = work.spawn("last")
        gate.set()
        first.get()
        last.get()
        statistics = work.statistics()
        assert (statistics.succeeded, statistics.cancelled) == (2, 1)
    assert ran == ["first", "last"]


def test_a_cancelled_async_input_sees_cancelled_error():
    app = App()
    started, seen = threading.Event(), []

    @app.function()
    async def work():
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            seen.append(error)
            raise

    with app.run():
        call = work.spawn()
        assert started.wait(10)
        call.cancel()
        with pytest.raises(InputCancelledError):
            call.get()
        assert len(seen) == 1
        assert work.statistics().running == 0


def test_an_async_input_that_swallows_its_cancel_is_cancelled_all_the_same():
    app = App()
    started = threading.Event()

    @app.function()
    async def work():
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "nobody asked for this any more"

    with app.run():
        call = work.spawn()
        assert started.wait(10)
        call.cancel()
        with pytest.raises(InputCancelledError):
            call.get()


def test_a_cancelled_sync_input_frees_its_caller_at_once_and_its_slot_at_its_end():
    app = App()
    started, gate = threading.Event(), threading.Event()

    @app.function(max_containers=1)
    def work(value):
        started.set()
        assert gate.wait(10)
        return value

    with app.run():
        call = work.spawn(1)
        assert started.wait(10)
        call.cancel()
        with pytest.raises(InputCancelledError):
            call.get()
        following = work.spawn(2)
        statistics = work.statistics()
        assert (statistics.running, statistics.abandoned, statistics.queued) == (1, 1, 1)
        gate.set()
        assert following.get() == 2
        statistics = work.statistics()
        assert (statistics.running, statistics.abandoned, statistics.queued) == (0, 0, 0)


def test_cancel_ends_the_wait_of_ours_that_a_sync_input_sits_in():
    app = App()
    inner_started, gate = threading.Event(), threading.Event()
    left = []

    @app.function()
    def inner():
        inner_started.set()
        assert gate.wait(10)

    @app.function()
    def outer():
        try:
            inner.remote()
        except BaseException as error:
            left.append(type(error))
            raise

    with app.run():
        call = outer.spawn()
        assert inner_started.wait(10)
        call.cancel()
        with pytest.raises(InputCancelledError):
            call.get()
        gate.set()
    assert left == [moorage.exception.InputCancellation]


def test_cancel_of_a_settled_call_changes_nothing():
    app = App()

    @app.function()
    def one():
        return 1

    with app.run():
        call = one.spawn()
        assert call.get() == 1
        call.cancel()
        asyncio.run(call.cancel.aio())
        assert call.get() == 1


def test_cancelling_the_awaiting_task_cancels_the_input():
    app = App()
    started, cancelled = threading.Event(), threading.Event()

    @app.function()
    async def work():
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def main():
        task = asyncio.create_task(work.remote.aio())
        assert await asyncio.to_thread(started.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(cancelled.wait, 10)

    with app.run():
        asyncio.run(main())


def test_cancelling_the_scope_of_a_trio_caller_cancels_the_input():
    import trio

    app = App()
    started, cancelled = threading.Event(), threading.Event()

    @app.function()
    async def work():
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work.remote.aio)
            assert await trio.to_thread.run_sync(started.wait, 10)
            nursery.cancel_scope.cancel()
        assert await trio.to_thread.run_sync(cancelled.wait, 10)

    with app.run():
        trio.run(main)


def test_cancelling_a_get_leaves_the_call_alone():
    app = App()
    gate = threading.Event()

    @app.function()
    def work():
        assert gate.wait(10)
        return "done"

    async def main():
        getter = asyncio.create_task(call.get.aio())
        await asyncio.sleep(0)
        getter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await getter
        gate.set()
        return await call.get.aio()

    with app.run():
        call = work.spawn()
        assert asyncio.run(main()) == "done"


# -- timeouts -------------------------------------------------------------------------


def test_an_async_input_over_its_timeout_is_cancelled_in_virtual_time():
    app = App()
    seen = []

    @app.function(timeout=3)
    async def work():
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    with VirtualClock() as clock, app.run(clock=clock):
        with pytest.raises(FunctionTimeoutError, match="timeout of 3 s"):
            work.remote()
        assert clock.now() == 3
        assert seen == ["cancelled"]
        assert work.statistics().failed == 1


def test_a_sync_input_over_its_timeout_keeps_its_slot_until_its_end():
    clock = VirtualClock()

    def work(seconds):
        clock.sleep(seconds)
        return clock.now()

    with FakeContainer(work, timeout=3, clock=clock) as container:
        call, following = container.submit(3.5), container.submit(1)
        with pytest.raises(FunctionTimeoutError):
            call.result()
        assert clock.now() == 3
        assert container.statistics() == FakeStatistics(
            running=1, abandoned=1, queued=1, failed=1, peak=1, limit=1
        )
        assert following.result() == 4.5, "it began when the slot came free, after 3.5 s"


def test_time_in_the_queue_does_not_count():
    clock = VirtualClock()

    async def work(seconds):
        await asyncio.sleep(seconds)
        return clock.now()

    with FakeContainer(work, timeout=3, clock=clock) as container:
        assert list(container.map([2] * 4)) == [2, 4, 6, 8]
        assert container.statistics() == FakeStatistics(finished=4, peak=1, limit=1)


def test_a_timeout_strikes_one_input_and_spares_its_neighbours():
    clock = VirtualClock()

    async def work(seconds):
        await asyncio.sleep(seconds)
        return seconds

    with FakeContainer(work, timeout=3, max_inputs=4, clock=clock) as container:
        calls = [container.submit(seconds) for seconds in (1, 100, 2)]
        assert calls[0].result() == 1
        assert calls[2].result() == 2
        with pytest.raises(FunctionTimeoutError):
            calls[1].result()
        assert clock.now() == 3
        assert container.statistics() == FakeStatistics(finished=2, failed=1, peak=3, limit=4)
        assert container.pool_statistics().containers_started == 1


def test_callers_of_inputs_that_timed_out_together_get_their_own_errors():
    app = App()

    @app.function(timeout=1)
    @moorage.concurrent(max_inputs=2)
    async def work():
        await asyncio.sleep(10)

    with VirtualClock() as clock, app.run(clock=clock):
        calls = [work.spawn(), work.spawn()]
        errors = []
        for call in calls:
            with pytest.raises(FunctionTimeoutError) as caught:
                call.get()
            errors.append(caught.value)
    assert errors[0] is not errors[1]


def test_errors_of_a_method_show_an_instance_to_write():
    app = App("test")

    @app.cls()
    class C:
        @moorage.method()
        def generate(self):
            yield 1

        @moorage.method()
        def plain(self):
            return 1

        @moorage.asgi_app()
        def web(self):
            return None

    with pytest.raises(InvalidError, match=r"write C\(\.\.\.\)\.generate\.remote_gen\(\.\.\.\)"):
        C().generate.remote()
    with pytest.raises(InvalidError, match=r"write C\(\.\.\.\)\.plain\.map\(\[3\]\)"):
        C().plain.map(3)
    with pytest.raises(moorage.Error, match=r"write C\(\.\.\.\)\.web\.local\("):
        C().web.remote()
