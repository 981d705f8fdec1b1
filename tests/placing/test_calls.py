"""Calls from code that runs in a container's process: the calling program carries them out."""

import os
import queue
import sys

import pytest

import moorage
from moorage.exception import DeadlockError, InputCancelledError

from . import calling
from .outside import wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pidfds are Linux's")


@pytest.fixture
def placed():
    with calling.app.run(placement="process") as app:
        yield app


@pytest.fixture
def mixed():
    """The functions that others call have containers that are threads."""
    of_threads = dict.fromkeys(["pid", "twice", "fail", "wait_for_ever", "Scaled"], "thread")
    with calling.app.run(placement={**of_threads, "*": "process"}) as app:
        yield app


@pytest.mark.parametrize("way", [calling.calls, calling.awaits])
def test_remote_runs_in_another_container_of_the_program(placed, way):
    mine, (value, other), doubled = way.remote(4)
    assert (value, doubled) == (4, 8)
    assert len({mine, other, os.getpid()}) == 3


@pytest.mark.parametrize("way", [calling.calls, calling.awaits])
def test_remote_runs_in_a_thread_of_the_program(mixed, way):
    mine, (value, other), doubled = way.remote(4)
    assert (value, doubled) == (4, 8)
    assert other == os.getpid() != mine


@pytest.mark.parametrize("place", ["placed", "mixed"])
def test_an_error_comes_to_the_code_that_calls(request, place):
    request.getfixturevalue(place)
    assert calling.catches.remote() == ("OddError", "what", 7)
    with pytest.raises(calling.OddError, match="what") as caught:
        calling.passes_on.remote()
    assert caught.value.code == 7


def test_many_calls_at_once(placed):
    results = list(calling.awaits.map(range(50)))
    assert [doubled for _, _, doubled in results] == [2 * x for x in range(50)]


@pytest.mark.parametrize("way", [calling.calls_and_waits, calling.awaits_and_waits])
def test_a_call_is_cancelled_with_the_code_that_waits(placed, way, tmp_path):
    path = tmp_path / "runs"
    call = way.spawn(str(path))
    wait_for(path.exists)
    call.cancel()
    with pytest.raises(InputCancelledError):
        call.get()
    wait_for(lambda: not path.exists())


def test_a_call_is_cancelled_when_the_process_that_waits_is_gone(placed, tmp_path):
    path = tmp_path / "runs"
    with pytest.raises(moorage.exception.ContainerLostError):
        calling.dies_while_it_waits.remote(str(path))
    wait_for(lambda: not path.exists())


@pytest.mark.parametrize("place", ["placed", "mixed"])
def test_methods_and_variants(request, place):
    request.getfixturevalue(place)
    assert calling.calls_class.remote(2) == (6, 2)
    assert calling.calls_variant.remote(2) == (4, 4)
    own, (other, _), _ = calling.Scaled(factor=2).through.remote(3)
    assert (own[0], other) == (6, 15)


def test_functions_that_go_by_value():
    app = moorage.App("by-value")

    @app.function()
    def inner(x):
        return x + 1, os.getpid()

    @app.cls()
    class Model:
        size: int = moorage.parameter(default=1)

        @moorage.method()
        def sized(self, x):
            return self.size * x

    @app.function()
    def outer(x):
        return inner.remote(x), Model(size=4).sized.remote(x), os.getpid()

    with app.run(placement="process"):
        (value, pid), sized, mine = outer.remote(1)
    assert (value, sized) == (2, 4)
    assert len({pid, mine, os.getpid()}) == 3


@pytest.mark.parametrize("place", ["placed", "mixed"])
@pytest.mark.parametrize("way", [calling.spawns, calling.spawns_and_awaits])
def test_spawned_calls_are_found_by_their_ids(request, place, way):
    request.getfixturevalue(place)
    value, found, gathered, call_id = way.remote(5)
    assert (value, found, gathered) == (5, 5, [0, 2, 4, 6, 8])
    assert moorage.FunctionCall.from_id(call_id).get()[0] == 5


def test_a_call_goes_from_one_process_to_the_other(placed):
    call = calling.leaves.remote(4)
    assert call.get() == 8
    assert calling.reads.remote(call) == 8


def test_a_spawned_call_is_cancelled_by_its_handle(placed, tmp_path):
    path = tmp_path / "runs"
    assert calling.spawns_and_cancels.remote(str(path)) == "cancelled"
    wait_for(lambda: not path.exists())


@pytest.mark.parametrize("place", ["placed", "mixed"])
def test_maps(request, place):
    request.getfixturevalue(place)
    expected = [2 * x for x in range(2000)]
    assert calling.maps.remote(2000) == (expected, [1, 2], [7, 7], 0)
    assert calling.maps_and_awaits.remote(100) == expected[:100]


def test_what_is_not_there(placed):
    assert "no call 'fc-what'" in calling.looks_for.remote("fc-what")


def test_a_function_by_its_name(placed):
    assert calling.calls_by_name.remote(4) == 8


@pytest.mark.parametrize("places", [{"*": "process"}, {"numbers": "thread", "endless": "thread"}])
def test_streams(places, tmp_path):
    path = tmp_path / "runs"
    with calling.app.run(placement={"*": "process", **places}):
        expected = list(range(300))
        assert calling.streams.remote(300, str(path)) == [*expected, 7, *range(40)]
        wait_for(lambda: not path.exists())
        assert calling.streams_and_awaits.remote(100, "") == expected[:100]
        assert list(calling.passes_items_on.remote_gen(100)) == expected[:100]


def test_a_dict_is_that_of_the_program(placed):
    assert calling.keeps.remote("a", 1) == (1, 7, ["a", "other"], 2)
    assert calling.shared["a"] == 1
    assert calling.takes.remote("a")[0] == 1
    assert "a" not in calling.shared
    calling.shared.clear()


@pytest.mark.parametrize("way", [calling.gets, calling.awaits_items])
def test_a_queue_is_that_of_the_program(placed, way):
    call = way.spawn(None)
    calling.puts.remote([{"n": 5}])
    assert call.get() == {"n": 5}
    with pytest.raises(queue.Empty):
        way.remote(0.01)


def test_a_get_that_waits_ends_with_the_code_that_waits(placed):
    call = calling.awaits_items.spawn(None)
    running = calling.puts.spawn([])
    running.get()
    call.cancel()
    with pytest.raises(InputCancelledError):
        call.get()
    calling.tasks.put(3)
    assert calling.gets.remote(None) == 3


@pytest.mark.parametrize("way", [calling.iterates, calling.iterates_and_awaits])
def test_the_items_of_a_queue_are_read_without_being_taken(placed, way):
    calling.tasks.clear()
    calling.puts.remote([1, {"n": 2}, 3])
    assert way.remote() == [1, {"n": 2}, 3]
    assert calling.tasks.get_many(3) == [1, {"n": 2}, 3]


@pytest.mark.parametrize("way", [calling.calls_itself, calling.ping])
def test_a_deadlock_across_processes_is_found(placed, way):
    with pytest.raises(DeadlockError, match=way._name):
        way.remote(1)
    assert calling.calls_itself.remote(0) == 0
