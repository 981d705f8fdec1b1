"""The pytest plugin: suites as users write them, each run by a pytest of its own."""

import contextlib
import dataclasses
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import anyio.pytest_plugin
import pytest
import pytest_asyncio.plugin

import _moorage_pytest_plugin as entry
import moorage

# Imported here, not in the suites: what those import is forgotten after each.
import moorage.pytest_plugin
from moorage.running import runs
from moorage.runtime.pools.pool import Pool
from moorage.testing import leak_check, leaks  # noqa: F401

ROOT = Path(__file__).parent.parent

# As modules: to name those that are imported already, is warned about.
PLUGINS = (entry, pytest_asyncio.plugin, anyio.pytest_plugin)


@pytest.fixture
def run(pytester, monkeypatch):
    """``run(suite, *args, conftest="", ini="")`` runs a suite in this process."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(suite, *args, conftest="", ini="", before=()):
        pytester.makepyfile(test_suite=HEADER + textwrap.dedent(suite))
        pytester.makeconftest(textwrap.dedent(conftest))
        pytester.makeini(INI + ini)
        early = [part for name in before for part in ("-p", name)]
        return pytester.runpytest_inprocess(
            *early, "--strict-markers", *args, plugins=list(PLUGINS)
        )

    return run


INI = """[pytest]
filterwarnings = error
asyncio_default_fixture_loop_scope = function
"""

HEADER = """
import asyncio, threading
import pytest, pytest_asyncio
import moorage
from moorage.testing import VirtualClock

app = moorage.App("shop")

@app.function()
async def brew(x):
    await asyncio.sleep(100)
    return x

@app.function()
def double(x):
    return 2 * x
"""


# -- what it costs those who do not use it ---------------------------------------------


def test_an_unrelated_suite_loads_no_moorage_and_is_not_touched(pytester, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile("""
        import sys

        def test_unrelated(request):
            assert not [name for name in sys.modules if name.split(".")[0] == "moorage"]
            manager = request.config.pluginmanager
            ours = sys.modules["_moorage_pytest_plugin"]
            assert {hook.name for hook in manager.get_hookcallers(ours)} == {
                "pytest_addoption",
                "pytest_load_initial_conftests",
                "pytest_configure",
                "pytest_collection_finish",
            }
            assert request.fixturenames == ["request"]
            assert not [name for name, _ in manager.list_name_plugin() if name.startswith("moor")]
            assert request.config.getini("filterwarnings") == []
    """)
    done = pytester.runpytest_subprocess("-p", "_moorage_pytest_plugin")
    done.assert_outcomes(passed=1)


def test_the_entry_point_stands_beside_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    name = project["project"]["entry-points"]["pytest11"]["moorage"]
    assert name == entry.__name__
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert f"src/{name}.py" in wheel["only-include"]


def test_the_entry_point_needs_pytest_only():
    program = (
        "import sys, pytest; before = set(sys.modules); import _moorage_pytest_plugin; "
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "['_moorage_pytest_plugin']"


def test_the_asserts_of_moorage_are_not_rewritten():
    class Hook:
        _must_rewrite = {"moorage", "_moorage_pytest_plugin", "other"}

    class Manager:
        rewrite_hook = Hook()

    entry.pytest_addoption(pytest.Parser(_ispytest=True), Manager())
    assert Hook._must_rewrite == {"_moorage_pytest_plugin", "other"}


# -- virtual time ------------------------------------------------------------------------


def test_virtual_clock_in_a_sync_test(run):
    run("""
        def test_sync(virtual_clock, run_app):
            assert run_app(app) is app
            assert brew.remote(3) == 3
            assert virtual_clock.now() == 100

        def test_begins_at_zero_again(virtual_clock):
            assert virtual_clock.now() == 0
            virtual_clock.sleep(3600)
            assert virtual_clock.now() == 3600
    """).assert_outcomes(passed=2)


ASYNC = """
    {fixture}
    async def kettle():
        await asyncio.sleep(20)
        yield asyncio.get_running_loop()
        await asyncio.sleep(20)

    {mark}
    async def test_all_on_one_loop(kettle, virtual_clock, run_app):
        assert asyncio.get_running_loop() is kettle
        assert virtual_clock.now() == 20
        await asyncio.sleep(3600)
        run_app(app)
        assert await brew.remote.aio(3) == 3
        assert virtual_clock.now() == 3720

    {mark}
    @pytest.mark.usefixtures("virtual_clock")
    async def test_it_need_not_be_an_argument():
        before = asyncio.get_running_loop().time()
        await asyncio.sleep(3600)
        assert asyncio.get_running_loop().time() - before == 3600

    {mark}
    async def test_others_keep_their_loops():
        assert type(asyncio.get_running_loop()).__module__ != "moorage.runtime.clocks.clock"

    {mark}
    async def test_the_app_alone_in_real_time(run_app):
        run_app(app)
        assert await double.remote.aio(3) == 6

    class TestMethods:
        {fixture}
        async def pot(self, virtual_clock):
            await asyncio.sleep(5)
            return virtual_clock.now()

        {mark}
        async def test_in_a_class(self, pot):
            assert pot == 5
            await asyncio.sleep(5)
            assert asyncio.get_running_loop().time() == 10
"""


@pytest.mark.parametrize(
    ("mode", "mark", "fixture"),
    [
        ("strict", "@pytest.mark.asyncio", "@pytest_asyncio.fixture"),
        ("auto", "", "@pytest.fixture"),
    ],
)
def test_virtual_clock_with_pytest_asyncio(run, mode, mark, fixture):
    suite = ASYNC.format(mark=mark or "#", fixture=fixture)
    run(suite, ini=f"asyncio_mode = {mode}").assert_outcomes(passed=5)


def test_virtual_clock_with_anyio(run):
    mark = "@pytest.mark.anyio"
    suite = ASYNC.format(mark=mark, fixture="@pytest.fixture")
    conftest = """
        import pytest

        @pytest.fixture
        def anyio_backend():
            return "asyncio"
    """
    done = run(
        suite.replace("async def kettle()", "async def kettle(anyio_backend)").replace(
            "async def pot(self", "async def pot(self, anyio_backend"
        ),
        conftest=conftest,
    )
    done.assert_outcomes(passed=5)


def test_virtual_clock_goes_before_loop_factories_of_the_user(run):
    run(
        """
        @pytest.mark.asyncio
        async def test_virtual(virtual_clock):
            await asyncio.sleep(3600)
            assert virtual_clock.now() == 3600

        @pytest.mark.asyncio
        async def test_real():
            assert asyncio.get_running_loop().of_the_user
        """,
        conftest="""
        import asyncio

        class Loop(asyncio.SelectorEventLoop):
            of_the_user = True

        def pytest_asyncio_loop_factories(config, item):
            return {"users": Loop}
        """,
    ).assert_outcomes(passed=2)


def test_trio_is_refused_with_what_to_write(run):
    done = run("""
        @pytest.mark.anyio
        async def test_any(virtual_clock):
            await asyncio.sleep(3600)
    """)
    done.assert_outcomes(passed=1, errors=1)
    done.stdout.fnmatch_lines(
        "virtual_clock drives asyncio, and this test runs on trio; write "
        '@pytest.mark.parametrize("anyio_backend", [[]"asyncio"]), *'
    )


def test_loops_of_a_wider_scope_are_refused_with_what_to_write(run):
    done = run("""
        @pytest.mark.asyncio(loop_scope="module")
        async def test_wide(virtual_clock): ...

        @pytest.mark.asyncio
        async def test_late(request):
            request.getfixturevalue("virtual_clock")
    """)
    done.assert_outcomes(errors=1, failed=1)
    done.stdout.fnmatch_lines(
        [
            "virtual_clock belongs to one test, but this test's loop belongs to the module; "
            'write @pytest.mark.asyncio(loop_scope="function")',
            "virtual_clock was requested when the test's event loop ran already, in real time; "
            "name virtual_clock among the test's arguments, or write "
            '@pytest.mark.usefixtures("virtual_clock")',
        ]
    )


def test_anyio_fixtures_of_a_wider_scope_are_refused_with_what_to_write(run):
    done = run("""
        @pytest.fixture(scope="module")
        async def wide(anyio_backend):
            yield 1

        @pytest.mark.anyio
        @pytest.mark.parametrize("anyio_backend", ["asyncio"], scope="module")
        async def test_anyio(wide, virtual_clock):
            await asyncio.sleep(3600)
    """)
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(
        "virtual_clock belongs to one test, but this test's loop was made before, for an "
        'async fixture of a wider scope; write @pytest.fixture(scope="function") there'
    )


# -- run_app -----------------------------------------------------------------------------


def test_run_app_leaves_at_the_end_last_one_first_and_takes_options(run):
    done = run("""
        left = []

        @app.cls()
        class Cup:
            @moorage.exit()
            def wash(self): left.append("cup")
            @moorage.method()
            def drink(self): return 1

        other = moorage.App("other")

        @other.cls()
        class Jug:
            @moorage.exit()
            def wash(self): left.append("jug")
            @moorage.method()
            def pour(self): return 1

        def test_run(run_app):
            run_app(app)
            run_app(other, name="the other", grace=1)
            assert (Cup().drink.remote(), Jug().pour.remote()) == (1, 1)
            assert other.description == "the other"

        def test_left():
            assert left == ["jug", "cup"]

        def test_wrong(run_app):
            import sys
            run_app(sys.modules[__name__])
    """)
    done.assert_outcomes(passed=2, failed=1)
    done.stdout.fnmatch_lines("*run_app takes an app, got <module *>; write run_app(app), *")


def test_run_app_in_an_autouse_fixture_with_an_app_of_a_module(run, pytester):
    pytester.makepyfile(shop=HEADER)
    run(
        """
        from shop import double

        def test_one():
            assert double.remote(1) == 2
        """,
        conftest="""
        import pytest
        from shop import app

        @pytest.fixture(autouse=True)
        def running(run_app):
            return run_app(app)
        """,
        ini="moorage_strict = true",
    ).assert_outcomes(passed=1)


# -- fake_container ----------------------------------------------------------------------


def test_fake_containers_are_closed_at_the_end_last_one_first(run):
    run("""
        closed = []

        def cup(name):
            @app.cls()
            class Cup:
                @moorage.exit()
                def wash(self): closed.append(name)
                @moorage.method()
                def drink(self): return name
            return Cup()

        def test_sync(fake_container):
            first = fake_container(cup("first"))
            second = fake_container(cup("second"))
            assert (first.call(), second.call()) == ("first", "second")
            assert fake_container(lambda x: x + 1, max_inputs=2).call(1) == 2

        def test_closed():
            assert closed == ["second", "first"]
    """).assert_outcomes(passed=2)


FAKE = """
    {mark}
    async def test_virtual({argument}fake_container, virtual_clock):
        container = fake_container(brew, max_inputs=2)
        one, two, three = (container.submit(x) for x in range(3))
        await container.wait_running.aio(2)
        assert not three.done()
        assert [await one, await two, await three] == [0, 1, 2]
        assert virtual_clock.now() == 200
        assert await container.call.aio(4) == 4

    {mark}
    async def test_real({argument}fake_container):
        assert await fake_container(double).call.aio(4) == 8
"""


@pytest.mark.parametrize(
    ("mark", "argument", "ini"),
    [
        ("@pytest.mark.asyncio", "", ""),
        ("#", "", "asyncio_mode = auto"),
        (
            '@pytest.mark.anyio\n    @pytest.mark.parametrize("anyio_backend", ["asyncio"])',
            "anyio_backend, ",
            "",
        ),
    ],
    ids=["strict", "auto", "anyio"],
)
def test_fake_containers_in_async_tests(run, mark, argument, ini):
    suite = FAKE.format(mark=mark, argument=argument)
    run(suite, ini=ini).assert_outcomes(passed=2)


def test_fake_containers_take_the_virtual_clock_of_a_sync_test(run):
    run("""
        def test_virtual(fake_container, virtual_clock):
            container = fake_container(brew)
            assert [container.call(x) for x in range(3)] == [0, 1, 2]
            assert virtual_clock.now() == 300

        def test_without(fake_container, virtual_clock):
            assert fake_container(double, clock=None).call(1) == 2
    """).assert_outcomes(passed=2)


# -- options -----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["ini", "flag"])
def test_as_modal_before_conftest_is_imported(run, how):
    run(
        """
        def test_modal():
            import modal
            assert modal is moorage
        """,
        *(["--moorage-as-modal"] if how == "flag" else []),
        conftest="import modal\nassert modal.__name__ == 'moorage'",
        ini="moorage_as_modal = true" if how == "ini" else "",
    ).assert_outcomes(passed=1)


def test_as_modal_is_refused_when_modal_is_imported_already(run, pytester):
    pytester.makepyfile(early="import sys, types\nsys.modules['modal'] = types.ModuleType('modal')")
    pytester.syspathinsert()
    done = run("", before=["early"], ini="moorage_as_modal = true")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(
        "ERROR: moorage_as_modal comes too late: modal is imported already, from None; "
        "leave that import to test modules and conftest.py, or take it out of the plugin"
    )


@pytest.mark.parametrize("how", ["ini", "flag"])
def test_strict_before_test_modules_are_imported_and_only_in_that_session(run, how):
    before = moorage.config.strict
    run(
        """
        assert moorage.config.strict

        def test_strict():
            with pytest.raises(moorage.exception.ExecutionError):
                double.remote(1)
        """,
        *(["--moorage-strict"] if how == "flag" else []),
        ini="moorage_strict = true" if how == "ini" else "",
    ).assert_outcomes(passed=1)
    assert moorage.config.strict is before


def test_a_wrong_value_of_an_option_is_refused_with_what_to_write(run):
    done = run("", ini="moorage_strict = maybe")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(
        "ERROR: moorage_strict must be true or false: *'maybe'*; write moorage_strict = true"
    )


# -- leaks -------------------------------------------------------------------------------

LEAKS = "moorage_leak_check = true"

# The threads that suites leave behind end when those are over.
ENDING = """
    import threading
    import pytest

    over = threading.Event()
    ends = [over.set]

    def pytest_unconfigure(config):
        for end in ends:
            end()

    @pytest.fixture(scope="session")
    def at_the_end():
        return ends

    @pytest.fixture(scope="session")
    def wait_for_the_end():
        return lambda: over.wait(30)
"""


@pytest.fixture
def leaking(run, monkeypatch):
    """As `run`, with the leak check on; gives what it said, by test."""
    monkeypatch.setattr(leaks, "STRAGGLERS_GET", 0.1)

    def leaking(suite, *args, ini=""):
        done = run(suite, *args, "-rE", conftest=ENDING, ini=f"{LEAKS}\n{ini}")
        said, name = {}, None
        for line in done.stdout.lines:
            if "short test summary info" in line:
                break  # which says it once more, where CI is set
            if "ERROR at teardown of" in line:
                name = line.split(" ERROR at teardown of ")[1].split()[0]
            elif name is not None and line.startswith(("left behind", "- ")):
                said.setdefault(name, []).append(line)
        return done, said

    return leaking


def place_of(suite, text):
    """The line of a suite in which `text` stands."""
    lines = (HEADER + textwrap.dedent(suite)).splitlines()
    return next(number for number, line in enumerate(lines) if text in line)


def test_leaks_of_each_kind_are_named_with_where_they_were_started(leaking):
    suite = """
        def test_thread(wait_for_the_end):
            threading.Thread(target=wait_for_the_end, name="walker").start()

        @pytest.mark.asyncio
        async def test_task():
            asyncio.create_task(asyncio.sleep(1000), name="dozer")

        @pytest.mark.anyio
        @pytest.mark.parametrize("anyio_backend", ["asyncio"])
        async def test_task_with_anyio(anyio_backend):
            asyncio.create_task(asyncio.sleep(1000), name="sleeper")

        def test_ambient_run():
            double.remote(3)

        def test_run():
            app.run().__enter__()
            double.remote(4)

        def test_clock(at_the_end):
            clock = VirtualClock()
            clock.call_at(1, print)
            at_the_end.append(clock.close)

        @app.function()
        def stuck(wait):
            with moorage.shield():
                wait()

        def test_container_and_slot(wait_for_the_end):
            with app.run(grace=0):
                stuck.spawn(wait_for_the_end)

        def test_nothing():
            with app.run():
                assert double.remote(2) == 4
    """
    done, said = leaking(suite)
    done.assert_outcomes(passed=8, errors=7)
    assert {name: len(lines) for name, lines in said.items()} == dict.fromkeys(said, 1)
    found = {name: lines[0].removeprefix("left behind: ") for name, lines in said.items()}

    def expect(name, start, place, middle, end):
        text = found.pop(name)
        line = place_of(suite, place)
        assert text.startswith(f"{start} at {name} (test_suite.py:{line})"), text
        assert middle in text, text
        plain = f"; or write @pytest.mark.moorage_leaks above {name}, if that may be"
        assert text.endswith(end + plain), text

    expect("test_thread", "a thread walker, started", 'name="walker"', "now at ", "; join it")
    cancel = "; await it, or cancel it and await that"
    ended = "cancelled only by the end of the loop"
    expect("test_task", "a task dozer of sleep, created", '"dozer"', ended, cancel)
    named = "test_task_with_anyio"
    found[named] = found.pop("test_task_with_anyio[asyncio]", "") or found[named]
    expect(named, "a task sleeper of sleep, created", '"sleeper"', ended, cancel)
    run_app = "in `with app.run():`, or write run_app(app) with the fixture run_app"
    for name, start, place in [
        ("test_ambient_run", "an ambient run of the app 'shop', opened", "remote(3)"),
        ("test_run", "a run of the app 'shop', opened", "__enter__"),
    ]:
        expect(name, start, place, ", with containers: 1 of double; ", run_app)
    expect("test_clock", "a VirtualClock, started", "call_at", "never closed", "virtual_clock")
    expect(
        "test_container_and_slot",
        "the container moorage-stuck-1, with 1 slots held, in the thread moorage-stuck-1, started",
        "stuck.spawn",
        "now at ",
        "; its run was left: end what it runs before that",
    )
    assert not found


def test_what_a_wider_fixture_starts_is_a_leak_only_when_that_has_ended(leaking):
    suite = """
        from concurrent.futures import ThreadPoolExecutor

        @pytest.fixture(scope="module")
        def shop():
            with app.run():
                yield

        @pytest.fixture(scope="class")
        def helper(wait_for_the_end):
            threading.Thread(target=wait_for_the_end, name="helper").start()

        @pytest_asyncio.fixture(loop_scope="module", scope="module")
        async def ticking():
            task = asyncio.create_task(asyncio.sleep(1000))
            yield
            task.cancel()

        class TestClass:
            def test_first(self, shop, helper):
                assert list(double.map([1, 2])) == [2, 4]

            def test_second(self, shop, helper):
                assert double.remote(1) == 2

        def test_third(shop): ...

        @pytest.mark.asyncio(loop_scope="module")
        async def test_fourth(ticking):
            await asyncio.to_thread(int)

        @pytest.mark.asyncio(loop_scope="module")
        async def test_fifth(ticking):
            asyncio.create_task(asyncio.sleep(1000), name="left")
    """
    done, said = leaking(suite)
    done.assert_outcomes(passed=5, errors=2)
    assert said.keys() == {"TestClass.test_second", "test_fifth"}
    (line,) = said["TestClass.test_second"]
    number = place_of(suite, 'name="helper"')
    where = f"helper (test_suite.py:{number}) for the class's fixture helper"
    assert f"a thread helper, started at {where}" in line
    (line,) = said["test_fifth"]
    number = place_of(suite, 'name="left"')
    assert f"a task left of sleep, created at test_fifth (test_suite.py:{number}), " in line


def test_a_leak_is_told_once_and_the_app_runs_again(leaking):
    done, said = leaking("""
        def test_first(wait_for_the_end):
            threading.Thread(target=wait_for_the_end).start()
            app.run().__enter__()

        def test_second():
            with app.run():
                assert double.remote(2) == 4
    """)
    done.assert_outcomes(passed=2, errors=1)
    assert [line[:9] for line in said["test_first"]] == ["left behi", "- a run o", "- a threa"]


def test_tasks_may_be_made_with_keywords_under_the_leak_check(leaking):
    done, said = leaking("""
        @pytest.mark.asyncio
        async def test_task():
            loop = asyncio.get_running_loop()
            assert await loop.create_task(coro=asyncio.sleep(0, "done"), name="mine") == "done"
    """)
    done.assert_outcomes(passed=1)
    assert said == {}


def test_leaks_may_be_allowed_by_mark_and_by_name(leaking):
    done, said = leaking(
        """
        def start(wait, name):
            threading.Thread(target=wait, name=name).start()

        @pytest.mark.moorage_leaks
        def test_all(wait_for_the_end):
            start(wait_for_the_end, "one")
            double.remote(1)

        @pytest.mark.moorage_leaks("two-*")
        def test_some(wait_for_the_end):
            start(wait_for_the_end, "two-1")
            start(wait_for_the_end, "three")

        @pytest.mark.asyncio
        async def test_by_option(wait_for_the_end):
            start(wait_for_the_end, "monitor-7")
            asyncio.create_task(asyncio.sleep(1000), name="watching")

        def test_end():
            assert double.remote(1) == 2
            app.stop()
        """,
        ini="moorage_leaks_allowed =\n    monitor-*\n    watching\n",
    )
    done.assert_outcomes(passed=4, errors=1)
    ((line,),) = said.values()
    assert "a thread three, started at start (" in line


def test_a_leak_does_not_hide_the_error_of_a_teardown(leaking):
    done, _ = leaking("""
        @pytest.fixture
        def broken(wait_for_the_end):
            yield
            threading.Thread(target=wait_for_the_end, name="walker").start()
            raise ValueError("the teardown's own")

        def test_broken(broken): ...
    """)
    done.assert_outcomes(passed=1, errors=1)
    done.stdout.fnmatch_lines(
        ["*ValueError: the teardown's own", "*left behind as well: a thread walker, started at *"]
    )


def test_the_leak_check_leaves_no_wrapper_behind(run):
    import asyncio
    import threading

    kinds = [(threading.Thread, "start"), (asyncio.BaseEventLoop, "create_task")]
    kinds.append((asyncio.Runner, "close"))
    before = [kind.__dict__[name] for kind, name in kinds]
    run(
        """
        def test_wrapped():
            assert threading.Thread.start.__wrapped__
        """,
        "--moorage-leak-check",
    ).assert_outcomes(passed=1)
    assert [kind.__dict__[name] for kind, name in kinds] == before


def test_slots_that_nothing_holds_any_more_are_told_of_once(monkeypatch):
    app = moorage.App("shop")
    watch = leaks.LeakWatch()
    run = app.run()

    @app.function()
    def brew():
        return pools.extend(runs.open_pools())

    pools = []
    with run:
        brew.remote()
    statistics = Pool.statistics
    held = dataclasses.replace(pools[0].statistics(), running=2)
    monkeypatch.setattr(Pool, "statistics", lambda p: held if p is pools[0] else statistics(p))
    place = pools[0].run.opened_at
    assert watch.take_leaks(leaks.Owner()) == [
        f"2 slots of brew that were not released, in a run of the app 'shop', opened at {place}"
    ]
    assert watch.take_leaks(leaks.Owner()) == []
    monkeypatch.undo()


def test_a_run_knows_the_users_line_that_opened_it():
    app = moorage.App("shop")
    with contextlib.ExitStack() as stack:
        stack.enter_context(app.run())
        (run,) = runs.open_runs()
        here = sys._getframe().f_lineno - 2
    assert run.opened_at == (
        f"test_a_run_knows_the_users_line_that_opened_it (tests/test_pytest_plugin.py:{here})"
    )
