"""The group of batches: many callers at once, whose inputs are gathered into lists.

Owns the batcher that people write by hand, on one event loop, and what moorage's
rows have to prove: that every input went through a batch, and that those were full.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import moorage

from .asynchronous import on
from .harness import Contender, Function, Goal, Group, Run, timed
from .proof import CheckFailed

SIZE: Final = 64
WAIT_MS: Final = 5


async def echo_batch_async(xs: list[Any]) -> list[Any]:
    return [x if type(x) is int else await x() for x in xs]


class Batcher:
    """A list, a timer, and a future for each caller: for callers on one loop."""

    def __init__(self, function: Callable[[list[Any]], Coroutine[Any, Any, list[Any]]]) -> None:
        self._function = function
        self._waiting: list[tuple[Any, asyncio.Future[Any]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, x: Any) -> Any:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((x, future))
        if len(self._waiting) >= SIZE:
            self._flush()
        elif self._timer is None:
            self._timer = loop.call_later(WAIT_MS / 1000, self._flush)
        return await future

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch, self._waiting = self._waiting, []
        task = asyncio.create_task(self._run(batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, batch: list[tuple[Any, asyncio.Future[Any]]]) -> None:
        try:
            results = await self._function([x for x, _ in batch])
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)
        except Exception as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)


@contextmanager
def moored(body: Callable[..., Any]) -> Iterator[Function]:
    """The body as a batched function of an app that runs, in one container."""
    app = moorage.App("benchmarks")
    batched = moorage.batched(max_batch_size=SIZE, wait_ms=WAIT_MS)
    function: Function = app.function(max_containers=1)(batched(body))
    with app.run():
        yield function
        _prove(function)


def _prove(function: Function) -> None:
    statistics = function.statistics()
    if statistics is None or statistics.batches is None:
        raise CheckFailed("no batch was counted")
    sizes = dict(statistics.batches.sizes)
    inputs = sum(size * count for size, count in sizes.items())
    if inputs != statistics.succeeded:
        raise CheckFailed(f"{statistics.succeeded} inputs ended, {inputs} went through batches")
    if max(sizes) > SIZE or sizes.get(SIZE, 0) * SIZE < inputs * 0.8:
        raise CheckFailed(f"too few batches were full: {sizes}")


@contextmanager
def callers(quick: bool) -> Iterator[Group]:
    with ExitStack() as stack:
        runner = stack.enter_context(asyncio.Runner())
        function = stack.enter_context(moored(echo_batch_async))
        mapped = stack.enter_context(moored(echo_batch_async))

        def gathered(call: Callable[[Any], Any]) -> Run:
            async def main(inputs: Sequence[Any]) -> list[Any]:
                return await asyncio.gather(*[call(x) for x in inputs])

            return on(runner, main)

        async def by_hand(inputs: Sequence[Any]) -> list[Any]:
            batcher = Batcher(echo_batch_async)
            return await asyncio.gather(*[batcher(x) for x in inputs])

        contenders: list[Contender] = [
            timed("a list, a timer and futures, by hand", on(runner, by_hand)),
            timed("moorage remote.aio", gathered(function.remote.aio), goal=Goal(1.5)),
            timed("moorage map", lambda xs: list(mapped.map(xs))),
        ]
        yield Group(
            "batched",
            "µs",
            f"concurrent callers of a trivial batched function, {SIZE} in a batch",
            echo_batch_async,
            1000,
            SIZE,
            contenders,
        )
