"""The interpreter's exit: what becomes of a run that nobody left, each in a process of its own."""

import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from placing.outside import signalled

# Before each program.  `Work` says what becomes of its container.
# Programs import what is in here.
TESTS = str(Path(__file__).parent)

HEAD = r"""
import asyncio, contextlib, logging, os, signal, sys, threading
import moorage

# A parent that runs in the background may have it ignored, and so would this.
signal.signal(signal.SIGINT, signal.default_int_handler)
logging.basicConfig(format="%(levelname)s %(message)s")
app = moorage.App("program")

def say(*what):
    os.write(1, (" ".join(map(str, what)) + "\n").encode())  # whole, from any thread

@contextlib.contextmanager
def telling_of_interrupts():
    try:
        yield
    except KeyboardInterrupt:
        say("interrupted")
        raise

@app.cls()
class Work:
    @moorage.enter()
    def enter(self):
        say("enter")

    @moorage.method()
    def work(self, value=None):
        return value

    @moorage.exit()
    def exit(self):
        say("exit")
"""


def start(program):
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", HEAD + textwrap.dedent(program), TESTS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,  # so that nothing is read ahead of communicate()
    )


def finish(process):
    """Wait for the end: the exit code, the lines of stdout, and stderr."""
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        pytest.fail(f"the program did not end; it said\n{out.decode()}\n{err.decode()}")
    return process.returncode, out.decode().splitlines(), err.decode()


def run(program):
    return finish(start(program))


def lines_before(process, last):
    """Wait for the line `last` and give what came before it."""
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    lines = []
    try:
        while line := process.stdout.readline().decode():
            if line == f"{last}\n":
                return lines
            lines.append(line.rstrip("\n"))
    finally:
        watchdog.cancel()
        watchdog.join()
    return pytest.fail(f"the program ended before it said {last}: {lines}, {finish(process)}")


def interrupt(process):
    """Press Ctrl-C, and give what the program says before it tells of that."""
    with signalled(process, signal.SIGINT, again_after=20.0):
        return lines_before(process, "interrupted")


def test_an_ambient_run_ends_with_the_program_and_its_exit_hooks_run():
    code, out, err = run("""
        say(Work().work.remote("worked"))
        say("end of program")
    """)
    assert (code, out) == (0, ["enter", "worked", "end of program", "exit"])
    assert err == ""


def test_an_async_exit_hook_may_use_to_thread():
    code, out, err = run("""
        @app.cls()
        class Async:
            @moorage.method()
            async def work(self):
                return "worked"

            @moorage.exit()
            async def exit(self):
                say(await asyncio.to_thread(lambda: "exit in a thread"))

        say(Async().work.remote())
    """)
    assert (code, out) == (0, ["worked", "exit in a thread"])
    assert err == ""


def test_an_async_exit_hook_of_sync_methods_may_use_to_thread():
    code, out, err = run("""
        @app.cls()
        class Async:
            @moorage.method()
            def work(self):
                return "worked"

            @moorage.exit()
            async def exit(self):
                await asyncio.sleep(0)
                say(await asyncio.to_thread(lambda: "exit in a thread"))

        say(Async().work.remote())
    """)
    assert (code, out) == (0, ["worked", "exit in a thread"])
    assert err == ""


def test_a_stuck_sync_input_is_left_after_the_grace_and_named():
    started = time.monotonic()
    code, out, err = run("""
        moorage.config.exit_grace = 3
        started = threading.Event()

        @app.function()
        def stuck():
            started.set()
            threading.Event().wait()

        Work().work.remote()
        stuck.spawn()
        assert started.wait(10)
        say("end of program")
    """)
    assert (code, out) == (0, ["enter", "end of program", "exit"])
    assert time.monotonic() - started < 30, "it would be stuck for ever"
    assert "WARNING" in err
    assert "'program' was left while this still ran, after 3 s" in err
    assert "1 x stuck (" in err
    assert ", in Condition.wait (" in err, "the place where it sits"


def test_a_stuck_async_input_is_left_and_named():
    code, out, err = run("""
        moorage.config.exit_grace = 3
        started = threading.Event()

        @app.function()
        async def stuck():
            started.set()
            threading.Event().wait()  # blocks its loop

        Work().work.remote()
        stuck.spawn()
        assert started.wait(10)
        say("end of program")
    """)
    assert (code, out) == (0, ["enter", "end of program", "exit"])
    assert "'program' was left while this still ran, after 3 s" in err


def test_a_running_async_input_is_cancelled_at_the_programs_end():
    code, out, err = run("""
        started = threading.Event()

        @app.function()
        async def nap():
            started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                say("cancelled")
                raise

        nap.spawn()
        assert started.wait(10)
    """)
    assert (code, out) == (0, ["cancelled"])
    assert err == ""


def test_inputs_queued_at_the_programs_end_are_cancelled_with_one_warning():
    code, out, err = run("""
        started = threading.Event()

        @app.function(max_containers=1)
        async def nap(value):
            say("began", value)
            started.set()
            await asyncio.Event().wait()

        for value in range(4):
            nap.spawn(value)
        assert started.wait(10)
    """)
    assert (code, out) == (0, ["began 0"])
    assert err.count("WARNING") == 1
    assert "3 inputs queued" in err


def test_sys_exit_keeps_its_code_and_the_exit_hooks_run():
    code, out, err = run("""
        Work().work.remote()
        sys.exit(3)
    """)
    assert (code, out) == (3, ["enter", "exit"])
    assert err == ""


def test_sys_exit_inside_a_run_keeps_its_code_and_the_exit_hooks_run():
    code, out, err = run("""
        with app.run():
            Work().work.remote()
            sys.exit(3)
    """)
    assert (code, out) == (3, ["enter", "exit"])
    assert err == ""


def test_an_unhandled_exception_is_shown_and_the_exit_hooks_run():
    code, out, err = run("""
        Work().work.remote()
        raise LookupError("unhandled")
    """)
    assert (code, out) == (1, ["enter", "exit"])
    assert "LookupError: unhandled" in err


def test_an_unhandled_error_of_an_input_is_shown_and_the_exit_hooks_run():
    code, out, err = run("""
        @app.function()
        def fail():
            raise LookupError("of an input")

        Work().work.remote()
        fail.remote()
    """)
    assert (code, out) == (1, ["enter", "exit"])
    assert "LookupError: of an input" in err


@pytest.mark.parametrize("scope", ["ambient", "run"])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_sigint_in_a_blocking_remote_interrupts_it_and_the_exit_hooks_run(kind, scope):
    body = {
        "sync": """
            @app.function()
            def wait():
                say("ready")
                released.wait(30)
        """,
        "async": """
            @app.function()
            async def wait():
                say("ready")
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    say("cancelled")
                    raise
        """,
    }[kind]
    calls = {
        "ambient": """
            Work().work.remote()
            try:
                with telling_of_interrupts():
                    wait.remote()
            finally:
                released.set()
        """,
        "run": """
            with app.run():
                Work().work.remote()
                try:
                    with telling_of_interrupts():
                        wait.remote()
                finally:
                    released.set()
        """,
    }[scope]
    process = start(
        "released = threading.Event()\n" + textwrap.dedent(body) + textwrap.dedent(calls)
    )
    assert lines_before(process, "ready") == ["enter"]
    before = interrupt(process)
    code, out, err = finish(process)
    assert code == -signal.SIGINT, err
    assert "KeyboardInterrupt" in err
    # Two containers, which end side by side.
    assert sorted(before + out) == (["exit"] if kind == "sync" else ["cancelled", "exit"])


@pytest.mark.parametrize("where", ["get", "map", "remote_gen"])
def test_sigint_in_any_blocking_wait_interrupts_it_and_the_exit_hooks_run(where):
    wait = {
        "get": "wait.spawn(0).get()",
        "map": "list(wait.map([0]))",
        "remote_gen": "list(stream.remote_gen())",
    }[where]
    process = start(f"""
        @app.function()
        async def wait(_):
            say("ready")
            await asyncio.Event().wait()

        @app.function()
        async def stream():
            say("ready")
            await asyncio.Event().wait()
            yield

        Work().work.remote()
        with telling_of_interrupts():
            {wait}
    """)
    assert lines_before(process, "ready") == ["enter"]
    assert interrupt(process) == []
    code, out, err = finish(process)
    assert code == -signal.SIGINT, err
    assert "KeyboardInterrupt" in err
    assert out == ["exit"]


def test_sigint_may_be_caught_and_the_run_goes_on():
    process = start("""
        @app.function()
        async def wait():
            say("ready")
            await asyncio.Event().wait()

        with app.run():
            try:
                with telling_of_interrupts():
                    wait.remote()
            except KeyboardInterrupt:
                say("caught", Work().work.remote("and went on"))
    """)
    assert lines_before(process, "ready") == []
    assert interrupt(process) == []
    code, out, err = finish(process)
    assert (code, out) == (0, ["enter", "caught and went on", "exit"]), err


@pytest.mark.parametrize("scope", ["ambient", "run"])
def test_a_daemon_thread_in_a_call_does_not_hold_up_the_exit(scope):
    calls = {
        "ambient": "program()",
        "run": "with app.run():\n    program()",
    }[scope]
    code, out, err = run(
        """
started = threading.Event()

@app.function()
async def nap():
    started.set()
    await asyncio.Event().wait()

def call():
    try:
        nap.remote()
    except moorage.exception.InputCancelledError:
        pass

def program():
    Work().work.remote()
    threading.Thread(target=call, daemon=True).start()
    assert started.wait(10)
    say("end of program")
"""
        + calls
    )
    assert (code, out) == (0, ["enter", "end of program", "exit"])
    assert err == ""


def test_a_thread_that_is_no_daemon_may_go_on_calling_until_it_ends():
    # Ambient runs end with the main thread, as concurrent.futures does: what
    # is called after that is refused, and nothing hangs.
    code, out, err = run("""
        ended = threading.Event()

        def call():
            try:
                while True:
                    Work().work.remote()
            except moorage.exception.Error as error:
                say(type(error).__name__)
            ended.set()

        Work().work.remote()
        threading.Thread(target=call).start()
    """)
    assert (code, err) == (0, "")
    assert out[0] == "enter"
    assert sorted(out[1:]) in (["ExecutionError", "exit"], ["InputCancelledError", "exit"])


def test_a_run_left_open_at_the_programs_end_is_ended():
    code, out, err = run("""
        running = app.run()
        running.__enter__()
        Work().work.remote()
    """)
    assert (code, out) == (0, ["enter", "exit"])
    assert err == ""


def test_a_program_that_only_decorates_starts_and_leaves_nothing():
    code, out, err = run("""
        say(threading.active_count())
    """)
    assert (code, out, err) == (0, ["1"], "")


def test_asyncio_run_with_an_ambient_run_ends():
    code, out, err = run("""
        async def main():
            return await Work().work.remote.aio("awaited")

        say(asyncio.run(main()))
    """)
    assert (code, out) == (0, ["enter", "awaited", "exit"])
    assert err == ""


# -- what is under way at the program's end --------------------------------------------


def test_streams_and_maps_under_way_at_the_programs_end_are_cancelled():
    code, out, err = run("""
        started = threading.Semaphore(0)

        @app.function()
        async def stream():
            try:
                yield 1
                started.release()
                await asyncio.Event().wait()
            finally:
                say("stream closed")

        @app.function()
        def ahead():
            try:
                for value in range(1000):  # its buffer fills, and nobody reads on
                    yield value
            finally:
                say("generator closed")

        @app.function(max_containers=2)
        async def wait(value):
            if value:
                started.release()
                await asyncio.Event().wait()
            return value

        async_items, items = stream.remote_gen(), ahead.remote_gen()
        results = wait.map(iter([0, 1, 2]))
        say(next(async_items), next(items), next(results))
        for _ in range(3):
            started.acquire()
        say("end of program")
    """)
    assert code == 0, err
    assert out[:2] == ["1 0 0", "end of program"]
    assert sorted(out[2:]) == ["generator closed", "stream closed"]
    assert err == ""


def test_a_map_read_by_a_thread_at_the_programs_end_does_not_hold_it_up():
    code, out, err = run("""
        reading = threading.Event()

        def read():
            try:
                for value in double.map(numbers()):
                    if value == 2000:
                        reading.set()
            except moorage.exception.Error as error:
                say(type(error).__name__)

        def numbers():
            value = 0
            while True:
                yield value
                value += 1

        @app.function()
        def double(value):
            return 2 * value

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        assert reading.wait(30)
    """)
    assert code == 0, err
    # It is told if it gets a turn before the process is gone.
    assert out in ([], ["ExecutionError"], ["InputCancelledError"])
    assert "Error" not in err


def test_an_input_that_waits_for_a_retry_at_the_programs_end_is_cancelled():
    code, out, err = run("""
        failed = threading.Event()

        @app.function(retries=moorage.Retries(max_retries=3, initial_delay=60.0))
        def flaky():
            say("tried")
            failed.set()
            raise LookupError

        call = flaky.spawn()
        sys.path.insert(0, sys.argv[1])
        from onlooker import wait_until
        assert failed.wait(10)
        wait_until(lambda: flaky.statistics().waiting)

        import atexit

        @atexit.register
        def tell():
            try:
                call.get()
            except moorage.exception.InputCancelledError:
                say("cancelled")
    """)
    assert (code, out) == (0, ["tried", "cancelled"]), err


def test_a_container_that_starts_at_the_programs_end_runs_its_exit_hooks():
    code, out, err = run("""
        entering = threading.Event()

        @app.cls()
        class Slow:
            @moorage.enter()
            def enter(self):
                entering.set()
                ending.wait(10)
                say("entered")

            @moorage.method()
            def work(self):
                say("worked")

            @moorage.exit()
            def exit(self):
                say("exit")

        ending = threading.Event()

        def wait(call):
            try:
                call.get()
            except moorage.exception.InputCancelledError:
                ending.set()

        call = Slow().work.spawn()
        threading.Thread(target=wait, args=(call,), daemon=True).start()
        assert entering.wait(10)
    """)
    assert (code, out) == (0, ["entered", "exit"]), err
    assert err.count("WARNING") == 1
    assert "1 inputs queued" in err


def test_a_container_whose_enter_hook_is_stuck_at_the_programs_end_is_left_and_named():
    code, out, err = run("""
        moorage.config.exit_grace = 3
        entering = threading.Event()

        @app.cls()
        class Stuck:
            @moorage.enter()
            def enter(self):
                entering.set()
                threading.Event().wait()

            @moorage.method()
            def work(self):
                return None

        Stuck().work.spawn()
        assert entering.wait(10)
        say("end of program")
    """)
    assert (code, out) == (0, ["end of program"]), err
    assert "was left while this still ran, after 3 s: 1 x Stuck.enter (" in err


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_sys_exit_in_an_input_ends_neither_the_program_nor_its_neighbours(kind):
    define = "async def" if kind == "async" else "def"
    code, out, err = run(f"""
        @app.function()
        {define} leave():
            sys.exit(3)

        Work().work.remote()
        try:
            leave.remote()
        except moorage.exception.RemoteError as error:
            say(repr(error.__cause__))
        say(Work().work.remote("goes on"))
    """)
    assert (code, out, err) == (0, ["enter", "SystemExit(3)", "goes on", "exit"], "")


def test_errors_at_the_programs_end_stop_nothing_else():
    code, out, err = run("""
        import atexit

        @app.cls()
        class Fails:
            @moorage.method()
            def work(self):
                return None

            @moorage.exit()
            def exit(self):
                raise LookupError("of an exit hook")

            @moorage.exit()
            def leaves(self):
                sys.exit(4)

            @moorage.exit()
            def last(self):
                say("last hook")

        @atexit.register
        def fail():
            say("atexit")
            raise LookupError("of atexit")

        Fails().work.remote()
        Work().work.remote()
    """)
    assert code == 0
    assert out[0] == "enter"
    assert sorted(out[1:3]) == ["exit", "last hook"]
    assert out[3:] == ["atexit"]
    assert "LookupError: of an exit hook" in err
    assert "SystemExit: 4" in err
    assert "LookupError: of atexit" in err


def test_daemon_threads_that_call_during_the_exit_do_not_hang_it():
    code, out, err = run("""
        calling = threading.Barrier(5)
        told = []

        def call(work):
            calling.wait(10)
            try:
                while True:
                    work()
            except (moorage.exception.ExecutionError, moorage.exception.InputCancelledError):
                told.append(1)

        @app.function()
        async def triple(value):
            return 3 * value

        obj = Work()
        for work in (
            lambda: obj.work.remote(1),
            lambda: triple.remote(1),
            lambda: list(triple.map(range(10))),
            lambda: triple.spawn(1).get(),
        ):
            threading.Thread(target=call, args=(work,), daemon=True).start()
        calling.wait(10)
        obj.work.remote(1)
    """)
    assert code == 0, err
    assert out.count("enter") == out.count("exit") > 0, "of as many containers as there were"
    assert "Traceback" not in err


def test_a_call_whose_thread_cannot_start_at_the_exit_says_so():
    # From a callback that is run before ours, while the runs are open.
    code, out, err = run("""
        @app.function()
        def other():
            return "other"

        @app.cls()
        @moorage.concurrent(max_inputs=2)
        class Mixed:
            @moorage.method()
            async def on_the_loop(self):
                return "loop"

            @moorage.method()
            def on_a_thread(self):
                return "thread"

        mixed = Mixed()
        say(mixed.on_the_loop.remote())

        @threading._register_atexit
        def soon():
            try:
                threading.Thread(target=int).start()
            except RuntimeError:
                say("no thread starts")
            for work in (other, mixed.on_a_thread, mixed.on_the_loop):
                try:
                    say(work.remote())
                except moorage.exception.ExecutionError as error:
                    say(error)
    """)
    assert (code, err) == (0, "")
    if out[1] != "no thread starts":  # Python refuses it from 3.12 on, and since 3.13 later
        assert sys.version_info[:2] != (3, 12)
        assert out == ["loop", "other", "thread", "loop"]
        return
    why = (
        "cannot start, because the program has ended and no thread can start any more; make the "
        "call, and wait for it, before the program ends"
    )
    assert out == ["loop", out[1], f"other {why}", f"Mixed.on_a_thread {why}", "loop"]


def test_a_call_after_the_runs_have_ended_is_refused():
    # From a callback that is run after ours, when no thread can be started.
    code, out, err = run("""
        import atexit

        @atexit.register
        def late():
            for obj in (Work(), other):
                try:
                    obj.work.remote() if obj is not other else other.remote()
                except moorage.exception.Error as error:
                    say(type(error).__name__)
                except RuntimeError as error:
                    say("RuntimeError", error)

        @app.function()
        def other():
            return None

        Work().work.remote()
    """)
    assert code == 0, err
    assert out == ["enter", "exit", "ExecutionError", "ExecutionError"], err


def test_os_exit_ends_at_once_without_anything():
    code, out, err = run("""
        @app.function()
        async def nap():
            await asyncio.Event().wait()

        Work().work.remote()
        nap.spawn()
        os._exit(5)
    """)
    assert (code, out, err) == (5, ["enter"], "")


def test_os_exit_in_an_input_ends_the_program():
    code, out, err = run("""
        @app.function()
        def leave():
            os._exit(6)

        Work().work.remote()
        leave.remote()
    """)
    assert (code, out, err) == (6, ["enter"], "")


def test_exit_hooks_are_held_to_the_grace():
    began = time.monotonic()
    code, out, err = run("""
        moorage.config.exit_grace = 3

        @app.cls()
        class Stuck:
            @moorage.method()
            def work(self):
                return None

            @moorage.exit()
            def exit(self):
                say("exit begins")
                threading.Event().wait()

        Stuck().work.remote()
        Work().work.remote()
    """)
    assert code == 0, err
    assert sorted(out) == ["enter", "exit", "exit begins"]
    assert "was left while this still ran, after 3 s: 1 x Stuck.exit (" in err
    assert time.monotonic() - began < 30, "it would be stuck for ever"


def test_the_exit_starts_no_thread():
    code, out, err = run("""
        @app.function()
        async def nap():
            started.set()
            await asyncio.Event().wait()

        started = threading.Event()
        Work().work.remote()
        nap.spawn()
        assert started.wait(10)
        from moorage.runtime.real import Real
        for kind in (threading.Thread, Real.Thread):
            before = kind.start
            kind.start = lambda self: (say("started", self.name), before(self))
    """)
    assert (code, out, err) == (0, ["enter", "exit"], "")
