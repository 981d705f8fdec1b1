"""The group of inputs that wait: the bytes that each takes in the queue.

Owns how a queue is filled behind one input that holds the only slot, and how
the growth is read: from tracemalloc, after a collection, before and after.  The
handles that the caller needs to get its results are part of it; the inputs
themselves and the list of handles are not, for they are there before.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

import moorage

from .bodies import echo
from .harness import Contender, Function, Goal, Group
from .proof import PATIENCE, CheckFailed

Queued = Callable[[], None]
"""Called when all inputs are queued and none has run."""

RunQueued = Callable[[Sequence[Any], Queued, Queued], list[Any]]
"""Runs the inputs; calls the first before it makes any, the second when all wait."""


def measured(name: str, run_queued: RunQueued, **rest: Any) -> Contender:
    """A contender that is measured in bytes."""

    def measure(inputs: Sequence[int]) -> tuple[float, list[Any]]:
        readings: list[int] = []

        def read() -> None:
            gc.collect()
            readings.append(tracemalloc.get_traced_memory()[0])

        tracemalloc.start()
        try:
            results = run_queued(inputs, read, read)
        finally:
            tracemalloc.stop()
        return readings[1] - readings[0], results

    def nothing() -> None:
        pass

    def run(inputs: Sequence[Any]) -> list[Any]:
        return run_queued(inputs, nothing, nothing)

    return Contender(name, run, measure, **rest)


class Holder:
    """An input that holds the only slot."""

    def __init__(self) -> None:
        self._entered = threading.Event()
        self._released = threading.Event()

    def __call__(self) -> None:
        self._entered.set()
        self._released.wait(PATIENCE)

    def wait_entered(self) -> None:
        if not self._entered.wait(PATIENCE):
            raise CheckFailed("the input that is to hold the slot never got it")

    def release(self) -> None:
        self._released.set()


@contextmanager
def queued(quick: bool) -> Iterator[Group]:
    app = moorage.App("benchmarks")
    function = app.function(max_containers=1)(moorage.concurrent(max_inputs=1)(echo))
    with ThreadPoolExecutor(1) as executor, asyncio.Runner() as runner, app.run():
        yield Group(
            "memory",
            "bytes",
            "inputs that wait in the queue while another holds the only slot",
            echo,
            500 if quick else 2000,
            1,
            [
                measured("executor.submit", _submitted(executor)),
                measured(
                    "moorage spawn",
                    _spawned(function),
                    goal=Goal(320, absolute=True),
                    function=function,
                    extra_inputs=1,
                ),
                measured("asyncio task that waits for a Semaphore", _tasks(runner)),
            ],
            exact_peak=True,
        )


def _submitted(executor: ThreadPoolExecutor) -> RunQueued:
    def run(inputs: Sequence[Any], before: Queued, after: Queued) -> list[Any]:
        holder = Holder()
        executor.submit(holder)
        holder.wait_entered()
        try:
            futures: list[Any] = [None] * len(inputs)
            before()
            for index, x in enumerate(inputs):
                futures[index] = executor.submit(echo, x)
            after()
        finally:
            holder.release()
        return [future.result() for future in futures]

    return run


def _spawned(function: Function) -> RunQueued:
    def run(inputs: Sequence[Any], before: Queued, after: Queued) -> list[Any]:
        holder = Holder()
        held = function.spawn(holder)
        holder.wait_entered()
        try:
            calls: list[Any] = [None] * len(inputs)
            before()
            for index, x in enumerate(inputs):
                calls[index] = function.spawn(x)
            after()
            now = function.statistics()
            if now is None or (now.running, now.queued) != (1, len(inputs)):
                raise CheckFailed(f"moorage spawn: not all {len(inputs)} inputs wait: {now}")
        finally:
            holder.release()
        held.get()
        return [call.get() for call in calls]

    return run


def _tasks(runner: asyncio.Runner) -> RunQueued:
    async def main(inputs: Sequence[Any], before: Queued, after: Queued) -> list[Any]:
        semaphore = asyncio.Semaphore(1)

        async def one(x: Any) -> Any:
            async with semaphore:
                return echo(x)

        async with semaphore:
            tasks: list[Any] = [None] * len(inputs)
            before()
            for index, x in enumerate(inputs):
                tasks[index] = asyncio.create_task(one(x))
            await asyncio.sleep(0)  # all of them get to the semaphore
            after()
        return [await task for task in tasks]

    def run(inputs: Sequence[Any], before: Queued, after: Queued) -> list[Any]:
        return runner.run(main(inputs, before, after), context=copy_context())

    return run
