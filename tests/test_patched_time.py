"""``clock.patch_time()``: what time.sleep and the clocks of `time` do, where, and until when."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import types
from datetime import UTC, date, datetime
from time import monotonic as tick
from time import sleep

import pytest

import moorage
from moorage.exception import FunctionTimeoutError, InputCancelledError, InvalidArgumentsError
from moorage.runtime.clocks import patched_time
from moorage.testing import VirtualClock

REAL = {name: getattr(time, name) for name in patched_time.NAMES}
REAL_DATES = [vars(datetime)["now"], vars(datetime)["utcnow"], vars(date)["today"]]
BEGINS = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    assert {name: getattr(time, name) for name in REAL} == REAL
    now = [vars(datetime)["now"], vars(datetime)["utcnow"], vars(date)["today"]]
    assert all(a is b for a, b in zip(now, REAL_DATES, strict=True))
    assert tick is REAL["monotonic"]
    assert sleep is REAL["sleep"]


def test_the_functions_of_time_are_virtual_in_a_thread_that_takes_part():
    with VirtualClock(at=BEGINS) as clock, clock.patch_time():
        time.sleep(90)
        sleep(0.5)
        assert time.monotonic() == tick() == time.perf_counter() == clock.now() == 90.5
        assert time.monotonic_ns() == time.perf_counter_ns() == 90_500_000_000
        assert time.time() == 1577836800 + 90.5
        assert time.time_ns() == (1577836800 + 90) * 10**9 + 500_000_000
        assert time.gmtime(time.time())[:5] == (2020, 1, 1, 0, 1)
        assert time.sleep.__name__ == "sleep"
        assert time.sleep.__doc__


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [(-1, ValueError), (float("nan"), ValueError), ("1", TypeError), (float("inf"), OverflowError)],
)
def test_sleep_refuses_what_the_real_one_refuses(wrong, kind):
    with pytest.raises(kind) as real:
        time.sleep(wrong)
    with VirtualClock() as clock, clock.patch_time():
        with pytest.raises(kind) as seen:
            time.sleep(wrong)
        time.sleep(True)
        assert clock.now() == 1
    assert type(seen.value) is type(real.value)


def test_threads_that_take_no_part_keep_real_time():
    before = time.monotonic()
    seen = []

    def look():
        time.sleep(0)
        seen.append((time.monotonic(), time.time()))

    with VirtualClock() as clock, clock.patch_time():
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert seen[0][0] >= before
    assert seen[0][1] > 1577836800 + 10**8


def test_two_clocks_each_have_their_own_threads():
    seen = {}

    def other(clock):
        with clock:
            time.sleep(7)
            seen["other"] = time.monotonic()

    first, second = VirtualClock(), VirtualClock()
    with first, first.patch_time():
        with second.patch_time():
            thread = threading.Thread(target=other, args=(second,))
            thread.start()
            thread.join()
            time.sleep(1)
            seen["first"] = time.monotonic()
            with second:
                seen["inner"] = time.monotonic()
        time.sleep(1)
        seen["after"] = time.monotonic()
        with second:  # which is patched no more
            assert time.monotonic() > 0
            assert time.monotonic is not REAL["monotonic"]
    assert seen == {"other": 7, "first": 1, "inner": 7, "after": 2}


def test_a_clock_may_be_patched_in_twice():
    with VirtualClock() as clock:
        with clock.patch_time():
            with clock.patch_time():
                time.sleep(1)
            time.sleep(1)
            assert time.monotonic() == 2
        assert time.monotonic is REAL["monotonic"]


def module(name, code):
    made = types.ModuleType(name)
    exec(code, made.__dict__)
    return made


CODE = """
from time import monotonic, sleep as nap

def run():
    nap(5)
    return monotonic()
"""


def test_only_the_modules_that_are_given(monkeypatch):
    names = ("crawler", "crawler.pages", "crawlers")
    modules = {name: module(name, CODE) for name in names}
    for name, made in modules.items():
        monkeypatch.setitem(__import__("sys").modules, name, made)
    before = modules["crawlers"].monotonic
    with VirtualClock() as clock, clock.patch_time(modules["crawler"]):
        assert modules["crawler"].run() == 5
        assert modules["crawler.pages"].run() == 10
        assert modules["crawlers"].monotonic is before
        assert time.monotonic() != 10  # here, which was not given
    for made in modules.values():
        assert made.nap is REAL["sleep"]
        assert made.monotonic is REAL["monotonic"]
    with pytest.raises(InvalidArgumentsError, match=r"write clock\.patch_time\(my_module\)"):
        VirtualClock().patch_time("crawler").__enter__()


def test_a_module_imported_meanwhile_is_restored(monkeypatch):
    with VirtualClock() as clock, clock.patch_time():
        made = module("late", CODE)
        monkeypatch.setitem(__import__("sys").modules, "late", made)
        kept = made.nap
        assert made.run() == 5
    assert made.nap is REAL["sleep"]
    kept(0)  # whoever still holds it gets the real one


def test_the_standard_library_keeps_real_time():
    stdlib = module("subprocess", CODE.replace("nap(5)", "nap(0)"))
    with VirtualClock() as clock, clock.patch_time():
        assert stdlib.run() > 0
        assert clock.now() == 0
        event = threading.Event()
        assert not event.wait(0.01)  # real, and it ends


def test_what_somebody_else_patched_is_put_back(monkeypatch):
    def mine(seconds):
        raise AssertionError("not in virtual time")

    monkeypatch.setattr(time, "sleep", mine)
    with VirtualClock() as clock, clock.patch_time():
        time.sleep(5)
    assert time.sleep is mine
    monkeypatch.undo()


def test_code_of_containers_is_virtual_and_runs_at_once():
    app, clock = moorage.App(), VirtualClock(at=BEGINS)

    @app.function()
    def sync(seconds):
        time.sleep(seconds)
        return time.monotonic()

    @app.function()
    async def asynchronous(seconds):
        await asyncio.sleep(seconds)
        await asyncio.to_thread(time.sleep, seconds)
        time.sleep(seconds)
        return time.time() - BEGINS.timestamp()

    @app.cls()
    class Slow:
        @moorage.enter()
        def load(self):
            time.sleep(30)

        @moorage.method()
        def ready(self):
            return tick()

    with clock.patch_time(), app.run(clock=clock):
        assert sync.remote(100) == 100
        assert asynchronous.remote(10) == 130
        assert Slow().ready.remote() == 160
        time.sleep(1)
        assert tick() == 161


def test_a_test_on_the_clocks_loop_may_use_it():
    clock = VirtualClock()

    async def main():
        time.sleep(5)
        await asyncio.sleep(5)
        await asyncio.to_thread(sleep, 5)
        return tick()

    with clock.patch_time():
        assert clock.run(main()) == 15


def test_a_timeout_ends_the_sleep_of_a_synchronous_input_at_its_time():
    app, clock, ended = moorage.App(), VirtualClock(), []

    @app.function(timeout=60, max_containers=1)
    def nap(seconds):
        try:
            time.sleep(seconds)
        finally:
            ended.append(time.monotonic())
        return "slept"

    with clock.patch_time(), app.run(clock=clock):
        with pytest.raises(FunctionTimeoutError):
            nap.remote(3600)
        assert clock.now() == 60
        assert nap.remote(1) == "slept"  # its slot is free at that very time
        assert ended == [60, 61]
        assert nap.statistics().abandoned_threads == 0


def test_a_cancel_ends_the_sleep_of_a_synchronous_input_at_its_time():
    app, clock, ended = moorage.App(), VirtualClock(), []

    @app.function(timeout=7200, max_containers=1)
    def nap():
        try:
            time.sleep(3600)
        finally:
            ended.append(time.monotonic())

    with clock.patch_time(), app.run(clock=clock):
        call = nap.spawn()
        time.sleep(20)
        call.cancel()
        with pytest.raises(InputCancelledError):
            call.get()
        assert clock.now() == 20
    assert ended == [20]


@pytest.mark.parametrize("how", ["cooperative", "shielded"])
def test_a_sleep_that_no_cancel_may_break_goes_on(how):
    app, clock, ended = moorage.App(), VirtualClock(), []

    def body():
        if how == "shielded":
            with moorage.shield():
                time.sleep(3600)
                ended.append(time.monotonic())
        else:
            time.sleep(3600)
            ended.append(time.monotonic())

    nap = app.function(timeout=60)(moorage.cooperative(body) if how == "cooperative" else body)
    with clock.patch_time(), app.run(clock=clock):
        with pytest.raises(FunctionTimeoutError):
            nap.remote()
        assert clock.now() == 60
        time.sleep(4000)
    assert ended == [3600]


def test_leaving_the_run_ends_a_sleep():
    app, clock = moorage.App(), VirtualClock()

    @app.function(timeout=7200)
    def nap():
        time.sleep(3600)

    with clock.patch_time():
        with app.run(clock=clock):
            nap.spawn()
            time.sleep(1)
        assert clock.now() == 1


def test_lazy_modules_are_left_alone_and_a_failed_entry_is_undone(monkeypatch):
    loaded = []

    class Lazy(types.ModuleType):
        def __getattribute__(self, name):
            loaded.append(name)
            raise RuntimeError("it has no GPU")

    monkeypatch.setitem(sys.modules, "lazy_module", Lazy("lazy_module"))
    with VirtualClock() as clock, clock.patch_time():
        pass
    assert loaded == []
    monkeypatch.setattr(patched_time, "_replace", lambda *_: 1 / 0)
    with VirtualClock() as clock:
        entry = clock.patch_time()
        with pytest.raises(ZeroDivisionError):
            entry.__enter__()
    assert {name: getattr(time, name) for name in REAL} == REAL
    now = [vars(datetime)["now"], vars(datetime)["utcnow"], vars(date)["today"]]
    assert all(a is b for a, b in zip(now, REAL_DATES, strict=True))
