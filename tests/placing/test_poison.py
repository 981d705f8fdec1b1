"""What cannot be written or read, hangs there or kills: only its caller suffers.

Outcomes are read where their callers are, never on the post's thread, so the post goes on whatever
they do.  And of a hundred inputs that run together, one that kills its container fails alone.
"""

import os
import sys
import threading
from collections import Counter

import pytest

import moorage
from moorage.exception import ContainerLostError, DeserializationError, FunctionTimeoutError
from moorage.placing import out_of_memory, process
from moorage.placing.post import process_post

from . import poisons

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pidfds are Linux's")

Poison = poisons.Poison


@pytest.fixture(autouse=True)
def others_go_on():
    poisons.gate.clear()
    poisons.reads.clear()
    with poisons.app.run(placement="process", grace=0.2):
        try:
            yield
            assert list(poisons.one_of_many.starmap([(1, "", os.devnull)] * 9)) == [1] * 9
            heard = threading.Event()
            process_post.do(heard.set)
            assert heard.wait(30)
        finally:
            poisons.gate.set()


# -- results -------------------------------------------------------------------------------------


def test_a_result_that_cannot_be_read_fails_its_caller():
    neighbour = poisons.take.spawn(1)
    with pytest.raises(moorage.exception.Error, match="Unlucky"):
        poisons.give.remote("fails", "here")
    results = poisons.give.starmap([("fails", "here"), ("", "")], return_exceptions=True)
    assert [type(result) for result in results] == [DeserializationError, str]
    assert neighbour.get() == 1


@pytest.mark.parametrize("way", ["map", "map_async", "in_a_container", "in_a_container_async"])
def test_one_that_cannot_be_read_stands_in_its_place_in_a_map(way):
    seen = poisons.WAYS[way]()
    assert seen == ["DeserializationError", "str", "DeserializationError"]


def test_a_result_whose_reading_hangs_holds_up_its_caller_alone():
    got = []
    call = threading.Thread(target=lambda: got.append(poisons.give.remote("hangs", "here")))
    call.start()
    assert poisons.reads.wait(60)
    assert list(poisons.take.map(range(50))) == list(range(50))
    assert poisons.give.remote("", "") == ""  # of the same function
    assert got == []
    poisons.gate.set()
    call.join()
    assert got == ["hangs"]


def test_a_result_that_kills_its_reader_ends_that_container_alone(tmp_path):
    path = tmp_path / "runs"
    with pytest.raises(ContainerLostError, match="exited with code 5"):
        poisons.reads_what_harms.remote(str(path))
    assert len(path.read_text().splitlines()) <= 3


@pytest.mark.parametrize(
    ("what", "error", "said"),
    [
        ("fails", moorage.exception.SerializationError, "Unlucky"),
        ("hangs", FunctionTimeoutError, "8 s"),
        ("kills", ContainerLostError, "exited with code 5"),
    ],
)
def test_a_result_that_harms_who_writes_it(what, error, said):
    neighbour = poisons.take.spawn(1)
    with pytest.raises(error, match=said):
        poisons.give_what_harms_the_writer.remote(what)
    assert neighbour.get() == 1


def test_items_before_one_that_cannot_be_read_arrive():
    got = []
    with pytest.raises(moorage.exception.Error, match="Unlucky"):
        got.extend(poisons.items.remote_gen("fails", "here"))
    assert got == [1]


def test_an_error_with_another_signature_arrives_whole():
    with pytest.raises(poisons.OddError, match="one and two"):
        poisons.fails.remote("odd")


def test_an_error_that_cannot_be_read_is_shown():
    with pytest.raises(moorage.exception.Error, match="what"):
        poisons.fails.remote("unreadable")


# -- arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [poisons.take, poisons.take_async], ids=["sync", "async"])
@pytest.mark.parametrize(
    ("what", "error", "said"),
    [
        ("fails", Exception, "Unlucky|fails"),
        ("hangs", FunctionTimeoutError, "8 s"),
        ("kills", ContainerLostError, "exited with code 5"),
    ],
)
def test_an_argument_that_harms_who_reads_it(function, what, error, said):
    with pytest.raises(error, match=said):
        function.remote(Poison(what, "there"))
    if (function, what) != (poisons.take_async, "hangs"):  # whose loop stands still
        assert function.remote(2) == 2


def test_a_member_of_a_batch_whose_argument_cannot_be_read_fails_alone():
    inputs = [1, Poison("fails", "there"), 3]
    results = list(poisons.take_many.map(inputs, return_exceptions=True))
    assert (results[0], results[2]) == (1, 3)
    assert isinstance(results[1], Exception)


def test_an_argument_that_cannot_be_written_fails_at_the_call():
    with pytest.raises(moorage.exception.SerializationError, match="Unlucky"):
        poisons.take.remote(poisons.HarmsTheWriter("fails"))


# -- out of memory --------------------------------------------------------------------------------


def test_a_kill_for_lack_of_memory_is_named(tmp_path, monkeypatch):
    events = tmp_path / "memory.events"
    events.write_text("oom 1\noom_kill 1\n")
    kills = out_of_memory.Kills()
    monkeypatch.setattr(out_of_memory, "files_of_groups", lambda: [str(events)])
    monkeypatch.setattr(process, "process_kills", kills)
    kills.begin()
    # The first run of the input and the second one: the system speaks of one of them.
    with pytest.raises(ContainerLostError, match="as the system does when memory runs out"):
        poisons.kills_itself.remote()
    events.write_text("oom 2\noom_kill 3\n")
    with pytest.raises(ContainerLostError, match="because memory ran out"):
        poisons.kills_itself.remote()
    with pytest.raises(ContainerLostError, match="as the system does when memory runs out"):
        poisons.kills_itself.remote()


def test_the_files_of_control_groups(monkeypatch):
    groups = "9:name=systemd:/\n4:cpu,memory:/some/where\n0::/user.slice\n"
    monkeypatch.setattr(out_of_memory, "_read", lambda file: groups)
    assert out_of_memory.files_of_groups() == [
        "/sys/fs/cgroup/memory/some/where/memory.oom_control",
        "/sys/fs/cgroup/user.slice/memory.events",
    ]


# -- one of a hundred -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "error", "said"),
    [
        ("exit", ContainerLostError, "exited with code 3"),
        ("segfault", ContainerLostError, r"SIGSEGV, in .* called by end \("),
        ("abort", ContainerLostError, r"SIGABRT, in end \("),
        ("memory", MemoryError, None),
    ],
)
def test_of_a_hundred_inputs_the_one_that_kills_fails_alone(how, error, said, tmp_path):
    path = tmp_path / "ran"
    inputs = [(x, how, str(path)) for x in range(100)]
    results = list(poisons.one_of_many.starmap(inputs, return_exceptions=True))
    with pytest.raises(error, match=said):
        raise results.pop(13)
    assert results == [x for x in range(100) if x != 13]
    assert max(Counter(path.read_text().split()).values()) <= 3
