"""The groups of asynchronous inputs: many at a time, and one after the other.

Owns what each contender writes to run them.  The loops that callers need are
kept open for the whole group, so none pays for making one.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from functools import partial
from typing import Any, Final

import anyio
import anyio.from_thread

import moorage

from .bodies import echo_async
from .harness import Contender, Function, Goal, Group, Run, spawned_by, timed

LIMIT: Final = 100


@contextmanager
def moored(limit: int) -> Iterator[Function]:
    """The body as a function of an app that runs: one container, `limit` slots."""
    app = moorage.App("benchmarks")
    function = app.function(max_containers=1)(moorage.concurrent(max_inputs=limit)(echo_async))
    with app.run():
        yield function


@contextmanager
def moored_on_uvloop(limit: int) -> Iterator[Function]:
    """As `moored`; the loop of the container is one of uvloop."""
    with moored(limit) as function:
        before, moorage.config.uvloop = moorage.config.uvloop, True
        try:
            function.remote(0)  # starts the container, which stays
        finally:
            moorage.config.uvloop = before
        yield function


@contextmanager
def loop_elsewhere() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that runs in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def on(runner: asyncio.Runner, main: Any) -> Run:
    """`main`, a coroutine function of the inputs, run to its end on the runner's loop."""

    def run(inputs: Sequence[Any]) -> list[Any]:
        coroutine: Coroutine[Any, Any, list[Any]] = main(inputs)
        return runner.run(coroutine, context=copy_context())

    return run


# -- many ---------------------------------------------------------------------------


async def _by_hand(inputs: Sequence[Any]) -> list[Any]:
    """The floor."""
    semaphore = asyncio.Semaphore(LIMIT)

    async def one(x: Any) -> Any:
        async with semaphore:
            return await echo_async(x)

    return await asyncio.gather(*[asyncio.create_task(one(x)) for x in inputs])


@contextmanager
def bulk(quick: bool) -> Iterator[Group]:
    async def in_task_group(inputs: Sequence[Any]) -> list[Any]:
        limiter = anyio.CapacityLimiter(LIMIT)
        results: list[Any] = [None] * len(inputs)

        async def one(index: int, x: Any) -> None:
            async with limiter:
                results[index] = await echo_async(x)

        async with anyio.create_task_group() as group:
            for index, x in enumerate(inputs):
                group.start_soon(one, index, x)
        return results

    with ExitStack() as stack:
        runner = stack.enter_context(asyncio.Runner())
        # One function for each row: a row's counts are its own.
        mapped, mapped_aio, spawned, gathered = (
            stack.enter_context(moored(LIMIT)) for _ in range(4)
        )

        async def map_aio(inputs: Sequence[Any]) -> list[Any]:
            results: AsyncIterator[Any] = mapped_aio.map.aio(inputs)
            return [result async for result in results]

        async def gather(inputs: Sequence[Any]) -> list[Any]:
            return await asyncio.gather(*[gathered.remote.aio(x) for x in inputs])

        contenders = [
            timed("create_task + Semaphore + gather", on(runner, _by_hand)),
            timed("moorage map", lambda xs: list(mapped.map(xs)), goal=Goal(0.75), function=mapped),
            timed("moorage map.aio", on(runner, map_aio), function=mapped_aio),
            timed("moorage spawn, then get", spawned_by(spawned), goal=Goal(1.0), function=spawned),
            timed(
                "moorage remote.aio, gathered",
                on(runner, gather),
                goal=Goal(2.8),
                function=gathered,
            ),
            timed("anyio task group + CapacityLimiter", on(runner, in_task_group), part=10),
        ]
        notes: list[str] = []
        try:
            contenders.append(_aiometer(runner))
        except ImportError:
            notes.append("aiometer is not installed: its row is left out")
        yield Group(
            "bulk-async",
            "µs",
            f"many trivial asynchronous inputs, at most {LIMIT} at a time",
            echo_async,
            1000 if quick else 20000,
            LIMIT,
            contenders,
            notes=notes,
        )


def _aiometer(runner: asyncio.Runner) -> Contender:
    import aiometer

    async def main(inputs: Sequence[Any]) -> list[Any]:
        calls = [partial(echo_async, x) for x in inputs]
        return await aiometer.run_all(calls, max_at_once=LIMIT)

    return timed("aiometer run_all", on(runner, main), part=10)


@contextmanager
def bulk_on_uvloop(quick: bool) -> Iterator[Group]:
    """As `bulk`, all of it on loops of uvloop."""
    import uvloop

    with ExitStack() as stack:
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        mapped, spawned = (stack.enter_context(moored_on_uvloop(LIMIT)) for _ in range(2))
        yield Group(
            "uvloop",
            "µs",
            f"many trivial asynchronous inputs, at most {LIMIT} at a time, on loops of uvloop",
            echo_async,
            1000 if quick else 20000,
            LIMIT,
            [
                timed("create_task + Semaphore + gather", on(runner, _by_hand)),
                timed("moorage map", lambda xs: list(mapped.map(xs)), function=mapped),
                timed("moorage spawn, then get", spawned_by(spawned), function=spawned),
            ],
        )


# -- one ----------------------------------------------------------------------------


@contextmanager
def single_blocking(quick: bool) -> Iterator[Group]:
    with (
        loop_elsewhere() as loop,
        anyio.from_thread.start_blocking_portal() as portal,
        moored(LIMIT) as function,
    ):

        def by_hand(inputs: Sequence[Any]) -> list[Any]:
            submit = asyncio.run_coroutine_threadsafe
            return [submit(echo_async(x), loop).result() for x in inputs]

        def remote(inputs: Sequence[Any]) -> list[Any]:
            return [function.remote(x) for x in inputs]

        def call(inputs: Sequence[Any]) -> list[Any]:
            return [portal.call(echo_async, x) for x in inputs]

        yield Group(
            "one-async-blocking",
            "µs",
            "an asynchronous input at a time, a plain thread waits for it",
            echo_async,
            100 if quick else 1000,
            LIMIT,
            [
                timed("run_coroutine_threadsafe(...).result()", by_hand),
                timed("moorage remote", remote, goal=Goal(0.6), function=function),
                timed("anyio portal.call", call),
            ],
        )


@contextmanager
def single_awaited(quick: bool) -> Iterator[Group]:
    with (
        asyncio.Runner() as runner,
        loop_elsewhere() as loop,
        anyio.from_thread.start_blocking_portal() as portal,
        moored(LIMIT) as function,
    ):

        async def by_hand(inputs: Sequence[Any]) -> list[Any]:
            submit, wrap = asyncio.run_coroutine_threadsafe, asyncio.wrap_future
            return [await wrap(submit(echo_async(x), loop)) for x in inputs]

        async def remote(inputs: Sequence[Any]) -> list[Any]:
            return [await function.remote.aio(x) for x in inputs]

        async def call(inputs: Sequence[Any]) -> list[Any]:
            start, wrap = portal.start_task_soon, asyncio.wrap_future
            return [await wrap(start(echo_async, x)) for x in inputs]

        yield Group(
            "one-async-awaited",
            "µs",
            "an asynchronous input at a time, a task on another loop awaits it",
            echo_async,
            100 if quick else 1000,
            LIMIT,
            [
                timed("wrap_future(run_coroutine_threadsafe(...))", on(runner, by_hand)),
                timed("moorage remote.aio", on(runner, remote), goal=Goal(0.75), function=function),
                timed("anyio portal.start_task_soon, wrapped", on(runner, call)),
            ],
        )
