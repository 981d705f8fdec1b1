"""What code in a container asks of its container: its concurrency, and to be left alone."""

import asyncio
import threading

import pytest

import moorage
from moorage import App
from moorage.exception import InvalidError, UnimplementedError
from moorage.experimental import (
    get_local_input_concurrency,
    set_local_input_concurrency,
    stop_fetching_inputs,
)
from moorage.runtime.clocks.virtual_clock import VirtualClock


@pytest.mark.parametrize(
    "use",
    [get_local_input_concurrency, lambda: set_local_input_concurrency(1), stop_fetching_inputs],
)
def test_outside_of_any_input_there_is_no_container(use):
    with pytest.raises(InvalidError, match="call it in a function of an app") as caught:
        use()
    assert isinstance(caught.value, (AssertionError, RuntimeError))  # as in Modal
    app = App()

    @app.cls()
    class Work:
        @moorage.enter()
        def enter(self):
            with pytest.raises(InvalidError, match="none runs here"):
                use()

        @moorage.method()
        def work(self):
            return "worked"

    assert Work().work.local() == "worked"
    with app.run():
        assert Work().work.remote() == "worked"


@pytest.mark.parametrize("way", ["sync", "async"])
def test_get_gives_the_limit_of_this_container(way):
    app = App()

    @app.function()
    @moorage.concurrent(max_inputs=7, target_inputs=3)
    def sync():
        return get_local_input_concurrency()

    @app.function()
    @moorage.concurrent(max_inputs=7)
    async def asynchronous():
        return get_local_input_concurrency()

    @app.function()
    def single():
        return get_local_input_concurrency()

    with app.run():
        assert (sync if way == "sync" else asynchronous).remote() == 7
        assert single.remote() == 1


@pytest.mark.parametrize(
    ("wanted", "got"), [(3, 3), (1, 1), (0, 1), (-5, 1), (7, 7), (8, 7), (1000, 7), (2.5, 2)]
)
def test_set_brings_a_number_beyond_the_bounds_within(wanted, got):
    app = App()

    @app.function()
    @moorage.concurrent(max_inputs=7)
    async def set_and_get():
        set_local_input_concurrency(wanted)
        return get_local_input_concurrency()

    with app.run():
        assert set_and_get.remote() == got
        (container,) = set_and_get.statistics().containers
        assert container.limit == got


@pytest.mark.parametrize(
    ("wanted", "advice"),
    [("4", 4), (None, 4), (float("nan"), 4), (float("inf"), 4), ("many", 4), ([7], 4)],
)
def test_set_refuses_what_is_no_number(wanted, advice):
    app = App()

    @app.function()
    @moorage.concurrent(max_inputs=7)
    async def set_and_get():
        set_local_input_concurrency(wanted)

    message = rf"write set_local_input_concurrency\({advice}\)"
    with app.run(), pytest.raises(moorage.exception.InvalidError, match=message):
        set_and_get.remote()


def make_nap(max_inputs, **options):
    app = App()

    @app.function(**options)
    @moorage.concurrent(max_inputs=max_inputs)
    async def nap(seconds, limit=None):
        if limit is not None:
            set_local_input_concurrency(limit)
        await asyncio.sleep(seconds)
        return get_local_input_concurrency()

    return app, nap


def test_a_lowered_limit_interrupts_nothing_and_holds_from_then_on():
    app, nap = make_nap(5, max_containers=1)
    with VirtualClock() as clock, app.run(clock=clock):
        first = [nap.spawn(10.0) for _ in range(4)]
        clock.sleep(1.0)
        last = nap.spawn(0.0, limit=2)
        clock.sleep(1.0)
        s = nap.statistics()
        assert (s.running, s.containers[0].limit) == (4, 2)
        assert last.get() == 5, "the larger of what may run and what runs"
        rest = [nap.spawn(10.0) for _ in range(4)]
        clock.sleep(1.0)
        assert nap.statistics().queued == 4
        assert sorted(call.get() for call in first) == [2, 2, 3, 4]
        assert clock.now() == 10.0
        clock.sleep(1.0)
        s = nap.statistics()
        assert (s.running, s.queued) == (2, 2)
        for call in rest:
            call.get()
        assert clock.now() == 30.0


def test_a_raised_limit_serves_what_waits_at_once():
    app, nap = make_nap(5, max_containers=1)
    with VirtualClock() as clock, app.run(clock=clock):
        nap.remote(0.0, limit=1)
        calls = [nap.spawn(10.0, limit=5), *[nap.spawn(10.0) for _ in range(4)]]
        for call in calls:
            call.get()
        assert clock.now() == 10.0


def test_the_limit_is_of_one_container_and_not_of_the_next():
    app, nap = make_nap(5, scaledown_window=5)
    with VirtualClock() as clock, app.run(clock=clock):
        nap.remote(0.0, limit=1)
        held = nap.spawn(10.0)
        clock.sleep(1.0)
        other = nap.spawn(10.0)
        clock.sleep(1.0)
        assert sorted(c.limit for c in nap.statistics().containers) == [1, 5], "it did not wait"
        for call in (held, other):
            call.get()
        clock.sleep(20.0)
        assert clock.now() == 31.0
        assert nap.statistics().containers == ()
        assert nap.remote(0.0) == 5, "a new container begins at its max_inputs"


def test_slots_that_may_not_be_used_count_as_demand_only_while_there_is_any():
    app, nap = make_nap(4, scaledown_window=5)
    with VirtualClock() as clock, app.run(clock=clock):
        calls = [*[nap.spawn(10.0) for _ in range(3)], nap.spawn(10.0, limit=1)]
        clock.sleep(1.0)
        assert len(nap.statistics().containers) == 1, "all four had their slots before"
        calls.append(nap.spawn(10.0))
        clock.sleep(1.0)
        assert len(nap.statistics().containers) == 2
        for call in calls:
            call.get()
        clock.sleep(10.0)
        assert nap.statistics().containers == (), "and all of them go when they are idle"


def test_each_of_many_at_once_sets_the_limit_and_none_is_lost(often_switching):
    app = App()

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=8)
    def churn(n):
        set_local_input_concurrency(1 + n % 8)
        return n

    with app.run():
        assert list(churn.map(range(400))) == list(range(400))
        s = churn.statistics()
        assert (s.succeeded, s.running, s.queued) == (400, 0, 0)
        assert s.peak_inputs <= 8


def make_leaving(**options):
    app, log = App(), []

    @app.cls(**options)
    @moorage.concurrent(max_inputs=3)
    class Work:
        @moorage.enter()
        def enter(self):
            log.append("enter")
            self.served = 0

        @moorage.method()
        async def work(self, seconds, leave=False):
            self.served += 1
            if leave:
                stop_fetching_inputs()
            await asyncio.sleep(seconds)
            return self.served

        @moorage.exit()
        def exit(self):
            log.append("exit")

    return app, Work(), log


def test_a_container_that_stops_fetching_drains_and_a_new_one_starts():
    app, obj, log = make_leaving()
    with VirtualClock() as clock, app.run(clock=clock):
        assert obj.work.remote(0.0) == 1
        calls = [obj.work.spawn(10.0), obj.work.spawn(5.0, leave=True)]
        clock.sleep(1.0)
        assert obj.work.remote(0.0) == 1, "served by a new one, though the other has a slot"
        assert log == ["enter", "enter"]
        assert calls[1].get() == 3
        assert log == ["enter", "enter"], "it still has an input"
        assert calls[0].get() == 3
        clock.sleep(0.0)
        assert log == ["enter", "enter", "exit"]
        assert obj.work.statistics().containers_started == 2
    assert log == ["enter", "enter", "exit", "exit"]


def test_a_container_that_stopped_fetching_is_not_taken_back():
    app, obj, log = make_leaving(max_containers=1)
    with VirtualClock() as clock, app.run(clock=clock):
        first = obj.work.spawn(10.0, leave=True)
        clock.sleep(1.0)
        rest = [obj.work.spawn(1.0) for _ in range(9)]
        assert sorted(call.get() for call in rest) == [3, 3, 3, 6, 6, 6, 9, 9, 9]
        assert clock.now() == 4.0, "a second one, though the first has not ended"
        assert first.get() == 1
        clock.sleep(0.0)
        assert log == ["enter", "enter", "exit"]
        obj.update_autoscaler(max_containers=3)
        calls = [obj.work.spawn(10.0, leave=True) for _ in range(2)]
        clock.sleep(1.0)
        obj.update_autoscaler(max_containers=1)
        obj.update_autoscaler(max_containers=3)
        assert obj.work.remote(0.0) == 1
        for call in calls:
            call.get()


def test_stop_fetching_by_several_inputs_at_once_and_again_is_harmless():
    app, obj, log = make_leaving()
    with VirtualClock() as clock, app.run(clock=clock):
        calls = [obj.work.spawn(5.0, leave=True) for _ in range(3)]
        for call in calls:
            call.get()
        clock.sleep(0.0)
        assert log.count("exit") >= 1
        assert obj.work.remote(0.0) == 1
    assert log.count("enter") == log.count("exit")


def test_threads_of_one_container_stop_fetching_at_once(often_switching):
    app = App()
    log = []

    @app.cls()
    @moorage.concurrent(max_inputs=4)
    class Work:
        @moorage.enter()
        def enter(self):
            log.append("enter")
            self.barrier = threading.Barrier(4)

        @moorage.method()
        def work(self, n):
            self.barrier.wait(30)
            stop_fetching_inputs()
            stop_fetching_inputs()
            return n

        @moorage.exit()
        def exit(self):
            log.append("exit")

    obj = Work()
    obj.update_autoscaler(max_containers=1)
    with app.run():
        for _ in range(10):
            assert list(obj.work.map(range(4))) == list(range(4))
    assert log.count("enter") == log.count("exit")
    assert log.count("enter") >= 10


def test_a_container_may_serve_one_input_each():
    app = App()
    served = []

    @app.cls(max_containers=1)
    class Once:
        @moorage.enter()
        def enter(self):
            served.append(0)

        @moorage.method()
        def work(self):
            served[-1] += 1
            stop_fetching_inputs()

    with app.run():
        for _ in range(10):
            Once().work.remote()
    assert served == [1] * 10, "no container was started that then had no work"


def test_no_container_starts_for_inputs_that_end_where_they_are():
    app, obj, log = make_leaving()
    with VirtualClock() as clock, app.run(clock=clock):
        calls = [obj.work.spawn(10.0), obj.work.spawn(5.0, leave=True)]
        clock.sleep(9.0)
        assert log == ["enter"]
        assert [call.get() for call in calls] == [2, 2]
        clock.sleep(1.0)
        assert log == ["enter", "exit"]


def test_minimum_containers_are_replaced_when_one_stops_fetching():
    app, obj, log = make_leaving(min_containers=1)
    with VirtualClock() as clock, app.run(clock=clock):
        clock.sleep(1.0)
        assert log == ["enter"]
        obj.work.remote(0.0, leave=True)
        clock.sleep(1.0)
        assert log.count("enter") - log.count("exit") == 1
        assert obj.work.remote(0.0) == 1


def test_what_outlives_its_input_may_ask_too():
    app = App()
    tasks = []

    @app.function(scaledown_window=100)
    async def leave_a_task():
        async def later():
            await asyncio.sleep(10)
            stop_fetching_inputs()
            return get_local_input_concurrency()

        tasks.append(asyncio.create_task(later()))

    with VirtualClock() as clock, app.run(clock=clock):
        leave_a_task.remote()
        clock.sleep(20.0)
        assert leave_a_task.statistics().containers == (), "it was idle, and so it is gone"
        assert tasks[0].done()


def test_what_is_of_the_cloud_says_what_there_is():
    for name, args in (
        ("get_cluster_info", ()),
        ("get_fabric_peers", ()),
        ("list_deployed_apps", ()),
        ("list_cluster_reservations", ()),
        ("get_app_lifecycle", ("ap-1",)),
        ("image_delete", ("im-1",)),
        ("flash_forward", (8000,)),
        ("flash_get_containers", ("a", "C")),
        ("server_forward", ()),
    ):
        with pytest.raises(UnimplementedError, match=f"{name}.*stop_fetching_inputs"):
            getattr(moorage.experimental, name)(*args)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        moorage.experimental.nonsense
