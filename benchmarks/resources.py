"""The groups of dicts and queues: entries in memory and in a file, items from waiter to waiter.

Owns what each contender writes to keep a value, or to hand one over.  No function runs in these
groups.  What was kept is read back after the time, and compared.
"""

from __future__ import annotations

import asyncio
import pickle
import queue
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import moorage

from .harness import Contender, Goal, Group

State = dict[str, Any]
Work = Callable[[Sequence[int]], Any]

PROTOCOL: Final = 5


def state_of(number: int) -> State:
    """What a program notes of a job."""
    return {
        "state": "running",
        "number": number,
        "worker": "worker-3",
        "started": 1764400000.25,
        "result": {"rows": 1200, "files": ["a.parquet", "b.parquet"]},
    }


def _contender(
    name: str, work: Work, read: Callable[[Sequence[int]], list[Any]], **rest: Any
) -> Contender:
    """Return a row: `work` is timed, and `read` then returns what it has done."""

    def measure(inputs: Sequence[int]) -> tuple[float, list[Any]]:
        started = time.perf_counter()
        work(inputs)
        return (time.perf_counter() - started) * 1e6, read(inputs)

    def run(inputs: Sequence[Any]) -> list[Any]:
        work(inputs)
        return read(inputs)

    return Contender(name, run, measure, **rest)


def _group(name: str, what: str, inputs: int, contenders: list[Contender]) -> Group:
    return Group(name, "µs", what, lambda number: number, inputs, 1, contenders, remote=True)


# -- dicts in memory -----------------------------------------------------------------------------


@contextmanager
def puts(quick: bool) -> Iterator[Group]:
    inputs = 1000 if quick else 10000
    states = [state_of(number) for number in range(inputs)]
    kept: dict[str, bytes] = {}
    lock = threading.Lock()

    def by_hand(numbers: Sequence[int]) -> None:
        for number in numbers:
            data = pickle.dumps(states[number], PROTOCOL)
            with lock:
                kept[f"job-{number % 1000}"] = data

    with moorage.Dict.ephemeral() as jobs:

        def put(numbers: Sequence[int]) -> None:
            for number in numbers:
                jobs.put(f"job-{number % 1000}", states[number])

        def assign(numbers: Sequence[int]) -> None:
            for number in numbers:
                jobs[f"job-{number % 1000}"] = states[number]

        def was_kept(read: Callable[[str], State]) -> Callable[[Sequence[int]], list[Any]]:
            def check(numbers: Sequence[int]) -> list[Any]:
                found = {n % 1000: read(f"job-{n % 1000}")["number"] for n in numbers[-1000:]}
                return [n if n < inputs - 1000 else found[n % 1000] for n in numbers]

            return check

        there = was_kept(jobs.get)
        yield _group(
            "dict-put",
            "a job's state is put into a Dict in memory",
            inputs,
            [
                _contender(
                    "pickle.dumps, a lock, a dict",
                    by_hand,
                    was_kept(lambda key: pickle.loads(kept[key])),
                ),
                _contender("moorage Dict.put", put, there, goal=Goal(2.0)),
                _contender("moorage d[key] = value", assign, there, goal=Goal(2.0)),
            ],
        )


@contextmanager
def gets(quick: bool) -> Iterator[Group]:
    inputs = 1000 if quick else 10000
    kept = {f"job-{number}": pickle.dumps(state_of(number), PROTOCOL) for number in range(1000)}
    lock = threading.Lock()
    found: list[Any] = []

    def by_hand(numbers: Sequence[int]) -> None:
        for number in numbers:
            with lock:
                data = kept[f"job-{number % 1000}"]
            found.append(pickle.loads(data)["number"])

    with moorage.Dict.ephemeral() as jobs:
        jobs.update({f"job-{number}": state_of(number) for number in range(1000)})

        def get(numbers: Sequence[int]) -> None:
            found.extend(jobs.get(f"job-{number % 1000}")["number"] for number in numbers)

        def index(numbers: Sequence[int]) -> None:
            found.extend(jobs[f"job-{number % 1000}"]["number"] for number in numbers)

        def read(numbers: Sequence[int]) -> list[Any]:
            taken, found[:] = found[:], []
            same = taken == [number % 1000 for number in numbers]
            return [*numbers] if same else taken

        yield _group(
            "dict-get",
            "a job's state is got from a Dict in memory",
            inputs,
            [
                _contender("a lock, a dict, pickle.loads", by_hand, read),
                _contender("moorage Dict.get", get, read, goal=Goal(2.0)),
                _contender("moorage d[key]", index, read, goal=Goal(2.0)),
            ],
        )


# -- in a file -----------------------------------------------------------------------------------


@contextmanager
def file_puts(quick: bool) -> Iterator[Group]:
    inputs = 100 if quick else 2000
    states = [state_of(number) for number in range(inputs)]
    rounds = iter(range(10**6))  # each round has keys of its own
    before = moorage.config.persist, moorage.config.home
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        moorage.config.persist, moorage.config.home = True, str(home)
        try:
            bare = sqlite3.connect(home / "bare.sqlite3", isolation_level=None)
            stack.callback(bare.close)
            bare.execute("PRAGMA journal_mode = WAL")
            bare.execute("PRAGMA synchronous = NORMAL")
            bare.execute("CREATE TABLE entries (key BLOB PRIMARY KEY, value BLOB NOT NULL)")
            jobs = moorage.Dict.from_name("benchmark-jobs", create_if_missing=True)
            line = moorage.Queue.from_name("benchmark-line", create_if_missing=True)

            def insert(numbers: Sequence[int]) -> None:
                at = next(rounds)
                for number in numbers:
                    data = pickle.dumps(states[number], PROTOCOL)
                    key = f"job-{at}-{number}".encode()
                    bare.execute("INSERT INTO entries VALUES (?, ?)", (key, data))

            def inserted(numbers: Sequence[int]) -> list[Any]:
                rows = bare.execute("SELECT value FROM entries ORDER BY rowid").fetchall()
                return [pickle.loads(row[0])["number"] for row in rows[-len(numbers) :]]

            def put(numbers: Sequence[int]) -> None:
                at = next(rounds)
                for number in numbers:
                    jobs.put(f"job-{at}-{number}", states[number])

            def were_put(numbers: Sequence[int]) -> list[Any]:
                return [state["number"] for state in jobs.values()][-len(numbers) :]

            def replace(numbers: Sequence[int]) -> None:
                for number in numbers:
                    jobs.put("the same", states[number])

            def was_replaced(numbers: Sequence[int]) -> list[Any]:
                return [*numbers[:-1], jobs.pop("the same")["number"]]

            def append(numbers: Sequence[int]) -> None:
                for number in numbers:
                    line.put(states[number])

            def were_appended(numbers: Sequence[int]) -> list[Any]:
                return [state["number"] for state in line.get_many(5000)]

            yield _group(
                "sqlite",
                "a job's state is put into a file: new keys, one transaction each",
                inputs,
                [
                    _contender("pickle.dumps, INSERT in WAL mode", insert, inserted),
                    _contender("moorage Dict.put, a new key", put, were_put, goal=Goal(1.5)),
                    _contender("moorage Dict.put, the same key", replace, was_replaced),
                    _contender("moorage Queue.put", append, were_appended),
                ],
            )
        finally:
            moorage.Dict.objects.delete("benchmark-jobs", allow_missing=True)
            moorage.Queue.objects.delete("benchmark-line", allow_missing=True)
            moorage.config.persist, moorage.config.home = before


# -- queues ----------------------------------------------------------------------------------------


class _Echo:
    """A thread that takes what it is given and gives it back, until it is given None."""

    def __init__(self, take: Callable[[], Any], give: Callable[[Any], Any]) -> None:
        self._take, self._give = take, give
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (value := self._take()) is not None:
            self._give(value)

    def end(self, give: Callable[[Any], Any]) -> None:
        give(None)
        self._thread.join()


@contextmanager
def threads(quick: bool) -> Iterator[Group]:
    there: queue.Queue[bytes] = queue.Queue()
    back: queue.Queue[bytes] = queue.Queue()
    found: list[Any] = []

    def give(target: queue.Queue[bytes]) -> Callable[[Any], None]:
        return lambda value: target.put(pickle.dumps(value, PROTOCOL))

    def take(source: queue.Queue[bytes]) -> Callable[[], Any]:
        return lambda: pickle.loads(source.get())

    def by_hand(numbers: Sequence[int]) -> None:
        for number in numbers:
            there.put(pickle.dumps(number, PROTOCOL))
            found.append(pickle.loads(back.get()))

    def read(numbers: Sequence[int]) -> list[Any]:
        taken, found[:] = found[:], []
        return taken

    with moorage.Queue.ephemeral() as to, moorage.Queue.ephemeral() as fro:

        def handed(numbers: Sequence[int]) -> None:
            for number in numbers:
                to.put(number)
                found.append(fro.get())

        echoes = (_Echo(take(there), give(back)), give(there)), (_Echo(to.get, fro.put), to.put)
        try:
            yield _group(
                "queue-threads",
                "a number goes to a thread that waits for it, and comes back",
                100 if quick else 1500,
                [
                    _contender("queue.Queue with pickling", by_hand, read),
                    _contender("moorage Queue", handed, read, goal=Goal(1.3)),
                ],
            )
        finally:
            for echo, tell in echoes:
                echo.end(tell)


class _Loop:
    """An event loop on a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def end(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@contextmanager
def loops(quick: bool) -> Iterator[Group]:
    here, away = _Loop(), _Loop()
    there: asyncio.Queue[bytes] = asyncio.Queue()
    back: asyncio.Queue[bytes] = asyncio.Queue()
    found: list[Any] = []

    async def echo_by_hand(count: int) -> None:
        for _ in range(count):
            value = pickle.loads(await there.get())
            data = pickle.dumps(value, PROTOCOL)
            here.loop.call_soon_threadsafe(back.put_nowait, data)

    async def ask_by_hand(numbers: Sequence[int]) -> None:
        for number in numbers:
            data = pickle.dumps(number, PROTOCOL)
            away.loop.call_soon_threadsafe(there.put_nowait, data)
            found.append(pickle.loads(await back.get()))

    def read(numbers: Sequence[int]) -> list[Any]:
        taken, found[:] = found[:], []
        return taken

    def both(echo: Callable[..., Any], ask: Callable[..., Any]) -> Work:
        def work(numbers: Sequence[int]) -> None:
            echoing = away.submit(echo(len(numbers)))
            here.submit(ask(numbers)).result()
            echoing.result()

        return work

    with moorage.Queue.ephemeral() as to, moorage.Queue.ephemeral() as fro:

        async def echo(count: int) -> None:
            for _ in range(count):
                await fro.put.aio(await to.get.aio())

        async def ask(numbers: Sequence[int]) -> None:
            for number in numbers:
                await to.put.aio(number)
                found.append(await fro.get.aio())

        try:
            yield _group(
                "queue-loops",
                "a number goes to a task on another loop that waits for it, and comes back",
                100 if quick else 1500,
                [
                    _contender(
                        "asyncio.Queue, pickling, call_soon_threadsafe",
                        both(echo_by_hand, ask_by_hand),
                        read,
                    ),
                    _contender("moorage Queue.aio", both(echo, ask), read, goal=Goal(1.3)),
                ],
            )
        finally:
            here.end()
            away.end()
