"""What users' tests patch in the standard library does not reach the engine."""

import ast
import asyncio
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from unittest import mock

import pytest

import moorage
from moorage.runtime.real import _NAMES, Real
from moorage.testing import VirtualClock

freezegun = pytest.importorskip("freezegun")

SRC = Path(moorage.__file__).parent.parent


# -- what runs under each patch --------------------------------------------------------------

app = moorage.App("patched")


@app.function(max_containers=2)
def double(x):
    return 2 * x


@app.function(max_containers=2)
async def double_later(x):
    return 2 * x


@app.function()
async def calls_others(x):
    return await double.remote.aio(x) + await double_later.remote.aio(x)


@app.function()
def count(n):
    yield from range(n)


@app.function()
async def count_later(n):
    for i in range(n):
        yield i


@app.function()
@moorage.batched(max_batch_size=4, wait_ms=5)
def add_one(xs):
    return [x + 1 for x in xs]


attempts = []


@app.function(retries=moorage.Retries(max_retries=2, initial_delay=0.0))
def second_time(x):
    attempts.append(x)
    if len(attempts) < 2:
        raise ValueError("the first time")
    return x


@app.function(timeout=0.05)
async def takes_for_ever():
    await Real.get_running_loop().create_future()


@app.cls(scaledown_window=2, max_containers=1)
class Model:
    @moorage.enter()
    async def load(self):
        self.weight = 3

    @moorage.method()
    def weigh(self, x):
        return self.weight * x

    @moorage.exit()
    def unload(self):
        unloaded.set()


unloaded = threading.Event()


class Source:
    """An asynchronous source of inputs."""

    def __init__(self, n):
        self.left = list(range(n))

    def __aiter__(self):
        return self

    async def __anext__(self):
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop(0)


def work_as_a_thread_does():
    """Each way to call, on containers that start under the patch."""
    attempts.clear()
    assert double.remote(1) == 2
    assert double_later.remote(1) == 2
    assert calls_others.remote(3) == 12
    assert [call.get(timeout=30) for call in [double.spawn(1), double_later.spawn(2)]] == [2, 4]
    assert sum(double.map(range(20))) == sum(double_later.map(iter(range(20)))) == 380
    assert list(count.remote_gen(3)) == list(count_later.remote_gen(3)) == [0, 1, 2]
    assert add_one.remote(1) == 2
    assert second_time.remote(5) == 5
    with pytest.raises(moorage.exception.FunctionTimeoutError):
        takes_for_ever.remote()
    assert Model().weigh.remote(2) == 6


async def work_as_a_task_does():
    attempts.clear()
    assert await double.remote.aio(1) == 2
    assert await double_later.remote.aio(1) == 2
    assert await (await double.spawn.aio(1)).get.aio(timeout=30) == 2
    assert sum([x async for x in double.map.aio(range(20))]) == 380
    assert [x async for x in double_later.map.aio(Source(3))] == [0, 2, 4]
    assert [x async for x in count.remote_gen.aio(3)] == [0, 1, 2]
    assert await add_one.remote.aio(1) == 2
    assert await second_time.remote.aio(5) == 5
    with pytest.raises(moorage.exception.FunctionTimeoutError):
        await takes_for_ever.remote.aio()


def raises(name):
    def patched(*args, **kwargs):
        raise AssertionError(f"moorage called the patched {name}")

    return patched


PATCHED = [
    *("time.monotonic", "time.monotonic_ns", "time.perf_counter", "time.sleep", "time.time"),
    *("threading.Thread", "threading.Lock", "threading.RLock", "threading.Event"),
    *("threading.Condition", "threading.Semaphore", "threading.get_ident"),
    *("threading.current_thread", "threading.main_thread", "threading.enumerate"),
    *("threading.Thread.start", "threading.Thread.join", "threading.Thread.__init__"),
    *("asyncio.sleep", "asyncio.new_event_loop", "asyncio.get_running_loop"),
    *("asyncio._get_running_loop", "asyncio.get_event_loop", "asyncio.create_task"),
    *("asyncio.current_task", "asyncio.all_tasks", "asyncio.wait", "asyncio.wait_for"),
    *("asyncio.shield", "asyncio.iscoroutine", "asyncio.iscoroutinefunction", "asyncio.gather"),
    *("asyncio.Event", "asyncio.Future", "asyncio.Task", "asyncio.Queue", "asyncio.Handle"),
    *("asyncio.to_thread", "asyncio.run", "asyncio.Runner", "asyncio.timeout"),
    *("random.random", "random.uniform", "random.Random", "os.urandom", "os.getcwd", "os.write"),
    *("queue.SimpleQueue", "queue.Queue", "selectors.DefaultSelector"),
    *("logging.getLogger", "logging.Logger.log", "copy.copy", "copy.deepcopy"),
    *("contextvars.copy_context", "concurrent.futures.ThreadPoolExecutor"),
    *("concurrent.futures.Future", "concurrent.futures.thread.ThreadPoolExecutor.submit"),
    *("inspect.signature", "inspect.iscoroutinefunction", "inspect.iscoroutine"),
    *("inspect.isawaitable", "inspect.isfunction", "inspect.ismethod", "inspect.isclass"),
    *("inspect.getcoroutinestate", "inspect.getgeneratorstate", "inspect.unwrap"),
    *("inspect.currentframe", "inspect.stack", "socket.socketpair", "signal.getsignal"),
    *(
        "uuid.uuid4",
        "traceback.format_exception",
        "weakref.finalize",
        "functools.wraps",
        "os.eventfd",
    ),
]


@pytest.mark.parametrize("name", PATCHED)
def test_patched_functions_do_not_reach_the_engine(name):
    with app.run(), mock.patch(name, raises(name)):
        work_as_a_thread_does()


@pytest.mark.parametrize("name", PATCHED)
def test_patched_functions_do_not_reach_what_tasks_call(name):
    async def main():
        async with app.run():
            # The loop of this test is asyncio's own, and reads the time as it does.
            asyncio.get_running_loop().time = Real.monotonic
            with mock.patch(name, raises(name)):
                await work_as_a_task_does()

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


@pytest.mark.parametrize("name", PATCHED)
def test_a_run_is_entered_and_left_under_a_patch(name):
    with mock.patch(name, raises(name)), app.run():
        assert double.remote(1) == 2
        assert double_later.remote(1) == 2


@pytest.mark.parametrize("name", PATCHED)
def test_an_asynchronous_run_is_left_under_a_patch(name):
    async def main():
        asyncio.get_running_loop().time = Real.monotonic
        with mock.patch(name, raises(name)):
            async with app.run():
                assert await double.remote.aio(1) == 2

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


@pytest.mark.parametrize("name", PATCHED)
def test_patched_functions_do_not_reach_virtual_time(name):
    with VirtualClock() as clock, app.run(clock=clock), mock.patch(name, raises(name)):
        assert double.remote(1) == 2
        assert double_later.remote(1) == 2
        assert sum(double.map(range(5))) == 20
        clock.sleep(100)
        assert clock.now() >= 100


def test_containers_scale_down_though_time_is_patched():
    with (
        app.run(),
        mock.patch("time.monotonic", side_effect=[1.0, 2.0]),
        mock.patch("time.sleep", raises("time.sleep")),
        freezegun.freeze_time("2020-01-01"),
    ):
        unloaded.clear()
        assert Model().weigh.remote(1) == 3
        assert unloaded.wait(30)


def test_a_mocks_list_that_is_used_up_ends_no_timer():
    with app.run():
        with mock.patch("time.monotonic", side_effect=[1.0, 2.0]):
            assert add_one.remote(1) == 2
        assert add_one.remote(1) == 2


def test_decorators_read_signatures_though_inspect_is_patched():
    other = moorage.App("decorated")
    with mock.patch("inspect.signature", raises("signature")):

        @other.function()
        @moorage.batched(max_batch_size=2, wait_ms=5)
        async def decorated(xs: list) -> list:
            return xs

        @other.cls()
        class Decorated:
            size: int = moorage.parameter(default=1)

            @moorage.method()
            def get(self):
                return self.size

        with other.run():
            assert decorated.remote(1) == 1
            assert Decorated(size=2).get.remote() == 2


def test_the_code_of_the_user_does_see_the_patch():
    other = moorage.App("seen")

    @other.function()
    def now():
        return time.monotonic(), time.time()

    with (
        other.run(),
        mock.patch("time.monotonic", return_value=7),
        mock.patch("time.time", return_value=8),
    ):
        assert now.remote() == (7, 8)


# -- freezegun and time-machine --------------------------------------------------------------


def test_frozen_time_does_not_stop_the_engine():
    with app.run(), freezegun.freeze_time("2020-01-01"):
        work_as_a_thread_does()
        assert time.time() == 1577836800


def test_frozen_time_does_not_stop_tasks():
    async def main():
        async with app.run():
            with freezegun.freeze_time("2020-01-01", real_asyncio=True):
                await work_as_a_task_does()

    asyncio.run(main())


def test_a_run_within_frozen_time():
    with freezegun.freeze_time("2020-01-01"), app.run():
        work_as_a_thread_does()


def test_asyncio_sleep_passes_in_a_container_while_time_is_frozen():
    other = moorage.App("sleeps")

    @other.function()
    async def sleeps():
        await asyncio.sleep(0.01)
        return "woken"

    with other.run(), freezegun.freeze_time("2020-01-01"):
        assert sleeps.remote() == "woken"


def test_travelled_time_does_not_stop_the_engine():
    time_machine = pytest.importorskip("time_machine", reason="its C extension is not built here")
    with app.run(), time_machine.travel("2020-01-01", tick=False):
        work_as_a_thread_does()


def test_virtual_time_that_is_patched_in_by_moorage_goes_on():
    other = moorage.App("ours")

    @other.function()
    def sleeps():
        before = time.monotonic()
        time.sleep(200)
        return time.monotonic() - before

    with VirtualClock() as clock, other.run(clock=clock), clock.patch_time():
        assert sleeps.remote() == 200
        assert Real.sleep is not time.sleep
        assert Real.monotonic is not time.monotonic


def test_no_class_or_module_of_the_engine_holds_a_function_that_freezegun_finds():
    with freezegun.freeze_time("2020-01-01"):
        reached = [
            f"{name}.{attribute}"
            for name, module in list(sys.modules.items())
            if name.split(".")[0] in ("moorage", "_moorage_pytest_plugin")
            for attribute, value in vars(module).items()
            if getattr(value, "__module__", "") == "freezegun.api"
            and not isinstance(value, type)  # those of datetime, which only users see
        ]
    assert not reached


# -- at import ---------------------------------------------------------------------------------


def run_python(source):
    path = os.pathsep.join([str(SRC), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        ("unittest.mock.patch('time.sleep')", "time.sleep is unittest.mock.MagicMock"),
        ("unittest.mock.patch('time.monotonic', lambda: 1)", "time.monotonic is __main__.<lambda>"),
        ("unittest.mock.patch('threading.Thread')", "threading.Thread is unittest.mock.MagicMock"),
        ("unittest.mock.patch('asyncio.wait', lambda: 1)", "asyncio.wait is __main__.<lambda>"),
        ("unittest.mock.patch('logging.getLogger')", "logging.getLogger is unittest.mock.MagicM"),
        ("freezegun.freeze_time('2020-01-01')", "time.monotonic is freezegun.api.fake_monotonic"),
    ],
)
def test_a_patch_that_is_active_at_import_is_refused(patch, said):
    done = run_python(f"""
        import asyncio, threading, unittest.mock, freezegun
        with {patch}:
            import moorage
    """)
    assert done.returncode == 1
    assert f"ImportError: moorage was imported while the standard library is patched: {said}" in (
        done.stderr
    )
    assert done.stderr.strip().splitlines()[-1].startswith("write `import moorage` where nothing")


def test_time_travel_at_import_is_refused():
    pytest.importorskip("time_machine", reason="its C extension is not built here")
    done = run_python("""
        import time_machine
        with time_machine.travel("2020-01-01"):
            import moorage
    """)
    assert done.returncode == 1
    assert "is patched: time_machine travels in time" in done.stderr


def test_after_a_refused_import_the_next_one_is_as_the_first():
    done = run_python("""
        from unittest import mock
        with mock.patch("time.sleep"):
            try:
                import moorage
            except ImportError as error:
                print(type(error).__name__)
        import moorage
        app = moorage.App("later")

        @app.function()
        def f(x):
            return x

        with app.run():
            print(f.remote(1))
    """)
    assert done.stdout.split() == ["ImportError", "1"], done.stderr


def test_what_is_imported_at_its_first_use_is_imported_as_if_nothing_were_patched():
    done = run_python(f"""
        import functools, importlib, sys
        import moorage

        PATCHED = {[*PATCHED, "datetime.datetime", "datetime.date", "asyncio.Lock"]!r}

        def fake_of(name, original):
            if isinstance(original, type):
                return type(original.__name__, (), {{"__module__": "fakes"}})
            def fake(*args, **kwargs):
                raise AssertionError(f"moorage called the patched {{name}}")
            fake.__module__ = "fakes"
            return fake

        patches = []
        for name in PATCHED:
            path, _, attribute = name.rpartition(".")
            try:
                owner = importlib.import_module(path)
            except ModuleNotFoundError:
                module, _, kind = path.rpartition(".")
                owner = getattr(importlib.import_module(module), kind)
            original = getattr(owner, attribute)
            patches.append((owner, attribute, original, fake_of(name, original)))
        for owner, attribute, _, fake in patches:
            setattr(owner, attribute, fake)
        for name in moorage.__all__:
            getattr(moorage, name)
        assert all(getattr(owner, attribute) is fake for owner, attribute, _, fake in patches)
        app = moorage.App("late")
        for owner, attribute, original, _ in patches:
            if owner is functools:  # the program's own `def` under a decorator needs it
                setattr(owner, attribute, original)

        @app.function(serialized=True)
        def f(x):
            return x

        with app.run():
            assert f.remote(1) == 1
        for owner, attribute, original, _ in reversed(patches):
            setattr(owner, attribute, original)
        held = [
            f"{{name}}.{{attribute}}"
            for name, module in sys.modules.items() if name.startswith("moorage")
            for attribute, value in vars(module).items()
            if getattr(value, "__module__", "") == "fakes"
        ]
        print(held)
        with app.run():
            print(f.remote(2))
    """)
    assert done.stdout.split() == ["[]", "2"], done.stderr


def test_a_patch_of_moorage_stays_while_something_is_imported():
    done = run_python("""
        import time, moorage
        sleeps = [time.sleep]  # globals would be patched, and restored
        from moorage.testing import VirtualClock
        with VirtualClock() as clock, clock.patch_time():
            sleeps.append(time.sleep)
            seen = []
            class Finder:
                def find_spec(self, name, path=None, target=None):
                    if name == "moorage.sandbox":
                        seen.append(time.sleep is sleeps[1])
            sys = __import__("sys")
            sys.meta_path.insert(0, Finder())
            moorage.Sandbox
        print(seen, sleeps[0] is not sleeps[1])
    """)
    assert done.stdout.split() == ["[True]", "True"], done.stderr


def test_wrappers_of_tracers_are_no_patches():
    done = run_python("""
        import threading
        start = threading.Thread.start
        threading.Thread.start = lambda self: start(self)
        threading.settrace(lambda *args: None)
        import moorage
        print("imported")
    """)
    assert done.stdout.split() == ["imported"], done.stderr


# -- threads and loops from Real -----------------------------------------------------------------


def test_a_thread_of_real_is_a_thread_to_everybody():
    seen = []
    hooked = []

    def main():
        seen.append((threading.current_thread(), threading.get_ident(), repr(thread)))
        raise ValueError("for the hook")

    thread = Real.Thread(target=main, name="one of ours", daemon=True)
    with mock.patch("threading.excepthook", hooked.append):
        thread.start()
        thread.join(30)
    assert seen[0][:2] == (thread, thread.ident)
    assert isinstance(thread, threading.Thread)
    assert seen[0][2].startswith("<Thread(one of ours, started daemon")
    assert [str(args.exc_value) for args in hooked] == ["for the hook"]
    assert not thread.is_alive()


def test_a_loop_of_real_is_of_the_kind_that_the_policy_makes():
    usual = asyncio.new_event_loop()
    loop = Real.new_event_loop()
    try:
        assert isinstance(loop, type(usual))
        assert repr(type(loop)) == repr(type(usual))
    finally:
        loop.close()
        usual.close()


# -- every module takes them from Real -------------------------------------------------------------

# Those that are not the engine's, or where a name is meant to be what users see.
ELSEWHERE = {"runtime/real.py", "runtime/clocks/patched_time.py"}


class LooksUp(ast.NodeVisitor):
    """Finds ``module.name`` where code runs, and not in annotations or lists of bases."""

    def __init__(self):
        self.names = {m.__name__: set(names) for m, names in _NAMES.items()}
        self.names["logging"] = set()  # asked at import
        self.found = []

    def visit_AnnAssign(self, node):
        if node.value is not None:
            self.visit(node.value)

    def visit_FunctionDef(self, node):
        for child in [*node.decorator_list, *node.body]:
            self.visit(child)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node):
        for child in [*node.decorator_list, *node.body]:
            self.visit(child)

    def visit_Attribute(self, node):
        # `threading.Thread.start`, of which a name is taken, is not a look-up of ours.
        if not isinstance(node.value, ast.Attribute):
            self.visit(node.value)
            if isinstance(node.value, ast.Name) and node.attr in self.names.get(node.value.id, ()):
                self.found.append(f"{node.value.id}.{node.attr}")


def looked_up(source):
    search = LooksUp()
    search.visit(ast.parse(source))
    return search.found


MODULES = {
    str(path.relative_to(SRC)).removeprefix("moorage/"): path
    for path in sorted([*(SRC / "moorage").rglob("*.py"), SRC / "_moorage_pytest_plugin.py"])
}


@pytest.mark.parametrize("name", [name for name in MODULES if name not in ELSEWHERE])
def test_what_the_engine_calls_is_taken_from_real(name):
    kept = {
        # Types and code objects, taken at import.
        "runtime/waiting/awaited.py": ["asyncio.Future", "asyncio.Task", "asyncio.shield"],
        "testing/leaks.py": ["threading.Thread", "asyncio.Runner"],
    }
    assert looked_up(MODULES[name].read_text()) == kept.get(name, [])


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("now = time.monotonic()", ["time.monotonic"]),
        ("start = partial(threading.Thread, f)", ["threading.Thread"]),
        ("thread: threading.Thread = Real.Thread()", []),
        ("def f(lock: threading.Lock) -> asyncio.Task: pass", []),
        ("class T(asyncio.Task): x = os.urandom(4)", ["os.urandom"]),
        ("code = asyncio.Runner.run.__code__", []),
        ("now = Real.monotonic()", []),
    ],
)
def test_the_search_finds_what_is_looked_up(source, found):
    assert looked_up(source) == found
