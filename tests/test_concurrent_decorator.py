"""concurrent: where it may stand, what it refuses, and what it promises."""

import asyncio
import threading

import pytest

import moorage
from moorage import App
from moorage.exception import InvalidError
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.testing import FakeContainer, FakeStatistics


def test_concurrent_below_function_takes_effect():
    app = App()

    @app.function()
    @moorage.concurrent(max_inputs=4, target_inputs=2)
    def work():
        return None

    with app.run():
        work.remote()
        [container] = work.statistics().containers
        assert (container.limit, container.target) == (4, 2)


def test_target_inputs_is_max_inputs_unless_said():
    app = App()

    @app.function()
    @moorage.concurrent(max_inputs=3)
    async def work():
        return None

    with app.run():
        work.remote()
        [container] = work.statistics().containers
        assert (container.limit, container.target) == (3, 3)


def test_without_concurrent_a_container_has_one_slot():
    app = App()

    @app.function()
    async def work():
        return None

    with app.run():
        work.remote()
        [container] = work.statistics().containers
        assert (container.limit, container.target) == (1, 1)


def test_concurrent_above_function_is_refused_with_the_advice_to_swap():
    app = App()
    with pytest.raises(InvalidError, match=r"above.*swap the two.*@app\.function\(\)"):

        @moorage.concurrent(max_inputs=4)
        @app.function()
        def work():
            return None


def test_concurrent_above_cls_is_refused_with_the_advice_to_swap():
    app = App()
    with pytest.raises(InvalidError, match=r"above.*swap the two"):

        @moorage.concurrent(max_inputs=4)
        @app.cls()
        class Work:
            @moorage.method()
            def run(self):
                return None


def test_concurrent_on_a_method_is_refused_below_method():
    app = App()
    with pytest.raises(InvalidError, match=r"the method Work\.run.*on the class Work"):

        @app.cls()
        class Work:
            @moorage.method()
            @moorage.concurrent(max_inputs=4)
            def run(self):
                return None


def test_concurrent_on_a_method_is_refused_above_method():
    app = App()
    with pytest.raises(InvalidError, match=r"the method Work\.run.*on the class Work"):

        @app.cls()
        class Work:
            @moorage.concurrent(max_inputs=4)
            @moorage.method()
            def run(self):
                return None


def test_concurrent_on_an_undecorated_method_is_refused():
    app = App()
    with pytest.raises(InvalidError, match=r"the method Work\.run.*on the class Work"):

        @app.cls()
        class Work:
            @moorage.concurrent(max_inputs=4)
            def run(self):
                return None


def test_concurrent_on_an_inherited_method_is_refused():
    app = App()

    class Base:
        @moorage.method()
        @moorage.concurrent(max_inputs=4)
        def run(self):
            return None

    with pytest.raises(InvalidError, match=r"the method Work\.run.*on the class Work"):

        @app.cls()
        class Work(Base):
            pass


def test_concurrent_on_a_class_is_shared_by_its_methods():
    app = App()

    @app.cls(max_containers=1)
    @moorage.concurrent(max_inputs=3)
    class Work:
        @moorage.method()
        def one(self):
            return 1

        @moorage.method()
        def two(self):
            return 2

    with app.run():
        work = Work()
        assert (work.one.remote(), work.two.remote()) == (1, 2)
        statistics = work.one.statistics()
        assert statistics == work.two.statistics()
        assert statistics.containers_started == 1
        assert statistics.containers[0].limit == 3


def test_target_above_max_is_refused():
    with pytest.raises(InvalidError, match=r"must not exceed max_inputs, got 8 > 4"):
        moorage.concurrent(max_inputs=4, target_inputs=8)


@pytest.mark.parametrize("count", [0, -1, 1.5, "4", True])
def test_counts_that_are_no_counts_are_refused(count):
    with pytest.raises((InvalidError, TypeError), match="max_inputs"):
        moorage.concurrent(max_inputs=count)


def test_what_never_got_max_inputs_is_refused_by_the_app():
    app = App()
    with pytest.raises(TypeError, match=r"needs max_inputs, got none; write"):

        @app.function()
        @moorage.concurrent(target_inputs=3)
        def work():
            return None


@pytest.mark.parametrize("count", [0, -1, 1.5, "4", True])
def test_targets_that_are_no_counts_are_refused(count):
    with pytest.raises(InvalidError, match="target_inputs"):
        moorage.concurrent(max_inputs=4, target_inputs=count)


@pytest.mark.parametrize("error", [InvalidError, TypeError])
@pytest.mark.parametrize(
    "decorator", [moorage.concurrent, moorage.method, moorage.enter, moorage.exit]
)
def test_a_bare_decorator_is_refused_with_both_errors(error, decorator):
    with pytest.raises(error, match="parentheses"):

        @decorator
        def work(self):
            return None


def test_a_positional_count_is_refused():
    with pytest.raises(InvalidError, match=r"got 10.*max_inputs=10"):
        moorage.concurrent(10)


def test_concurrent_twice_is_refused():
    with pytest.raises(InvalidError, match="twice"):

        @moorage.concurrent(max_inputs=2)
        @moorage.concurrent(max_inputs=4)
        def work():
            return None


def test_calling_what_is_only_marked_is_refused_with_advice():
    @moorage.concurrent(max_inputs=2)
    def work():
        return None

    with pytest.raises(InvalidError, match=r"work.*@app\.function\(\)"):
        work()


def test_a_method_is_refused_by_app_function():
    app = App()

    @moorage.method()
    def work(self):
        return None

    with pytest.raises(InvalidError, match=r"app\.cls\(\)"):
        app.function()(work)


@pytest.mark.parametrize("name", ["function", "cls"])
def test_an_app_decorator_without_parentheses_is_refused(name):
    app = App()
    with pytest.raises(InvalidError, match=rf"app\.{name} was written without its parentheses"):
        getattr(app, name)(lambda: None)


def test_function_refuses_a_class_and_cls_a_function():
    app = App()

    class Work:
        pass

    with pytest.raises(InvalidError, match=r"@app\.cls\(\)"):
        app.function()(Work)
    with pytest.raises(InvalidError, match=r"@app\.function\(\)"):
        app.cls()(lambda: None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout": 0}, "timeout must be a number above 0"),
        ({"timeout": "5"}, "timeout must be a number"),
        ({"min_containers": -1}, "min_containers must be a number from 0"),
        ({"max_containers": 0}, "max_containers must be a number from 1"),
        ({"buffer_containers": -1}, "buffer_containers"),
        ({"scaledown_window": 0}, "scaledown_window must be from 2 to 3600 seconds, got 0"),
        ({"min_containers": 3, "max_containers": 2}, r"must not exceed max_containers, got 3 > 2"),
    ],
)
def test_options_are_checked_when_decorating(options, message):
    app = App()
    with pytest.raises(InvalidError, match=message):
        app.function(**options)
    with pytest.raises(InvalidError, match=message):
        app.cls(**options)


# -- what it promises ---------------------------------------------------------------


class Gauge:
    """Counts what runs at once."""

    def __init__(self):
        self._lock = threading.Lock()
        self.now = 0
        self.peak = 0

    def __enter__(self):
        with self._lock:
            self.now += 1
            self.peak = max(self.peak, self.now)

    def __exit__(self, *_):
        with self._lock:
            self.now -= 1


def test_sync_and_async_inputs_share_the_slots_exactly():
    app = App()
    gauge = Gauge()

    @app.cls(max_containers=1)
    @moorage.concurrent(max_inputs=4)
    class Work:
        @moorage.method()
        def block(self):
            with gauge:
                clock.sleep(1)
            return threading.current_thread()

        @moorage.method()
        async def nap(self):
            with gauge:
                await asyncio.sleep(1)
            return threading.current_thread()

    with VirtualClock() as clock, app.run(clock=clock):
        work = Work()
        calls = [(work.block if n % 2 else work.nap).spawn() for n in range(20)]
        threads = [call.get() for call in calls]
        assert clock.now() == 5, "20 inputs of 1 s, 4 at a time"
        assert gauge.peak == 4
        assert work.nap.statistics().peak_inputs == 4
        on_loop, workers = set(threads[::2]), set(threads[1::2])
        assert len(on_loop) == 1
        assert len(workers) <= 4
        assert not on_loop & workers, "no sync input on a thread with a running loop"


def test_a_capped_pool_bursts_to_max_inputs():
    app = App()
    gauge = Gauge()

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=4, target_inputs=2)
    async def nap():
        with gauge:
            await asyncio.sleep(1)

    with VirtualClock() as clock, app.run(clock=clock):
        calls = [nap.spawn() for _ in range(8)]
        for call in calls:
            call.get()
        assert gauge.peak == 4
        assert clock.now() == 2
        assert nap.statistics().peak_containers == 1


def test_containers_are_filled_to_the_target_while_one_is_below_it():
    app = App()

    @app.function(min_containers=2, max_containers=2)
    @moorage.concurrent(max_inputs=4, target_inputs=2)
    async def nap():
        await asyncio.sleep(10)

    def running():
        return [container.running for container in nap.statistics().containers]

    with VirtualClock() as clock, app.run(clock=clock):
        clock.sleep(1)  # both are warm
        calls, seen = [], []
        for _ in range(8):
            calls.append(nap.spawn())
            seen.append(sorted(running()))
        # To the target one after the other, then a burst that spreads.
        assert seen == [[0, 1], [0, 2], [1, 2], [2, 2], [2, 3], [3, 3], [3, 4], [4, 4]]
        for call in calls:
            call.get()


def test_max_containers_is_never_exceeded():
    app = App()
    gauge = Gauge()

    @app.function(max_containers=3)
    def work():
        with gauge:
            clock.sleep(1)

    with VirtualClock() as clock, app.run(clock=clock):
        calls = [work.spawn() for _ in range(12)]
        for call in calls:
            call.get()
        assert gauge.peak == 3
        assert work.statistics().peak_containers == 3
        assert clock.now() == 4


def test_sync_inputs_run_on_at_most_max_inputs_threads():
    clock, threads = VirtualClock(), set()

    @moorage.concurrent(max_inputs=3)
    def work(_):
        threads.add(threading.current_thread())
        clock.sleep(1)

    with FakeContainer(work, clock=clock) as container:
        list(container.map([None] * 12))
        assert clock.now() == 4
        assert container.statistics() == FakeStatistics(finished=12, peak=3, limit=3)
    assert len(threads) <= 3


def test_the_limit_holds_under_threads_that_all_submit(often_switching, in_threads):
    app = App()
    gauge = Gauge()

    @app.function(max_containers=2, scaledown_window=60)
    @moorage.concurrent(max_inputs=3)
    def work(value):
        with gauge:
            return value

    with app.run():

        def submit(first):
            return [work.remote(value) for value in range(first, first + 50)]

        threads = [in_threads(submit, 100 * n) for n in range(8)]
        for n, thread in enumerate(threads):
            assert thread.result() == list(range(100 * n, 100 * n + 50))
        statistics = work.statistics()
        assert statistics.succeeded == 400
        assert statistics.running == 0
        assert statistics.peak_inputs <= 3
        assert statistics.peak_containers <= 2
    assert gauge.peak <= 6
