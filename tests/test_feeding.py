"""Feeding: while its reader is busy, a map is fed as far as there is room, whatever it reads."""

import collections
import itertools
import threading

import pytest

import moorage
from moorage import App
from moorage.calling import maps
from moorage.calling.feeding import are_plain
from moorage.exception import InvalidArgumentsError, ResourceExhaustedError

INPUTS = 1000
ENOUGH = 300  # more than are submitted on the way to a first result


class Rows(collections.UserList[int]):
    """A sequence with the user's own code in it; remembers who reads it."""

    def __init__(self, values):
        super().__init__(values)
        self.readers = set()

    def __getitem__(self, index):
        self.readers.add(threading.current_thread().name)
        return super().__getitem__(index)


class Plain(list[int]):
    """A list by another name."""


SOURCES = {
    "iterator": iter,
    "list": list,
    "tuple": tuple,
    "range": lambda values: values,
    "deque": collections.deque,
    "list of a kind": Plain,
    "sequence": Rows,
}

BACKLOGS = [None, 10]


def counting(max_backlog, is_async=False):
    """An app, a function, and an event that is set when it has run `ENOUGH` inputs."""
    app = App()
    enough = threading.Event()
    count = itertools.count(1)

    def work(value, *more):
        if next(count) == ENOUGH:
            enough.set()
        return (value, *more) if more else value

    async def work_async(value, *more):
        return work(value, *more)

    function = app.function(max_containers=1, max_backlog=max_backlog)(
        moorage.concurrent(max_inputs=4)(work_async if is_async else work)
    )
    return app, function, enough


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("max_backlog", BACKLOGS)
@pytest.mark.parametrize("kind", SOURCES)
def test_the_container_goes_on_while_the_reader_is_busy(kind, max_backlog, is_async):
    app, work, enough = counting(max_backlog, is_async)
    with app.run():
        results = work.map(SOURCES[kind](range(INPUTS)))
        assert next(results) == 0
        assert enough.wait(60)
        assert list(results) == list(range(1, INPUTS))
    assert work.statistics() is None or work.statistics().refused == 0


@pytest.mark.parametrize("max_backlog", BACKLOGS)
def test_in_any_order(max_backlog):
    app, work, enough = counting(max_backlog)
    with app.run():
        results = work.map(list(range(INPUTS)), order_outputs=False)
        first = next(results)
        assert enough.wait(60)
        assert sorted([first, *results]) == list(range(INPUTS))


@pytest.mark.parametrize("max_backlog", BACKLOGS)
def test_rows_of_a_starmap(max_backlog):
    app, work, enough = counting(max_backlog)
    with app.run():
        results = work.starmap([(n, -n) for n in range(INPUTS)])
        assert next(results) == (0, 0)
        assert enough.wait(60)
        assert list(results)[-1] == (INPUTS - 1, 1 - INPUTS)


@pytest.mark.parametrize("max_backlog", BACKLOGS)
@pytest.mark.parametrize("other", ["list", "iterator", "sequence"])
def test_several_end_with_the_shortest(other, max_backlog):
    app, work, enough = counting(max_backlog)
    with app.run():
        results = work.map(list(range(2 * INPUTS)), SOURCES[other](range(INPUTS)))
        assert next(results) == (0, 0)
        assert enough.wait(60)
        assert list(results) == [(n, n) for n in range(1, INPUTS)]


@pytest.mark.parametrize("max_backlog", BACKLOGS)
@pytest.mark.parametrize("kind", SOURCES)
def test_a_task_that_blocks_its_loop(kind, max_backlog, run_async):
    app, work, enough = counting(max_backlog)

    async def main():
        results = work.map.aio(SOURCES[kind](range(INPUTS)))
        assert await anext(results) == 0
        assert enough.wait(60)
        assert [result async for result in results] == list(range(1, INPUTS))

    with app.run():
        run_async(main)


def test_for_each_with_a_bound():
    app, work, enough = counting(3)
    with app.run():
        work.for_each(list(range(INPUTS)))
        assert enough.is_set()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 9])
@pytest.mark.parametrize("max_backlog", [None, 1, 3])
def test_few(count, max_backlog):
    app, work, _ = counting(max_backlog)
    with app.run():
        assert list(work.map(list(range(count)))) == list(range(count))


def test_a_reader_that_breaks_off():
    app = App()
    gate, ran = threading.Event(), []

    @app.function(max_containers=1, max_backlog=5)
    @moorage.concurrent(max_inputs=2)
    def work(value):
        ran.append(value)
        if value:
            gate.wait(60)
        return value

    with app.run():
        results = work.map(list(range(INPUTS)))
        assert next(results) == 0
        results.close()
        gate.set()
        assert list(results) == []
    assert len(ran) < 20


def test_a_full_backlog_refuses_the_map_of_a_list():
    app = App()
    began, gate = threading.Event(), threading.Event()

    @app.function(max_containers=1, max_backlog=1)
    def work(value):
        began.set()
        gate.wait(60)
        return value

    with app.run():
        calls = [work.spawn(0)]
        assert began.wait(60)
        calls.append(work.spawn(0))  # the backlog is full
        with pytest.raises(ResourceExhaustedError, match="max_backlog"):
            list(work.map([1, 2, 3]))
        gate.set()
        assert all(call.get() == 0 for call in calls)


class Broken(Rows):
    def __getitem__(self, index):
        if index == 30:
            raise LookupError(index)
        return super().__getitem__(index)


@pytest.mark.parametrize("max_backlog", BACKLOGS)
def test_an_error_while_reading_comes_after_the_results_before_it(max_backlog):
    app, work, _ = counting(max_backlog)
    got = []
    with app.run():
        results = work.map(Broken(range(INPUTS)))
        with pytest.raises(LookupError, match="30"):
            got.extend(results)
    assert got == list(range(30))


@pytest.mark.parametrize("max_backlog", BACKLOGS)
def test_a_row_that_is_none_comes_after_the_results_before_it(max_backlog):
    app, work, _ = counting(max_backlog)
    got = []
    with app.run():
        results = work.starmap([(0, 0)] * 30 + [None] + [(0, 0)] * 30)
        with pytest.raises(InvalidArgumentsError, match="None"):
            got.extend(results)
    assert got == [(0, 0)] * 30


def test_a_users_sequence_is_read_by_the_feeder_alone():
    app, work, _ = counting(None)
    rows = Rows(range(20))
    with app.run():
        assert list(work.map(rows)) == list(range(20))
    assert rows.readers == {"moorage-feeder-work"}


def test_which_sequences_are_plain():
    assert are_plain(([], (), range(3), "abc", b"abc", bytearray(), collections.deque(), Plain()))
    for other in (Rows([]), iter([]), {}, set(), (n for n in ()), memoryview(b"")):
        assert not are_plain(([], other))


def test_a_very_wide_window_is_filled_on_the_way(monkeypatch):
    monkeypatch.setattr(maps, "FILLED", 10)
    app, work, _ = counting(None)
    with app.run():
        assert list(work.map(list(range(5000)))) == list(range(5000))
        assert list(work.map(range(5000), order_outputs=False, return_exceptions=True))


def test_no_more_than_the_window_before_the_reader_looks_again():
    app, work, _ = counting(None)
    with app.run():
        results = work.map(range(10**9))
        next(results)
        # The window, and as many more as were delivered.
        assert work.statistics().accepted <= 1001
        results.close()


@pytest.mark.parametrize("kind", ["list", "iterator"])
def test_in_virtual_time(kind, virtual_clock):
    app = App()
    ended = []

    @app.function(max_containers=1, max_backlog=2)
    @moorage.concurrent(max_inputs=2)
    def work(value):
        virtual_clock.sleep(1)
        ended.append(virtual_clock.now())
        return value

    with app.run():
        start = virtual_clock.now()
        results = work.map(SOURCES[kind](range(8)))
        assert next(results) == 0
        virtual_clock.sleep(10)  # works on it
        assert [when - start for when in ended] == [1, 1, 2, 2, 3, 3, 4, 4]
        assert list(results) == list(range(1, 8))
        assert virtual_clock.now() - start == 11


@pytest.mark.parametrize("kind", ["list", "iterator"])
def test_a_drain_finishes_what_an_input_maps(kind):
    app = App()
    mapping, leaving = threading.Event(), threading.Event()

    @app.function(max_containers=1, max_backlog=3)
    @moorage.concurrent(max_inputs=2)
    def work(value):
        return value

    @app.function()
    def parent():
        results = work.map(SOURCES[kind](range(100)))
        first = next(results)
        mapping.set()
        leaving.wait(60)
        return [first, *results]

    with app.run(drain=True):
        call = parent.spawn()
        assert mapping.wait(60)
        leaving.set()
    assert call.get() == list(range(100))
