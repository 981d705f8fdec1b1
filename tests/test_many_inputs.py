"""Many inputs at once: starmap, for_each, spawn_map and experimental_spawn_map."""

import asyncio
import threading

import pytest

import moorage
from moorage import App
from moorage.exception import InputCancelledError, InvalidError
from moorage.runtime.clocks.virtual_clock import VirtualClock


def make_app():
    app = App()

    @app.function()
    @moorage.concurrent(max_inputs=10)
    async def scaled(value, factor=2, *, plus=0):
        await asyncio.sleep(0)
        if value < 0:
            raise ValueError(f"negative: {value}")
        return value * factor + plus

    return app, scaled


async def collect(results):
    return [result async for result in results]


async def arriving(*values):
    for value in values:
        await asyncio.sleep(0) if asyncio._get_running_loop() else None
        yield value


class Source:
    """A generator that says whether it was closed, and how far it was read."""

    def __init__(self, values):
        self.values = values
        self.read = 0
        self.closed = threading.Event()

    def __call__(self):
        try:
            for value in self.values:
                self.read += 1
                yield value
        finally:
            self.closed.set()

    async def aio(self):
        try:
            for value in self.values:
                self.read += 1
                yield value
        finally:
            self.closed.set()


# -- starmap ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rows",
    [
        [(1, 10), (2, 20), (3, 30)],
        ((n, 10 * n) for n in (1, 2, 3)),
        iter([[1, 10], [2, 20], [3, 30]]),
        zip((1, 2, 3), (10, 20, 30), strict=True),
        [range(1, 11, 9), (2, 20), iter((3, 30))],
    ],
    ids=["tuples", "generator", "lists", "zip", "iterables"],
)
def test_starmap_unpacks_each_row_and_keeps_the_order(rows):
    app, scaled = make_app()
    with app.run():
        assert list(scaled.starmap(rows, kwargs={"plus": 1})) == [11, 41, 91]


def test_starmap_rows_may_differ_in_length():
    app, scaled = make_app()
    with app.run():
        assert list(scaled.starmap([(1,), (2, 5)])) == [2, 10]


def test_starmap_of_text_unpacks_its_letters():
    app = App()

    @app.function()
    def join(*letters):
        return "-".join(letters)

    with app.run():
        assert list(join.starmap(["ab", "cde"])) == ["a-b", "c-d-e"]


def test_starmap_of_nothing_gives_nothing(run_async):
    app, scaled = make_app()
    with app.run():
        assert list(scaled.starmap([])) == []
        assert list(scaled.starmap(iter(()))) == []
        assert run_async(lambda: collect(scaled.starmap.aio(arriving()))) == []


def test_starmap_aio_from_any_loop_and_any_source(run_async):
    app, scaled = make_app()

    async def main():
        return (
            await collect(scaled.starmap.aio([(1, 2), (3, 4)])),
            await collect(scaled.starmap.aio(row for row in [(1, 2), (3, 4)])),
            await collect(scaled.starmap.aio(arriving((1, 2), (3, 4)), kwargs={"plus": 1})),
        )

    with app.run():
        assert run_async(main) == ([2, 12], [2, 12], [3, 13])


def test_starmap_outgrows_the_window_and_loses_nothing():
    app, scaled = make_app()
    with app.run():
        rows = ((n, 3) for n in range(2500))
        assert list(scaled.starmap(rows)) == [3 * n for n in range(2500)]


def test_starmap_refuses_what_is_no_row_in_its_place():
    app, scaled = make_app()
    with app.run(), pytest.raises(TypeError, match="takes rows of arguments, got the element 3"):
        list(scaled.starmap([(1, 2), 3]))


def test_starmap_unordered_gives_results_as_they_end():
    app = App()
    gates = [threading.Event() for _ in range(3)]

    @app.function()
    @moorage.concurrent(max_inputs=3)
    def wait(index, name):
        assert gates[index].wait(30)
        return name

    with app.run():
        results = wait.starmap(enumerate("abc"), order_outputs=False)
        gates[2].set()
        assert next(results) == "c"
        gates[0].set()
        assert next(results) == "a"
        gates[1].set()
        assert list(results) == ["b"]


def test_starmap_return_exceptions_gives_errors_in_their_place():
    app, scaled = make_app()
    with app.run():
        first, error, last = scaled.starmap([(1,), (-1,), (3,)], return_exceptions=True)
    assert (first, last) == (2, 6)
    assert isinstance(error, ValueError)
    assert str(error) == "negative: -1"


def test_starmap_raises_the_users_error_and_its_arguments_mismatch():
    app, scaled = make_app()
    with app.run():
        with pytest.raises(ValueError, match="negative: -1"):
            list(scaled.starmap([(-1,)]))
        with pytest.raises(TypeError, match="argument"):
            list(scaled.starmap([(1, 2, 3)]))


def test_closing_a_starmap_half_way_closes_its_source_and_cancels_the_rest():
    app = App()
    source = Source([(n,) for n in range(5000)])
    ran = []

    @app.function(max_containers=1)
    async def note(value):
        ran.append(value)
        return value

    with app.run():
        results = note.starmap(source())
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        results.close()
        assert source.closed.wait(30)
        assert list(results) == []
    assert source.read < 5000
    assert len(ran) < 5000


def test_closing_an_async_starmap_half_way_closes_its_source(run_async):
    app, scaled = make_app()
    source = Source([(n,) for n in range(5000)])

    async def main():
        results = scaled.starmap.aio(source.aio())
        assert [await anext(results) for _ in range(3)] == [0, 2, 4]
        await results.aclose()
        assert source.closed.is_set()

    with app.run():
        run_async(main)
    assert source.read < 5000


def test_starmap_refuses_generators_and_asynchronous_rows():
    app, scaled = make_app()

    @app.function()
    def items(count):
        yield from range(count)

    with app.run():
        with pytest.raises(InvalidError, match=r"items\.remote_gen"):
            items.starmap([(1,)])
        with pytest.raises(InvalidError, match=r"async for .*scaled\.starmap\.aio"):
            scaled.starmap(arriving((1,)))
        with pytest.raises(InvalidError, match=r"scaled\.starmap\(\[3\]\)"):
            scaled.starmap(3)


# -- for_each -----------------------------------------------------------------------------


def test_for_each_returns_none_when_all_have_ended():
    app = App()
    seen = []

    @app.function()
    @moorage.concurrent(max_inputs=4)
    def note(a, b, c=0):
        seen.append((a, b, c))

    with app.run():
        assert note.for_each(range(3), (n * 10 for n in range(9)), kwargs={"c": 1}) is None
        assert sorted(seen) == [(0, 0, 1), (1, 10, 1), (2, 20, 1)]
        assert note.for_each([], []) is None
        s = note.statistics()
        assert (s.accepted, s.queued, s.running) == (3, 0, 0)


def test_for_each_aio_from_any_loop_and_any_source(run_async):
    app = App()
    seen = []

    @app.function()
    def note(value):
        seen.append(value)

    async def main():
        assert await note.for_each.aio(arriving(1, 2)) is None
        assert await note.for_each.aio([3, 4]) is None

    with app.run():
        run_async(main)
    assert sorted(seen) == [1, 2, 3, 4]


def test_for_each_raises_the_first_error_and_cancels_what_has_not_started():
    app = App()
    ran = []

    @app.function(max_containers=1)
    def fail(value):
        ran.append(value)
        raise ValueError(value)

    source = Source(range(10_000))
    with app.run():
        with pytest.raises(ValueError, match="0"):
            fail.for_each(source())
        assert source.closed.wait(30)
    assert len(ran) < 10_000


def test_for_each_may_ignore_errors(run_async):
    app = App()
    ran = []

    @app.function()
    def fail_sometimes(value):
        ran.append(value)
        if value % 2:
            raise ValueError(value)

    with app.run():
        assert fail_sometimes.for_each(range(6), ignore_exceptions=True) is None
        run_async(lambda: fail_sometimes.for_each.aio(range(6, 9), ignore_exceptions=True))
    assert sorted(ran) == list(range(9))


def test_cancelling_an_awaited_for_each_cancels_its_inputs():
    app = App()

    with VirtualClock() as clock, app.run(clock=clock):
        begun = clock.make_waiter()

        @app.function()
        async def hang(value):
            begun.wake()
            await asyncio.Event().wait()

        async def main():
            task = asyncio.create_task(hang.for_each.aio([1, 2]))
            await asyncio.sleep(0)
            await asyncio.get_running_loop().run_in_executor(None, lambda: clock.wait(begun))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        clock.run(main())
        clock.sleep(1)
        s = hang.statistics()
        assert (s.queued, s.running) == (0, 0)
        assert s.cancelled == s.accepted == 2


# -- spawn_map ----------------------------------------------------------------------------


def test_spawn_map_starts_all_and_gives_nothing(run_async):
    app = App()
    seen, gate = [], threading.Event()

    @app.function()
    @moorage.concurrent(max_inputs=20)
    def note(a, b=0):
        assert gate.wait(30)
        seen.append(a + b)

    with app.run():
        assert note.spawn_map(range(3), (10, 20, 30, 40)) is None
        assert note.spawn_map([5], kwargs={"b": 1}) is None
        assert run_async(lambda: note.spawn_map.aio(arriving(7, 8))) is None
        assert note.statistics().accepted == 6
        gate.set()
        note.for_each([100])
        while note.statistics().running:  # each of them ends by itself
            note.remote(100)
    assert sorted(set(seen)) == [6, 7, 8, 10, 21, 32, 100]


def test_experimental_spawn_map_has_one_handle_for_all(run_async):
    app, scaled = make_app()
    with app.run():
        call = scaled.experimental_spawn_map(range(5), kwargs={"factor": 3})
        assert call.num_inputs() == 5
        assert list(call.iter()) == [0, 3, 6, 9, 12]
        assert call.get(index=4) == 12
        assert call.get() == 0, "the first, unless said otherwise"

        async def main():
            call = await scaled.experimental_spawn_map.aio(arriving(1, 2), [10, 20, 30])
            return await call.num_inputs.aio(), await collect(call.iter.aio())

        assert run_async(main) == (2, [10, 40])


def test_experimental_spawn_map_of_nothing_is_settled_at_once():
    app, scaled = make_app()
    with app.run():
        call = scaled.experimental_spawn_map([])
        assert call.num_inputs() == 0
        assert list(call.iter()) == []
        assert "no inputs" in repr(call)
        assert moorage.FunctionCall.from_id(call.object_id) is call
        with pytest.raises(IndexError, match="index=0"):
            call.get(timeout=5)
        call.cancel()
        assert call.get_call_graph() == []


def test_experimental_spawn_map_shares_one_call_id_and_keeps_errors_apart():
    app = App()

    @app.function()
    def ids(value):
        if value == 1:
            raise ValueError("one")
        return moorage.current_function_call_id(), moorage.current_input_id()

    with app.run():
        call = ids.experimental_spawn_map(range(3))
        first, last = call.get(index=0), call.get(index=2)
        assert first[0] == last[0] == call.object_id
        assert first[1] != last[1]
        with pytest.raises(ValueError, match="one"):
            call.get(index=1)
        results = call.iter()
        assert next(results) == first
        with pytest.raises(ValueError, match="one"):
            next(results)


def test_cancelling_a_spawned_map_drops_what_is_queued():
    app = App()
    started, ran = threading.Event(), []

    @app.function(max_containers=1)
    async def hold(value):
        ran.append(value)
        started.set()
        await asyncio.Event().wait()

    with app.run():
        call = hold.experimental_spawn_map(range(50))
        assert started.wait(30)
        call.cancel()
        for index in (0, 1, 49):
            with pytest.raises(InputCancelledError):
                call.get(index=index, timeout=30)
        assert ran == [0]
        s = hold.statistics()
        assert (s.queued, s.cancelled) == (0, 50)


def test_spawn_map_reads_a_source_that_raises_and_starts_nothing(run_async):
    app, scaled = make_app()

    def broken():
        yield 1
        raise KeyError("source")

    async def broken_async():
        yield 1
        raise KeyError("source")

    with app.run():
        for way in (scaled.spawn_map, scaled.experimental_spawn_map):
            with pytest.raises(KeyError, match="source"):
                way(broken())
            with pytest.raises(KeyError, match="source"):
                run_async(lambda way=way: way.aio(broken_async()))
        assert scaled.statistics() is None, "no input came that far"


def test_spawn_map_refuses_as_map_does():
    app, scaled = make_app()
    with app.run():
        with pytest.raises(InvalidError, match="at least one iterable"):
            scaled.spawn_map()
        with pytest.raises(InvalidError, match=r"await scaled\.spawn_map\.aio"):
            scaled.spawn_map(arriving(1))
        with pytest.raises(InvalidError, match=r"await scaled\.for_each\.aio"):
            scaled.for_each(arriving(1))


def test_inputs_of_a_spawned_map_run_in_the_callers_context():
    import contextvars

    app = App()
    variable = contextvars.ContextVar("variable", default="unset")

    @app.function()
    def read(value):
        return variable.get()

    with app.run():
        variable.set("mine")
        call = read.experimental_spawn_map([1, 2])
        variable.set("other")
        assert list(call.iter()) == ["mine", "mine"]


def test_methods_have_all_ways_too():
    app = App()

    @app.cls()
    class Adder:
        base: int = moorage.parameter(default=0)

        @moorage.method()
        def add(self, a, b=0):
            return self.base + a + b

    with app.run():
        add = Adder(base=100).add
        assert list(add.starmap([(1, 2), (3,)])) == [103, 103]
        assert add.for_each([1, 2]) is None
        assert list(add.experimental_spawn_map([1, 2], [3, 4]).iter()) == [104, 106]
        assert add.spawn_map([1]) is None
