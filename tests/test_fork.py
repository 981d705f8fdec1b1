"""Fork: from any thread, at any instant, the child works and hurts nobody.

Each test is a program of its own, with a watchdog on every child.
"""

import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")

# `forked(child, ends)` forks: the child runs `child` and ends in the way that is
# said; the parent waits for it, kills it if it hangs, and says its exit code.
HEAD = r"""
import asyncio, contextlib, faulthandler, os, select, signal, sys, threading, traceback, warnings
import moorage

warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
app = moorage.App("program")

def say(*what):
    os.write(1, (" ".join(map(str, what)) + "\n").encode())  # whole, from any thread

SECONDS = 20  # that a child may take

def wait_for(pid):
    # The exit code of a child; one that hangs is killed, and its stacks are shown.
    alive = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
    if alive is not None:
        if not select.select([alive], [], [], SECONDS)[0]:
            os.kill(pid, signal.SIGUSR1)
            select.select([alive], [], [], 2)
            os.kill(pid, signal.SIGKILL)
        os.close(alive)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

faulthandler.register(signal.SIGUSR1)

def forked(child, ends="os._exit"):
    pid = os.fork()
    if pid:
        return wait_for(pid)
    if ends != "os._exit":
        child()
        if ends == "sys.exit":
            sys.exit(0)
        raise Returned
    try:
        child()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)

class Returned(Exception):
    pass

@app.function()
def double(value):
    return 2 * value

@app.function()
async def triple(value):
    await asyncio.sleep(0)
    return 3 * value

@app.function()
def numbers(count):
    yield from range(count)

@app.function()
async def async_numbers(count):
    for value in range(count):
        yield value

@app.function(max_containers=1)
@moorage.concurrent(max_inputs=4)
async def crowded(value):
    await asyncio.sleep(0)
    return value

@app.cls()
class Work:
    @moorage.method()
    def work(self, value):
        return value

def calls():
    # Each way to call once; in a child it opens a run of its own.
    assert moorage.current_input_id() is None, moorage.current_input_id()
    assert moorage.is_local()
    assert double.remote(2) == 4
    assert triple.remote(2) == 6
    assert double.spawn(3).get() == 6
    assert list(double.map(range(5))) == [0, 2, 4, 6, 8]
    assert list(triple.map(iter(range(5)))) == [0, 3, 6, 9, 12]
    assert list(numbers.remote_gen(20)) == list(range(20))
    assert list(async_numbers.remote_gen(3)) == list(range(3))
    assert Work().work.remote(5) == 5
    assert Work().work.local(5) == 5
    assert moorage.current_input_id() is None
    assert moorage.is_local()

@contextlib.contextmanager
def others_submitting(count=8):
    # Eight threads that call without a pause, and none of whose calls is lost.
    stop = threading.Event()
    failures = []
    submitted = []

    def submit(number):
        made = 0
        try:
            while not stop.is_set():
                assert crowded.remote(made) == made
                assert double.remote(made) == 2 * made
                if number == 0:
                    assert list(triple.map(range(20))) == [3 * i for i in range(20)]
                if number == 1:
                    assert list(numbers.remote_gen(40)) == list(range(40))
                made += 1
        except BaseException as error:
            traceback.print_exc()
            failures.append(error)
        submitted.append(made)

    threads = [threading.Thread(target=submit, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    parent = os.getpid()
    try:
        yield
    finally:
        if os.getpid() == parent:  # else a child leaves by sys.exit
            stop.set()
            for thread in threads:
                thread.join(30)
            assert not failures, failures
            assert not any(thread.is_alive() for thread in threads)
            assert len(submitted) == count
"""


def run(program, *, options=()):
    process = subprocess.Popen(
        [sys.executable, "-W", "error", *options, "-c", HEAD + textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        out, err = process.communicate(timeout=100)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        pytest.fail(f"the program did not end; it said\n{out.decode()}\n{err.decode()}")
    return process.returncode, out.decode().splitlines(), err.decode()


@pytest.mark.parametrize("ends", ["os._exit", "sys.exit"])
def test_forks_from_the_main_thread_while_others_submit(ends):
    code, out, err = run(f"""
        with others_submitting():
            for _ in range(30):
                assert forked(calls, {ends!r}) == 0
        say("parent", double.remote(1))
    """)
    assert (code, out) == (0, ["parent 2"]), err
    assert err == ""


@pytest.mark.parametrize("ends", ["os._exit", "sys.exit"])
def test_forks_from_a_sync_input_while_others_submit(ends):
    code, out, err = run(f"""
        @app.function()
        def forks():
            assert moorage.current_input_id() is not None
            assert not moorage.is_local()
            code = forked(calls, {ends!r})
            assert moorage.current_input_id() is not None
            return code

        with others_submitting():
            for _ in range(30):
                assert forks.remote() == 0
        say("parent", double.remote(1))
    """)
    assert (code, out) == (0, ["parent 2"]), err
    assert err == ""


@pytest.mark.parametrize("ends", ["os._exit", "sys.exit"])
def test_forks_from_an_async_input_while_others_submit(ends):
    code, out, err = run(f"""
        @app.function()
        @moorage.concurrent(max_inputs=10)
        async def forks(number):
            await asyncio.sleep(0)
            if number:
                # Its neighbours on the loop: none may run on in the child.
                await asyncio.sleep(0)
                return os.getpid()
            code = forked(calls, {ends!r})
            await asyncio.sleep(0)  # the loop of the parent is as it was
            return code

        with others_submitting():
            for _ in range(30):
                assert list(forks.map(range(10))) == [0] + [os.getpid()] * 9
        say("parent", double.remote(1))
    """)
    assert (code, out) == (0, ["parent 2"]), err
    assert err == ""


def test_multiprocessing_from_the_main_thread_and_from_inputs():
    code, out, err = run("""
        import multiprocessing
        fork = multiprocessing.get_context("fork")

        def in_a_process():
            process = fork.Process(target=calls)
            process.start()
            process.join(SECONDS)
            if process.is_alive():
                process.kill()
            return process.exitcode

        @app.function()
        def sync():
            return in_a_process()

        @app.function()
        async def asynchronous():
            return in_a_process()

        def square(value):
            return double.remote(value) ** 2

        double.remote(1)
        say(in_a_process(), sync.remote(), asynchronous.remote())
        with others_submitting():
            say(in_a_process(), sync.remote(), asynchronous.remote())
        with fork.Pool(2) as pool:
            say(pool.map(square, range(4)))
    """)
    assert (code, out) == (0, ["0 0 0", "0 0 0", "[0, 4, 16, 36]"]), err
    assert err == ""


def test_a_child_may_fork_again():
    code, out, err = run("""
        def child():
            calls()
            assert forked(grandchild) == 0
            calls()

        def grandchild():
            calls()
            assert forked(calls) == 0

        double.remote(1)
        say(forked(child), double.remote(2))
    """)
    assert (code, out) == (0, ["0 4"]), err


def test_what_was_made_before_the_fork_says_so_in_the_child():
    code, out, err = run("""
        release = threading.Event()
        started = threading.Semaphore(0)

        @app.function()
        def held(value=None):
            if value == 0:
                return "at once"
            started.release()
            release.wait(30)
            return "released"

        @app.function()
        def stalled():
            for value in range(100):
                yield value

        async def awaiting(call):
            await call.get.aio()

        def child():
            for name, use in (
                ("get", lambda: call.get()),
                ("get with a timeout", lambda: call.get(timeout=60)),
                ("get.aio", lambda: asyncio.run(awaiting(call))),
                ("gather", lambda: moorage.FunctionCall.gather(call)),
                ("cancel", lambda: call.cancel()),
                ("map", lambda: next(results)),
                ("map of a generator", lambda: list(fed)),
                ("stream", lambda: next(stream)),
                ("async stream", lambda: asyncio.new_event_loop().run_until_complete(read_on())),
            ):
                try:
                    use()
                except moorage.exception.ExecutionError as error:
                    assert "was forked" in str(error) and "; call it again" in str(error), error
                else:
                    say("no error from", name)
            repr(call), repr(results), repr(stream), repr(app)
            results.close(), fed.close(), stream.close()
            assert settled.get() == 4, "what was there at the fork"
            assert call.object_id == call_id and settled.object_id == settled_id
            for lost in (call_id, settled_id):
                try:
                    moorage.FunctionCall.from_id(lost).get()
                except moorage.exception.NotFoundError:
                    continue
                say("found", lost)
            assert double.statistics() is None
            assert app.app_id is None
            assert double.spawn(1).object_id[:11] != call_id[:11]
            assert moorage.Function.from_id(double.object_id) is double
            assert double.object_id != function_id

        async def read_on():
            return await anext(async_stream)

        call = held.spawn()
        started.acquire()
        settled = double.spawn(2)
        settled.get()
        call_id, settled_id, function_id = call.object_id, settled.object_id, double.object_id
        results = held.map(iter([0, 1, 2]))
        assert next(results) == "at once"
        fed = double.map(iter(range(5000)), order_outputs=False)
        next(fed)
        stream = stalled.remote_gen()
        next(stream)
        async_stream = stalled.remote_gen.aio()
        loop = asyncio.new_event_loop()
        loop.run_until_complete(read_on())
        for _ in range(2):
            started.acquire()
        assert forked(child) == 0
        release.set()
        assert [call.get(), *results] == ["released"] * 3
        assert len(list(fed)) == 4999
        assert list(stream) == list(range(1, 100))
        loop.run_until_complete(async_stream.aclose())
        loop.close()
        say("parent is as it was")
    """)
    assert out == ["parent is as it was"], err
    assert (code, err) == (0, "")


def test_a_run_stays_behind_without_its_exit_hooks():
    code, out, err = run("""
        @app.cls()
        class Tells:
            @moorage.enter()
            def enter(self):
                say("enter", os.getpid() == parent)

            @moorage.method()
            def work(self):
                return os.getpid()

            @moorage.exit()
            def exit(self):
                say("exit", os.getpid() == parent)

        parent = os.getpid()
        with app.run():
            assert Tells().work.remote() == parent
            pid = os.fork()
            if not pid:
                assert Tells().work.remote() == os.getpid()
        if not pid:
            say("child has left")
            with moorage.App().run():
                pass
            sys.exit(0)
        assert wait_for(pid) == 0
        say("parent waited")
        with app.run():
            assert Tells().work.remote() == parent
    """)
    assert (code, err) == (0, "")
    # The parent leaves while its child does.
    first, *meanwhile = out[:-3]
    assert first == "enter True"
    assert sorted(meanwhile) == ["child has left", "enter False", "exit False", "exit True"]
    assert out[-3:] == ["parent waited", "enter True", "exit True"]


@pytest.mark.parametrize("way", ["with", "async with"])
@pytest.mark.parametrize("drain", [False, True])
def test_leaving_a_run_in_a_child_does_nothing(way, drain):
    body = {
        "with": f"""
            with app.run(drain={drain}):
                double.spawn(1)
                pid = os.fork()
                if not pid:
                    sys.exit(7)
        """,
        "async with": f"""
            async def main():
                running = app.run(drain={drain})
                await running.__aenter__()
                double.spawn(1)
                pid = os.fork()
                if not pid:
                    # Its end of asyncio.run() would close the loop that it shares.
                    await running.__aexit__(None, None, None)
                    os._exit(7)
                await running.__aexit__(None, None, None)
                return pid

            pid = asyncio.run(main())
        """,
    }[way]
    code, out, err = run(textwrap.dedent(body) + "\nsay(wait_for(pid))\n")
    assert (code, out) == (0, ["7"]), err


def test_a_child_may_open_a_run_of_its_own_with_exit_hooks():
    code, out, err = run("""
        @app.cls()
        class Tells:
            @moorage.method()
            def work(self):
                return os.getpid()

            @moorage.exit()
            def exit(self):
                say("exit", "parent" if os.getpid() == parent else "child")

        parent = os.getpid()

        def child():
            with app.run(drain=True):
                Tells().work.spawn()

        with app.run():
            Tells().work.remote()
            assert forked(child) == 0
    """)
    assert (code, out, err) == (0, ["exit child", "exit parent"], "")


def test_a_deployed_app_is_found_in_a_child():
    code, out, err = run("""
        def child():
            assert moorage.Function.from_name("served", "double").remote(2) == 4
            app.stop()
            try:
                moorage.Function.from_name("served", "double").remote(2)
            except moorage.exception.NotFoundError:
                say("stopped in the child")

        app.deploy(name="served")
        double.remote(1)
        assert forked(child) == 0
        say(moorage.Function.from_name("served", "double").remote(2))
    """)
    assert (code, out, err) == (0, ["stopped in the child", "4"], "")


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("return 1", 0),
        ("sys.exit()", 0),
        ("sys.exit(5)", 5),
        ("raise LookupError('of a child')", 1),
    ],
)
def test_an_input_that_ends_in_a_child_ends_the_child(kind, ending, code):
    # Its thread is the only one there, and is ours: it has nothing to come back to.
    define = "async def" if kind == "async" else "def"
    ended, out, err = run(f"""
        @app.cls()
        class Work:
            @moorage.method()
            {define} forks(self):
                pid = os.fork()
                if pid:
                    return wait_for(pid)
                assert double.remote(1) == 2  # a run that it leaves open
                print("flushed", flush=False)
                {ending}

            @moorage.exit()
            def exit(self):
                say("exit hook of the parent")

        say(Work().forks.remote())
    """)
    assert (ended, out) == (0, ["flushed", str(code), "exit hook of the parent"]), err
    assert ("LookupError: of a child" in err) is ("LookupError" in ending)


def test_an_async_input_that_awaits_in_a_child_ends_it_with_an_error():
    code, out, err = run("""
        ran, go_on = [], asyncio.Event()

        @app.function()
        @moorage.concurrent(max_inputs=4)
        async def forks(number):
            if number:
                await go_on.wait()
                ran.append(number)
                if os.getpid() != parent:
                    say("a neighbour ran in the child")
                return number
            pid = os.fork()
            go_on.set()
            if not pid:
                await asyncio.sleep(0)
                say("went on in the child")
            return wait_for(pid)

        parent = os.getpid()
        say(list(forks.map([1, 2, 0, 3])))
    """)
    assert (code, out) == (0, ["[1, 2, 1, 3]"]), err
    assert "used `await`, but its event loop stayed in the parent" in err


def test_a_fork_of_an_input_that_was_resumed_runs_no_neighbour_in_the_child():
    code, out, err = run("""
        go_on = threading.Event()
        ran = []

        @app.function(max_containers=1)
        @moorage.concurrent(max_inputs=4)
        def inner(number):
            go_on.wait(60)

        @app.function(max_containers=1)
        @moorage.concurrent(max_inputs=4)
        async def outer(number):
            if number == 2:
                while (seen := inner.statistics()) is None or seen.running < 2:
                    await asyncio.sleep(0)
                go_on.set()  # both results come before this loop goes on
                while inner.statistics().succeeded < 2:
                    pass
                return number
            await inner.remote.aio(number)
            ran.append(number)
            if ran != [number]:
                if os.getpid() != parent:
                    say("a neighbour ran in the child")
                return number
            pid = os.fork()
            if not pid:
                await asyncio.sleep(0)
                say("went on in the child")
            return wait_for(pid)

        parent = os.getpid()
        say(list(outer.map([0, 1, 2])))
    """)
    assert code == 0, err
    assert out in (["[1, 1, 2]"], ["[0, 1, 2]"]), err
    assert "used `await`, but its event loop stayed in the parent" in err


@pytest.mark.parametrize("where", ["construct", "enter", "async enter", "exit", "async exit"])
def test_a_child_of_a_hook_works_and_ends(where):
    kind = "async " if where.startswith("async") else ""
    body = {
        "construct": "def __init__(self):\n        fork()",
        "enter": "@moorage.enter()\n    def enter(self):\n        fork()",
        "exit": "@moorage.exit()\n    def exit(self):\n        fork()",
        "async enter": "@moorage.enter()\n    async def enter(self):\n        fork()",
        "async exit": "@moorage.exit()\n    async def exit(self):\n        fork()",
    }[where]
    code, out, err = run(f"""
def fork():
    assert not moorage.is_local()
    pid = os.fork()
    if pid:
        say(wait_for(pid))
    else:
        assert moorage.is_local()
        calls()

warnings.filterwarnings("ignore", "the class Forks has a constructor")

@app.cls()
class Forks:
    {body}

    @moorage.method()
    {kind}def work(self):
        return 1

    @moorage.exit()
    def tell(self):
        say("exit hook")

with app.run():
    Forks().work.remote()
""")
    assert code == 0, err
    assert out == ["0", "exit hook"], err
    assert err == ""


def test_a_child_of_a_thread_of_to_thread_and_of_a_feeder_ends():
    code, out, err = run("""
        def fork():
            pid = os.fork()
            if pid:
                return wait_for(pid)
            calls()
            return None

        @app.function()
        async def in_a_thread():
            return await asyncio.to_thread(fork)

        def items():
            yield fork() or 0

        say(in_a_thread.remote())
        say(list(double.map(items())))
    """)
    assert code == 0, err
    # What a child of a feeder yields has nowhere to go, and it says so.
    assert out == ["0", "[2]"], err
    assert "belongs to the process from which this one was forked" in err


def test_a_child_of_a_generator_input_ends():
    code, out, err = run("""
        @app.function()
        def sync():
            pid = os.fork()
            if not pid:
                calls()
            yield wait_for(pid) if pid else "of the child"
            yield 2

        @app.function()
        async def asynchronous():
            pid = os.fork()
            if not pid:
                calls()
                sys.exit(4)
            yield wait_for(pid)
            yield 2

        say(list(sync.remote_gen()))
        say(list(asynchronous.remote_gen()))
    """)
    assert (code, out) == (0, ["[1, 2]", "[4, 2]"]), err
    assert "the reader of this generator belongs to the process" in err


def test_a_cancel_of_the_parent_does_not_reach_the_child():
    code, out, err = run("""
        moorage.config.cancel_grace = 60  # the parent is about to be struck all the while
        codes = []
        gate = threading.Event()
        running, forked_there = threading.Event(), threading.Event()

        @app.function()
        def waits_first():
            running.set()
            gate.wait(30)
            pid = os.fork()
            if not pid:
                calls()
                os._exit(0)
            codes.append(wait_for(pid))
            forked_there.set()

        call = waits_first.spawn()
        running.wait(10)
        call.cancel()
        gate.set()
        forked_there.wait(30)
        say(codes)
    """)
    assert (code, out) == (0, ["[0]"]), err


def test_locals_whose_hooks_run_elsewhere_at_the_fork_are_entered_in_the_child():
    code, out, err = run("""
        entering, go_on = threading.Event(), threading.Event()
        parent = os.getpid()

        @app.cls()
        class Slow:
            @moorage.enter()
            def enter(self):
                if os.getpid() == parent:
                    entering.set()
                    go_on.wait(30)

            @moorage.method()
            def work(self):
                return "worked"

        slow = Slow()
        other = threading.Thread(target=slow.work.local)
        other.start()
        entering.wait(10)
        say(forked(lambda: slow.work.local()))
        go_on.set()
        other.join()
    """)
    assert (code, out, err) == (0, ["0"], "")


def test_a_spawn_that_waits_for_room_is_dropped_in_a_child_without_a_word():
    code, out, err = run("""
        import logging
        from moorage.runtime.clocks.timekeeper import process_timekeeper

        logging.basicConfig()

        @app.function(max_containers=1, max_backlog=1, on_full="wait")
        async def hold(_):
            await asyncio.Event().wait()

        async def begin():
            await hold.spawn.aio(1)
            await hold.spawn.aio(2)
            spawning = hold.spawn.aio(3)
            spawning.send(None)  # it waits
            return spawning

        def child():
            spawning.close()
            assert double.remote(2) == 4  # the timekeeper runs
            done = threading.Event()
            process_timekeeper.post(done.set)
            assert done.wait(10)

        loop = asyncio.new_event_loop()
        with app.run():
            spawning = loop.run_until_complete(begin())
            assert forked(child) == 0
            spawning.close()
        loop.close()
        say("dropped")
    """)
    assert (code, out, err) == (0, ["dropped"], "")


def test_the_wake_up_descriptors_of_the_parent_are_neither_rung_nor_taken():
    # A child that leaves (and so collects) what it inherited must not end the
    # registration of the parent's descriptors, which it shares.
    code, out, err = run("""
        import gc

        def child():
            global triple, crowded, app
            calls()
            del triple, crowded, app
            gc.collect()

        for _ in range(20):
            assert triple.remote(1) == 3
            assert forked(child) == 0
            assert triple.remote(1) == 3
        say("as it was")
    """)
    assert (code, out, err) == (0, ["as it was"], "")


def test_a_child_forked_in_virtual_time_may_use_the_clock():
    code, out, err = run("""
        from moorage.runtime.clocks.virtual_clock import VirtualClock

        @app.function()
        async def nap(seconds):
            await asyncio.sleep(seconds)
            return seconds

        def child():
            clock.sleep(5)
            assert clock.now() == 15
            with app.run(clock=clock):
                assert nap.remote(100) == 100
            assert clock.now() == 115

        with VirtualClock() as clock:
            with app.run(clock=clock):
                assert nap.remote(10) == 10
                assert forked(child) == 0
                assert nap.remote(10) == 10
                say(clock.now())
    """)
    assert (code, err) == (0, "")
    assert [float(line) for line in out] == [20]
