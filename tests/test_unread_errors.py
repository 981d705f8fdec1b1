"""The error of a failed spawned input that nobody reads is logged once; failed attempts at INFO."""

import asyncio
import gc
import logging
import os
import subprocess
import sys
import threading
import time
import weakref

import pytest

import moorage
from moorage import App, FunctionCall, config
from moorage.calling.registry import registry
from moorage.exception import FunctionTimeoutError
from moorage.runtime import background
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.runtime.waiting import unread


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch):
    yield
    monkeypatch.setattr(config, "findable_calls", 0)
    registry.sweep()
    gc.collect()
    cleaned_up()


def cleaned_up():
    """Wait until both background threads have done all that they were handed."""
    done = threading.Event()
    background.in_background(done.set)
    assert done.wait(30)
    assert background.flush(30)


@pytest.fixture
def said(caplog):
    """Return a function that gives the ERROR records so far, as text with their tracebacks."""
    caplog.set_level(logging.INFO, "moorage")

    def texts(level=logging.ERROR):
        gc.collect()
        cleaned_up()
        format = logging.Formatter("%(message)s").format
        return [
            format(record)
            for record in caplog.records
            if record.levelno == level and record.name == "moorage"
        ]

    return texts


def settled(call):
    """Wait until all inputs of `call` are settled, and read nothing."""
    until = time.monotonic() + 30
    while call._settled_at is None:
        assert time.monotonic() < until
        time.sleep(0.001)


@pytest.fixture
def app():
    return App("orders")


@pytest.fixture
def fail(app):
    @app.function(serialized=True)
    def fail(number=0):
        raise ValueError(f"order {number} is lost")

    return fail


def assert_one(texts, number=0):
    assert len(texts) == 1, texts
    assert f"order {number} is lost" in texts[0]
    assert "Traceback" in texts[0]
    assert ", in fail" in texts[0]


# -- when ------------------------------------------------------------------------------------


def test_a_dropped_handle_logs_the_error_with_its_traceback_and_the_names(app, fail, said):
    with app.run(drain=True):
        fail.spawn(7)
    texts = said()
    assert_one(texts, 7)
    assert "of fail failed" in texts[0]
    assert "fc-" in texts[0]


def test_a_handle_that_is_dropped_later_logs_then(app, fail, said):
    with app.run():
        call = fail.spawn()
        settled(call)
        assert said() == [], "the handle can still be asked"
        del call
        assert_one(said())


def test_the_end_of_the_run_logs_nothing_while_the_handle_lives(app, fail, said):
    with app.run(drain=True):
        call = fail.spawn()
    assert said() == []
    with pytest.raises(ValueError):
        call.get()
    del call
    assert said() == []


def test_a_call_whose_id_was_given_out_logs_when_it_expires(app, fail, said, monkeypatch):
    with app.run():
        call = fail.spawn()
        call_id = call.object_id
        settled(call)
        del call
        assert said() == [], "it can be read by its id"
        monkeypatch.setattr(config, "findable_seconds", 0.0)
        registry.sweep()
        texts = said()
        assert_one(texts)
        assert call_id in texts[0]


def test_a_call_that_falls_out_of_the_registry_logs_then(app, fail, said, monkeypatch):
    with app.run():
        call = fail.spawn()
        assert call.object_id
        settled(call)
        del call
        monkeypatch.setattr(config, "findable_calls", 0)
        registry.sweep()
        assert_one(said())


def test_an_id_that_is_read_before_it_expires_logs_nothing(app, fail, said, monkeypatch):
    with app.run():
        call_id = fail.spawn().object_id
        with pytest.raises(ValueError):
            FunctionCall.from_id(call_id).get(timeout=30)
        monkeypatch.setattr(config, "findable_seconds", 0.0)
        registry.sweep()
        assert said() == []


@pytest.mark.parametrize("holds", ["handle", "id", "handle in a cycle", "nobody"])
def test_at_the_interpreters_exit_what_is_unread_is_logged(holds):
    program = f"""
import logging, moorage, time
app = moorage.App("exit")

@app.function()
def fail():
    raise ValueError("order 1 is lost")

call = fail.spawn()
if {holds!r} == "id":
    call = call.object_id
elif {holds!r} == "handle in a cycle":
    call = [call]
    call.append(call)
elif {holds!r} == "nobody":
    call = None
while not fail.statistics().failed:
    time.sleep(0.01)
"""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env=env
    )
    assert ran.returncode == 0
    assert ran.stderr.count("ValueError: order 1 is lost") == 1, ran.stderr
    assert "Traceback" in ran.stderr
    assert "nobody has read its error" in ran.stderr


def test_at_the_interpreters_exit_what_was_read_is_not_logged():
    program = """
import moorage
app = moorage.App("exit")

@app.function()
def fail():
    raise ValueError("order 1 is lost")

call = fail.spawn()
try:
    call.get()
except ValueError:
    print("read")
"""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env=env
    )
    assert (ran.stdout, ran.stderr) == ("read\n", "")


def test_a_handle_in_the_locals_of_its_own_error_is_freed_and_logged(said):
    app, calls, begin = App("cycle"), [], threading.Event()

    @app.function(serialized=True)
    def fail():
        begin.wait(30)
        mine = calls.pop()  # from here on, only this frame has the handle
        raise ValueError(f"order 0 is lost, {mine.target.name}")

    with app.run(drain=True):
        calls.append(fail.spawn())
        begin.set()
    assert_one(said())


# -- what counts as read -----------------------------------------------------------------------


READS = {
    "get": lambda call: call.get(timeout=30),
    "get.aio": lambda call: asyncio.run(call.get.aio(timeout=30)),
    "iter": lambda call: list(call.iter()),
    "gather": lambda call: FunctionCall.gather(call),
    "gather.aio": lambda call: asyncio.run(FunctionCall.gather.aio(call)),
    "from_id": lambda call: FunctionCall.from_id(call.object_id).get(timeout=30),
}


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("way", READS)
def test_an_error_that_was_read_is_not_logged(way, waits, app, fail, said):
    with app.run():
        call = fail.spawn()
        if not waits:
            settled(call)
        with pytest.raises(ValueError):
            READS[way](call)
        del call
    assert said() == []


LOOKS = {
    "repr": repr,
    "num_inputs": lambda call: call.num_inputs(),
    "graph": lambda call: call.get_call_graph(),
    "cancel": lambda call: call.cancel(),
}


@pytest.mark.parametrize("way", LOOKS)
def test_what_only_looks_at_the_call_reads_no_error(way, app, fail, said, monkeypatch):
    with app.run():
        call = fail.spawn()
        settled(call)
        LOOKS[way](call)
        del call
        monkeypatch.setattr(config, "findable_seconds", 0.0)
        registry.sweep()
        assert_one(said())


def test_a_get_that_times_out_reads_nothing(said):
    app, begin = App("slow"), threading.Event()

    @app.function(serialized=True)
    def fail():
        begin.wait(30)
        raise ValueError("order 0 is lost")

    with app.run(drain=True):
        call = fail.spawn()
        with pytest.raises(TimeoutError):
            call.get(timeout=0)
        begin.set()
        del call
    assert_one(said())


def test_gather_reads_the_error_that_it_raises_and_no_other(app, fail, said):
    with app.run():
        calls = [fail.spawn(number) for number in range(3)]
        for call in calls:
            settled(call)
        del call
        with pytest.raises(ValueError, match="order 0"):
            FunctionCall.gather(*calls)
        del calls
        texts = said()
    assert sorted(number for number in range(3) for text in texts if f"order {number}" in text) == [
        1,
        2,
    ]


def test_a_read_that_races_with_the_failure_is_never_logged(app, fail, said):
    with app.run():
        for _ in range(300):
            with pytest.raises(ValueError):
                fail.spawn().get()
    assert said() == []


# -- what is an error --------------------------------------------------------------------------


def test_a_cancelled_input_is_no_error(said):
    app, began = App("cancelled"), threading.Event()

    @app.function(serialized=True, max_containers=1)
    async def wait():
        began.set()
        await asyncio.sleep(60)

    with app.run():
        running, queued = wait.spawn(), wait.spawn()
        assert began.wait(30)
        queued.cancel()
        running.cancel()
        wait.spawn()  # cancelled by the end of the run
        del queued, running
    assert said() == []


def test_a_success_logs_nothing(app, said):
    @app.function(serialized=True)
    def work():
        return 1

    with app.run(drain=True):
        work.spawn()
        work.spawn_map([])
    assert said() == []


def test_a_timeout_and_a_failed_start_are_errors(said):
    app = App("others")

    @app.function(timeout=10, serialized=True)
    async def slow():
        await asyncio.sleep(60)

    @app.cls(serialized=True)
    class Broken:
        @moorage.enter()
        def enter(self):
            raise KeyError("no weights")

        @moorage.method()
        def work(self):
            pass

    with VirtualClock() as clock, app.run(clock=clock):
        call = slow.spawn()
        other = Broken().work.spawn()
        clock.sleep(30)
        settled(call)
        settled(other)
        del call, other
    timed_out, broken = sorted(said(), key=lambda text: "weights" in text)
    assert FunctionTimeoutError.__name__ in timed_out
    assert "Traceback" in broken
    assert "of Broken.work failed" in broken


def test_system_exit_in_a_spawned_input_is_an_error(said):
    app = App("exits")

    @app.function(serialized=True)
    def leave():
        raise SystemExit(3)

    with app.run(drain=True):
        leave.spawn()
    (text,) = said()
    assert "SystemExit(3)" in text


def test_a_hooked_method_an_async_def_and_strict_mode(said, monkeypatch):
    monkeypatch.setattr(config, "strict", True)
    app = App("strict")

    @app.cls(serialized=True)
    class Model:
        @moorage.method()
        async def fail(self, number):
            raise ValueError(f"order {number} is lost")

    async def spawn():
        await Model().fail.spawn.aio(4)

    with app.run(drain=True):
        asyncio.run(spawn())
    assert_one(said(), 4)


def test_batch_members_are_logged_each(said):
    app = App("batches")

    @app.function(serialized=True)
    @moorage.batched(max_batch_size=2, wait_ms=1000)
    def fail(numbers):
        raise ValueError(f"orders {numbers} are lost")

    with app.run(drain=True):
        fail.spawn(1)
        fail.spawn(2)
    assert len(said()) == 2


def test_a_fake_containers_spawn_and_submit_too(fake_container, said):
    def fail(number):
        raise ValueError(f"order {number} is lost")

    container = fake_container(fail)
    unread_one, read = container.submit(1), container.submit(2)
    assert isinstance(read.exception(), ValueError)
    settled(unread_one.call)
    del unread_one, read
    assert_one(said(), 1)


# -- children, and calls with many inputs -------------------------------------------------------


@pytest.mark.parametrize("parent", ["remote", "spawn", "map"])
def test_what_a_function_spawned_is_logged_when_its_handle_goes(parent, app, fail, said):
    @app.function(serialized=True)
    def outer(number):
        fail.spawn(number)

    with app.run(drain=True):
        if parent == "map":
            list(outer.map([5]))
        else:
            call = getattr(outer, parent)(5)
            if parent == "spawn":
                call.get()
    assert_one(said(), 5)


def test_a_logged_child_is_still_found_by_the_graph(app, fail, said):
    @app.function(serialized=True)
    def outer():
        fail.spawn(5)

    with app.run(drain=True):
        call = outer.spawn()
    assert_one(said(), 5)
    (info,) = call.get_call_graph()
    with pytest.raises(ValueError, match="order 5"):
        FunctionCall.from_id(info.children[0].function_call_id).get()


def test_a_child_whose_id_is_given_out_after_it_failed_waits_for_its_expiry(
    app, fail, said, monkeypatch
):
    @app.function(serialized=True)
    def outer():
        call = fail.spawn(5)
        settled(call)
        while call.number not in registry._settled:
            time.sleep(0.001)
        return call.object_id

    with app.run():
        call = outer.spawn()
        call_id = call.get()
        assert said() == [], "the id is known"
        assert FunctionCall.from_id(call_id).num_inputs() == 1
        monkeypatch.setattr(config, "findable_seconds", 0.0)
        registry.sweep()
        assert_one(said(), 5)


def test_many_inputs_log_one_record_each(app, fail, said):
    with app.run(drain=True):
        call = fail.experimental_spawn_map(range(4))
        with pytest.raises(ValueError):
            call.get(index=2)
        del call
    texts = said()
    assert [number for number in range(4) for text in texts if f"order {number} " in text] == [
        0,
        1,
        3,
    ]
    assert "input 1 of the spawned call" in texts[1]


@pytest.mark.parametrize("way", ["experimental_spawn_map", "spawn_map"])
def test_ten_thousand_failures_leave_a_bounded_number_of_records_and_a_count(way, app, fail, said):
    with app.run(drain=True):
        getattr(fail, way)(range(10_000))
    texts = said()
    assert len(texts) == unread.MOST_LOGGED + 1
    assert f"{10_000 - unread.MOST_LOGGED} more inputs" in texts[-1]
    assert f"{10_000 - unread.MOST_LOGGED} x ValueError" in texts[-1]


@pytest.mark.parametrize("is_async", [True, False])
def test_spawn_map_logs_at_once(is_async, said):
    app, go_on = App("map"), threading.Event()

    @app.function(serialized=True)
    @moorage.concurrent(max_inputs=4)
    def fail(number):
        if number == 2:
            go_on.wait(30)
        raise ValueError(f"order {number} is lost")

    with app.run(drain=True):
        if is_async:
            asyncio.run(fail.spawn_map.aio([1, 2]))
        else:
            fail.spawn_map([1, 2])
        until = time.monotonic() + 30
        while not said():
            assert time.monotonic() < until
        assert_one(said(), 1)
        go_on.set()
    assert len(said()) == 2


def test_spawn_map_logs_also_if_the_code_asked_for_the_id(said):
    app = App("named")

    @app.function(serialized=True)
    def fail(number):
        moorage.current_function_call_id()
        raise ValueError(f"order {number} is lost")

    with app.run(drain=True):
        fail.spawn_map([0])
    assert_one(said())


# -- how ---------------------------------------------------------------------------------------


def test_the_frames_of_a_kept_failure_let_go_and_the_log_has_its_traceback(said, monkeypatch):
    app, refs = App("kept"), []

    class Picture:
        pass

    @app.function(serialized=True)
    def fail():
        picture = Picture()
        refs.append(weakref.ref(picture))
        raise ValueError("order 0 is lost")

    with app.run():
        call = fail.spawn()
        assert call.object_id
        settled(call)
        del call
        until = time.monotonic() + 30
        while refs[0]() is not None:
            assert time.monotonic() < until, "the locals of its frames are kept"
            time.sleep(0.01)
            gc.collect()
        monkeypatch.setattr(config, "findable_seconds", 0.0)
        registry.sweep()
        assert_one(said())


def test_nothing_is_kept_once_the_error_was_logged_or_read(app, fail, said):
    of_other_tests = set(unread._watched)
    with app.run(drain=True):
        fail.spawn()
        with pytest.raises(ValueError):
            fail.spawn().get()
    said()
    assert set(unread._watched) <= of_other_tests


def test_an_error_that_cannot_be_shown_ends_nothing(app, said):
    class Hostile(Exception):
        def __str__(self):
            raise RuntimeError("no text")

    @app.function(serialized=True)
    def fail():
        raise Hostile

    with app.run(drain=True):
        fail.spawn()
    assert "Hostile" in said()[0]


def test_a_child_process_does_not_log_what_it_inherited(app, fail, said):
    with app.run():
        call = fail.spawn()
        settled(call)
        pid = os.fork()
        if not pid:
            handled = []
            handler = logging.Handler()
            handler.emit = handled.append
            logging.getLogger("moorage").addHandler(handler)
            del call
            gc.collect()
            background.flush(5)
            os._exit(len(handled))
        assert os.waitpid(pid, 0)[1] == 0
        del call
        assert_one(said())


def test_a_failed_attempt_that_is_tried_again_is_one_record_at_info(said):
    app, tried = App("retries"), []

    @app.function(serialized=True, retries=moorage.Retries(max_retries=2, initial_delay=1.0))
    def flaky():
        tried.append(1)
        if len(tried) < 3:
            raise ValueError(f"attempt {len(tried)} went wrong")
        return len(tried)

    with VirtualClock() as clock, app.run(clock=clock):
        assert flaky.remote() == 3
    first, second = said(logging.INFO)
    assert "attempt 1 of the input in-" in first
    assert "of flaky failed" in first
    assert "ValueError: attempt 1 went wrong" in first
    assert "in 1 s" in first
    assert "Traceback" not in first
    assert "ValueError: attempt 2 went wrong" in second
    assert said() == []


def test_the_last_attempt_of_a_spawned_input_is_an_error(said):
    app = App("retries")

    @app.function(serialized=True, retries=moorage.Retries(max_retries=2, initial_delay=0.0))
    def fail():
        raise ValueError("order 0 is lost")

    with app.run(drain=True):
        fail.spawn()
    assert_one(said())
    assert len(said(logging.INFO)) == 2


def test_each_member_of_a_batch_that_is_tried_again_is_a_record(said):
    app, tried = App("retries"), []

    @app.function(serialized=True, retries=moorage.Retries(max_retries=1, initial_delay=0.0))
    @moorage.batched(max_batch_size=2, wait_ms=1000)
    def flaky(numbers):
        tried.append(numbers)
        if len(tried) == 1:
            raise ValueError("once")
        return numbers

    with app.run():
        assert list(flaky.map([1, 2])) == [1, 2]
    assert len(said(logging.INFO)) == 2
