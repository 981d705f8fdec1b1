"""The groups of real bodies: requests to a server, and the tail of one call under load.

Owns those bodies, the server that they ask, which is on loopback in a process of its own, and the
load that runs beside the calls that are timed.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

import moorage

from .asynchronous import on
from .bodies import NAP, echo, work
from .harness import Contender, Goal, Group, Measure, timed
from .synchronous import THREADS
from .web import PATIENCE, Server

REQUESTS: Final = 200  # at a time

BUSY: Final = THREADS * 4 // 5  # slots that the load keeps busy


# -- requests -----------------------------------------------------------------------------


async def ask(port: int, number: int) -> int:
    """Send one request on a connection of its own; return the number in its answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(
            b"GET /?n=%d HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n" % number
        )
        answer = await reader.read()
    finally:
        writer.close()
    return int(answer.rpartition(b":")[2].rstrip(b"}"))


@contextmanager
def requests(quick: bool) -> Iterator[Group]:
    """Requests to a server that awaits 5 ms, 200 of them at a time."""
    with Server("bare") as server, asyncio.Runner() as runner:

        async def fetch(x: Any) -> Any:
            return await ask(server.port, x) if type(x) is int else await x()

        async def by_hand(inputs: Sequence[Any]) -> list[Any]:
            semaphore = asyncio.Semaphore(REQUESTS)

            async def one(x: Any) -> Any:
                async with semaphore:
                    return await fetch(x)

            return await asyncio.gather(*[asyncio.create_task(one(x)) for x in inputs])

        app = moorage.App("requests")
        function = app.function(max_containers=1)(moorage.concurrent(max_inputs=REQUESTS)(fetch))
        with app.run():
            yield Group(
                "requests",
                "µs",
                f"requests of the inputs to a server on loopback, {REQUESTS} at a time",
                fetch,
                400 if quick else 1000,
                REQUESTS,
                [
                    timed("create_task + Semaphore + gather", on(runner, by_hand)),
                    timed(
                        "moorage map",
                        lambda xs: list(function.map(xs)),
                        goal=Goal(1.05),
                        function=function,
                    ),
                ],
            )


# -- the tail -----------------------------------------------------------------------------


def quick_or_nap(x: Any) -> Any:
    """One call of the load if `x` is below zero."""
    if type(x) is int and x < 0:
        time.sleep(NAP)
        return x
    return echo(x)


class Loaded:
    """Calls one after the other, while so many threads keep slots busy; measures the p99."""

    def __init__(self, call: Callable[[int], Any]) -> None:
        self._call = call
        self.others = 0  # calls of the load in the last round

    def __call__(self, inputs: Sequence[int]) -> tuple[float, list[Any]]:
        is_over = threading.Event()
        counts = itertools.count()

        def keep_busy() -> None:
            while not is_over.is_set():
                self._call(-1)
                next(counts)

        threads = [threading.Thread(target=keep_busy) for _ in range(BUSY)]
        for thread in threads:
            thread.start()
        taken: list[float] = []
        results: list[Any] = []
        try:
            for x in inputs:
                started = time.perf_counter()
                results.append(self._call(x))
                taken.append(time.perf_counter() - started)
        finally:
            is_over.set()
            for thread in threads:
                thread.join(PATIENCE)
        self.others = next(counts)
        p99 = statistics.quantiles(taken, n=100)[98]
        return p99 * 1e6 * len(inputs), results


@contextmanager
def tail(quick: bool) -> Iterator[Group]:
    """The p99 of a trivial call while four fifths of the slots are busy."""
    app = moorage.App("tail")
    function = app.function(max_containers=1)(moorage.concurrent(max_inputs=THREADS)(quick_or_nap))
    with ThreadPoolExecutor(THREADS) as executor, app.run():

        def row(name: str, call: Callable[[int], Any], goal: Goal | None = None) -> Contender:
            measure: Measure = Loaded(call)
            return Contender(name, lambda xs: [call(x) for x in xs], measure, goal)

        yield Group(
            "tail",
            "µs",
            f"the p99 of a trivial call beside {BUSY} of {THREADS} threads that sleep 10 ms a call",
            quick_or_nap,
            200 if quick else 1000,
            THREADS,
            [
                row(
                    "executor.submit(...).result()",
                    lambda x: executor.submit(quick_or_nap, x).result(),
                ),
                row("moorage remote", function.remote, Goal(1.2)),
            ],
            remote=True,
        )


# -- beside code that calculates -----------------------------------------------------------


@contextmanager
def hogged(quick: bool) -> Iterator[Group]:
    """Calls one after the other, while another function calculates in Python without a pause."""
    app = moorage.App("hogged")
    function = app.function(max_containers=1)(echo)
    with ThreadPoolExecutor(1) as executor, app.run():

        def beside(call: Callable[[int], Any], hog: Callable[[], Any]) -> Measure:
            def measure(inputs: Sequence[int]) -> tuple[float, list[Any]]:
                ending = hog()
                try:
                    started = time.perf_counter()
                    results = [call(x) for x in inputs]
                    return (time.perf_counter() - started) * 1e6, results
                finally:
                    ending()

            return measure

        def row(name: str, call: Callable[[int], Any], hog: Callable[[], Any]) -> Contender:
            return Contender(name, lambda xs: [call(x) for x in xs], beside(call, hog))

        yield Group(
            "hogged",
            "µs",
            "a trivial call, while other code calculates in Python",
            echo,
            20 if quick else 50,
            1,
            [
                row(
                    "executor, a thread calculates",
                    lambda x: executor.submit(echo, x).result(),
                    hog_in_a_thread,
                ),
                row("moorage remote, a thread calculates", function.remote, hog_in_a_thread),
                row("moorage remote, a process calculates", function.remote, hog_in_a_process),
            ],
            remote=True,
        )


def hog_in_a_thread() -> Callable[[], object]:
    """Calculate on a thread, as an input of a container with threads does."""
    is_over = threading.Event()

    def calculate() -> None:
        while not is_over.is_set():
            work(1)

    thread = threading.Thread(target=calculate)
    thread.start()

    def end() -> None:
        is_over.set()
        thread.join()

    return end


def hog_in_a_process() -> Callable[[], object]:
    """Calculate in another process, as an input of a worker process does."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"], stdin=subprocess.DEVNULL)

    def end() -> None:
        process.kill()
        process.wait()

    return end


# -- the import ---------------------------------------------------------------------------


@contextmanager
def imports(quick: bool) -> Iterator[Group]:
    """``import moorage`` in an interpreter of its own, net of the interpreter's start."""

    def seconds(code: str) -> float:
        """User and system time of an interpreter that runs `code`."""
        spent = "import time; print(time.process_time())"
        run = subprocess.run(
            [sys.executable, "-c", f"{code}\n{spent}"], capture_output=True, text=True, check=True
        )
        return float(run.stdout)

    def contender(name: str, code: str, goal: Goal | None = None) -> Contender:
        def measure(inputs: Sequence[int]) -> tuple[float, list[Any]]:
            total = sum(seconds(code) - seconds("pass") for _ in inputs)
            return total * 1e6, list(inputs)

        return Contender(name, lambda xs: list(xs), measure, goal)

    yield Group(
        "import",
        "µs",
        "the processor's time of an import, without that of the interpreter's start",
        echo,
        2 if quick else 3,
        1,
        [
            contender("import asyncio", "import asyncio"),
            contender("and anyio, typing_extensions", "import asyncio, anyio, typing_extensions"),
            contender("import moorage", "import moorage", Goal(1.8)),
        ],
        remote=True,
    )
