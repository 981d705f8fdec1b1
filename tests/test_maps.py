"""Maps: order, errors, laziness, the window, and how sources are read."""

import asyncio
import contextvars
import itertools
import threading

import pytest

import moorage
from moorage import App
from moorage.calling.maps import MapCall
from moorage.exception import AsyncUsageWarning, InputCancelledError, InvalidError
from moorage.functions import WINDOW
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.runtime.pools.pool import Pool


def make_app():
    app = App()

    @app.function()
    @moorage.concurrent(max_inputs=10)
    async def double(value):
        await asyncio.sleep(0)
        return 2 * value

    return app, double


async def collect(results):
    return [result async for result in results]


@pytest.mark.parametrize(
    "source",
    [range(50), list(range(50)), (n for n in range(50)), iter(range(50)), dict.fromkeys(range(50))],
    ids=["range", "list", "generator", "iterator", "dict"],
)
def test_map_gives_results_in_the_order_of_the_inputs(source):
    app, double = make_app()
    with app.run():
        assert list(double.map(source)) == list(range(0, 100, 2))


def test_map_over_several_iterables_ends_with_the_shortest():
    app = App()

    @app.function()
    def add(a, b, c=0):
        return a + b + c

    with app.run():
        assert list(add.map([1, 2, 3], [10, 20])) == [11, 22]
        assert list(add.map(itertools.count(), (5, 6), kwargs={"c": 100})) == [105, 107]


def test_map_of_nothing_gives_nothing():
    app, double = make_app()
    with app.run():
        assert list(double.map([])) == []
        assert list(double.map(iter(()))) == []


def test_map_aio_from_any_loop(run_async):
    app, double = make_app()

    async def main():
        return (
            await collect(double.map.aio(range(20))),
            await collect(double.map.aio(n for n in range(20))),
        )

    with app.run():
        assert run_async(main) == (list(range(0, 40, 2)), list(range(0, 40, 2)))


def test_map_aio_reads_asynchronous_sources(run_async):
    app, double = make_app()
    events = []

    async def source():
        try:
            for n in range(20):
                events.append(n)
                yield n
        finally:
            events.append("closed")

    async def main():
        assert events == []
        return await collect(double.map.aio(source()))

    with app.run():
        assert run_async(main) == list(range(0, 40, 2))
    assert events == [*range(20), "closed"]


def test_map_aio_closes_an_asynchronous_source_that_another_one_outlasts(run_async):
    app = App()
    events = []

    @app.function()
    def add(a, b):
        return a + b

    async def source():
        try:
            for n in itertools.count():
                yield n
        finally:
            events.append("closed")

    async def main():
        results = await collect(add.map.aio(source(), [10, 20]))
        return results, list(events)

    with app.run():
        assert run_async(main) == ([10, 21], ["closed"])


def test_an_error_of_an_asynchronous_source_comes_after_the_results(run_async):
    app, double = make_app()

    async def source():
        yield 1
        yield 2
        raise LookupError("no more")

    async def main():
        results = double.map.aio(source())
        got = [await anext(results), await anext(results)]
        with pytest.raises(LookupError, match="no more"):
            await anext(results)
        return got

    with app.run():
        assert run_async(main) == [2, 4]


def test_an_error_of_a_source_comes_after_the_results():
    app, double = make_app()

    def source():
        yield 1
        yield 2
        raise LookupError("no more")

    with app.run():
        results = double.map(source())
        assert [next(results), next(results)] == [2, 4]
        with pytest.raises(LookupError, match="no more"):
            next(results)


def test_unordered_results_come_as_they_end():
    app = App()

    @app.function()
    @moorage.concurrent(max_inputs=3)
    async def nap(seconds):
        await asyncio.sleep(seconds)
        return seconds

    with VirtualClock() as clock, app.run(clock=clock):
        assert list(nap.map([3, 1, 2], order_outputs=False)) == [1, 2, 3]
        assert list(nap.map([3, 1, 2])) == [3, 1, 2]


def test_the_first_result_is_not_held_back_for_the_second():
    app = App()

    @app.function()
    @moorage.concurrent(max_inputs=2)
    async def nap(seconds):
        await asyncio.sleep(seconds)
        return seconds

    with VirtualClock() as clock, app.run(clock=clock):
        results = nap.map([1, 5])
        assert next(results) == 1
        assert clock.now() == 1
        assert next(results) == 5
        assert clock.now() == 5
        assert list(results) == []


def test_map_return_exceptions_gives_errors_as_results():
    app = App()

    @app.function()
    @moorage.concurrent(max_inputs=4)
    def invert(value):
        return 1 / value

    with app.run():
        one, error, half = invert.map([1, 0, 2], return_exceptions=True)
        assert (one, half) == (1, 0.5)
        assert isinstance(error, ZeroDivisionError)


def test_map_first_error_cancels_what_has_not_started():
    app = App()
    ran = []
    fail, go_on = threading.Event(), threading.Event()

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=2)
    def work(value):
        ran.append(value)
        if value == 0:
            assert fail.wait(30)
            raise LookupError(value)
        fail.set()  # both slots run
        assert go_on.wait(30)
        return value

    with app.run():
        results = work.map(range(50), order_outputs=False)
        with pytest.raises(LookupError):
            next(results)
        statistics = work.statistics()
        assert statistics.queued == 0
        assert statistics.running == 2
        assert statistics.cancelled == statistics.accepted - statistics.failed - 2
        go_on.set()
        assert list(results) == []
    assert len(ran) < 50


def test_map_is_lazy_until_its_first_step():
    app, double = make_app()
    read = []

    def source():
        for n in range(3):
            read.append(n)
            yield n

    with app.run():
        results = double.map(source())
        assert read == []
        assert double.statistics() is None
        assert next(results) == 0
        assert list(results) == [2, 4]


def test_a_map_that_was_never_stepped_does_nothing():
    app, double = make_app()
    with app.run():
        results = double.map(itertools.count())
        results.close()
        del results
        assert double.statistics() is None


def test_an_endless_source_may_be_left_early():
    app, double = make_app()
    closed = threading.Event()

    def source():
        try:
            yield from itertools.count()
        finally:
            closed.set()

    with app.run():
        results = double.map(source())
        assert [next(results) for _ in range(5)] == [0, 2, 4, 6, 8]
        results.close()
        assert closed.wait(10)
        assert list(results) == []


def test_dropping_the_results_ends_the_map():
    app, double = make_app()
    closed = threading.Event()

    def source():
        try:
            yield from itertools.count()
        finally:
            closed.set()

    with app.run():
        for result in double.map(source()):
            if result == 10:
                break
        assert closed.wait(10)


def test_leaving_an_asynchronous_map_early_ends_it(run_async):
    app, double = make_app()
    closed = []

    async def source():
        try:
            for n in itertools.count():
                yield n
        finally:
            closed.append(True)

    async def main():
        results = double.map.aio(source())
        got = [await anext(results), await anext(results)]
        await results.aclose()
        return got

    with app.run():
        assert run_async(main) == [0, 2]
    assert closed == [True]


def test_the_source_is_closed_at_the_end():
    app, double = make_app()
    closed = []

    def source():
        try:
            yield from range(5)
        finally:
            closed.append(True)

    with app.run():
        iterable = source()
        assert list(double.map(iterable)) == [0, 2, 4, 6, 8]
        assert closed == [True]


def test_the_source_runs_in_the_context_of_the_caller():
    app, double = make_app()
    variable = contextvars.ContextVar("variable", default="unset")
    seen = []

    def source():
        seen.append((variable.get(), moorage.is_local()))
        yield 1

    with app.run():
        token = variable.set("the caller's")
        assert list(double.map(source())) == [2]
        variable.reset(token)
    assert seen == [("the caller's", True)]


def test_inputs_of_a_map_run_in_the_context_of_its_first_step():
    app = App()
    variable = contextvars.ContextVar("variable", default="unset")

    @app.function()
    def read(value):
        before = variable.get()
        variable.set(f"set by {value}")
        return before

    with app.run():
        results = read.map(range(3))
        token = variable.set("the caller's")
        assert list(results) == ["the caller's"] * 3
        variable.reset(token)


@pytest.mark.parametrize("make_source", [iter, list], ids=["iterator", "list"])
def test_the_window_bounds_how_far_the_source_is_read(make_source):
    app = App()
    at_rest = []
    read = 0

    def count():
        nonlocal read
        for n in range(2 * WINDOW + 10):
            read = n + 1
            yield n

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=20)
    async def work(value):
        if value == 0:
            await asyncio.sleep(100)  # until all else has come to rest
            at_rest.append((read, work.statistics().accepted))
        return value

    with VirtualClock() as clock, app.run(clock=clock):
        source = make_source(count())
        # Input 0 holds back the results of all others, though they are done.
        assert list(work.map(source)) == list(range(2 * WINDOW + 10))
        [(read, accepted)] = at_rest
        assert accepted == WINDOW
        if make_source is iter:
            assert read == WINDOW + 1, "one is read before there is room for it"
        assert work.statistics().peak_inputs <= 20


def test_a_slow_reader_holds_back_the_source():
    app, double = make_app()
    read = 0

    def source():
        nonlocal read
        while True:
            read += 1
            yield read

    with VirtualClock() as clock, app.run(clock=clock):
        results = double.map(source(), order_outputs=False)
        for taken in range(1, 6):
            next(results)
            clock.sleep(1)  # all has come to rest
            statistics = double.statistics()
            assert (statistics.running, statistics.queued) == (0, 0)
            assert statistics.accepted <= WINDOW + taken
            assert read <= WINDOW + taken + 1
        results.close()


def test_a_map_that_outgrows_the_window_loses_nothing(often_switching):
    app, double = make_app()
    with app.run():
        assert list(double.map(range(3 * WINDOW))) == list(range(0, 6 * WINDOW, 2))
        assert sum(double.map(iter(range(3 * WINDOW)), order_outputs=False)) == sum(
            range(0, 6 * WINDOW, 2)
        )


def test_map_aio_that_outgrows_the_window_loses_nothing(run_async):
    app, double = make_app()

    async def source():
        for n in range(2 * WINDOW + 10):
            yield n

    with app.run():
        assert run_async(lambda: collect(double.map.aio(source()))) == list(
            range(0, 4 * WINDOW + 20, 2)
        )


def test_map_on_a_running_loop_works_and_warns():
    app, double = make_app()

    async def main():
        return list(double.map([1, 2]))

    with app.run(), pytest.warns(AsyncUsageWarning, match=r"await|async for") as caught:
        assert asyncio.run(main()) == [2, 4]
    assert caught[0].filename == __file__


def test_map_refuses_what_is_not_iterable():
    _, double = make_app()
    with pytest.raises(InvalidError, match=r"at least one iterable"):
        double.map()
    with pytest.raises(InvalidError, match=r"takes iterables.*got 5"):
        double.map(5)


def test_the_blocking_map_refuses_an_asynchronous_source():
    app, double = make_app()

    async def source():
        yield 1

    with app.run(), pytest.raises(InvalidError, match=r"map\.aio"):
        list(double.map(source()))


def test_leaving_the_run_ends_a_map_that_another_thread_reads(in_threads):
    app = App()
    started, gate = threading.Event(), threading.Event()

    @app.function(max_containers=1)
    def work(value):
        started.set()
        assert gate.wait(10)

    def endless():
        yield from itertools.count()

    with app.run():
        reader = in_threads(lambda: list(work.map(endless())))
        assert started.wait(10)
        gate.set()
    with pytest.raises((InputCancelledError, moorage.exception.ExecutionError)):
        reader.result()


def test_leaving_the_run_ends_a_map_that_collects_errors(in_threads):
    app = App()
    started, gate = threading.Event(), threading.Event()

    @app.function(max_containers=1)
    def work(value):
        started.set()
        assert gate.wait(10)

    def endless():
        yield from itertools.count()

    with app.run():
        reader = in_threads(lambda: list(work.map(endless(), return_exceptions=True)))
        assert started.wait(10)
        gate.set()
    with pytest.raises(moorage.exception.ExecutionError):
        reader.result()


@pytest.mark.parametrize("end", ["close", "failed"])
def test_a_reader_that_goes_while_inputs_are_handed_over_cancels_none_too_early(end, monkeypatch):
    app, gate, seen = App(), threading.Event(), []

    @app.function(max_containers=1)
    def hold(value):
        gate.wait(30)
        return value

    submit = Pool.submit

    def submit_late(pool, inputs, **options):
        call = inputs[0].call
        if isinstance(call, MapCall) and call.submitted > 1:
            # The pool does not know these inputs yet.
            getattr(call, end)()
            seen.append(pool.statistics().queued)
        return submit(pool, inputs, **options)

    with app.run():
        first = hold.spawn(0)
        monkeypatch.setattr(Pool, "submit", submit_late)
        call = hold._open_map({})
        call.submit([(1,)])
        call.submit([(2,), (3,)])
        monkeypatch.undo()
        assert seen == [0]
        found = hold.statistics()
        assert (found.accepted, found.queued, found.cancelled) == (4, 0, 3)
        gate.set()
        assert first.get() == 0
        assert hold.remote(4) == 4


@pytest.mark.parametrize(("ordered", "slices"), [(True, [4]), (False, [1, 1, 1, 1])])
def test_a_reader_is_woken_only_for_a_result_that_it_can_pass_on(ordered, slices, monkeypatch):
    app, taken = App(), []
    take = MapCall.take

    def take_noted(call, *arguments):
        found = take(call, *arguments)
        taken.append(len(found[0]))
        return found

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=5)
    async def nap(seconds):
        await asyncio.sleep(seconds)
        return seconds

    monkeypatch.setattr(MapCall, "take", take_noted)
    with VirtualClock() as clock, app.run(clock=clock):
        naps = [4, 3, 2, 1]  # the first result comes last
        results = list(nap.map(naps, order_outputs=ordered))
    assert sorted(results, reverse=True) == naps
    assert results == (naps if ordered else naps[::-1])
    assert [count for count in taken if count] == slices
