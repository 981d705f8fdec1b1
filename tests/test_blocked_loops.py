"""Event loops that are blocked: by a call of ours, or by an input."""

import asyncio
import logging
import subprocess
import sys
import textwrap
import threading
import warnings

import pytest

import moorage
from moorage import App, config
from moorage.exception import AsyncUsageWarning
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.runtime.containers.loopwatch import ASKED, LoopWatch

# A short one, that a busy machine does not reach by itself: what is blocked in
# these tests is so until it is reported.
SLOW = 0.2


@pytest.fixture
def reports(monkeypatch):
    """The warnings of the watch, and an event at each."""
    monkeypatch.setattr(config, "slow_loop_seconds", SLOW)
    reports = Reports()
    logger = logging.getLogger("moorage")
    logger.addHandler(reports)
    yield reports
    logger.removeHandler(reports)


class Reports(logging.Handler):
    def __init__(self):
        super().__init__()
        self.messages = []
        self.came = threading.Event()

    def emit(self, record):
        self.messages.append(record.getMessage())
        self.came.set()


def test_an_async_input_that_blocks_its_loop_is_reported_once_with_its_line(reports):
    app = App("blocked")

    def parse():
        assert reports.came.wait(30)

    @app.function()
    @moorage.concurrent(max_inputs=10)
    async def crawl(number):
        await asyncio.sleep(0)
        if number == 3:
            parse()

    @app.function()
    @moorage.concurrent(max_inputs=10)
    async def crawl_too():
        assert reports.came.wait(30)

    with app.run():
        list(crawl.map(range(6)))
        list(crawl.map(range(6)))  # not again
        assert len(reports.messages) == 1
        reports.came.clear()
        crawl_too.remote()
    first, second = reports.messages
    assert first.startswith("crawl has blocked the event loop of its container for 0.")
    assert ".parse (" in first or "in parse (" in first
    assert "test_blocked_loops.py:" in first
    assert first.endswith("or make crawl a def, which runs in a thread")
    assert second.startswith("crawl_too has blocked ")


def test_inputs_that_only_await_are_not_reported(reports, monkeypatch):
    app = App("fine")
    answers, answered_often, answer = [], asyncio.Event(), LoopWatch._on_answer

    def answer_and_tell(watch):
        answer(watch)
        answers.append(watch)
        if len(answers) == 2 * ASKED:  # for longer than an input may block it
            answered_often.set()

    monkeypatch.setattr(LoopWatch, "_on_answer", answer_and_tell)

    @app.function()
    @moorage.concurrent(max_inputs=10)
    async def crawl(number):
        await answered_often.wait()

    with app.run():
        list(crawl.map(range(10)))
    assert reports.messages == []


def test_a_virtual_run_is_watched_in_real_time(reports):
    app = App("virtual")

    @app.function(timeout=5000)
    async def crawl():
        await asyncio.sleep(1000)  # of virtual time
        assert reports.came.wait(30)

    clock = VirtualClock()
    with clock, app.run(clock=clock):
        crawl.remote()
        assert clock.now() == 1000
    assert len(reports.messages) == 1


def test_no_timer_is_left_when_no_input_is(reports, monkeypatch):
    app = App("idle")
    is_idle, tick = threading.Event(), LoopWatch._tick

    def tick_and_tell(watch):
        tick(watch)
        if watch._timer is None:
            is_idle.set()

    monkeypatch.setattr(LoopWatch, "_tick", tick_and_tell)

    @app.function(scaledown_window=1000)
    async def work():
        pass

    with app.run():
        work.remote()
        container = next(iter(moorage.running.runs.open_pools()[0].fleet.ready))
        watch = container._tasks._watch
        assert is_idle.wait(30)
        # Nothing sets one before the next input.
        assert watch._inputs == {}
        work.remote()
        assert watch._timer is not None
    assert watch._closed


def test_there_is_no_watch_unless_it_is_asked_for():
    assert config.slow_loop_seconds is None
    app = App("unwatched")

    @app.function()
    async def work():
        pass

    with app.run():
        work.remote()
        assert moorage.running.runs.open_pools()[0].fleet.ready[0]._tasks._watch is None


WAYS = {
    "remote": "double.remote(2)",
    "get": "double.spawn(2).get()",
    "map": "list(double.map([2]))",
    "starmap": "list(double.starmap([(2,)]))",
    "for_each": "double.for_each([2])",
    "remote_gen": "list(count.remote_gen())",
    "gather": "moorage.FunctionCall.gather(double.spawn(2))",
}


@pytest.mark.parametrize("way", WAYS)
def test_a_blocking_call_on_a_running_loop_warns_once_for_its_line(way):
    """As any program sees it, with Python's own filters."""
    program = textwrap.dedent(
        f"""
        import asyncio, moorage, threading, warnings
        app = moorage.App()
        warned, show = threading.Event(), warnings.showwarning

        def show_and_tell(*warning):
            show(*warning)
            warned.set()

        warnings.showwarning = show_and_tell

        @app.function()
        def double(value):
            warned.wait(30)  # a result that is there already blocks nothing
            return 2 * value

        @app.function()
        def count():
            warned.wait(30)
            yield 1

        async def main():
            for _ in range(100):
                {WAYS[way]}

        with app.run():
            asyncio.run(main())
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    warned = [line for line in done.stderr.splitlines() if "AsyncUsageWarning" in line]
    assert len(warned) == 1, done.stderr
    assert "<string>:24:" in warned[0]
    assert "; write " in warned[0]
    assert ".aio(" in warned[0]


def test_leaving_a_run_on_a_running_loop_works():
    app = App("left")

    @app.function()
    def double(value):
        return 2 * value

    async def main():
        with warnings.catch_warnings(category=AsyncUsageWarning, action="ignore"), app.run():
            return double.remote(2)

    assert asyncio.run(main()) == 4
