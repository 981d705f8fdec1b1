"""The program under stress whose containers are processes: functions of all kinds, and a witness.

Owns the user's side.  The code of each input appends a line to a file when it begins and one when
it ends, each with one ``write``, so what is there was done, whoever is killed.  Each container
imports this module anew.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Final

import moorage
from moorage.runtime.uninterruptible import uninterruptible

ITEMS: Final = 24  # more than a stream is ahead of its reader
NESTED: Final = "answers"  # the pool that the code of containers calls
WITNESS: Final = "MOORAGE_STRESS_WITNESS"

app = moorage.App("stress-placed")


class Planned(Exception):
    """With the number of the job."""


@dataclass(frozen=True)
class Job:
    """The argument of one input."""

    number: int
    plan: str
    seconds: float
    load: bytes = b""


@uninterruptible
def bear_witness(what: str, number: int | str) -> None:
    """Append one line to the witness's file: what was done, for which input, and where."""
    file = os.open(os.environ[WITNESS], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, f"{what} {number} {os.getpid()}\n".encode())
    finally:
        os.close(file)


def run(job: Job) -> tuple[int, bytes]:
    bear_witness("begin", job.number)
    try:
        perform(job)
        if job.plan == "nap":
            time.sleep(job.seconds)
    except BaseException:
        bear_witness("raised", job.number)
        raise
    bear_witness("returned", job.number)
    return job.number, job.load


async def run_async(job: Job) -> tuple[int, bytes]:
    bear_witness("begin", job.number)
    try:
        perform(job)
        await asyncio.sleep(job.seconds if job.plan == "nap" else 0)
    except BaseException:
        bear_witness("raised", job.number)
        raise
    bear_witness("returned", job.number)
    return job.number, job.load


def perform(job: Job) -> None:
    if job.plan == "error":
        raise Planned(job.number)
    if job.plan == "exit":
        raise SystemExit(job.number)
    if job.plan == "die":
        os._exit(3)
    if job.plan == "spin":
        until = time.perf_counter() + job.seconds
        while time.perf_counter() < until:
            pass


def run_batch(jobs: list[Job]) -> list[Any]:
    for job in jobs:
        bear_witness("begin", job.number)
    for job in jobs:
        if job.plan in ("spin", "die"):
            perform(job)
    time.sleep(max(job.seconds for job in jobs))
    return [_place(job) for job in jobs]


def _place(job: Job) -> Any:
    is_error = job.plan in ("error", "exit")
    bear_witness("raised" if is_error else "returned", job.number)
    return Planned(job.number) if is_error else (job.number, job.load)


kept: Final[dict[str, Any]] = {"min_containers": 1, "scaledown_window": 2, "max_containers": 2}


@app.function(**kept)
def single(job: Job) -> tuple[int, bytes]:
    return run(job)


@app.function(**kept)
@moorage.concurrent(max_inputs=4)
def several(job: Job) -> tuple[int, bytes]:
    return run(job)


@app.function(**kept)
@moorage.concurrent(max_inputs=20)
async def tasks(job: Job) -> tuple[int, bytes]:
    return await run_async(job)


@app.function(nonpreemptible=True, **kept)
@moorage.concurrent(max_inputs=3)
def once(job: Job) -> tuple[int, bytes]:
    return run(job)


@app.function(retries=moorage.Retries(max_retries=2, initial_delay=0.002), **kept)
@moorage.concurrent(max_inputs=3)
def again(job: Job) -> tuple[int, bytes]:
    return run(job)


@app.function(timeout=0.1, **kept)
@moorage.concurrent(max_inputs=4)
async def brief(job: Job) -> tuple[int, bytes]:
    return await run_async(job)


@app.function(**kept)
@moorage.concurrent(max_inputs=5)
def items(job: Job) -> Iterator[int]:
    bear_witness("begin", job.number)
    try:
        for item in range(ITEMS):
            if item == ITEMS // 2:
                perform(job)
            yield item
    except BaseException:
        bear_witness("raised", job.number)
        raise
    bear_witness("returned", job.number)


@app.function(**kept)
@moorage.concurrent(max_inputs=8)
async def items_async(job: Job) -> AsyncIterator[int]:
    bear_witness("begin", job.number)
    try:
        for item in range(ITEMS):
            if item == ITEMS // 2:
                perform(job)
                await asyncio.sleep(0)
            yield item
    except BaseException:
        bear_witness("raised", job.number)
        raise
    bear_witness("returned", job.number)


@app.function(**kept)
@moorage.concurrent(max_inputs=2)
@moorage.batched(max_batch_size=8, wait_ms=2)
def lists(jobs: list[Job]) -> list[Any]:
    return run_batch(jobs)


@app.function(single_use_containers=True, max_containers=2)
def fresh(job: Job) -> tuple[int, bytes]:
    return run(job)


# -- what the code of a container calls ------------------------------------------------------

_asked = itertools.count()


def new_question() -> str:
    """A name for an input that the code of a container sends, and which no other run sends."""
    name = f"n{os.getpid()}-{next(_asked)}"
    bear_witness("sent", name)
    return name


def heard(names: list[str], answers: list[str]) -> None:
    assert answers == names, (names, answers)
    for name in names:
        bear_witness("outcome", name)


@app.function(**{**kept, "max_containers": 3})
@moorage.concurrent(max_inputs=4)
def answers(name: str) -> str:
    bear_witness("begin", name)
    time.sleep(0.001)
    bear_witness("returned", name)
    return name


@app.function(**kept)
@moorage.concurrent(max_inputs=4)
def asks(job: Job) -> tuple[int, bytes]:
    bear_witness("begin", job.number)
    try:
        perform(job)
        names = [new_question() for _ in range(1 + job.number % 3)]
        if job.number % 2:
            calls = [answers.spawn(name) for name in names]
            heard(names, [call.get() for call in calls])
        elif len(names) == 1:
            heard(names, [answers.remote(names[0])])
        else:
            heard(names, list(answers.map(names)))
    except BaseException:
        bear_witness("raised", job.number)
        raise
    bear_witness("returned", job.number)
    return job.number, job.load


@app.function(**kept)
@moorage.concurrent(max_inputs=8)
async def asks_async(job: Job) -> tuple[int, bytes]:
    bear_witness("begin", job.number)
    try:
        perform(job)
        names = [new_question() for _ in range(1 + job.number % 3)]
        if job.number % 2:
            heard(names, await asyncio.gather(*(answers.remote.aio(name) for name in names)))
        else:
            heard(names, [answer async for answer in answers.map.aio(names)])
    except BaseException:
        bear_witness("raised", job.number)
        raise
    bear_witness("returned", job.number)
    return job.number, job.load


goods: Final = moorage.Queue.from_name("stress-placed", create_if_missing=True)
table: Final = moorage.Dict.from_name("stress-placed", create_if_missing=True)


@app.function(**kept)
@moorage.concurrent(max_inputs=4)
def trades(job: Job) -> tuple[int, bytes]:
    """Put something into a queue, and take something out; keep something in a dict meanwhile."""
    bear_witness("begin", job.number)
    try:
        perform(job)
        key = f"n{os.getpid()}-{next(_asked)}"
        table[key] = job.load
        bear_witness("puts", key)
        goods.put(key)
        bear_witness("put", key)
        taken = goods.get(block=False)
        if taken is not None:  # else one that was killed has taken it
            bear_witness("took", taken)
        assert table.pop(key) == job.load
    except BaseException:
        bear_witness("raised", job.number)
        raise
    bear_witness("returned", job.number)
    return job.number, job.load


_openings = itertools.count()


@app.cls(**kept)
@moorage.concurrent(max_inputs=6)
class Service:
    @moorage.enter()
    def open(self) -> None:
        assert next(_openings) == 0  # in its process

    @moorage.method()
    def work(self, job: Job) -> tuple[int, bytes]:
        return run(job)

    @moorage.method()
    async def work_async(self, job: Job) -> tuple[int, bytes]:
        return await run_async(job)


@dataclass(frozen=True)
class Kind:
    """One way to reach a pool, and what holds there."""

    pool: str
    function: Any
    max_inputs: int
    most_runs: int = 3
    is_generator: bool = False
    most_in_a_batch: int = 1
    seen: bool = False  # no caller goes away: each outcome is seen


def kinds() -> tuple[list[Kind], dict[str, Any]]:
    """Return the ways, and what has the statistics of each pool."""
    service = Service()
    every = [
        Kind("single", single, 1, most_runs=2, seen=True),
        Kind("several", several, 4),
        Kind("tasks", tasks, 20),
        Kind("once", once, 3, most_runs=1, seen=True),
        Kind("again", again, 3, most_runs=5, seen=True),
        Kind("brief", brief, 4),
        Kind("items", items, 5, is_generator=True),
        Kind("items_async", items_async, 8, is_generator=True),
        Kind("lists", lists, 2, most_in_a_batch=8),
        Kind("fresh", fresh, 1, most_runs=2),
        Kind("asks", asks, 4),
        Kind("asks_async", asks_async, 8),
        Kind("trades", trades, 4),
        Kind("service", service.work, 6),
        Kind("service", service.work_async, 6),
    ]
    return every, {kind.pool: kind.function for kind in every} | {NESTED: answers}
