"""The groups of other shapes: items of generators, methods of classes, few and many inputs.

Owns what each contender writes to hand over items, and how the cost of an input is compared with
the same contender's cost at another number of inputs.
"""

from __future__ import annotations

import queue
import resource
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import moorage
from moorage.runtime.containers.streaming import AHEAD

from . import asynchronous, synchronous
from .bodies import echo, echo_async, echo_each
from .harness import Contender, Goal, Group, timed
from .proof import CheckFailed

END: Final = object()


@contextmanager
def items(quick: bool) -> Iterator[Group]:
    """One generator gives all of the inputs back, and its reader takes them one by one."""

    def by_hand(inputs: Sequence[Any]) -> list[Any]:
        handed: queue.SimpleQueue[Any] = queue.SimpleQueue()
        credits = threading.Semaphore(AHEAD)

        def produce() -> None:
            for item in echo_each(inputs):
                credits.acquire()
                handed.put(item)
            handed.put(END)

        thread = threading.Thread(target=produce)
        thread.start()
        taken: list[Any] = []
        while (item := handed.get()) is not END:
            credits.release()
            taken.append(item)
        thread.join()
        return taken

    app = moorage.App("items")
    function = app.function(max_containers=1)(echo_each)
    count = 1000 if quick else 20000
    with app.run():
        yield Group(
            "items",
            "µs",
            f"items of one generator for a reader on another thread, at most {AHEAD} ahead",
            echo,
            count,
            1,
            [
                timed("SimpleQueue with credits", by_hand),
                replace(
                    timed(
                        "moorage remote_gen",
                        lambda xs: list(function.remote_gen(xs)),
                        goal=Goal(2.0),
                        function=function,
                    ),
                    extra_inputs=1 - count,
                ),
            ],
            remote=True,
        )


class Echo:
    """A class whose method does what `echo` does."""

    @moorage.method()
    def run(self, x: Any) -> Any:
        return echo(x)


@contextmanager
def methods(quick: bool) -> Iterator[Group]:
    """A method, of an instance that is made for each call, and of one that is kept."""
    app = moorage.App("methods")
    made = app.cls(max_containers=1)(moorage.concurrent(max_inputs=synchronous.THREADS)(Echo))
    with app.run():
        kept = made()

        def of_one(inputs: Sequence[Any]) -> list[Any]:
            return [kept.run.remote(x) for x in inputs]

        def of_each(inputs: Sequence[Any]) -> list[Any]:
            return [made().run.remote(x) for x in inputs]

        yield Group(
            "method",
            "µs",
            "a method, one call at a time, a plain thread waits for it",
            echo,
            100 if quick else 1000,
            synchronous.THREADS,
            [
                timed("moorage model.run.remote(x)", of_one, function=kept.run),
                timed("moorage Model().run.remote(x)", of_each, goal=Goal(1.1), function=kept.run),
            ],
        )


# -- few and many -------------------------------------------------------------------------


@contextmanager
def sizes(quick: bool) -> Iterator[Group]:
    """The same map with fewer and with more inputs."""
    most = 10_000 if quick else 100_000

    with asynchronous.moored(asynchronous.LIMIT) as loops, synchronous.moored(echo) as threads:

        def some(name: str, function: Any, part: int) -> Contender:
            goal = None if part == 10 else Goal(1.5)
            run = lambda xs: list(function.map(xs))  # noqa: E731
            return timed(name, run, goal=goal, function=function, part=part)

        contenders = [
            some(f"moorage map, {most // part:,} inputs", loops, part) for part in (10, 100, 1)
        ]
        yield Group(
            "sizes",
            "µs",
            "the same map of trivial asynchronous inputs: what one costs among few and many",
            echo_async,
            most,
            asynchronous.LIMIT,
            contenders,
            notes=[Million(threads, 10_000 if quick else 1_000_000)],
        )


class Million:
    """The note beneath `sizes`: what very many inputs of an iterator cost, and keep."""

    def __init__(self, function: Any, count: int) -> None:
        per_input = self._measure(function, count // 100)
        before = _peak()
        many = self._measure(function, count)
        self._text = (
            f"a map over an iterator of {count:,} inputs: {many:.2f} µs each, "
            f"{many / per_input:.2f} of {count // 100:,}; "
            f"the peak of the process's memory grew by {_peak() - before:,} kB"
        )

    def _measure(self, function: Any, count: int) -> float:
        started, total = time.perf_counter(), 0
        for result in function.map(iter(range(count))):
            total += result
        if total != count * (count - 1) // 2:
            raise CheckFailed("a map of very many inputs lost some")
        return (time.perf_counter() - started) * 1e6 / count

    def __str__(self) -> str:
        return self._text


def _peak() -> int:
    """Kilobytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak
