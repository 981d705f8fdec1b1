"""What `describe` says of programs that hang, each for a reason that it has to name."""

import asyncio
import gc
import io
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import warnings
import weakref

import pytest

import moorage
from moorage import App, config
from moorage.describing import text as description
from moorage.exception import InvalidError
from moorage.runtime.clocks.virtual_clock import VirtualClock
from placing.outside import signalled


def described():
    """The pools and their lines, with ids and lines of this file taken out."""
    out = io.StringIO()
    moorage.describe(out)
    text = re.sub(r"in-[0-9a-f-]+", "in-1", out.getvalue())
    text = re.sub(r"thread moorage-(\w+)-\d(-worker)?", r"thread of \1", text)
    text = re.sub(r"outside: Thread\S+ \(\w+\)", "outside: a thread", text)
    text = re.sub(r"(threading|tasks).py:\d+", r"\1.py", text)
    return re.sub(r"(\w+\.<locals>\.)?(\w+) \(\S*test_describe.py:\d+\)", r"\2 (here)", text)


def without_times(text):
    return re.sub(r"for [\d.]+ s", "for T", text)


def says(text):
    return textwrap.dedent(text).lstrip()


class Gate:
    """Where inputs hang, at one line of theirs and in no other code."""

    def __init__(self):
        self.inside = threading.Lock()
        self.inside.acquire()
        self.opened = threading.Lock()
        self.opened.acquire()


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    if gate.opened.locked():
        gate.opened.release()


def test_a_thread_that_is_stuck_and_a_queue_behind_max_containers(gate):
    app = App("stuck")

    @app.function(max_containers=1)
    def crawl(number):
        gate.inside.release() or gate.opened.acquire()

    with app.run():
        calls = [crawl.spawn(number) for number in range(3)]
        gate.inside.acquire()
        assert without_times(described()) == says(
            """
            moorage: 1 run is open; containers 1 of 32, threads 1 of 512
            the app 'stuck':
              crawl (max_inputs=1, max_containers=1): 2 queued, the first for T; 1 running
                starts no container: it has all of max_containers=1
                container 1: ready, 1 of 1 slots held
                  crawl in-1, for T, in thread of crawl, at crawl (here)
            """
        )
        for call in calls[1:]:
            call.cancel()
        gate.opened.release()
        calls[0].get()


def test_a_minimum_that_the_process_has_no_room_for(monkeypatch):
    monkeypatch.setattr(config, "max_containers", 2)
    app = App("crowded")

    @app.function(min_containers=5)
    def crawl(): ...

    with VirtualClock() as clock, app.run(clock=clock):
        clock.sleep(7)
        assert described() == says(
            """
            moorage: 1 run is open; containers 2 of 2, threads 2 of 512
            the app 'crowded':
              crawl (max_inputs=1): 0 running
                has 2 of min_containers=5: the process has no room for more
                container 1: ready, 0 of 1 slots held, idle for 7 s
                and 1 more like it: 2
            """
        )


def test_everything_waits_for_room_in_the_process(monkeypatch):
    monkeypatch.setattr(config, "max_containers", 1)
    app = App("crowded")
    clock = VirtualClock()

    @app.function()
    def crawl(number):
        clock.sleep(60)

    with clock, app.run(clock=clock):
        calls = [crawl.spawn(number) for number in range(3)]
        clock.sleep(7)
        assert described() == says(
            """
            moorage: 1 run is open; containers 1 of 1, threads 1 of 512
            the app 'crowded':
              crawl (max_inputs=1): 2 queued, the first for 7 s; 1 running
                starts no container: the process has no room for one, and it waits in line
                container 1: ready, 1 of 1 slots held
                  crawl in-1, for 7 s, in thread of crawl, at crawl (here)
            """
        )
        moorage.FunctionCall.gather(*calls)


def test_a_generator_whose_reader_has_paused():
    app = App("paused")
    clock = VirtualClock()

    @app.function()
    def count():
        yield from range(100)

    @app.function()
    async def count_async():
        for number in range(100):
            yield number

    with clock, app.run(clock=clock):
        readers = count.remote_gen(), count_async.remote_gen()
        for reader in readers:
            next(reader)
        clock.sleep(5)
        assert described() == says(
            """
            moorage: 1 run is open; containers 2 of 32, threads 1 of 512
            the app 'paused':
              count (max_inputs=1): 1 running
                container 1: ready, 1 of 1 slots held
                  count in-1, for 5 s, in thread of count
                    waits until its reader takes an item
              count_async (max_inputs=1): 1 running
                container 1: ready, 1 of 1 slots held
                  count_async in-1, for 5 s, in a task
                    waits until its reader takes an item
            """
        )
        for reader in readers:
            reader.close()


def test_a_start_up_that_does_not_end():
    app = App("slow start")
    clock = VirtualClock()

    @app.cls(max_containers=1)
    class Model:
        @moorage.enter()
        def load(self):
            clock.sleep(40)

        @moorage.method()
        def answer(self):
            return 1

    with clock, app.run(clock=clock):
        call = Model().answer.spawn()
        clock.sleep(30)
        assert described() == says(
            """
            moorage: 1 run is open; containers 1 of 32, threads 1 of 512
            the app 'slow start':
              Model (max_inputs=1, max_containers=1): 1 queued, the first for 30 s; 0 running
                waits for 1 of max_containers=1 to start
                container 1: starting, at Model.load (here), for 30 s
            """
        )
        assert call.get() == 1
        clock.sleep(2)
        assert "container 1: ready, 0 of 1 slots held, idle for 2 s\n" in described()


def test_inputs_that_wait_for_inputs_and_callers_outside(in_threads):
    app = App("chain")
    clock = VirtualClock()

    @app.function(max_containers=1)
    def parse(number):
        clock.sleep(10)

    @app.function()
    @moorage.concurrent(max_inputs=10)
    def fetch(number):
        parse.remote(number)

    @app.function()
    @moorage.concurrent(max_inputs=10)
    async def fetch_async(number):
        await parse_soon(number)

    async def parse_soon(number):
        await parse.remote.aio(number)

    @app.function()
    def fetch_all():
        list(parse.map(range(3), order_outputs=False))

    @app.function()
    def fetch_one():
        parse.spawn(1).get(timeout=5000)

    with clock, app.run(clock=clock):
        calls = [parse.spawn(0)]
        clock.sleep(1)
        calls += [fetch.spawn(number) for number in range(3)]
        clock.sleep(1)
        calls += [fetch_async.spawn(number) for number in range(2)]
        clock.sleep(1)
        calls += [fetch_all.spawn(), fetch_one.spawn()]
        takes_part = threading.Event()

        def caller():
            with clock.participate():
                takes_part.set()
                fetch.remote(4)

        outside = in_threads(caller)
        takes_part.wait()
        clock.sleep(1)
        assert described() == says(
            """
            moorage: 1 run is open; containers 5 of 32, threads 13 of 512
            the app 'chain':
              parse (max_inputs=1, max_containers=1): 10 queued, the first for 3 s; 1 running
                starts no container: it has all of max_containers=1
                container 1: ready, 1 of 1 slots held
                  parse in-1, for 4 s, in thread of parse, at parse (here)
              fetch (max_inputs=10): 4 running
                container 1: ready, 4 of 10 slots held
                  fetch in-1, for 3 s, in thread of fetch, at fetch (here)
                    waits for parse (in-1), which is queued for 3 s
                  and 3 more of fetch likewise, for 1 s or more
              fetch_async (max_inputs=10): 2 running
                container 1: ready, 2 of 10 slots held
                  fetch_async in-1, for 2 s, in a task, at parse_soon (here)
                    waits for parse (in-1), which is queued for 2 s
                  and 1 more of fetch_async likewise, for 2 s or more
              fetch_all (max_inputs=1): 1 running
                container 1: ready, 1 of 1 slots held
                  fetch_all in-1, for 1 s, in thread of fetch_all, at fetch_all (here)
                    waits for results of a map over parse
              fetch_one (max_inputs=1): 1 running
                container 1: ready, 1 of 1 slots held
                  fetch_one in-1, for 1 s, in thread of fetch_one, at fetch_one (here)
                    waits for parse (in-1), which is queued for 1 s, with a timeout
            outside: a thread waits, at caller (here)
            """
        )
        moorage.FunctionCall.gather(*calls)
        clock.sleep(100)
    outside.result()


def test_a_hundred_inputs_at_one_place_are_two_lines():
    app = App("many")
    clock = VirtualClock()

    @app.function(max_containers=3)
    @moorage.concurrent(max_inputs=40)
    async def wait(seconds):
        if seconds == 20:
            await asyncio.gather(asyncio.sleep(seconds))
        await asyncio.sleep(seconds)

    with clock, app.run(clock=clock):
        calls = [wait.spawn(10) for _ in range(80)]
        clock.sleep(1)
        calls += [wait.spawn(20), *(wait.spawn(10) for _ in range(39))]
        clock.sleep(2)
        assert described() == says(
            """
            moorage: 1 run is open; containers 3 of 32, threads 0 of 512
            the app 'many':
              wait (max_inputs=40, max_containers=3): 120 running
                container 1: ready, 40 of 40 slots held
                  wait in-1, for 3 s, in a task, at wait (here), in sleep (asyncio/tasks.py)
                  and 39 more of wait likewise, for 3 s or more
                and 1 more like it: 2
                container 3: ready, 40 of 40 slots held
                  wait in-1, for 2 s, in a task, at wait (here)
                  wait in-1, for 2 s, in a task, at wait (here), in sleep (asyncio/tasks.py)
                  and 38 more of wait likewise, for 2 s or more
            """
        )
        moorage.FunctionCall.gather(*calls)


def test_a_loop_that_a_blocking_call_holds_up():
    app = App("blocked")
    clock = VirtualClock()

    @app.function()
    def slow():
        clock.sleep(60)

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=3)
    async def careless():
        slow.remote()

    with (
        warnings.catch_warnings(category=moorage.exception.AsyncUsageWarning, action="ignore"),
        clock,
        app.run(clock=clock),
    ):
        calls = [careless.spawn()]
        clock.sleep(1)
        calls.append(careless.spawn())
        clock.sleep(3)
        assert described() == says(
            """
            moorage: 1 run is open; containers 2 of 32, threads 1 of 512
            the app 'blocked':
              careless (max_inputs=3, max_containers=1): 1 queued, the first for 3 s; 1 running
                starts no container: it has all of max_containers=1; CONTAINER 1
                container 1: ready, 1 of 3 slots held
                  its thread is in a blocking call, which waits for slow (in-1), which runs
                  careless in-1, for 4 s, in a task, at careless (here)
              slow (max_inputs=1): 1 running
                container 1: ready, 1 of 1 slots held
                  slow in-1, for 4 s, in thread of slow, at slow (here)
            """
        ).replace("CONTAINER 1", "the event loop of container 1 is blocked")
        moorage.FunctionCall.gather(*calls)


def test_inputs_that_were_cancelled_and_go_on(gate, monkeypatch):
    monkeypatch.setattr(config, "cancel_grace", None)
    app = App("cancelled")
    clock = VirtualClock()

    @app.function()
    def stubborn():
        with moorage.shield():
            clock.sleep(20)

    @app.function()
    async def stubborn_async():
        with moorage.shield():
            await asyncio.sleep(20)

    with clock, app.run(clock=clock):
        calls = [stubborn.spawn(), stubborn_async.spawn()]
        clock.sleep(1)
        for call in calls:
            call.cancel()
        clock.sleep(1)
        text = described()
        assert (
            "stubborn in-1, for 2 s, in thread of stubborn, at stubborn (here)\n"
            "        was cancelled or out of time, and does not end\n"
            "        holds its cancellation off with shield()\n"
        ) in text
        assert (
            "stubborn_async in-1, for 2 s, in a task, at stubborn_async (here), in sleep "
            "(asyncio/tasks.py)\n"
            "        was cancelled or out of time, and does not end\n"
            "        holds its cancellation off with shield()\n"
        ) in text
        clock.sleep(30)


def test_a_pool_whose_containers_fail_to_start_and_inputs_that_are_tried_again(caplog):
    app = App("failing")
    clock = VirtualClock()

    @app.cls(min_containers=1)
    class Broken:
        @moorage.enter()
        def load(self):
            raise OSError("no model")

        @moorage.method()
        def answer(self):
            return 1

    @app.function(retries=moorage.Retries(max_retries=2, initial_delay=30.0))
    def flaky():
        raise OSError("not today")

    with clock, app.run(clock=clock):
        with pytest.raises(OSError, match="no model"):
            Broken().answer.remote()
        clock.sleep(29)
        again = Broken().answer.spawn()
        call = flaky.spawn()
        clock.sleep(1)

        assert re.search(
            r"\n    starts no container for [\d.]+ s more: (9|10) failed in a row\n", described()
        )
        assert (
            "flaky (max_inputs=1): 0 running; 1 waiting to be tried again, the next in 29 s\n"
            in (described())
        )
        for failing in (again, call):
            with pytest.raises(OSError):
                failing.get()


def test_a_pool_whose_lock_is_held_is_named_and_passed_over(monkeypatch):
    monkeypatch.setattr(description, "LOCK_TIMEOUT", 0.01)
    app = App("busy")

    @app.function()
    def work():
        pass

    with app.run():
        work.remote()
        (pool,) = moorage.running.runs.open_pools()
        with pool.lock:
            assert "\n  work: in the midst of a change; ask again\n" in described()
        assert "\n  work (max_inputs=1): 0 running\n" in described()


def test_it_may_be_asked_in_inputs_and_with_no_run_open():
    app = App("inside")

    @app.function()
    def ask():
        return described()

    @app.function()
    async def ask_async():
        return described()

    assert described() == "moorage: 0 runs are open; containers 0 of 32, threads 0 of 512\n"
    with app.run():
        assert "in thread of ask, at described (here)\n" in ask.remote()
        assert "in a task, at described (here)\n" in ask_async.remote()


def test_it_shows_no_value_and_keeps_none(gate):
    app = App("values")

    class Shy:
        def __repr__(self):
            raise AssertionError("shown")

        __str__ = __eq__ = __hash__ = __repr__

    @app.function()
    def hold(thing):
        gate.inside.release() or gate.opened.acquire()

    with app.run():
        thing = Shy()
        gone = weakref.ref(thing)
        call = hold.spawn(thing)
        del thing
        gate.inside.acquire()
        gc.disable()
        try:
            assert "at hold (here)" in described()
            gate.opened.release()
            call.get()
            assert gone() is None
        finally:
            gc.enable()


# -- the signal -----------------------------------------------------------------------


PROGRAM = """
import os, signal, sys, threading
import moorage
app = moorage.App("program")
go_on = threading.Lock()
go_on.acquire()

@app.function()
def hang():
    os.write(1, b"hangs\\n") and go_on.acquire()
    return "went on"
"""


@pytest.fixture
def run_program():
    """Starts a program, and ends it if the test does not."""
    started = []

    def start(program, environment=None):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM + textwrap.dedent(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | (environment or {}),
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("way", ["call", "environment"])
def test_a_signal_prints_it_while_the_main_thread_waits(way, run_program):
    program = run_program(
        f"""
        {"moorage.describe_on_signal()" if way == "call" else ""}
        with app.run():
            threading.Thread(target=lambda: sys.stdin.readline() and go_on.release()).start()
            print(hang.remote(), flush=True)
        """,
        {"MOORAGE_DESCRIBE_SIGNAL": "SIGUSR1"} if way == "environment" else None,
    )
    assert program.stdout.readline() == "hangs\n"
    with signalled(program, signal.SIGUSR1):
        lines = [program.stderr.readline() for _ in range(6)]
    said = re.sub(r"in-[0-9a-f-]+", "in-1", "".join(lines))
    said = re.sub(r"threading.py:\d+", "threading.py", said)
    assert re.sub(r"[\d.]+ s,", "T,", said) == says(
        """
        moorage: 1 run is open; containers 1 of 32, threads 1 of 512
        the app 'program':
          hang (max_inputs=1): 1 running
            container 1: ready, 1 of 1 slots held
              hang in-1, for T, in thread moorage-hang-1, at hang (<string>:10)
        outside: MainThread waits, at <module> (<string>:16)
        """
    )
    out, err = program.communicate("go on\n", timeout=30)
    assert (out, program.returncode) == ("went on\n", 0)
    assert not err or err.startswith("moorage: ")  # of a second signal


def test_a_signal_that_interrupts_code_that_holds_the_lock_prints_it_all_the_same(run_program):
    program = run_program(
        """
        moorage.describe_on_signal(signal.SIGUSR1)
        with app.run():
            call = hang.spawn()
            (pool,) = moorage.running.runs.open_pools()
            with pool.lock:
                signal.raise_signal(signal.SIGUSR1)
            go_on.release()
            print(call.get())
        """
    )
    out, err = program.communicate(timeout=30)
    assert "  hang: in the midst of a change; ask again\n" in err
    assert out.endswith("went on\n")
    assert program.returncode == 0


def test_signals_that_there_are_not(in_threads, run_program):
    with pytest.raises(InvalidError, match=r"got 'NOPE'; write USR1 or USR2$"):
        moorage.describe_on_signal("NOPE")
    with pytest.raises(InvalidError, match=r"got 12345; write USR1"):
        moorage.describe_on_signal(12345)
    with pytest.raises(InvalidError, match=r"SIGKILL cannot be caught; write another signal"):
        moorage.describe_on_signal(signal.SIGKILL)
    with pytest.raises(InvalidError, match=r"call describe_on_signal\(\) in the main thread"):
        in_threads(moorage.describe_on_signal).result()
    program = run_program("", {"MOORAGE_DESCRIBE_SIGNAL": "nope"})
    _, err = program.communicate(timeout=30)
    assert "MOORAGE_DESCRIBE_SIGNAL takes a signal of this system, got 'nope'; write USR1" in err
    assert program.returncode == 1


def test_inputs_that_stand_outside_of_a_full_backlog():
    app = App("full")
    clock = VirtualClock()

    @app.function(max_containers=1, max_backlog=1, on_full="wait")
    def work():
        clock.sleep(10)

    @app.function()
    @moorage.concurrent(max_inputs=5)
    async def ask():
        await work.remote.aio()

    with clock, app.run(clock=clock):
        calls = [ask.spawn() for _ in range(4)]
        clock.sleep(2)
        text = described()
        assert (
            "work (max_inputs=1, max_containers=1, max_backlog=1): 1 queued, the first for 2 s; "
            "1 running; 2 waiting for room in the backlog\n" in text
        )
        moorage.FunctionCall.gather(*calls)
