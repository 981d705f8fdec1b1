"""The window of a map: at most so many inputs are submitted and not finished with."""

import asyncio
import itertools

import pytest

import moorage
from moorage import App
from moorage.exception import InvalidError
from moorage.runtime.clocks.virtual_clock import VirtualClock


class Watched:
    """A function whose results count from the start of the input until the reader has done."""

    def __init__(self, app, **options):
        self.begun = self.read = self.most = 0

        @app.function(serialized=True, **options)
        @moorage.concurrent(max_inputs=50)
        async def work(value, more=0):
            self.begun += 1
            self.most = max(self.most, self.begun - self.read)
            # Later inputs finish first within each ten, so ordered results must be kept.
            await asyncio.sleep(10 - value % 10)
            return value + more

        self.function = work

    def results(self, results):
        got = []
        for result in results:
            got.append(result)
            self.read += 1
        return got

    async def async_results(self, results):
        got = []
        async for result in results:
            await asyncio.sleep(1)  # a reader that is slow
            got.append(result)
            self.read += 1
        return got


async def asynchronous(values):
    for value in values:
        yield value


WINDOWS = [1, 2, 3, 7, 40]
SOURCES = {"sequence": list, "iterator": iter, "generator": lambda r: (n for n in r)}


@pytest.mark.parametrize("ordered", [True, False], ids=["ordered", "unordered"])
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("window", WINDOWS)
def test_no_more_results_than_the_window_are_undelivered(window, source, ordered):
    app, clock = App(), VirtualClock()
    watched = Watched(app)
    with app.run(clock=clock):
        values = SOURCES[source](range(60))
        results = watched.function.map(values, order_outputs=ordered, window=window)
        got = watched.results(results)
    assert (got if ordered else sorted(got)) == list(range(60))
    assert watched.most == window


@pytest.mark.parametrize("ordered", [True, False], ids=["ordered", "unordered"])
@pytest.mark.parametrize("source", [*SOURCES, "asynchronous"])
@pytest.mark.parametrize("window", WINDOWS)
def test_an_async_map_keeps_its_window(window, source, ordered):
    app, clock = App(), VirtualClock()
    watched = Watched(app)
    read = SOURCES.get(source, asynchronous)

    async def main():
        async with app.run(clock=clock):
            results = watched.function.map.aio(
                read(range(60)), order_outputs=ordered, window=window
            )
            return await watched.async_results(results)

    got = clock.run(main())
    assert (got if ordered else sorted(got)) == list(range(60))
    assert watched.most == window


def test_starmap_has_a_window():
    app, clock = App(), VirtualClock()
    watched = Watched(app)
    rows = [(n, 100) for n in range(20)]
    with app.run(clock=clock):
        got = watched.results(watched.function.starmap(rows, window=3))
    assert got == list(range(100, 120))
    assert watched.most == 3

    async def main():
        async with app.run(clock=clock):
            return await watched.async_results(watched.function.starmap.aio(rows, window=2))

    watched.most = 0
    assert clock.run(main()) == list(range(100, 120))
    assert watched.most == 2


def test_for_each_has_a_window():
    app, clock = App(), VirtualClock()
    running = most = 0

    @app.function(serialized=True)
    @moorage.concurrent(max_inputs=50)
    async def work(value):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(1)
        running -= 1

    with app.run(clock=clock):
        work.for_each(range(20), window=4)
        assert most == 4

        async def main():
            await work.for_each.aio(range(20), window=2)

        most = 0
        clock.run(main())
        assert most == 2


def test_a_bounded_backlog_and_a_window():
    app, clock = App(), VirtualClock()
    watched = Watched(app, max_backlog=2, on_full="wait", max_containers=1)
    with app.run(clock=clock):
        got = watched.results(watched.function.map(range(30), window=5))
    assert got == list(range(30))
    assert watched.most == 5


def test_a_batch_is_no_larger_than_the_window():
    app, clock = App(), VirtualClock()
    sizes = []

    @app.function(serialized=True)
    @moorage.batched(max_batch_size=8, wait_ms=1000)
    async def work(values):
        sizes.append(len(values))
        return values

    with app.run(clock=clock):
        assert list(work.map(range(10), window=3)) == list(range(10))
    assert max(sizes) <= 3


def test_the_containers_are_busy_while_the_reader_works_through_a_narrow_window():
    """The reader moves the window on before it has passed on a whole window."""
    app, clock = App(), VirtualClock()
    watched = Watched(app)

    async def main():
        async with app.run(clock=clock):
            results = watched.function.map.aio(itertools.repeat(9, 40), window=8)
            return await watched.async_results(results)

    clock.run(main())
    # 1 s for the first results, then 1 s for each of the 40 in the reader.
    assert clock.now() == pytest.approx(41, abs=1)


def test_a_fake_container_has_a_window(fake_container):
    begun = []

    async def work(value):
        begun.append(value)
        return value

    container = fake_container(work, max_inputs=10)
    results = container.map(range(5), window=1)
    assert next(results) == 0
    assert begun == [0]
    assert list(results) == [1, 2, 3, 4]
    assert list(container.starmap([(n,) for n in range(5)], window=1)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("window", [0, -1, True, 2.5, "10"])
@pytest.mark.parametrize("way", ["map", "starmap", "for_each", "map.aio", "starmap.aio"])
def test_a_wrong_window_is_refused_before_the_first_step(way, window):
    app = App()

    @app.function(serialized=True)
    def work(value):
        return value

    called = work
    for name in way.split("."):
        called = getattr(called, name)
    with pytest.raises(InvalidError, match=r"whole number of at least 1, got .*; write window="):
        called([(1,)], window=window)


def test_for_each_aio_refuses_a_wrong_window():
    app = App()

    @app.function(serialized=True)
    def work(value):
        return value

    with pytest.raises(InvalidError, match="write window=1"):
        asyncio.run(work.for_each.aio([1], window=0))


def test_a_method_has_a_window():
    app, clock = App(), VirtualClock()

    @app.cls(serialized=True)
    class Model:
        @moorage.method()
        def work(self, value):
            return value

    with app.run(clock=clock):
        assert list(Model().work.map(range(5), window=1)) == list(range(5))
