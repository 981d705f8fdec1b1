"""Apps within apps: what ``include`` shares, and what stays the apps' own."""

import asyncio
import threading

import pytest

import moorage
from moorage import App
from moorage.exception import ExecutionError, InvalidError
from moorage.running import runs
from moorage.runtime.clocks.virtual_clock import VirtualClock


def make_app(name, *functions, log=None):
    """An app whose functions say which app they are of."""
    app = App(name)
    made = []
    for function in functions:

        def say(which=f"{name}.{function}"):
            return which

        made.append(app.function(name=function)(say))
    return app, *made


def make_logging(name):
    app, log = App(name), []

    @app.cls()
    class Work:
        @moorage.enter()
        def enter(self):
            log.append("enter")

        @moorage.method()
        def work(self):
            return name

        @moorage.exit()
        def exit(self):
            log.append("exit")

    return app, Work, log


def test_include_gives_the_app_and_its_run_serves_both():
    outer, f = make_app("outer", "f")
    inner, work, log = make_logging("inner")
    assert outer.include(inner) is outer
    obj = work()
    with outer.run():
        assert f.remote() == "outer.f"
        assert obj.work.remote() == "inner"
        assert [run for run in runs._open_runs if run.ambient] == []
        assert log == ["enter"]
    assert log == ["enter", "exit"], "the outer run scopes the inner's containers"


def test_the_run_is_the_including_apps_with_its_clock():
    outer, _ = make_app("outer", "f")
    inner = App("inner")

    @inner.function()
    async def nap(seconds):
        await asyncio.sleep(seconds)

    outer.include(inner)
    with VirtualClock() as clock, outer.run(clock=clock):
        nap.remote(100.0)
        assert clock.now() == 100.0


def test_the_included_app_may_run_alone_and_beside():
    outer, f = make_app("outer", "f")
    inner, work, log = make_logging("inner")
    outer.include(inner)
    with inner.run():
        assert work().work.remote() == "inner"
    assert log == ["enter", "exit"]
    with outer.run(), inner.run():
        assert work().work.remote() == "inner"
        assert f.remote() == "outer.f"
    assert log == ["enter", "exit"] * 2
    with outer.run():
        with inner.run():
            work().work.remote()
        assert log == ["enter", "exit"] * 3, "its own run had it"
        work().work.remote()
    assert log == ["enter", "exit"] * 4


def test_min_containers_of_included_apps_start_with_the_run():
    outer, inner, innermost = App("outer"), App("inner"), App("innermost")
    entered = []

    for app, count in ((inner, 1), (innermost, 2)):

        @app.cls(min_containers=count)
        class Warm:
            which = app.name

            @moorage.enter()
            def enter(self):
                entered.append(self.which)

            @moorage.method()
            def work(self): ...

    inner.include(innermost)
    outer.include(inner)
    with VirtualClock() as clock, outer.run(clock=clock):
        clock.sleep(1)
        assert sorted(entered) == ["inner", "innermost", "innermost"]


def test_nested_includes_share_the_outermost_run():
    outer, _ = make_app("outer", "a")
    inner, _ = make_app("inner", "b")
    innermost, c = make_app("innermost", "c")
    inner.include(innermost)
    outer.include(inner)
    with outer.run():
        assert c.remote() == "innermost.c"
        assert [run.ambient for run in runs._open_runs if "inner" in run.name] == []
    with inner.run():
        assert c.remote() == "innermost.c"
    assert set(outer.registered_functions) == {"a", "b", "c"}
    assert set(inner.registered_functions) == {"b", "c"}
    assert set(innermost.registered_functions) == {"c"}


def test_apps_may_include_each_other_and_themselves():
    first, f = make_app("first", "f")
    second, g = make_app("second", "g")
    first.include(second)
    second.include(first)
    first.include(first)
    assert set(first.registered_functions) == set(second.registered_functions) == {"f", "g"}
    for app in (first, second):
        with app.run():
            assert (f.remote(), g.remote()) == ("first.f", "second.g")
    f.remote()
    g.remote()


def test_an_app_included_twice_or_by_two_ways_counts_once():
    outer, _ = make_app("outer", "a")
    left, _ = make_app("left", "b")
    right, _ = make_app("right", "c")
    shared, d = make_app("shared", "d")
    left.include(shared)
    right.include(shared)
    outer.include(left).include(right).include(left)
    assert len(outer._runs.with_included()) == 4
    with outer.run():
        assert d.remote() == "shared.d"
        assert d.statistics().accepted == 1


def test_functions_keep_the_app_that_defined_them():
    outer, f = make_app("outer", "f")
    inner, g = make_app("inner", "g")
    outer.include(inner)
    assert f.app is outer
    assert g.app is inner


def test_registered_names_are_those_of_all():
    outer, _f = make_app("outer", "f")
    inner, work, _ = make_logging("inner")
    g = inner.function(name="g")(lambda: 1)

    @inner.function()
    @moorage.fastapi_endpoint()
    def page(): ...

    outer.include(inner)
    assert set(outer.registered_functions) == {"f", "g", "page", "Work.*"}
    assert outer.registered_functions["g"] is g
    assert outer.registered_classes == {"Work": work}
    assert outer.registered_web_endpoints == ["page"]
    assert set(inner.registered_functions) == {"g", "page", "Work.*"}


def test_what_is_registered_after_the_include_counts_too():
    outer, _ = make_app("outer", "f")
    inner = App("inner")
    outer.include(inner)
    late = inner.function(name="late")(lambda: "late")
    assert outer.registered_functions["late"] is late
    with outer.run():
        assert late.remote() == "late"


def test_collisions_are_logged_and_the_last_one_counts(caplog):
    outer, mine, _ = make_app("outer", "same", "other")
    inner, theirs = make_app("inner", "same")
    outer.include(inner)
    (record,) = caplog.records
    assert "'same'" in record.getMessage()
    assert "the app 'inner'" in record.getMessage()
    assert outer.registered_functions["same"] is theirs
    with outer.run():
        assert (mine.remote(), theirs.remote()) == ("outer.same", "inner.same")
    caplog.clear()
    outer.include(inner)
    assert [r for r in caplog.records if "'same'" not in r.getMessage()] == []


def test_a_deployed_app_brings_what_it_includes():
    outer, _ = make_app("outer", "f")
    inner, _ = make_app("inner", "g")
    outer.include(inner)
    outer.deploy()
    try:
        assert moorage.Function.from_name("outer", "g").remote() == "inner.g"
        assert inner.app_id is None
    finally:
        outer.stop()


def test_a_run_takes_over_the_ambient_runs_of_what_it_includes():
    outer, _ = make_app("outer", "f")
    inner, work, log = make_logging("inner")
    outer.include(inner)
    work().work.remote()  # nobody runs: an ambient run of its own
    assert log == ["enter"]
    with outer.run():
        assert log == ["enter", "exit"]
        work().work.remote()
        assert not [run for run in runs._open_runs if run.ambient and "inner" in run.name]
    assert log == ["enter", "exit"] * 2


def test_a_run_leaves_the_deployment_of_what_it_includes_alone():
    outer, _ = make_app("outer", "f")
    inner, work, log = make_logging("inner")
    outer.include(inner)
    inner.deploy()
    try:
        work().work.remote()
        with outer.run():
            work().work.remote()
        assert log == ["enter"]
    finally:
        inner.stop()


def test_an_included_app_that_nobody_runs_opens_an_ambient_run_of_its_own():
    outer, f = make_app("outer", "f")
    inner, g = make_app("inner", "g")
    outer.include(inner)
    assert f.remote() == "outer.f"
    assert g.remote() == "inner.g"
    assert inner.app_id is None, "the ambient run of the outer one serves it"


def test_in_strict_mode_the_including_run_is_enough(monkeypatch):
    monkeypatch.setattr(moorage.config, "strict", True)
    outer, inner = App("outer"), App("inner")

    @inner.function(serialized=True)
    def g():
        return "g"

    outer.include(inner)
    with pytest.raises(ExecutionError, match="does not run"):
        g.remote()
    with outer.run():
        assert g.remote() == "g"


@pytest.mark.parametrize("wrong", [None, "inner", App])
def test_include_takes_an_app(wrong):
    with pytest.raises((TypeError, InvalidError), match=r"app\.include\(other\.app\)"):
        App().include(wrong)


def test_calls_on_an_included_app_while_the_outer_run_begins_and_ends(in_threads, often_switching):
    outer, _ = make_app("outer", "f")
    inner, g = make_app("inner", "g")
    outer.include(inner)
    stop = threading.Event()
    unexpected = []

    def call():
        while not stop.is_set():
            try:
                g.remote()
            except (ExecutionError, moorage.exception.InputCancelledError):
                pass  # the run was left under it
            except Exception as error:
                unexpected.append(error)

    callers = [in_threads(call) for _ in range(2)]
    for _ in range(20):
        with outer.run():
            pass
    stop.set()
    for each in callers:
        each.result()
    assert unexpected == []


def test_a_call_that_looked_before_an_including_app_ran_opens_no_run_of_its_own(monkeypatch):
    outer, inner = App("outer"), App("inner")
    outer.include(inner)

    @inner.function()
    def one():
        return 1

    looks = []
    look = inner._runs.open_run

    def too_early():
        looks.append(1)
        return None if len(looks) == 1 else look()

    with outer.run():
        monkeypatch.setattr(inner._runs, "open_run", too_early)
        assert one.remote() == 1
        assert inner._runs.run is None
