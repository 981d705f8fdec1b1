"""What n uses cost: counts of what is done, or of what is left, and CPU of n to that of few."""

import asyncio
import gc
import sys
import threading
import time
import unittest.mock
import warnings
import weakref
from collections import Counter

import pytest

import moorage
from moorage import App, FunctionCall
from moorage.running import deployments
from moorage.runtime.clocks.virtual_clock import VirtualClock
from onlooker import wait_until

# 8 times as much work may cost so many times as much.  Linear is 8, quadratic 64.
LINEAR = 20


def make_app():
    app = App()

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=4)
    async def double(value):
        return 2 * value

    @app.function(max_containers=1)
    def count(value):
        yield from range(value)

    return app, double


def make_model():
    app = App()

    @app.cls(max_containers=1)
    @moorage.concurrent(max_inputs=4)
    class Model:
        name: str = moorage.parameter(default="a")

        @moorage.method()
        def run(self, value):
            return value

    return app, Model


def assert_linear(work, few):
    """`work(n)` must take CPU in proportion to n."""

    def cpu(n):
        begin = time.process_time()
        work(n)
        return time.process_time() - begin

    cpu(few)
    small = max(cpu(few) for _ in range(3))
    large = min(cpu(8 * few) for _ in range(2))
    assert large < LINEAR * small, f"8 times as much costs {large / small:.0f} times as much"


def garbage_of(work, times=100):
    """How many objects in cycles one `work()` leaves behind.

    The least of three rounds: what a thread of an earlier test lets go now, such as the pool of a
    run that has ended, comes once.
    """

    def left():
        gc.collect()
        for _ in range(times):
            work()
        return gc.collect() / times

    for _ in range(20):
        work()
    gc.disable()
    try:
        return min(left() for _ in range(3))
    finally:
        gc.enable()


# -- waiting for many ---------------------------------------------------------------------


@pytest.mark.parametrize("way", ["thread", "task", "input"])
def test_gather_costs_what_its_calls_do(way):
    app, double = make_app()

    @app.function()
    def inside(n):
        calls = [double.spawn(value) for value in range(n)]
        return FunctionCall.gather(*calls)

    def gather(n):
        if way == "input":
            results = inside.remote(n)
        elif way == "thread":
            results = FunctionCall.gather(*[double.spawn(value) for value in range(n)])
        else:
            results = asyncio.run(gather_async(n))
        assert results == [2 * value for value in range(n)]

    async def gather_async(n):
        return await FunctionCall.gather.aio(*[await double.spawn.aio(v) for v in range(n)])

    with app.run():
        assert_linear(gather, 500)


def test_gather_joins_each_call_once():
    app, double = make_app()
    with app.run():
        calls = [double.spawn(value) for value in range(100)]
        with unittest.mock.patch.object(
            FunctionCall, "_add", autospec=True, side_effect=FunctionCall._add
        ) as add:
            FunctionCall.gather(*calls, *calls)
        assert add.call_count <= 100


@pytest.mark.parametrize("dead_first", [True, False])
@pytest.mark.parametrize("live", [1, 40])
def test_a_gather_whose_last_live_call_has_settled_is_found_to_wait_for_itself(dead_first, live):
    app = App()

    @app.function()
    @moorage.concurrent(max_inputs=100)
    async def nap(seconds):
        await asyncio.sleep(seconds)

    @app.function(max_containers=1, timeout=3600)
    def outer(depth):
        if not depth:
            return "never runs"
        live_ones = [nap.spawn(seconds) for seconds in range(1, live + 1)]
        dead = outer.spawn(0)
        return FunctionCall.gather(*([dead, *live_ones] if dead_first else [*live_ones, dead]))

    with VirtualClock() as clock, app.run(clock=clock):
        with pytest.raises(moorage.exception.DeadlockError):
            outer.remote(1)
        assert clock.now() == live, "when the last of those that got on had ended"


@pytest.mark.parametrize("what", ["iter", "get", "cancel", "graph", "repr"])
def test_a_call_with_many_inputs(what):
    app, double = make_app()

    def use(n):
        call = double.experimental_spawn_map(range(n))
        if what == "cancel":
            call.cancel()
        elif what == "graph":
            assert len(call.get_call_graph()) == n
        elif what == "repr":
            repr(call)
        elif what == "iter":
            assert sum(1 for _ in call.iter()) == n
        else:
            for index in range(n):
                call.get(index=index)
        if what != "cancel":
            list(call.iter())

    with app.run():
        assert_linear(use, 500)


def test_many_waiters_of_one_call_leave_it_one_by_one():
    app, gate = App(), asyncio.Event()

    @app.function()
    async def forever():
        await gate.wait()

    async def wait(n):
        async def one():
            with pytest.raises(TimeoutError):
                await call.get.aio(timeout=0)

        await asyncio.gather(*(one() for _ in range(n)))

    with app.run(grace=0.2):
        call = forever.spawn()
        assert_linear(lambda n: asyncio.run(wait(n)), 250)
        call.cancel()


def test_from_id_takes_no_lock_of_a_pool():
    app, double = make_app()
    with app.run():
        call = double.spawn(1)
        call_id = call.object_id
        call.get()
        with call._pool.lock:
            assert FunctionCall.from_id(call_id) is call
            assert FunctionCall.from_id(f"{call_id}0").object_id


# -- one input of many ----------------------------------------------------------------------


def test_a_task_that_waits_for_its_result_keeps_few_objects():
    """Each garbage collection visits these objects, for each of the tasks that wait."""
    app, gate, n = App(), asyncio.Event(), 200

    @app.function(max_containers=1)
    async def wait():
        await gate.wait()

    async def count():
        tasks = [asyncio.ensure_future(wait.remote.aio())]
        await asyncio.sleep(0)
        gc.collect()
        before = kinds()
        tasks += [asyncio.ensure_future(wait.remote.aio()) for _ in range(n)]
        await asyncio.sleep(0)
        gc.collect()
        made = {kind: round(count / n) for kind, count in (kinds() - before).items()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return made

    def kinds():
        return Counter(type(each).__name__ for each in gc.get_objects())

    with app.run(grace=0.2):
        made = asyncio.run(count())
    assert (made["AwaitedCall"], made["Input"], made["coroutine"]) == (1, 1, 1)
    ours = {"AsyncioWaiter", "WaitedCall", "Future", "method", "dict"}
    assert not [kind for kind in ours if made.get(kind)], made


def test_what_each_input_uses_of_a_pool_is_read_fast():
    """Beyond 30 attributes, CPython reads and writes each attribute more slowly."""
    app, double = make_app()
    with app.run():
        call = double.spawn(1)
        call.get()
        assert len(vars(call._pool)) <= 30


def test_spawn_and_get_call_few_functions():
    app = App()
    names, gate = [], threading.Event()

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=1)
    async def double(value):
        if value is None:
            await asyncio.to_thread(gate.wait)
            return None
        return 2 * value

    def note(frame, event, argument):
        if event == "call":
            names.append(frame.f_code.co_qualname)

    def least_calls(work):
        """The fewest calls of five rounds: a lock may be held, or a finalizer may run, in some."""
        found = []
        before = sys.getprofile()
        for _ in range(5):
            names.clear()
            sys.setprofile(note)
            result = work()
            sys.setprofile(before)
            found.append(len(names))
        return min(found), result

    with app.run():
        # All are queued: a grant calls some functions more.
        held = double.spawn(None)
        wait_until(lambda: double.statistics().running == 1)
        spawned, calls = least_calls(lambda: [double.spawn(value) for value in range(50)])
        gate.set()
        for call in [held, *calls]:
            call.get()  # there is nothing to wait for below
        read, _ = least_calls(lambda: [call.get() for call in calls])
    assert spawned <= 17.1 * 50, f"{spawned / 50} calls"
    assert read <= 3.1 * 50, f"{read / 50} calls"


# -- what is left behind ------------------------------------------------------------------


@pytest.mark.parametrize(
    "use",
    [
        lambda Model: Model().run.remote(1),
        lambda Model: Model(name="b").run.remote(1),
        lambda Model: Model().run.spawn(1).get(),
        lambda Model: list(Model().run.map([1, 2])),
        lambda Model: Model().run.local(1),
        lambda Model: Model().run.object_id,
        lambda Model: Model.with_options(timeout=10)().run.remote(1),
        lambda Model: Model.with_concurrency(max_inputs=2)(),
        lambda Model: Model().update_autoscaler(max_containers=2),
        lambda Model: Model().run.statistics(),
        lambda Model: moorage.Cls.from_name("costs", "Model")().run.remote(1),
    ],
)
def test_a_handle_leaves_no_cycle(use):
    app, Model = make_model()
    app.deploy(name="costs")
    try:
        assert garbage_of(lambda: use(Model)) < 1
    finally:
        app.stop()


@pytest.mark.parametrize(
    "use",
    [
        lambda double: double.remote(1),
        lambda double: double.spawn(1).get(),
        lambda double: FunctionCall.from_id(double.spawn(1).object_id).get(),
        lambda double: FunctionCall.gather(double.spawn(1), double.spawn(2)),
        lambda double: FunctionCall.from_id("fc-123"),
        lambda double: list(double.experimental_spawn_map([1, 2]).iter()),
        lambda double: list(double.map([1, 2])),
        lambda double: list(double.app.registered_functions["count"].remote_gen(2)),
        lambda double: double.with_options(timeout=10).remote(1),
        lambda double: double.with_concurrency(max_inputs=2),
        lambda double: moorage.Function.from_name("costs", "double").remote(1),
        lambda double: moorage.Function.from_id(double.object_id),
    ],
)
def test_a_function_leaves_no_cycle(use):
    app, double = make_app()
    app.deploy(name="costs")
    try:
        assert garbage_of(lambda: use(double)) < 1
    finally:
        app.stop()


def test_what_a_test_puts_in_the_place_of_a_way_to_call_is_called(monkeypatch):
    app, Model = make_model()
    _, double = make_app()
    model = Model()
    with monkeypatch.context() as patch:
        for function in (double, model.run):
            patch.setattr(function, "remote", lambda value: f"fake {value}")
        assert double.remote(1) == model.run.remote(1) == "fake 1"
    with unittest.mock.patch.object(model.run, "spawn") as fake:
        model.run.spawn(2)
        fake.assert_called_once_with(2)
    with app.run():
        assert model.run.remote(1) == 1


def test_names_that_were_looked_up_in_vain_are_not_kept():
    for number in range(500):
        function = moorage.Function.from_name(f"costs-{number}", "double")
        with pytest.raises(moorage.exception.NotFoundError):
            function.remote(1)
    assert len(deployments._named) <= 200


# -- limits -------------------------------------------------------------------------------


def limit_of(obj):
    return obj.run.autoscaler.settings().max_containers


def test_updated_limits_hold_for_who_names_the_same_values_again():
    app, Model = make_model()
    Model(name="x").update_autoscaler(max_containers=3)
    gc.collect()
    assert limit_of(Model(name="x")) == 3
    assert limit_of(Model(name="y")) == 1
    with app.run():
        assert Model(name="x").run.remote(1) == 1
        (pool,) = app._runs.run.pools.values()
        assert pool.options.limits.max_containers == 3


def test_updated_limits_of_very_many_values_are_kept_of_the_last_thousand():
    app, Model = make_model()
    for number in range(1200):
        Model(name=str(number)).update_autoscaler(max_containers=2)
    assert limit_of(Model(name="1199")) == 2
    assert limit_of(Model(name="0")) == 1
    assert len(app._runs.pool_keys._keys) < 1100


def test_updated_limits_go_with_an_argument_that_nobody_can_name_again():
    class Tenant:
        pass

    app = App()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")

        @app.cls(max_containers=1)
        class Model:
            def __init__(self, tenant, number):
                self.tenant = tenant

            @moorage.method()
            def run(self, value):
                return value

    tenant = Tenant()
    Model(tenant, 1).update_autoscaler(max_containers=2)
    assert limit_of(Model(tenant, 1)) == 2, "whoever has the argument can"
    assert limit_of(Model(tenant, 2)) == 1
    gone = weakref.ref(tenant)
    del tenant
    assert gone() is None


def test_equal_values_of_different_types_have_pools_of_their_own():
    app = App()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")

        @app.cls()
        class Model:
            def __init__(self, value):
                self.value = value

            @moorage.method()
            def run(self):
                return repr(self.value)

    with app.run():
        for value in (1, True, 1.0, 0.0, -0.0, (1,), (True,), frozenset({1}), frozenset({1.0})):
            assert Model(value).run.remote() == repr(value)
