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
from itertools import cycle
from statistics import median
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
    batch: int  # queries at most


class Measured(NamedTuple):
    load: Load
    answers: int
    wrong: int  # of them: other than that of a batch of one
    mean_batch: float  # queries
    per_second: float  # answers
    p50: float  # seconds that a caller waited for one
    p99: float


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


async def measure(
    load: Load, asked: list[str], expected: list[list[Hit]], seconds: float
) -> Measured:
    """Ask a server of these batches and containers for so many seconds, and compare."""
    server = Search.with_options(max_containers=load.containers).with_batching(
        max_batch_size=load.batch, wait_ms=2
    )()
    answers: list[tuple[int, list[Hit], float]] = []  # of which query, what, after how long

    async def call(until: float) -> None:
        for number in numbers:  # which all callers draw from
            begin = time.perf_counter()
            hits = await server.ask.remote.aio(asked[number])
            end = time.perf_counter()
            answers.append((number, hits, end - begin))
            if end > until:
                return

    async with app.run():
        await start(server, load, asked)
        numbers = cycle(range(len(asked)))
        batches = server.ask.statistics().batches.granted
        begin = time.perf_counter()
        await asyncio.gather(*(call(begin + seconds) for _ in range(load.callers)))
        taken = time.perf_counter() - begin
        batches = server.ask.statistics().batches.granted - batches
    waits = sorted(wait for _, _, wait in answers)
    return Measured(
        load,
        answers=len(answers),
        wrong=sum(hits != expected[number] for number, hits, _ in answers),
        mean_batch=len(answers) / batches,
        per_second=len(answers) / taken,
        p50=waits[len(waits) // 2],
        p99=waits[len(waits) * 99 // 100],
    )


async def start(server: Search, load: Load, asked: list[str]) -> None:
    """Ask, unmeasured, until every container has loaded its model."""
    await server.update_autoscaler.aio(min_containers=load.containers)
    async with asyncio.timeout(60):
        ready = 0
        while ready < load.containers:
            await asyncio.gather(*map(server.ask.remote.aio, asked[: load.callers]))
            ready = (await server.ask.get_current_stats.aio()).num_total_runners
