"""Options that change: with_options and its like, and the autoscaler at run time."""

import asyncio
import threading

import pytest

import moorage
from moorage import App, config
from moorage.exception import DeprecationError, InvalidError
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.runtime.containers.container import ContainerState
from moorage.runtime.pools.autoscaler import Limits
from moorage.runtime.pools.capacity import process_capacity


def make_app(clock=None, **options):
    app = App("test")

    @app.function(**options)
    async def nap(seconds=0.0):
        await asyncio.sleep(seconds)
        return seconds

    return app, nap


def ready(function):
    """The containers that take inputs; 0 without a pool."""
    s = function.statistics()
    return 0 if s is None else sum(c.state is ContainerState.READY for c in s.containers)


# -- what stands at the wrong place ----------------------------------------------------------


@pytest.mark.parametrize(
    ("write", "instead"),
    [
        (lambda f, o: App().function(target_inputs=4), r"@moorage\.concurrent\(.*@app\.function"),
        (lambda f, o: App().cls(target_inputs=4), r"@moorage\.concurrent\(.*below @app\.cls"),
        (lambda f, o: App().function(max_batch=4), r"@moorage\.batched\(.*@app\.function"),
        (lambda f, o: App().function(wait_ms=4), r"@moorage\.batched\(.*below @app\.function"),
        (lambda f, o: App().cls(max_batch_size=4), r"@moorage\.batched\(.*above a method of it"),
        (lambda f, o: moorage.method(max_inputs=4), r"@moorage\.concurrent\(.*on its class"),
        (lambda f, o: moorage.batched(max_inputs=4), r"@moorage\.concurrent\(.*beside it"),
        (lambda f, o: moorage.concurrent(wait_ms=4), r"@moorage\.batched\(.*beside it"),
        (lambda f, o: moorage.concurrent(max_containers=4), r"@app\.function\(max_containers="),
        (lambda f, o: moorage.batched(queue_timeout=4), r"@app\.function\(queue_timeout="),
        (lambda f, o: f.with_options(max_batch_size=4), r"\.with_batching\(max_batch_size=4"),
        (lambda f, o: f.with_options(wait_ms=4), r"\.with_batching\("),
        (lambda f, o: f.with_options(target_inputs=4), r"\.with_concurrency\("),
        (lambda f, o: f.with_options(max_inputs=4), r"\.with_concurrency\("),
        (lambda f, o: f.with_concurrency(max_inputs=2, wait_ms=4), r"\.with_batching\("),
        (lambda f, o: f.with_concurrency(max_containers=4), r"\.with_options\(max_containers="),
        (lambda f, o: f.with_batching(min_containers=4), r"\.update_autoscaler\(min_containers="),
        (lambda f, o: f.update_autoscaler(target_inputs=4), r"\.with_concurrency\("),
        (lambda f, o: f.autoscaler.update(max_inputs=4), r"\.with_concurrency\("),
        (lambda f, o: f.update_autoscaler(max_batch_size=4), r"\.with_batching\("),
        (lambda f, o: o.update_autoscaler(target_inputs=4), r"\.with_concurrency\("),
    ],
)
def test_a_keyword_of_another_place_is_told_where_it_belongs(write, instead):
    app, nap = make_app()

    @app.cls()
    class Work:
        @moorage.method()
        def work(self): ...

    with pytest.raises(TypeError, match=instead) as caught:
        write(nap, Work())
    assert "unexpected keyword" in str(caught.value)
    assert not str(caught.value).startswith("_")


def test_a_class_or_an_instance_is_told_what_its_methods_have():
    app = App()

    @app.cls()
    class Work:
        autoscaler = "mine"

        @moorage.method()
        def work(self): ...

        @property
        def statistics(self):
            return self.nothing_like_it

    assert Work().autoscaler == Work.autoscaler == "mine"
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = Work().statistics
    for owner in (Work, Work()):
        with pytest.raises(
            AttributeError, match=r"write Work\(\.\.\.\)\.work\.get_current_stats\(\)"
        ):
            owner.get_current_stats()
    with pytest.raises(AttributeError, match=r"write Work\.with_batching\(\.\.\.\)\(\)"):
        Work().with_batching(max_batch_size=1, wait_ms=1)
    with pytest.raises(AttributeError, match=r"write Work\(\.\.\.\)\.update_autoscaler\(\.\.\.\)"):
        Work.update_autoscaler(min_containers=1)


@pytest.mark.parametrize(
    ("write", "instead"),
    [
        (lambda app: moorage.batched(max_batch_size="4", wait_ms=5), "write max_batch_size=4"),
        (lambda app: moorage.batched(max_batch_size=4, wait_ms=None), "write wait_ms=0"),
        (lambda app: moorage.batched(max_batch_size=4, wait_ms=1e9), "write wait_ms=600000"),
        (lambda app: moorage.concurrent(max_inputs=2.5), "write max_inputs=2"),
        (lambda app: moorage.concurrent(max_inputs="many"), "write max_inputs=10"),
        (lambda app: app.function(min_containers=2.5), "write min_containers=2"),
        (lambda app: app.function(min_containers=-1), "from 0 up, got -1; write min_containers=0"),
        (lambda app: app.function(max_containers=-1), "from 1 up, got -1; write max_containers=1"),
        (lambda app: app.function(max_containers=0), "from 1 up, got 0; write max_containers=1"),
        (lambda app: app.function(buffer_containers="3"), "write buffer_containers=3"),
        (lambda app: app.function(scaledown_window="9999"), "write scaledown_window=3600"),
        (lambda app: app.function(timeout="10"), "write timeout=10"),
        (lambda app: app.function(timeout="long"), "write timeout=300"),
        (lambda app: app.function(max_backlog=2.5), "write max_backlog=2"),
    ],
)
def test_the_advice_keeps_the_number_that_came(write, instead):
    with pytest.raises((InvalidError, TypeError, ValueError), match=f"{instead}$"):
        write(App())


def test_a_window_with_a_fraction_is_shown_as_it_is():
    _, nap = make_app(scaledown_window=2.5)
    assert nap.autoscaler.settings().scaledown_window == 2.5
    with nap.app.run():
        assert nap.update_autoscaler(scaledown_window=3.5).scaledown_window == 3.5


# -- other options, other pools -----------------------------------------------------------


def test_a_variant_has_a_pool_of_its_own_and_leaves_the_function_alone():
    app, nap = make_app()
    varied = nap.with_options(timeout=10, max_containers=2)
    with app.run():
        assert varied.remote() == 0.0
        assert nap.statistics() is None
        assert nap.remote() == 0.0
        assert varied.statistics().accepted == nap.statistics().accepted == 1
    assert nap.autoscaler.settings().max_containers is None
    assert varied.autoscaler.settings().max_containers == 2


@pytest.mark.parametrize(
    "vary",
    [
        lambda f: f.with_options(timeout=10),
        lambda f: f.with_concurrency(max_inputs=5),
        lambda f: f.with_concurrency(max_inputs=5, target_inputs=2),
        lambda f: f.with_options(timeout=10).with_concurrency(max_inputs=5),
        lambda f: f.with_options(max_containers=3, scaledown_window=5).with_options(timeout=9),
    ],
)
def test_equal_options_share_a_pool(vary):
    app, nap = make_app()
    with app.run():
        vary(nap).remote()
        vary(nap).remote()
        assert vary(nap).statistics().accepted == 2
        assert vary(nap).statistics().containers_started == 1


def test_chained_options_add_up_and_their_order_does_not_matter():
    app, nap = make_app()
    one = nap.with_options(timeout=10).with_concurrency(max_inputs=5).with_options(max_containers=2)
    other = nap.with_concurrency(max_inputs=5).with_options(max_containers=2, timeout=10)
    with app.run():
        one.remote()
        s = other.statistics()
        assert (s.accepted, s.max_inputs, s.target_inputs) == (1, 5, 5)
        assert nap.with_options(timeout=10).statistics() is None


def test_the_last_of_the_same_option_counts_and_none_changes_nothing():
    app, nap = make_app(max_containers=7)
    changed = nap.with_options(max_containers=3).with_options(max_containers=4)
    assert changed.autoscaler.settings().max_containers == 4
    assert changed.with_options(max_containers=None).autoscaler.settings().max_containers == 4
    with app.run():
        nap.with_options().remote()
        assert nap.statistics().accepted == 1, "the same options, so the same pool"


def test_a_variants_timeout_is_its_own():
    app, nap = make_app(timeout=100)
    with VirtualClock() as clock, app.run(clock=clock):
        with pytest.raises(moorage.exception.FunctionTimeoutError, match="of 5 s"):
            nap.with_options(timeout=5).remote(50.0)
        assert clock.now() == 5.0
        assert nap.remote(50.0) == 50.0


def test_a_variants_concurrency_holds():
    app, nap = make_app()
    wide = nap.with_concurrency(max_inputs=4)
    with VirtualClock() as clock, app.run(clock=clock):
        list(wide.map([1.0] * 8))
        s = wide.statistics()
        assert s.peak_inputs == 4
        assert s.peak_containers == 2
        assert nap.with_concurrency(max_inputs=4, target_inputs=2).remote(0.0) == 0.0
        assert nap.with_concurrency(max_inputs=4, target_inputs=2).statistics().target_inputs == 2


def test_allow_concurrent_inputs_of_0_means_unset():
    _, nap = make_app()
    with pytest.warns(DeprecationError, match=r"write \.with_concurrency\(max_inputs=0\)"):
        varied = nap.with_options(allow_concurrent_inputs=0)
    with varied.app.run():
        varied.remote(0.0)
        assert varied.statistics().max_inputs == 1


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        (lambda f: f.with_options(min_containers=1), r"update_autoscaler\(min_containers"),
        (lambda f: f.with_options(colour=1), "unexpected keyword argument 'colour'"),
        (lambda f: f.with_options(timeout=-1), "timeout"),
        (lambda f: f.with_options(max_containers=-1), "max_containers"),
        (lambda f: f.with_options(scaledown_window=1), "from 2 to 3600"),
        (lambda f: f.with_concurrency(max_inputs=0), "max_inputs"),
        (lambda f: f.with_concurrency(max_inputs=2, target_inputs=3), "3 > 2"),
        (lambda f: f.with_concurrency(), "max_inputs"),
        (lambda f: f.with_batching(max_batch_size=0, wait_ms=1), "max_batch_size"),
        (lambda f: f.with_options(5), "takes keywords only, got 5"),
    ],
)
def test_options_that_cannot_be_are_refused_at_once(vary, message):
    _, nap = make_app()
    app = App()

    @app.cls()
    class Work:
        @moorage.method()
        def work(self): ...

    for registered in (nap, Work):
        with pytest.raises((InvalidError, TypeError, ValueError), match=message):
            vary(registered)


def test_a_variant_with_more_at_least_than_at_most_is_refused():
    _, nap = make_app(min_containers=3)
    with pytest.raises(InvalidError, match="3 > 2"):
        nap.with_options(max_containers=2)


def test_old_names_warn_and_work():
    app, nap = make_app()
    with pytest.warns(DeprecationError, match="max_containers=3"):
        varied = nap.with_options(concurrency_limit=3)
    assert varied.autoscaler.settings().max_containers == 3
    with pytest.warns(DeprecationError, match="concurrent"):
        wide = nap.with_options(allow_concurrent_inputs=6)
    with app.run():
        wide.remote()
        assert wide.statistics().max_inputs == 6


def test_local_runs_the_same_code_and_the_repr_says_what_was_changed():
    app = App()

    @app.function()
    def double(value):
        """Twice as much."""
        return 2 * value

    varied = double.with_options(timeout=3).with_concurrency(max_inputs=2)
    assert varied.local(2) == 4
    assert repr(varied) == "Function(double).with_options(...).with_concurrency(...)"
    assert varied.__doc__ == "Twice as much."
    assert varied.app is app
    with app.run():
        assert list(varied.map([1, 2])) == [2, 4]


def test_options_of_the_cloud_are_accepted_and_make_no_difference_to_results():
    app, nap = make_app()
    with app.run():
        assert nap.with_options(gpu="H100", cpu=2.0, memory=1024, region="eu").remote() == 0.0


def test_methods_have_their_options_from_their_class():
    app = App()

    @app.cls()
    class Work:
        @moorage.method()
        def work(self): ...

    for what, vary in (
        ("options", lambda m: m.with_options(timeout=3)),
        ("concurrency", lambda m: m.with_concurrency(max_inputs=3)),
        ("batching", lambda m: m.with_batching(max_batch_size=3, wait_ms=1)),
    ):
        with pytest.raises(InvalidError, match=rf"Work\.with_{what}\(\.\.\.\)\(\)"):
            vary(Work().work)


def test_a_class_variant_has_pools_of_its_own_for_each_parameter():
    app = App()
    entered = []

    @app.cls(max_containers=1)
    class Work:
        k: int = moorage.parameter(default=0)

        @moorage.enter()
        def enter(self):
            entered.append(self.k)

        @moorage.method()
        def work(self):
            return self.k

    wide = Work.with_concurrency(max_inputs=3)
    assert repr(wide) == "Work.with_concurrency(...)"
    assert repr(wide.with_options(timeout=4)) == "Work.with_concurrency(...).with_options(...)"
    with app.run():
        assert (Work(k=1).work.remote(), wide(k=1).work.remote()) == (1, 1)
        assert wide(k=2).work.remote() == 2
        assert entered == [1, 1, 2]
        again = Work.with_concurrency(max_inputs=3)(k=1)
        assert again.work.remote() == 1
        assert entered == [1, 1, 2]
        assert again.work.statistics().accepted == 2
        assert again.work.local() == 1
    assert Work().work.local() == 0


def test_with_batching_makes_a_batched_function_of_any():
    app = App()

    @app.function()
    def double(values):
        return [2 * value for value in values]

    @app.function()
    @moorage.batched(max_batch_size=4, wait_ms=10)
    def triple(values):
        return [3 * value for value in values]

    @app.cls()
    class Work:
        @moorage.method()
        async def double(self, values):
            return [2 * value for value in values]

    with app.run():
        batched = double.with_batching(max_batch_size=3, wait_ms=1)
        assert batched.remote(4) == 8
        assert double.remote([4]) == [8], "as it was"
        assert triple.with_batching(max_batch_size=2, wait_ms=0).remote(2) == 6
        assert triple.with_options(timeout=3).remote(2) == 6
        assert Work.with_batching(max_batch_size=2, wait_ms=0)().double.remote(2) == 4
        assert batched.local([1, 2]) == [2, 4]


# -- the autoscaler at run time -----------------------------------------------------------


def test_the_settings_are_those_of_the_options_or_the_defaults():
    _, nap = make_app()
    settings = nap.autoscaler.settings()
    assert (settings.min_containers, settings.max_containers) == (0, None)
    assert (settings.scaledown_window, settings.buffer_containers) == (None, 0)
    _, nap = make_app(min_containers=1, max_containers=5, buffer_containers=2, scaledown_window=30)
    settings = nap.autoscaler.settings()
    assert (settings.min_containers, settings.max_containers) == (1, 5)
    assert (settings.scaledown_window, settings.buffer_containers) == (30, 2)


def test_raising_the_minimum_starts_containers_and_lowering_it_lets_them_go(run_async):
    app, nap = make_app(scaledown_window=10)
    with VirtualClock() as clock, app.run(clock=clock):
        assert nap.statistics() is None
        assert nap.update_autoscaler(min_containers=3).min_containers == 3
        clock.sleep(1.0)
        assert ready(nap) == 3
        run_async(lambda: nap.update_autoscaler.aio(min_containers=5))
        clock.sleep(1.0)
        assert ready(nap) == 5
        clock.sleep(100.0)
        assert ready(nap) == 5, "kept beyond their window"
        nap.update_autoscaler(min_containers=1)
        clock.sleep(0.0)
        assert ready(nap) == 1, "the others were idle for long"
        nap.update_autoscaler(min_containers=0)
        clock.sleep(1.0)
        assert nap.statistics().containers == (), "the pool is dropped"


def test_lowering_the_maximum_stops_idle_containers_at_once():
    app, nap = make_app(scaledown_window=100)
    with VirtualClock() as clock, app.run(clock=clock):
        list(nap.map([1.0] * 6))
        assert ready(nap) == 6
        nap.update_autoscaler(max_containers=2)
        clock.sleep(0.0)
        assert ready(nap) == 2
        list(nap.map([1.0] * 6))
        assert ready(nap) == 2
        assert clock.now() == 4.0


def test_lowering_the_maximum_drains_busy_containers_even_while_inputs_wait():
    app, nap = make_app()
    with VirtualClock() as clock, app.run(clock=clock):
        first = [nap.spawn(10.0) for _ in range(4)]
        clock.sleep(5.0)
        assert ready(nap) == 4
        nap.update_autoscaler(max_containers=1)
        rest = [nap.spawn(10.0) for _ in range(3)]
        assert ready(nap) == 1
        assert nap.statistics().running == 4, "what runs is not interrupted"
        for call in first:
            call.get()
        assert clock.now() == 10.0
        clock.sleep(1.0)
        s = nap.statistics()
        assert (s.running, s.queued, len(s.containers)) == (1, 2, 1)
        for call in rest:
            call.get()
        assert clock.now() == 40.0, "one after the other"


def test_a_maximum_lowered_and_raised_again_takes_back_what_drains():
    app, nap = make_app()
    with VirtualClock() as clock, app.run(clock=clock):
        calls = [nap.spawn(10.0) for _ in range(4)]
        clock.sleep(5.0)
        nap.update_autoscaler(max_containers=1)
        assert ready(nap) == 1
        nap.update_autoscaler(max_containers=4)
        assert ready(nap) == 4
        calls += [nap.spawn(10.0) for _ in range(4)]
        for call in calls:
            call.get()
        assert clock.now() == 20.0
        assert nap.statistics().containers_started == 4


def test_raising_the_maximum_serves_what_waits():
    app, nap = make_app(max_containers=1)
    with VirtualClock() as clock, app.run(clock=clock):
        calls = [nap.spawn(10.0) for _ in range(4)]
        clock.sleep(5.0)
        assert nap.statistics().queued == 3
        nap.update_autoscaler(max_containers=4)
        for call in calls:
            call.get()
        assert clock.now() == 15.0


def test_a_maximum_below_what_starts_cancels_starts():
    app = App()

    @app.cls()
    class Slow:
        @moorage.enter()
        async def enter(self):
            await asyncio.sleep(10)

        @moorage.method()
        async def work(self):
            await asyncio.sleep(1)

    with VirtualClock() as clock, app.run(clock=clock):
        obj = Slow()
        calls = [obj.work.spawn() for _ in range(4)]
        clock.sleep(5.0)
        obj.update_autoscaler(max_containers=1)
        for call in calls:
            call.get()
        assert clock.now() == 14.0
        assert obj.work.statistics().containers_started == 1


def test_a_changed_window_takes_effect_on_containers_that_are_idle_already():
    app, nap = make_app(scaledown_window=100)
    with VirtualClock() as clock, app.run(clock=clock):
        nap.remote(0.0)
        clock.sleep(20.0)
        nap.update_autoscaler(scaledown_window=30)
        clock.sleep(9.0)
        assert ready(nap) == 1
        clock.sleep(2.0)
        assert nap.statistics().containers == ()
        nap.remote(0.0)
        clock.sleep(10.0)
        nap.update_autoscaler(scaledown_window=5)
        clock.sleep(0.0)
        assert nap.statistics().containers == (), "its window has passed already"
        nap.remote(0.0)
        nap.update_autoscaler(scaledown_window=50)
        clock.sleep(49.0)
        assert ready(nap) == 1
        clock.sleep(2.0)
        assert nap.statistics().containers == ()


def test_buffer_containers_changed_under_load():
    app, nap = make_app()
    with VirtualClock() as clock, app.run(clock=clock):
        call = nap.spawn(100.0)
        clock.sleep(1.0)
        assert ready(nap) == 1
        nap.update_autoscaler(buffer_containers=2)
        clock.sleep(1.0)
        assert ready(nap) == 3
        call.cancel()


def test_none_and_minus_one(run_async):
    _, nap = make_app(min_containers=1, max_containers=5, buffer_containers=2, scaledown_window=30)
    nap.update_autoscaler(max_containers=6)
    unchanged = nap.update_autoscaler()
    assert unchanged == nap.autoscaler.settings()
    assert (unchanged.min_containers, unchanged.max_containers) == (1, 6)
    # None changes nothing in update_autoscaler, and unsets in autoscaler.update.
    assert nap.update_autoscaler(max_containers=None).max_containers == 6
    assert nap.autoscaler.update() == unchanged
    assert nap.autoscaler.update(max_containers=-1) == unchanged
    unset = nap.autoscaler.update(
        min_containers=None, max_containers=None, buffer_containers=None, scaledown_window=None
    )
    assert (unset.min_containers, unset.max_containers) == (0, None)
    assert (unset.scaledown_window, unset.buffer_containers) == (None, 0)
    run_async(lambda: nap.autoscaler.update.aio(scaledown_window=10))
    assert run_async(nap.autoscaler.settings.aio).scaledown_window == 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"min_containers": -2}, "min_containers"),
        ({"max_containers": 0}, "max_containers"),
        ({"scaledown_window": 1}, "scaledown_window"),
        ({"scaledown_window": 3601}, "scaledown_window"),
        ({"min_containers": 2.5}, "min_containers"),
        ({"min_containers": True}, "min_containers"),
        ({"min_containers": 4, "max_containers": 3}, "4 > 3"),
        ({"min_containers": 9}, "9 > 8"),
    ],
)
def test_bounds_that_cannot_be_change_nothing(changes, message):
    _, nap = make_app(max_containers=8)
    before = nap.autoscaler.settings()
    with pytest.raises((InvalidError, TypeError, ValueError), match=message):
        nap.update_autoscaler(**changes)
    assert nap.autoscaler.settings() == before


def test_a_container_that_stops_before_it_was_ready_is_in_no_peak():
    app, may_load = App(), threading.Event()

    @app.cls(max_containers=2)
    class Slow:
        @moorage.enter()
        def load(self):
            assert may_load.wait(60)

        @moorage.method()
        def run(self):
            return "ran"

    with app.run():
        try:
            Slow().update_autoscaler(min_containers=2)
            Slow().update_autoscaler(min_containers=1, max_containers=1)
            Slow().update_autoscaler(min_containers=2, max_containers=2)
            starting = [one.state for one in Slow().run.statistics().containers]
            assert sorted(state.value for state in starting) == ["starting", "starting", "stopping"]
        finally:
            may_load.set()
        assert Slow().run.remote() == "ran"
        assert Slow().run.statistics().peak_containers == 2


def test_changes_are_kept_for_later_pools_and_runs():
    app, nap = make_app()
    nap.update_autoscaler(max_containers=2)
    for _ in range(2):
        with VirtualClock() as clock, app.run(clock=clock):
            list(nap.map([1.0] * 4))
            assert clock.now() == 2.0
            assert nap.statistics().peak_containers == 2
    nap.update_autoscaler(min_containers=1)
    with VirtualClock() as clock, app.run(clock=clock):
        clock.sleep(1.0)
        assert ready(nap) == 1


def test_a_variant_has_bounds_of_its_own():
    _app, nap = make_app()
    varied = nap.with_options(timeout=5)
    varied.update_autoscaler(max_containers=2)
    assert nap.autoscaler.settings().max_containers is None
    assert nap.with_options(timeout=5).autoscaler.settings().max_containers == 2
    assert nap.with_options(timeout=6).autoscaler.settings().max_containers is None


def test_instances_have_bounds_of_their_own_and_methods_none(run_async):
    app = App()

    @app.cls(scaledown_window=20)
    class Work:
        k: int = moorage.parameter(default=0)

        @moorage.method()
        async def work(self): ...

    with VirtualClock() as clock, app.run(clock=clock):
        one = Work(k=1)
        assert one.update_autoscaler(min_containers=2, max_containers=4).min_containers == 2
        clock.sleep(1.0)
        assert ready(Work(k=1).work) == 2
        assert Work(k=2).work.statistics() is None
        settings = run_async(lambda: Work(k=1).update_autoscaler.aio(buffer_containers=1))
        assert (settings.min_containers, settings.max_containers) == (2, 4)
        with pytest.raises(InvalidError, match=r"obj\.update_autoscaler"):
            one.work.update_autoscaler(min_containers=1)


# -- races --------------------------------------------------------------------------------


def test_of_many_updates_at_once_none_is_lost(in_threads, often_switching):
    app, nap = make_app()
    with app.run():
        nap.remote()
        for n in range(2, 30):
            updates = [
                {"max_containers": n},
                {"scaledown_window": n},
                {"buffer_containers": n % 2},
            ]
            for thread in [in_threads(lambda u=u: nap.update_autoscaler(**u)) for u in updates]:
                thread.result()
            settings = nap.autoscaler.settings()
            assert (settings.max_containers, settings.scaledown_window) == (n, n)
            limits = app._runs.run.find(nap._service.key).options.limits
            assert limits == Limits(1, 1, 0, n, n % 2, n), "the pool has what the settings say"


def test_bounds_changed_while_inputs_arrive(in_threads, often_switching):
    app, nap = make_app()
    stop = threading.Event()

    def call():
        count = 0
        while not stop.is_set():
            assert nap.remote() == 0.0
            count += 1
        return count

    with app.run():
        callers = [in_threads(call) for _ in range(4)]
        for n in range(60):
            nap.update_autoscaler(max_containers=1 + n % 4)
        nap.update_autoscaler(max_containers=1)
        stop.set()
        total = sum(caller.result() for caller in callers)
        s = nap.statistics()
        assert (s.accepted, s.succeeded, s.queued, s.running) == (total, total, 0, 0)
        assert ready(nap) <= 1


def test_bounds_changed_while_the_pool_is_dropped_and_made(in_threads, often_switching):
    app, nap = make_app()
    with app.run():
        for _ in range(30):
            # At 0 and idle beyond its window the pool goes, at 1 there must be one.
            nap.update_autoscaler(min_containers=1)
            changing = [
                in_threads(lambda: nap.update_autoscaler(min_containers=0)),
                in_threads(nap.remote),
            ]
            for each in changing:
                each.result()
            nap.update_autoscaler(min_containers=1)
            s = nap.statistics()
            assert s is not None
            assert [c for c in s.containers if c.state.value in ("starting", "ready")]
        nap.update_autoscaler(min_containers=0)


def test_bounds_changed_while_the_run_is_left(in_threads, often_switching):
    app, nap = make_app()
    stop = threading.Event()

    def change():
        n = 0
        while not stop.is_set():
            n += 1
            nap.update_autoscaler(min_containers=n % 3)

    changing = in_threads(change)
    for _ in range(20):
        with app.run():
            nap.remote()
    stop.set()
    changing.result()
    nap.update_autoscaler(min_containers=0)
    assert process_capacity.statistics().containers == 0


# -- counts -------------------------------------------------------------------------------


def test_the_current_stats_are_exact(run_async):
    app = App()
    gate, begun = threading.Event(), threading.Semaphore(0)

    @app.function(max_containers=2)
    @moorage.concurrent(max_inputs=3)
    def hold(value):
        begun.release()
        assert gate.wait(30)

    def stats():
        s = hold.get_current_stats()
        assert run_async(hold.get_current_stats.aio) == s
        return s.backlog, s.num_total_runners, s.num_running_inputs, s.input_headroom

    assert stats() == (0, 0, 0, 0), "outside of a run"
    with app.run():
        assert stats() == (0, 0, 0, 0)
        calls = [hold.spawn(n) for n in range(2)]
        for _ in range(2):
            assert begun.acquire(timeout=30)
        assert stats() == (0, 1, 2, 1)
        calls += [hold.spawn(n) for n in range(6)]
        for _ in range(4):
            assert begun.acquire(timeout=30)
        assert stats() == (2, 2, 6, 0)
        gate.set()
        for call in calls:
            call.get()
        assert stats() == (0, 2, 0, 6)
    assert stats() == (0, 0, 0, 0)


def test_the_current_stats_of_a_method_are_those_of_its_instance():
    app = App()

    @app.cls()
    class Work:
        k: int = moorage.parameter(default=0)

        @moorage.method()
        def one(self): ...

        @moorage.method()
        def two(self): ...

    with app.run():
        Work(k=1).one.remote()
        assert Work(k=1).two.get_current_stats().num_total_runners == 1
        assert Work(k=2).two.get_current_stats().num_total_runners == 0


def test_in_strict_mode_the_app_must_run(monkeypatch):
    monkeypatch.setattr(config, "strict", True)
    app = App()

    @app.function(serialized=True)
    def work(): ...

    for use in (
        work.get_current_stats,
        work.autoscaler.settings,
        lambda: work.update_autoscaler(min_containers=1),
    ):
        with pytest.raises(moorage.exception.ExecutionError, match="does not run"):
            use()
    with app.run():
        assert work.update_autoscaler(max_containers=1).max_containers == 1
