"""What must not run on a thread that keeps time runs elsewhere, in order, and delays nothing."""

import asyncio
import gc
import logging
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import moorage
from moorage.runtime import background
from moorage.runtime.background import Errands, flush, in_background, log, log_in_background
from moorage.runtime.clocks.clock import system_clock
from moorage.runtime.clocks.virtual_clock import VirtualClock

logger = logging.getLogger("moorage.test")


class Handler(logging.Handler):
    def __init__(self, emit: Callable[[logging.LogRecord], object]) -> None:
        super().__init__()
        self._emit = emit

    def emit(self, record: logging.LogRecord) -> None:
        self._emit(record)


@pytest.fixture
def handled_by():
    added = []

    def add(emit: Callable[[logging.LogRecord], object]) -> None:
        handler = Handler(emit)
        added.append(handler)
        logger.addHandler(handler)

    yield add
    for handler in added:
        logger.removeHandler(handler)
    assert flush(10)


def test_records_are_written_in_order_by_one_thread(handled_by):
    seen: list[tuple[str, str]] = []
    handled_by(lambda record: seen.append((record.getMessage(), record.threadName)))
    for number in range(100):
        log_in_background(logger, logging.ERROR, "number %d", number)
    assert flush(10)
    assert seen == [(f"number {number}", "moorage-log") for number in range(100)]


def test_arguments_are_formatted_on_that_thread_too(handled_by):
    class Shown:
        def __str__(self) -> str:
            return threading.current_thread().name

    seen: list[str] = []
    handled_by(lambda record: seen.append(record.getMessage()))
    log_in_background(logger, logging.ERROR, "%s", Shown())
    assert flush(10)
    assert seen == ["moorage-log"]


def test_an_error_is_written_with_its_traceback(handled_by):
    seen: list[Any] = []
    handled_by(lambda record: seen.append(record.exc_info))
    error = ValueError("shown")
    log_in_background(logger, logging.ERROR, "failed", exc_info=error)
    assert flush(10)
    assert seen[0][1] is error


def test_a_handler_that_blocks_delays_no_timer(handled_by):
    blocked, go_on, fired = threading.Event(), threading.Event(), threading.Event()

    def block(record: logging.LogRecord) -> None:
        blocked.set()
        assert go_on.wait(30)

    handled_by(block)
    now = system_clock.now()
    system_clock.call_at(now, lambda: log(logger, logging.ERROR, "on the timekeeper"))
    assert blocked.wait(10)
    system_clock.call_at(now, fired.set)
    assert fired.wait(10)
    assert not flush(0.01)
    go_on.set()
    assert flush(10)


def test_a_handler_that_blocks_stops_no_virtual_time(handled_by):
    go_on = threading.Event()
    handled_by(lambda record: go_on.wait(30))
    with VirtualClock() as clock:
        clock.call_at(1.0, lambda: log(logger, logging.ERROR, "on the clock's thread"))
        clock.sleep(100)
    go_on.set()


def test_a_handler_that_raises_anything_ends_nothing(handled_by):
    seen: list[str] = []

    def exit(record: logging.LogRecord) -> None:
        seen.append(record.getMessage())
        raise SystemExit

    handled_by(exit)
    log_in_background(logger, logging.ERROR, "first")
    log_in_background(logger, logging.ERROR, "second")
    assert flush(10)
    assert seen == ["first", "second"]


def test_on_a_thread_that_keeps_no_time_a_record_is_there_on_return(handled_by):
    seen: list[str] = []
    handled_by(lambda record: seen.append(record.threadName))
    log(logger, logging.ERROR, "here")
    assert seen == [threading.current_thread().name]


def test_a_handler_that_fails_here_fails_nobody(handled_by):
    def fail(record: logging.LogRecord) -> None:
        raise ValueError("a handler")

    handled_by(fail)
    log(logger, logging.ERROR, "here")


def test_the_thread_ends_when_it_has_nothing_to_do_and_comes_back(monkeypatch):
    monkeypatch.setattr(background, "IDLE", 0.0)
    errands = Errands("errands of a test")
    for _ in range(200):  # each may come just as the thread ends
        done = threading.Event()
        errands.add(done.set)
        assert done.wait(10)
    thread = errands._thread
    if thread is not None:
        thread.join(10)
    assert errands._thread is None
    assert not errands._work


def test_work_is_kept_while_no_thread_can_be_made_and_done_by_flush(monkeypatch):
    def fail(self):
        raise RuntimeError("can't start new thread")

    errands = Errands("errands of a test")
    done: list[int] = []
    monkeypatch.setattr(background.Real.Thread, "start", fail)
    errands.add(lambda: done.append(1))
    assert done == []
    assert errands.flush(10)
    assert done == [1]


def test_a_flush_leaves_the_work_to_a_thread_that_another_one_is_about_to_start():
    errands = Errands("errands of a test")
    done: list[str] = []
    errands._starting.acquire()  # as the other one, which has added its work
    errands.add(lambda: done.append(threading.current_thread().name))
    assert not errands.flush(0.01)
    assert done == []
    errands._starting.release()
    errands._ensure_thread()
    assert errands.flush(10)
    assert done == ["errands of a test"]


def test_what_a_finalizer_hands_over_may_be_added_anywhere():
    done = threading.Event()

    class Dropped:
        pass

    dropped = Dropped()
    weakref.finalize(dropped, in_background, done.set)
    del dropped
    gc.collect()
    assert done.wait(10)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_writes_its_own_records_and_not_those_of_its_parent(handled_by):
    reading, writing = os.pipe()
    blocked, go_on = threading.Event(), threading.Event()

    def write(record: logging.LogRecord) -> None:
        if os.getpid() == parent:
            blocked.set()
            assert go_on.wait(30)
        os.write(writing, record.getMessage().encode() + b"\n")

    parent = os.getpid()
    handled_by(write)
    log_in_background(logger, logging.ERROR, "first of the parent")
    log_in_background(logger, logging.ERROR, "second of the parent")
    assert blocked.wait(10)
    child = os.fork()
    if child == 0:
        logger.handlers[0].lock = threading.RLock()
        log_in_background(logger, logging.ERROR, "of the child")
        os._exit(0 if flush(10) else 1)
    assert os.waitpid(child, 0)[1] == 0
    go_on.set()
    assert flush(10)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read().splitlines() == [
            "of the child",
            "first of the parent",
            "second of the parent",
        ]


def test_what_was_logged_elsewhere_is_there_when_the_run_has_been_left(caplog):
    app = moorage.App("leaving")

    @app.function()
    def f():
        system_clock.call_at(0.0, lambda: log(logger, logging.ERROR, "from a timer") or seen.set())
        assert seen.wait(10)

    seen = threading.Event()
    with app.run():
        f.remote()
    assert "from a timer" in caplog.text


def test_arguments_of_an_input_that_waited_too_long_die_on_no_thread_that_keeps_time():
    app = moorage.App("dies")
    died_on: list[str] = []
    died, begun, go_on = threading.Event(), threading.Event(), threading.Event()

    class Users:
        def __del__(self) -> None:
            died_on.append(threading.current_thread().name)
            died.set()

    @app.function(max_containers=1, queue_timeout=1)
    @moorage.concurrent(max_inputs=1)
    def hold(x):
        begun.set()
        assert go_on.wait(30)

    with app.run():
        first = hold.spawn(None)
        assert begun.wait(30)
        second = hold.spawn(Users())  # nobody else has it
        assert died.wait(30)
        go_on.set()
        first.get(timeout=30)
        with pytest.raises(moorage.exception.QueueTimeoutError):
            second.get(timeout=30)
    assert "timekeeper" not in died_on[0]


# -- what dies when a deadline has come -------------------------------------------------------


@pytest.fixture
def users():
    """Makes objects of a user's, and says where they died: collected by nobody but us."""
    died_on: list[str] = []

    class Users:
        def __del__(self) -> None:
            died_on.append(threading.current_thread().name)

    gc.collect()
    gc.disable()
    yield Users, died_on
    gc.enable()


def cleaned_up():
    done = threading.Event()
    in_background(done.set)
    assert done.wait(30)


def test_a_result_that_came_after_a_timeout_dies_on_no_thread_that_keeps_time(users):
    Users, died_on = users
    app = moorage.App("again")
    attempts = []

    @app.function(timeout=5, retries=moorage.Retries(max_retries=1, initial_delay=0))
    async def slow_at_first():
        attempts.append(1)
        if len(attempts) == 1:
            await asyncio.sleep(60)
        return Users()

    with VirtualClock() as clock, app.run(clock=clock):
        slow_at_first.spawn().get()
        clock.sleep(30)
        cleaned_up()
        assert len(died_on) == 1
        assert "clock" not in died_on[0], died_on


def test_the_results_of_a_map_die_with_its_last_input_on_no_thread_that_keeps_time(users):
    Users, died_on = users
    app = moorage.App("map")

    @app.function(queue_timeout=5, max_containers=1)
    async def make(kind):
        if kind == "hold":
            await asyncio.sleep(60)
        return Users()

    with VirtualClock() as clock, app.run(clock=clock):
        make.spawn_map(["make", "hold", "wait"])
        clock.sleep(100)
        cleaned_up()
        assert len(died_on) >= 1
        assert not any("clock" in name for name in died_on), died_on


def test_earlier_errors_die_on_no_thread_that_keeps_time(users):
    Users, died_on = users
    app = moorage.App("errors")

    class Refused(Exception):
        def __init__(self, of: object) -> None:
            super().__init__()
            self.of = of

    @app.function(
        queue_timeout=5,
        max_containers=1,
        retries=moorage.Retries(max_retries=1, initial_delay=1),
    )
    async def fail(kind):
        if kind == "hold":
            await asyncio.sleep(100)
        raise Refused(Users())

    with VirtualClock() as clock, app.run(clock=clock):
        fail.spawn("fail")
        fail.spawn("hold")
        clock.sleep(30)
        cleaned_up()
        clock.sleep(200)
        cleaned_up()
        assert not any("clock" in name for name in died_on), died_on
