"""Ctrl-C wherever a blocking caller waits: what it waits for ends, and nothing is left behind.

Each test is a program of its own, which sends itself the signal when it is where it should be.
"""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

HEAD = r"""
import asyncio, contextlib, faulthandler, logging, os, signal, sys, threading
import moorage
sys.path.insert(0, sys.argv[1])
from onlooker import hear_draining, wait_until_idle
from moorage.runtime.pools.capacity import process_capacity

# A parent that runs in the background may have it ignored, and so would this.
signal.signal(signal.SIGINT, signal.default_int_handler)
faulthandler.dump_traceback_later(50, exit=True)
logging.basicConfig(format="%(levelname)s %(message)s")
app = moorage.App("program")
interrupted = threading.Event()

def say(*what):
    os.write(1, (" ".join(map(str, what)) + "\n").encode())  # whole, from any thread

def press_ctrl_c():
    # Again after a while: CPython misses a signal that comes in the moment before
    # a lock's wait begins, until another one comes.
    while True:
        os.kill(os.getpid(), signal.SIGINT)
        if interrupted.wait(5):
            return

def until_main_thread_waits():
    # In a wait of ours, and not on its way there.  That a thread has gone to sleep in C
    # shows from outside only, and nothing tells of it: this is the one place that polls.
    while True:
        code = sys._current_frames()[threading.main_thread().ident].f_code
        if code.co_name == "wait" and code.co_filename.endswith("clock.py"):
            return
        threading.Event().wait(0.001)

until_draining = hear_draining(setattr)

def press_ctrl_c_when(event):
    def press():
        assert event.wait(30)
        until_main_thread_waits()
        press_ctrl_c()
    threading.Thread(target=press, daemon=True).start()

started, ended = threading.Event(), threading.Event()

def tell_end(function):
    try:
        return function()
    finally:
        ended.set()

@app.function()
async def wait(value=None):
    started.set()
    try:
        await asyncio.Event().wait()
    finally:
        ended.set()

@app.function()
def nested(value=None):
    # A sync input that waits in a call of ours, which its cancel ends.
    wait.remote()

@app.function()
async def stream():
    try:
        yield 1
        started.set()
        await asyncio.Event().wait()
    finally:
        ended.set()

@app.function()
def double(value):
    return 2 * value

@app.cls()
class Work:
    @moorage.method()
    def work(self):
        return "worked"

    @moorage.exit()
    def exit(self):
        say("exit")

def nothing_is_left():
    for function in (wait, nested, stream, double):
        wait_until_idle(function)  # it may be on its way out of its code
        seen = function.statistics()
        if seen is not None:
            done = seen.succeeded + seen.failed + seen.cancelled
            assert (seen.queued, seen.waiting, seen.accepted) == (0, 0, done), seen
    assert double.remote(2) == 4
"""


# Programs import what is in here.
TESTS = str(Path(__file__).parent)


def run(program):
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", HEAD + textwrap.dedent(program), TESTS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        pytest.fail(f"the program did not end; it said\n{out.decode()}\n{err.decode()}")
    return process.returncode, out.decode().splitlines(), err.decode()


WAITS = {
    "remote": "wait.remote()",
    "remote of a sync input": "nested.remote()",
    "map": "list(wait.map([1, 2, 3]))",
    "map of a generator": "list(wait.map(iter(range(3))))",
    "map of sync inputs": "list(nested.map(range(3)))",
    "starmap": "list(wait.starmap([(1,), (2,)]))",
    "for_each": "wait.for_each(range(3))",
    "stream": "list(stream.remote_gen())",
}


@pytest.mark.parametrize("scope", ["run", "ambient run"])
@pytest.mark.parametrize("where", WAITS)
def test_ctrl_c_cancels_what_a_blocking_caller_waits_for(where, scope):
    body = f"""
try:
    press_ctrl_c_when(started)
    {WAITS[where]}
except KeyboardInterrupt:
    interrupted.set()
    assert ended.wait(10)
    nothing_is_left()
    say("caught")
"""
    if scope == "run":
        body = (
            "with app.run():\n"
            + textwrap.indent(body, "    ")
            + "\nassert process_capacity.statistics().containers == 0\n"
        )
    code, out, err = run(body)
    assert (code, out, err) == (0, ["caught"], "")


@pytest.mark.parametrize("way", ["get()", "get(timeout=60)", "gather"])
def test_ctrl_c_in_get_leaves_the_spawned_call_as_it_was(way):
    waits = "moorage.FunctionCall.gather(call)" if way == "gather" else f"call.{way}"
    code, out, err = run(f"""
        with app.run():
            call = wait.spawn()
            try:
                press_ctrl_c_when(started)
                {waits}
            except KeyboardInterrupt:
                interrupted.set()
                assert not any((call._waiting or {{}}).values()), "its place in line is left"
                assert not ended.is_set()
            call.cancel()
            try:
                call.get()
            except moorage.exception.InputCancelledError:
                say("cancelled by hand")
            nothing_is_left()
    """)
    assert (code, out, err) == (0, ["cancelled by hand"], "")


def test_ctrl_c_ends_a_wait_in_which_the_handler_of_a_signal_has_waited():
    code, out, err = run("""
        handled = threading.Event()

        def handle(signum, frame):
            say(double.remote(1))
            handled.set()

        signal.signal(signal.SIGUSR1, handle)

        def ask():
            assert started.wait(30)
            while not handled.wait(1):  # again: see press_ctrl_c
                os.kill(os.getpid(), signal.SIGUSR1)

        threading.Thread(target=ask, daemon=True).start()
        with app.run():
            try:
                press_ctrl_c_when(handled)
                wait.remote()
            except KeyboardInterrupt:
                interrupted.set()
                assert ended.wait(10)
                nothing_is_left()
                say("caught")
    """)
    assert (code, out[0], out[-1], err) == (0, "2", "caught", "")


def test_ctrl_c_while_a_map_is_between_two_results_closes_it():
    code, out, err = run("""
        with app.run():
            try:
                for result in double.map(range(100_000)):
                    if result == 2000:
                        os.kill(os.getpid(), signal.SIGINT)
                        threading.Event().wait(30)
            except KeyboardInterrupt:
                del result
                say("caught")
            nothing_is_left()
    """)
    assert (code, out, err) == (0, ["caught"], "")


def test_ctrl_c_while_a_run_is_left_ends_the_waiting_and_not_the_rest():
    # The first Ctrl-C left the body; the second comes while leaving waits for an
    # input that does not end.
    code, out, err = run("""
        stuck_now, go_on = threading.Event(), threading.Event()

        @app.function()
        def stuck():
            stuck_now.set()
            press_ctrl_c_when(leaving)  # its caller was answered: the run is being left
            threading.Event().wait()

        leaving = threading.Event()

        def release(call):
            try:
                call.get()
            except moorage.exception.InputCancelledError:
                leaving.set()

        try:
            with app.run(grace=1000):
                assert Work().work.remote() == "worked"
                call = stuck.spawn()
                threading.Thread(target=release, args=(call,)).start()
                assert stuck_now.wait(10)
                os.kill(os.getpid(), signal.SIGINT)
                threading.Event().wait(30)
        except KeyboardInterrupt:
            interrupted.set()
            say("caught")
        assert app.app_id is None
        with app.run():
            say(double.remote(4))
    """)
    assert (code, out) == (0, ["exit", "caught", "8"]), err
    assert err.count("WARNING") == 1
    assert "was left while this still ran" in err
    assert "stuck" in err


def test_the_first_ctrl_c_ends_a_drain_and_the_rest_is_cancelled():
    code, out, err = run("""
        def press():
            until_draining(run)
            until_main_thread_waits()
            press_ctrl_c()

        try:
            with app.run(drain=True):
                run = app._runs.run
                assert Work().work.remote() == "worked"
                calls = [wait.spawn() for _ in range(3)]
                assert started.wait(10)
                threading.Thread(target=press, daemon=True).start()
        except KeyboardInterrupt:
            interrupted.set()
            say("caught")
        for call in calls:
            try:
                call.get()
            except moorage.exception.InputCancelledError:
                say("cancelled")
        assert ended.is_set()
        assert process_capacity.statistics().containers == 0
    """)
    assert (code, out, err) == (0, ["exit", "caught"] + ["cancelled"] * 3, "")


def test_a_second_ctrl_c_after_a_drain_stops_waiting_too():
    code, out, err = run("""
        stuck_now = threading.Event()
        presses = []

        @app.function()
        def stuck():
            stuck_now.set()
            press_ctrl_c_when(cancelled)  # the drain was interrupted; leaving waits for this
            threading.Event().wait()

        cancelled = threading.Event()

        def release(call):
            try:
                call.get()
            except moorage.exception.InputCancelledError:
                cancelled.set()

        def press():
            until_draining(run)
            until_main_thread_waits()
            while not cancelled.is_set():
                os.kill(os.getpid(), signal.SIGINT)
                cancelled.wait(5)

        try:
            with app.run(drain=True, grace=1000):
                run = app._runs.run
                Work().work.remote()
                call = stuck.spawn()
                assert stuck_now.wait(10)
                threading.Thread(target=release, args=(call,)).start()
                threading.Thread(target=press, daemon=True).start()
        except KeyboardInterrupt:
            interrupted.set()
            say("caught")
        assert app.app_id is None
    """)
    assert (code, out) == (0, ["exit", "caught"]), err
    assert "was left while this still ran" in err


def test_ctrl_c_in_asyncio_run_leaves_the_run():
    code, out, err = run("""
        async def main():
            async with app.run():
                await Work().work.remote.aio()
                await wait.remote.aio()

        try:
            # asyncio.run makes of it a cancel of the task, wherever the thread is.
            threading.Thread(
                target=lambda: (started.wait(30), press_ctrl_c()), daemon=True
            ).start()
            asyncio.run(main())
        except KeyboardInterrupt:
            interrupted.set()
            say("caught")
        assert ended.is_set()
        assert app.app_id is None
    """)
    assert (code, out, err) == (0, ["exit", "caught"], "")


def test_ctrl_c_in_a_drain_under_asyncio_run_ends_it():
    code, out, err = run("""
        def press():
            until_draining(run)
            os.kill(os.getpid(), signal.SIGINT)
            # One that comes in the moment before the loop goes to sleep does not wake it.
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(lambda: None)

        async def main():
            global loop, run
            loop = asyncio.get_running_loop()
            async with app.run(drain=True):
                run = app._runs.run
                await Work().work.remote.aio()
                await wait.spawn.aio()
                await asyncio.to_thread(started.wait)
                threading.Thread(target=press, daemon=True).start()

        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            interrupted.set()
            say("caught")
        assert ended.is_set()
        assert app.app_id is None
    """)
    assert (code, out, err) == (0, ["exit", "caught"], "")
