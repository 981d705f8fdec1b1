"""How the server does under load, and whether its answers are right.

Owns what the callers ask, how long each of them waits, and what is compared.
Every caller is an asyncio task that asks, waits for its hits, and asks again:
there is no more load than callers, and the more slowly they are answered the
less they ask.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from statistics import median, quantiles
from typing import TYPE_CHECKING, NamedTuple

from .server import Search, app
from .texts import Passage, words

if TYPE_CHECKING:
    from .model import Hit, Index

QUESTIONS = [
    "wait for a child process to finish",
    "temporary directory that is removed afterwards",
    "least recently used cache",
    "send an email message over SMTP",
    "cancel a task after a timeout",
    "pretty-print nested data",
]


class Load(NamedTuple):
    """What is put on a server, and on which."""

    callers: int
    containers: int
    batch: int  # inputs at most


class Measured(NamedTuple):
    load: Load
    per_second: float  # answers
    p50: float  # seconds that a caller waited
    p99: float
    wrong: int  # answers that differ from those of a batch of one


def queries(passages: list[Passage], count: int) -> list[str]:
    """`count` of them, always the same: the questions, then four words of some passage each."""
    chance = random.Random(5)
    made = list(QUESTIONS)
    while len(made) < count:
        known = words(chance.choice(passages).text)
        made.append(" ".join(chance.sample(known, min(4, len(known)))))
    return made[:count]


def answer_alone(index: Index, asked: list[str]) -> list[list[Hit]]:
    """What each query finds in a batch of one, without a server."""
    return [index.nearest(index.embed([query]))[0] for query in asked]


def batch_seconds(index: Index, asked: list[str], batch: int) -> float:
    """How long one batch takes, without a server; the median of up to 50."""
    times = []
    for start in range(0, min(len(asked), 50 * batch), batch):
        begin = time.perf_counter()
        index.nearest(index.embed(asked[start : start + batch]))
        times.append(time.perf_counter() - begin)
    return median(times)


async def ask_once(asked: list[str]) -> list[list[Hit]]:
    """What the server as it is declared answers, if all are asked at once."""
    async with app.run():
        return [hits async for hits in Search().ask.map.aio(asked)]


async def measure(load: Load, asked: list[str], expected: list[list[Hit]]) -> Measured:
    """Ask a server with these batches and containers for all of `asked`, and compare."""
    server = (
        Search.with_options(max_containers=load.containers)
        .with_batching(max_batch_size=load.batch, wait_ms=2)
        .with_concurrency(max_inputs=2)()
    )
    async with app.run():
        await start(server, load, asked)
        answers: list[list[Hit] | None] = [None] * len(asked)
        times: list[float] = []
        numbers = iter(range(len(asked)))  # the callers draw from it: one loop, so no lock
        begin = time.perf_counter()
        async with asyncio.TaskGroup() as callers:
            for _ in range(load.callers):
                callers.create_task(caller(server, asked, numbers, answers, times))
        seconds = time.perf_counter() - begin
    percentiles = quantiles(times, n=100)
    wrong = sum(answer != right for answer, right in zip(answers, expected, strict=True))
    return Measured(load, len(asked) / seconds, percentiles[49], percentiles[98], wrong)


async def caller(
    server: Search,
    asked: list[str],
    numbers: Iterator[int],
    answers: list[list[Hit] | None],
    times: list[float],
) -> None:
    for number in numbers:
        begin = time.perf_counter()
        answers[number] = await server.ask.remote.aio(asked[number])
        times.append(time.perf_counter() - begin)


async def start(server: Search, load: Load, asked: list[str]) -> None:
    """Ask, unmeasured, until every container has loaded its model."""
    await server.update_autoscaler.aio(min_containers=load.containers)
    async with asyncio.timeout(60):
        ready = 0
        while ready < load.containers:
            await asyncio.gather(*map(server.ask.remote.aio, asked[: load.callers]))
            ready = (await server.ask.get_current_stats.aio()).num_total_runners
