"""Spawned calls: waiting for them in every way, finding them by id, their graph."""

import asyncio
import contextlib
import gc
import threading
import weakref

import anyio
import pytest

import moorage
from moorage import App, FunctionCall, config
from moorage.call_graph import InputStatus
from moorage.calling.registry import registry
from moorage.exception import (
    ExecutionError,
    FunctionTimeoutError,
    InputCancelledError,
    InvalidError,
    NotFoundError,
    OutputExpiredError,
)
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.runtime.input import call_id
from placing.outside import wait_for


def make_app():
    app = App()

    @app.function()
    @moorage.concurrent(max_inputs=10)
    async def double(value):
        await asyncio.sleep(0)
        if value < 0:
            raise ValueError(f"negative: {value}")
        return 2 * value

    return app, double


def make_gates(count=3):
    """A function whose inputs each end when their gate is opened."""
    app = App()
    gates = [threading.Event() for _ in range(count)]

    @app.function()
    @moorage.concurrent(max_inputs=count)
    def wait(index):
        assert gates[index].wait(30)
        return index

    return app, wait, gates


async def collect(results):
    return [result async for result in results]


# -- waiting ------------------------------------------------------------------------------


def test_get_again_and_again_gives_the_same_result():
    app, double = make_app()
    with app.run():
        call = double.spawn(4)
        assert [call.get() for _ in range(3)] == [8, 8, 8]
        assert call.get(index=0) == 8
        assert call.num_inputs() == 1
    assert call.get() == 8, "also after the run"


def test_get_of_a_failed_call_raises_each_time(run_async):
    app, double = make_app()
    with app.run():
        call = double.spawn(-1)
        for _ in range(2):
            with pytest.raises(ValueError, match="negative: -1"):
                call.get()
            with pytest.raises(ValueError, match="negative: -1"):
                run_async(call.get.aio)


@pytest.mark.parametrize("index", [1, -1, 99])
def test_get_of_an_index_that_is_not_there(index, run_async):
    app, double = make_app()
    with app.run():
        call = double.spawn(1)
        with pytest.raises(IndexError, match=rf"numbers 0 to 0, got index={index}; write index=0"):
            call.get(index=index)
        with pytest.raises(IndexError, match=f"got index={index}"):
            run_async(lambda: call.get.aio(index=index))
        call.get()


def test_get_one_index_of_many_waits_for_no_other(in_threads):
    app, wait, gates = make_gates()
    with app.run():
        call = wait.experimental_spawn_map(range(3))
        waiting = [in_threads(lambda i=i: call.get(index=i)) for i in range(3)]
        gates[1].set()
        assert waiting[1].result() == 1
        assert call.get(index=1) == 1
        for index in (0, 2):
            with pytest.raises(TimeoutError):
                call.get(index=index, timeout=0)
            assert waiting[index].thread.is_alive()
            gates[index].set()
            assert waiting[index].result() == index


def test_timeout_zero_raises_the_builtin_error_and_says_what_to_do(run_async):
    app, wait, gates = make_gates(1)
    with app.run():
        call = wait.spawn(0)
        with pytest.raises(TimeoutError, match=r"get\(\) it again, or cancel\(\) it") as caught:
            call.get(timeout=0)
        assert type(caught.value) is TimeoutError
        with pytest.raises(TimeoutError) as caught:
            run_async(lambda: call.get.aio(timeout=0))
        assert type(caught.value) is TimeoutError
        gates[0].set()
        assert call.get() == 0
        assert call.get(timeout=0) == 0, "there already"
        assert run_async(lambda: call.get.aio(timeout=0)) == 0


def test_a_get_that_timed_out_leaves_no_waker_behind(run_async):
    app, wait, gates = make_gates(1)
    with app.run():
        call = wait.spawn(0)
        for _ in range(5):
            with pytest.raises(TimeoutError):
                call.get(timeout=0)
        assert not any(call._waiting.values())
        gates[0].set()
        call.get()


def test_many_threads_and_tasks_wait_for_one_call(in_threads, run_async):
    app, wait, gates = make_gates(1)

    async def main():
        results = []

        async def one():
            results.append(await call.get.aio())

        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(one)
            await anyio.sleep(0)
            gates[0].set()
        return results

    with app.run():
        call = wait.spawn(0)
        threads = [in_threads(call.get) for _ in range(20)]
        assert run_async(main) == [0] * 20
        assert [thread.result() for thread in threads] == [0] * 20


def test_get_in_virtual_time_waits_exactly_as_long_as_it_was_told():
    app = App()

    @app.function()
    async def nap(seconds):
        await asyncio.sleep(seconds)
        return seconds

    with VirtualClock() as clock, app.run(clock=clock):
        call = nap.spawn(10.0)
        with pytest.raises(TimeoutError, match=r"after 4.0 s"):
            call.get(timeout=4.0)
        assert clock.now() == 4.0
        assert call.get(timeout=7.0) == 10.0
        assert clock.now() == 10.0


# -- iter ---------------------------------------------------------------------------------


def test_iter_gives_the_results_between_start_and_end(run_async):
    app, double = make_app()
    with app.run():
        call = double.experimental_spawn_map(range(6))
        assert list(call.iter()) == [0, 2, 4, 6, 8, 10]
        assert list(call.iter(start=4)) == [8, 10]
        assert list(call.iter(start=1, end=3)) == [2, 4]
        assert list(call.iter(start=2, end=2)) == []
        assert list(call.iter(end=0)) == []
        assert run_async(lambda: collect(call.iter.aio(start=3, end=5))) == [6, 8]


@pytest.mark.parametrize("bounds", [{"start": -1}, {"end": 7}, {"start": 3, "end": 2}])
def test_iter_refuses_bounds_that_are_not_there(bounds, run_async):
    app, double = make_app()
    with app.run():
        call = double.experimental_spawn_map(range(6))
        with pytest.raises(IndexError, match="6 inputs"):
            list(call.iter(**bounds))
        with pytest.raises(IndexError, match="6 inputs"):
            run_async(lambda: collect(call.iter.aio(**bounds)))
        list(call.iter())


def test_iter_gives_each_result_when_it_is_there(in_threads):
    app, wait, gates = make_gates()
    with app.run():
        results = wait.experimental_spawn_map(range(3)).iter()
        gates[0].set()
        gates[2].set()
        assert next(results) == 0
        following = in_threads(next, results)
        gates[1].set()
        assert following.result() == 1
        assert list(results) == [2]


def test_iter_raises_the_first_error_in_its_place():
    app, double = make_app()
    with app.run():
        results = double.experimental_spawn_map([1, -1, 3]).iter()
        assert next(results) == 2
        with pytest.raises(ValueError, match="negative"):
            next(results)
        assert list(results) == []


# -- gather -------------------------------------------------------------------------------


def test_gather_gives_the_results_in_the_order_of_its_arguments(run_async):
    app, wait, gates = make_gates()
    with app.run():
        calls = [wait.spawn(index) for index in (2, 0, 1)]
        for gate in gates:
            gate.set()
        assert FunctionCall.gather(*calls) == [2, 0, 1]
        assert run_async(lambda: FunctionCall.gather.aio(*calls)) == [2, 0, 1]
        assert FunctionCall.gather(*calls, calls[0]) == [2, 0, 1, 2], "one may come twice"
        assert FunctionCall.gather() == []
        assert run_async(FunctionCall.gather.aio) == []


@pytest.mark.parametrize("way", ["thread", "task"])
def test_gather_raises_the_first_error_that_comes_and_others_go_on(way):
    app = App()
    gates = [threading.Event() for _ in range(3)]

    @app.function()
    @moorage.concurrent(max_inputs=3)
    def work(index):
        assert gates[index].wait(30)
        if index:
            raise ValueError(index)
        return index

    with app.run():
        calls = [work.spawn(index) for index in range(3)]
        gates[2].set()
        if way == "thread":
            gather = FunctionCall.gather
        else:
            gather = lambda *calls: asyncio.run(FunctionCall.gather.aio(*calls))  # noqa: E731
        with pytest.raises(ValueError, match="2"):
            gather(*calls)
        assert work.statistics().running == 2, "the others go on"
        gates[0].set()
        gates[1].set()
        assert calls[0].get() == 0
        with pytest.raises(ValueError, match="1"):
            calls[1].get()


def test_gather_of_calls_from_several_apps(run_async):
    (first, double), (second, twice) = make_app(), make_app()
    with first.run(), second.run():
        assert FunctionCall.gather(double.spawn(1), twice.spawn(2)) == [2, 4]

        async def main():
            return await FunctionCall.gather.aio(double.spawn(3), twice.spawn(4))

        assert run_async(main) == [6, 8]


def test_gather_raises_when_one_is_cancelled(in_threads):
    app, wait, gates = make_gates()
    with app.run():
        calls = [wait.spawn(index) for index in range(2)]
        gathering = in_threads(FunctionCall.gather, *calls)
        calls[1].cancel()
        with pytest.raises(InputCancelledError):
            gathering.result()
        gates[0].set()
        gates[1].set()
        assert calls[0].get() == 0


def test_a_cancelled_gather_leaves_the_calls_alone(run_async):
    app, wait, gates = make_gates(2)

    async def main():
        with anyio.move_on_after(0) as scope:
            await FunctionCall.gather.aio(*calls)
        assert scope.cancelled_caught
        gates[0].set()
        gates[1].set()
        return await FunctionCall.gather.aio(*calls)

    with app.run():
        calls = [wait.spawn(index) for index in range(2)]
        assert run_async(main) == [0, 1]


def test_many_gather_the_same_calls_at_once(in_threads, often_switching):
    app, double = make_app()
    with app.run():
        for _ in range(20):
            calls = [double.spawn(n) for n in range(5)]
            gathering = [in_threads(FunctionCall.gather, *calls) for _ in range(4)]
            for each in gathering:
                assert each.result() == [0, 2, 4, 6, 8]


# -- cancel -------------------------------------------------------------------------------


def test_cancel_wakes_everyone_who_waits(in_threads, run_async):
    app, wait, gates = make_gates(1)
    with app.run():
        call = wait.spawn(0)
        threads = [in_threads(call.get) for _ in range(3)]
        run_async(call.cancel.aio)
        for thread in threads:
            with pytest.raises(InputCancelledError):
                thread.result()
        call.cancel()
        call.cancel(terminate_containers=True)
        gates[0].set()


def test_cancel_of_one_call_spares_its_neighbours_in_the_container():
    app, wait, gates = make_gates(2)
    with app.run():
        first, second = wait.spawn(0), wait.spawn(1)
        first.cancel(terminate_containers=True)
        gates[0].set()
        gates[1].set()
        assert second.get() == 1


# -- what it is ---------------------------------------------------------------------------


def test_calls_are_keys_and_equal_only_to_themselves():
    app, double = make_app()
    with app.run():
        calls = {double.spawn(n): n for n in range(5)}
        assert len(calls) == 5
        assert all(call.get() == 2 * n for call, n in calls.items())
        first, second, *_ = calls
        assert first == first
        assert first != second
        assert len({call.object_id for call in calls}) == 5


def test_the_object_id_is_what_the_code_sees():
    app = App()

    @app.function()
    def my_id():
        return moorage.current_function_call_id()

    with app.run():
        call = my_id.spawn()
        assert call.object_id.startswith("fc-")
        assert call.get() == call.object_id


def test_a_call_is_not_made_by_hand():
    with pytest.raises(InvalidError, match=r"f\.spawn\(\.\.\.\)"):
        FunctionCall()


def test_hydrate_is_the_call_itself(run_async):
    app, double = make_app()
    with app.run():
        call = double.spawn(1)
        assert call.hydrate() is call
        assert run_async(call.hydrate.aio) is call
        call.get()


def test_the_repr_says_where_its_inputs_are():
    app, wait, gates = make_gates()
    with app.run():
        call = wait.experimental_spawn_map(range(3))
        gates[0].set()
        call.get(index=0)
        assert "1 settled" in repr(call)
        assert call.object_id in repr(call)
        for gate in gates:
            gate.set()
        list(call.iter())
        assert repr(call) == f"<FunctionCall {call.object_id} of wait: 3 settled>"


# -- finding it by its id -----------------------------------------------------------------


def test_from_id_finds_what_runs_and_what_has_settled(run_async):
    app, wait, gates = make_gates(1)
    with app.run():
        call = wait.spawn(0)
        assert FunctionCall.from_id(call.object_id) is call
        gates[0].set()
        assert FunctionCall.from_id(call.object_id).get() == 0

        async def main():
            return await FunctionCall.from_id.aio(call.object_id)

        assert run_async(main) is call
    assert FunctionCall.from_id(call.object_id) is call, "also after the run"


def test_from_id_keeps_the_call_though_nobody_else_does():
    app, double = make_app()
    with app.run():
        ids = [double.spawn(n).object_id for n in range(10)]
        gc.collect()
        assert [FunctionCall.from_id(each).get() for each in ids] == list(range(0, 20, 2))


@pytest.mark.parametrize("unknown", ["fc-123", "", "fc-", "nonsense"])
def test_from_id_of_what_never_was_is_not_found(unknown):
    call = FunctionCall.from_id(unknown)
    with pytest.raises(NotFoundError, match="was spawned in this process"):
        call.get()


@pytest.mark.parametrize("strict", [False, True])
def test_from_id_of_what_never_was_is_found_out_on_use(monkeypatch, strict):
    monkeypatch.setattr(config, "strict", strict)
    call = FunctionCall.from_id("fc-123")
    for use in (call.get, call.cancel, call.num_inputs, call.get_call_graph, call.hydrate):
        with pytest.raises(NotFoundError, match="'fc-123'"):
            use()
    with pytest.raises(NotFoundError):
        next(call.iter())
    assert repr(call) == "<FunctionCall fc-123: unknown>"


def test_the_code_of_a_call_finds_it_from_its_first_line(often_switching):
    app = App()

    @app.function()
    @moorage.concurrent(max_inputs=10)
    def find():
        return FunctionCall.from_id(moorage.current_function_call_id()).num_inputs()

    with app.run():
        assert [find.spawn().get() for _ in range(300)] == [1] * 300
        assert list(find.experimental_spawn_map([]).iter()) == []


def test_a_call_expires_its_seconds_after_it_settled(monkeypatch):
    monkeypatch.setattr(config, "findable_seconds", 100.0)
    app = App()

    @app.function()
    async def nap(seconds):
        await asyncio.sleep(seconds)
        return seconds

    with VirtualClock() as clock, app.run(clock=clock):
        call = nap.spawn(50.0)
        clock.sleep(149.0)
        assert FunctionCall.from_id(call.object_id) is call
        clock.sleep(1.0)
        expired = FunctionCall.from_id(call.object_id)
        with pytest.raises(OutputExpiredError, match="findable_seconds"):
            expired.get(timeout=0)
        assert call.get() == 50.0, "who kept it still has it"


def test_a_call_that_runs_never_expires(monkeypatch):
    monkeypatch.setattr(config, "findable_seconds", 10.0)
    monkeypatch.setattr(config, "findable_calls", 0)
    app = App()

    @app.function(timeout=10_000)
    async def nap(seconds):
        await asyncio.sleep(seconds)

    with VirtualClock() as clock, app.run(clock=clock):
        call = nap.spawn(5000.0)
        clock.sleep(4999.0)
        assert FunctionCall.from_id(call.object_id) is call
        call.get()
        with pytest.raises(OutputExpiredError):
            FunctionCall.from_id(call.object_id).get(timeout=0)


def test_a_clock_that_stands_still_keeps_no_others_calls(monkeypatch):
    monkeypatch.setattr(config, "findable_seconds", 100.0)
    with VirtualClock() as stopped:
        app, double = make_app()
        with app.run(clock=stopped):
            eldest = double.spawn(1)
            eldest.get()
    with VirtualClock() as clock:
        app, double = make_app()
        with app.run(clock=clock):
            call = double.spawn(2)
            call.get()
            clock.sleep(100.0)
            with pytest.raises(OutputExpiredError):
                FunctionCall.from_id(call.object_id).get(timeout=0)
    assert FunctionCall.from_id(eldest.object_id) is eldest


def test_more_settled_calls_than_are_kept_expire_eldest_first(monkeypatch):
    monkeypatch.setattr(config, "findable_calls", 3)
    app, double = make_app()
    with app.run():
        calls = []
        for n in range(5):
            calls.append(double.spawn(n))
            assert calls[-1].object_id, "its id is given out"
            calls[-1].get()
        for call in calls[:2]:
            with pytest.raises(OutputExpiredError, match="settled too long ago"):
                FunctionCall.from_id(call.object_id).get(timeout=0)
        assert [FunctionCall.from_id(call.object_id).get() for call in calls[2:]] == [4, 6, 8]


def test_a_job_that_spawns_its_successor_does_not_keep_its_predecessors(monkeypatch):
    monkeypatch.setattr(moorage.config, "findable_calls", 10)
    app, done, made = App("test"), threading.Event(), weakref.WeakSet()

    class Result:
        pass

    @app.function(max_containers=1)
    def job(left):
        if left:
            job.spawn(left - 1)
        else:
            done.set()
        result = Result()
        made.add(result)
        return result

    with app.run():
        job.spawn(500)
        assert done.wait(30)
    gc.collect()
    # Swept at every 64th call.
    assert len(made) < 100


def test_the_id_of_a_remote_call_is_not_found_and_the_error_says_why():
    app = App("test")

    @app.function()
    def find():
        return FunctionCall.from_id(moorage.current_function_call_id())

    with app.run():
        with pytest.raises(OutputExpiredError, match="or was made by remote"):
            find.remote().get()
        assert find.spawn().get().num_inputs() == 1


def test_no_call_expires_early_while_many_sweep(monkeypatch, in_threads, often_switching):
    monkeypatch.setattr(config, "findable_calls", 40)
    app, double = make_app()
    lost, lock, settled = [], threading.Lock(), 0

    def spawn_and_find():
        nonlocal settled
        for n in range(100):
            before = settled
            call = double.spawn(n)
            call.get()
            with lock:
                settled += 1
            is_found = FunctionCall.from_id(call.object_id) is call
            # It may have gone if 40 others settled meanwhile, of which each of
            # the other threads may not have counted its last one yet.
            if not is_found and settled - before + 4 < 40:
                lost.append(n)

    with app.run():
        for thread in [in_threads(spawn_and_find) for _ in range(4)]:
            thread.result()
        assert lost == []
        # The last 40 are there, and no more, whenever somebody looks.
        registry.sweep()
        assert len(registry) <= 40


def test_results_that_come_back_when_they_die_do_no_harm(monkeypatch):
    monkeypatch.setattr(config, "findable_calls", 1)
    app = App()
    died = []

    class Result:
        def __del__(self):
            # The thread that has returned the last one may let it go when the run is left.
            with contextlib.suppress(ExecutionError):
                died.append(double.spawn(1).get())  # user code, in the middle of the sweep

    @app.function()
    def make():
        return Result()

    @app.function()
    def double(value):
        return 2 * value

    with app.run():
        for _ in range(5):
            make.spawn().get()
            registry.sweep()
        gc.collect()
        assert died
        assert set(died) == {2}
        double.spawn(3).get()
    monkeypatch.setattr(config, "findable_calls", 0)
    registry.sweep()


@pytest.mark.parametrize("findable", [0, 10])
def test_an_expired_call_lets_its_result_go(monkeypatch, findable):
    monkeypatch.setattr(config, "findable_calls", findable)
    app = App()

    class Result:
        pass

    @app.function()
    def make():
        return Result()

    with app.run():
        call = make.spawn()
        assert call.object_id  # who has read it may look for the call
        alive = weakref.ref(call.get())
        del call
        with pytest.raises(NotFoundError):
            FunctionCall.from_id("fc-sweep").get(timeout=0)
    gc.collect()
    if findable:
        assert alive() is not None
    else:  # the thread that has returned the result may not have ended yet
        wait_for(lambda: alive() is None)


def test_a_call_that_was_not_accepted_is_not_kept():
    app, double = make_app()
    with app.run():
        settled = double.spawn(1)
        settled.get()
        pool = settled._pool
    call = FunctionCall._make(double._target, (1,), {})
    call._pool = pool
    with pytest.raises(moorage.exception.ExecutionError, match="is ending or has ended"):
        pool.submit(call._inputs)
    with pytest.raises(OutputExpiredError):
        FunctionCall.from_id(call_id(call.number)).get(timeout=0)


# -- the graph ----------------------------------------------------------------------------


def test_the_graph_has_the_nested_spawns_and_their_statuses():
    app = App()
    gates = [threading.Event()]

    @app.function()
    @moorage.concurrent(max_inputs=10)
    def leaf(value):
        if value == "fail":
            raise ValueError(value)
        if value == "wait":
            assert gates[0].wait(30)
        return value

    @app.function()
    @moorage.concurrent(max_inputs=10)
    def middle(values):
        calls = [leaf.spawn(value) for value in values]
        return [call.object_id for call in calls]

    @app.function()
    def root():
        inner = middle.spawn(["good", "fail", "wait"])
        return inner.get()

    with app.run():
        call = root.spawn()
        ids = call.get()
        FunctionCall.from_id(ids[0]).get()
        with pytest.raises(ValueError, match="fail"):
            FunctionCall.from_id(ids[1]).get()
        (info,) = call.get_call_graph()
        assert (info.function_name, info.status) == ("root", InputStatus.SUCCESS)
        assert info.function_call_id == call.object_id
        assert info.module_name == __name__
        assert info.task_id
        (inner,) = info.children
        assert inner.function_name == "middle"
        leaves = {child.function_call_id: child.status for child in inner.children}
        assert [leaves[each] for each in ids] == [
            InputStatus.SUCCESS,
            InputStatus.FAILURE,
            InputStatus.PENDING,
        ]
        FunctionCall.from_id(ids[2]).cancel()
        gates[0].set()
        (info,) = call.get_call_graph()
        assert {child.status for child in info.children[0].children} == {
            InputStatus.SUCCESS,
            InputStatus.FAILURE,
            InputStatus.TERMINATED,
        }


def test_the_graph_of_many_inputs_and_of_a_timeout(run_async):
    app = App()

    @app.function(timeout=10)
    @moorage.concurrent(max_inputs=2)
    async def nap(seconds):
        await asyncio.sleep(seconds)

    with VirtualClock() as clock, app.run(clock=clock):
        call = nap.experimental_spawn_map([1.0, 60.0])
        call.get(index=0)
        with pytest.raises(FunctionTimeoutError):
            call.get(index=1)
    infos = run_async(call.get_call_graph.aio)
    assert [info.status for info in infos] == [InputStatus.SUCCESS, InputStatus.TIMEOUT]
    assert len({info.input_id for info in infos}) == 2
    assert infos[0].children == []
