"""The groups of synchronous inputs: trivial ones, many and one at a time, and sleeping ones.

Owns what each contender writes to run them on as many threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import anyio
import anyio.to_thread
from anyio.from_thread import BlockingPortal, start_blocking_portal

import moorage

from .bodies import NAP, echo, nap
from .harness import Function, Goal, Group, Run, spawned_by, timed

THREADS: Final = 32


@contextmanager
def moored(body: Callable[[Any], Any]) -> Iterator[Function]:
    """The body as a function of an app that runs: one container, as many slots as threads."""
    app = moorage.App("benchmarks")
    function = app.function(max_containers=1)(moorage.concurrent(max_inputs=THREADS)(body))
    with app.run():
        yield function


def _submitted(executor: ThreadPoolExecutor, body: Callable[[Any], Any]) -> Run:
    def run(inputs: Sequence[Any]) -> list[Any]:
        futures = [executor.submit(body, x) for x in inputs]
        return [future.result() for future in futures]

    return run


def _gathered(portal: BlockingPortal, function: Function) -> Run:
    async def main(inputs: Sequence[Any]) -> list[Any]:
        return await asyncio.gather(*[function.remote.aio(x) for x in inputs])

    return lambda inputs: portal.call(main, inputs)


def _in_task_group(portal: BlockingPortal, body: Callable[[Any], Any]) -> Run:
    async def main(inputs: Sequence[Any]) -> list[Any]:
        limiter = anyio.CapacityLimiter(THREADS)
        results: list[Any] = [None] * len(inputs)

        async def one(index: int, x: Any) -> None:
            results[index] = await anyio.to_thread.run_sync(body, x, limiter=limiter)

        async with anyio.create_task_group() as group:
            for index, x in enumerate(inputs):
                group.start_soon(one, index, x)
        return results

    # anyio's threads end with the main task of their loop; the portal's stays.
    return lambda inputs: portal.call(main, inputs)


@contextmanager
def bulk(quick: bool) -> Iterator[Group]:
    with ExitStack() as stack:
        executor = stack.enter_context(ThreadPoolExecutor(THREADS))
        portal = stack.enter_context(start_blocking_portal())
        mapped, spawned, gathered = (stack.enter_context(moored(echo)) for _ in range(3))
        yield Group(
            "bulk-sync",
            "µs",
            f"many trivial synchronous inputs, on at most {THREADS} threads",
            echo,
            1000 if quick else 20000,
            THREADS,
            [
                timed("ThreadPoolExecutor submit + result", _submitted(executor, echo)),
                timed(
                    "moorage map", lambda xs: list(mapped.map(xs)), goal=Goal(0.15), function=mapped
                ),
                timed(
                    "moorage spawn, then get", spawned_by(spawned), goal=Goal(0.3), function=spawned
                ),
                timed(
                    "moorage remote.aio, gathered",
                    _gathered(portal, gathered),
                    goal=Goal(1.0),
                    function=gathered,
                ),
                timed("ThreadPoolExecutor map", lambda xs: list(executor.map(echo, xs))),
                timed("anyio to_thread + CapacityLimiter", _in_task_group(portal, echo), part=10),
            ],
        )


@contextmanager
def single(quick: bool) -> Iterator[Group]:
    with (
        ThreadPoolExecutor(THREADS) as executor,
        start_blocking_portal() as portal,
        moored(echo) as function,
    ):

        def by_hand(inputs: Sequence[Any]) -> list[Any]:
            return [executor.submit(echo, x).result() for x in inputs]

        def remote(inputs: Sequence[Any]) -> list[Any]:
            return [function.remote(x) for x in inputs]

        async def to_thread(inputs: Sequence[Any]) -> list[Any]:
            return [await anyio.to_thread.run_sync(echo, x) for x in inputs]

        yield Group(
            "one-sync",
            "µs",
            "a synchronous input at a time, a plain thread waits for it",
            echo,
            100 if quick else 1000,
            THREADS,
            [
                timed("executor.submit(...).result()", by_hand),
                timed("moorage remote", remote, goal=Goal(0.7), function=function),
                timed("anyio to_thread.run_sync, awaited", lambda xs: portal.call(to_thread, xs)),
            ],
        )


@contextmanager
def sleeping(quick: bool) -> Iterator[Group]:
    with ExitStack() as stack:
        executor = stack.enter_context(ThreadPoolExecutor(THREADS))
        portal = stack.enter_context(start_blocking_portal())
        mapped, spawned = (stack.enter_context(moored(nap)) for _ in range(2))
        yield Group(
            "sleeping",
            "µs",
            f"inputs that sleep {NAP * 1000:g} ms, on {THREADS} threads",
            nap,
            (2 if quick else 10) * THREADS,
            THREADS,
            [
                timed("ThreadPoolExecutor submit + result", _submitted(executor, nap)),
                timed(
                    "moorage map", lambda xs: list(mapped.map(xs)), goal=Goal(1.03), function=mapped
                ),
                timed("moorage spawn, then get", spawned_by(spawned), function=spawned),
                timed("anyio to_thread + CapacityLimiter", _in_task_group(portal, nap)),
            ],
            exact_peak=True,
        )
