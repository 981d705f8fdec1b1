"""Threads that have nothing to do read what comes for them themselves.

A container begins to do so when inputs come one at a time, so each test begins with some.  Then:
whatever else comes for it (a cancel, an answer, many inputs at once, the end) is read as before.
"""

import os
import pickle
import signal
import sys
import threading

import pytest

import moorage
from moorage.exception import InputCancellation, InputCancelledError
from moorage.placing import channel

from .outside import wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pidfds are Linux's")

app = moorage.App("reading-here")


@app.function(max_containers=1)
def one_at_a_time(x):
    return x, threading.current_thread() is threading.main_thread()


@app.function(max_containers=1)
@moorage.concurrent(max_inputs=8)
def several(x):
    return x


@app.function(max_containers=1)
@moorage.concurrent(max_inputs=8)
async def asynchronous(x):
    return x


@app.function(max_containers=1)
@moorage.concurrent(max_inputs=4)
def asks(x):
    return several.remote(x), list(asynchronous.map(range(x)))


@app.function(max_containers=1)
@moorage.concurrent(max_inputs=4)
async def asks_too(x):
    return await several.remote.aio(x), [each async for each in asynchronous.map.aio(range(x))]


@app.function(max_containers=1)
@moorage.concurrent(max_inputs=4)
def waits(path):
    if path is not None:
        with open(path, "w"):
            pass
        try:
            while True:  # until a cancellation strikes
                pass
        except InputCancellation:
            with open(path, "a") as file:
                file.write("cancelled")
            raise


@pytest.fixture(autouse=True)
def run():
    with app.run(placement="process"):
        yield


def warm(function, x=1):
    for _ in range(5):
        function.remote(x)


def test_the_main_thread_runs_each_input_of_a_container_with_one_slot():
    assert [one_at_a_time.remote(x) for x in range(20)] == [(x, True) for x in range(20)]


@pytest.mark.parametrize("function", [several, asynchronous])
def test_many_inputs_at_once_after_some_that_came_alone(function):
    for _ in range(5):
        warm(function)
        assert list(function.map(range(100))) == list(range(100))


@pytest.mark.parametrize("function", [asks, asks_too])
def test_answers_to_calls_are_read_while_the_code_waits_for_them(function):
    for x in range(10):
        assert function.remote(x) == (x, list(range(x)))


def test_a_cancel_is_read_while_the_code_runs(tmp_path):
    path = tmp_path / "seen"
    warm(waits, None)
    call = waits.spawn(str(path))
    wait_for(path.exists)
    call.cancel()
    with pytest.raises(InputCancelledError):
        call.get(timeout=30)
    wait_for(lambda: path.read_text() == "cancelled")
    warm(waits, None)
    assert waits.statistics().containers_started == 1


def test_ctrl_c_ends_the_wait_of_a_caller_that_reads(tmp_path, monkeypatch, in_threads):
    monkeypatch.setattr(channel, "READS_FOR", 60.0)
    path = tmp_path / "seen"
    warm(waits, None)

    def press() -> None:
        wait_for(path.exists)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    in_threads(press)
    with pytest.raises(KeyboardInterrupt):
        waits.remote(str(path))
    wait_for(lambda: path.read_text() == "cancelled")
    warm(waits, None)


# -- large arguments of a caller that waits ------------------------------------------------------


class Numbers:
    """An array: its buffer does not go into the pickle."""

    def __init__(self, data):
        self.data = data

    def __reduce_ex__(self, protocol):
        return Numbers, (pickle.PickleBuffer(self.data),)


@app.function(max_containers=1)
def changes(numbers):
    numbers.data[0] = 2  # it may be written to
    return bytes(numbers.data[:2]), len(numbers.data)


@app.function(max_containers=1)
def dies_first(path, numbers):
    if not os.path.exists(path):
        with open(path, "w"):
            pass
        os.kill(os.getpid(), signal.SIGKILL)
    return bytes(numbers.data[:2]), len(numbers.data)


def test_the_array_of_a_caller_that_waits_is_its_own_before_and_after():
    mine = Numbers(bytearray(b"\1" * 3_000_000))
    for _ in range(5):
        assert changes.remote(mine) == (b"\2\1", 3_000_000)
        assert mine.data == b"\1" * 3_000_000
    mine.data.append(1)  # nothing holds its memory any more
    call = changes.spawn(mine)
    mine.data[:] = b"\3" * len(mine.data)  # of a caller that goes on, there is a copy
    assert call.get() == (b"\2\1", 3_000_001)


def test_the_array_of_a_caller_that_waits_is_sent_again_when_a_container_is_lost(tmp_path):
    mine = Numbers(bytearray(b"\1" * 3_000_000))
    assert dies_first.remote(str(tmp_path / "seen"), mine) == (b"\1\1", 3_000_000)
