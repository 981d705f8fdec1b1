"""A program in virtual time is the same in every run: steps, grants, batches, timelines, logs."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import moorage
from explorations.report import busy_threads
from moorage.testing import Probe, VirtualClock

# ``make explorations`` sets this to 200.
RUNS = int(os.environ.get("MOORAGE_SAME_RUNS", "30"))
PROCESSES = max(5, RUNS // 10)


class Story:
    """What the code of one run saw, in its order."""

    def __init__(self, clock):
        self.clock, self.lines = clock, []

    def tell(self, *what):
        thread = threading.current_thread().name
        self.lines.append(f"{self.clock.now():g} {thread}: {' '.join(map(str, what))}")


class Records(logging.Handler):
    """Log records as part of the story, written by whatever thread."""

    def __init__(self, story):
        super().__init__()
        self.story = story

    def emit(self, record):
        self.story.lines.append(f"{self.story.clock.now():g} log: {record.getMessage()}")


def told(program):
    """One run of `program`, told to the last character."""
    clock, probe = VirtualClock(), Probe()
    story = Story(clock)
    records, logger = Records(story), logging.getLogger("moorage")
    logger.addHandler(records)
    try:
        program(clock, probe, story)
    finally:
        logger.removeHandler(records)
    events = [
        str((event.at, event.kind, event.input, event.container, event.detail))
        for event in probe.events
    ]
    return "\n".join([*story.lines, *events, str(probe.timeline(width=100))])


# -- three programs --------------------------------------------------------------


def crawl(clock, probe, story):
    """Async functions that call each other, with retries, batches and the autoscaler."""
    app, failed = moorage.App("crawl"), set()

    @app.function(max_containers=4, scaledown_window=20)
    async def judge(n):
        story.tell("judge", n)
        return n

    @app.function(max_containers=2, scaledown_window=30)
    @moorage.batched(max_batch_size=4, wait_ms=500)
    async def embed(ns):
        story.tell("embed", ns)
        return ns

    @app.function(max_containers=3, retries=moorage.Retries(max_retries=2, initial_delay=1.0))
    @moorage.concurrent(max_inputs=5, target_inputs=2)
    async def fetch(n):
        if n % 3 == 0 and n not in failed:
            failed.add(n)
            raise ConnectionError(n)
        await asyncio.sleep(1)
        story.tell("fetched", n)
        return n

    @app.function(max_containers=2)
    @moorage.concurrent(max_inputs=8)
    async def process(n):
        await fetch.remote.aio(n)
        found = await asyncio.gather(embed.remote.aio(n), judge.remote.aio(n), judge.remote.aio(-n))
        story.tell("processed", n, found)
        return n

    with clock, app.run(probe=probe):
        story.tell(list(process.map(range(12))))
        clock.sleep(100)
        story.tell(list(process.map(range(20, 26), order_outputs=False)))
        clock.sleep(100)


def shop(clock, probe, story):
    """Sync functions, which run on several threads, and a class with hooks."""
    app = moorage.App("shop")
    stock = {"sold": 0}

    @app.cls(max_containers=3, scaledown_window=10)
    @moorage.concurrent(max_inputs=3)
    class Till:
        @moorage.enter()
        def open(self):
            story.tell("open")

        @moorage.method()
        def sell(self, n):
            before = stock["sold"]
            clock.sleep(0.1 * (n % 3))
            stock["sold"] = before + 1
            story.tell("sold", n, stock["sold"])
            return n

        @moorage.exit()
        def shut(self):
            story.tell("shut")

    @app.function(max_containers=2, retries=2)
    def pay(n):
        story.tell("pay", n)
        if n == 5:
            raise ValueError(n)
        return Till().sell.remote(n)

    @app.function()
    @moorage.concurrent(max_inputs=4)
    def visit(n):
        story.tell("visit", n)
        calls = [pay.spawn(n), pay.spawn(n + 10)]
        results = [call.get() for call in calls]
        for part in stream.remote_gen(n):
            story.tell("part", part)
        return results

    @app.function(max_containers=2)
    def stream(n):
        for part in range(2):
            clock.sleep(0.5)
            yield n, part

    with clock, app.run(probe=probe):
        story.tell(list(visit.map(range(6), return_exceptions=True)))
        clock.sleep(50)
        story.tell(visit.spawn(7).get())


def leave(clock, probe, story):
    """Groups and waits that are cancelled, threads of loops, and tasks that are left."""
    app = moorage.App("leave")

    async def child(n, length):
        try:
            await asyncio.sleep(length)
        except asyncio.CancelledError:
            story.tell("cancelled", n)
            raise
        finally:
            story.tell("ended", n)

    async def numbers(n):
        try:
            while True:
                yield n
                await asyncio.sleep(1)
        finally:
            story.tell("closed", n)

    @app.function(max_containers=2)
    @moorage.concurrent(max_inputs=2)
    async def nap(n):
        await child(f"nap {n}", 50)

    @app.function()
    @moorage.concurrent(max_inputs=10)
    async def group(n):
        async with asyncio.timeout(3), asyncio.TaskGroup() as tasks:
            for each in range(8):
                tasks.create_task(child((n, each), 10))
            tasks.create_task(nap.remote.aio(n))

    @app.function()
    @moorage.concurrent(max_inputs=10)
    async def wait(n):
        tasks = [asyncio.ensure_future(child(("wait", each), 1 + each % 2)) for each in range(8)]
        done, _ = await asyncio.wait(tasks, timeout=1.5)
        story.tell("done", [task.get_name() for task in done])
        story.tell(await asyncio.gather(*(asyncio.to_thread(work, each) for each in range(5))))
        for each in range(6):
            asyncio.ensure_future(child(("left", each), 1000))
        story.tell([await anext(numbers(each)) for each in range(6)])

    def work(n):
        clock.sleep(1)
        story.lines.append(f"{clock.now():g} worked {n}")
        return n

    async def main():
        async with app.run(probe=probe):
            tasks = [asyncio.ensure_future(group.remote.aio(each)) for each in range(3)]
            await wait.remote.aio(0)
            story.tell(
                [
                    type(error).__name__
                    for error in await asyncio.gather(*tasks, return_exceptions=True)
                ]
            )
        for each in range(8):
            asyncio.ensure_future(child(("main", each), 1000))
        await asyncio.sleep(1)
        raise LookupError

    with pytest.raises(LookupError):
        clock.run(main())


PROGRAMS = [crawl, shop, leave]


def difference(one, other):
    for number, (line, instead) in enumerate(zip(one.split("\n"), other.split("\n"), strict=False)):
        if line != instead:
            return f"line {number}: {line!r} and {instead!r}"
    return "one is longer" if one != other else "none"


def check_same(program, runs):
    first = told(program)
    assert len(first.split("\n")) > 50
    for run in range(1, runs):
        again = told(program)
        assert again == first, f"run {run}: {difference(first, again)}"
    return first


# -- the tests -------------------------------------------------------------------


@pytest.mark.parametrize("program", PROGRAMS)
def test_runs_in_one_process_are_the_same(program):
    check_same(program, RUNS)


@pytest.mark.parametrize("program", PROGRAMS)
def test_runs_beside_busy_threads_are_the_same(program):
    first = told(program)
    with busy_threads():
        for _ in range(RUNS // 5 if RUNS < 200 else RUNS):
            again = told(program)
            assert again == first, difference(first, again)


@pytest.mark.parametrize("program", PROGRAMS)
def test_runs_in_fresh_processes_are_the_same(program):
    here = Path(__file__)
    code = (
        f"import sys; sys.path.insert(0, {str(here.parent)!r})\n"
        f"heap = [bytearray(n % 4000) for n in range(int(sys.argv[1]))]; del heap[::3]\n"
        f"import {here.stem} as tests\n"
        f"print(tests.told(tests.{program.__name__}))"
    )
    seen = [
        subprocess.run(
            [sys.executable, "-c", code, str(seed * 7000)],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for seed in range(PROCESSES)
    ]
    first = told(program)
    for again in seen:
        assert again.rstrip("\n") == first.rstrip("\n"), difference(first, again)
