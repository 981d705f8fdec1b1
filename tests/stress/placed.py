"""A stress run whose containers are processes, which are killed, one every 50 ms.

Owns the callers, the killer, and the comparison of three sums: what callers saw, what the pools
counted, and what the witness's file has (``placed_program.py``).

- Every input that was sent met exactly one end for its caller, or its caller went away.
- In each pool, the inputs that were accepted are those that were sent, and as many as succeeded,
  failed and were cancelled.  Where no caller goes away, each of the three is what callers saw.
- A result was returned by code that has said so.  No code began after its input's outcome had been
  delivered (if it was no cancellation, which does not wait for the code).
- The inputs that the code of containers has sent have one outcome each as well, as far as that code
  lived to see it.  What was put into a queue was taken once at most, and what nobody took is there,
  unless who took it was killed.  A dict has no keys but those of code that was killed.
- No input ran more often than its pool allows.  No process ever had more inputs open than
  `max_inputs`.
- No slot, no room, no thread and no process is left.

Begin at `stress_placed`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable
from contextlib import aclosing, closing
from enum import Enum
from pathlib import Path
from typing import Any, Final

from moorage import FunctionCall, Processes
from moorage.exception import (
    ContainerLostError,
    FunctionTimeoutError,
    InputCancelledError,
    RemoteError,
)
from moorage.placing.processes import process_zygotes

from .placed_program import (
    ITEMS,
    NESTED,
    WITNESS,
    Job,
    Kind,
    Planned,
    app,
    bear_witness,
    goods,
    kinds,
    table,
)
from .run import HANGS_AFTER, Report, hang, left, listening, statistics_of

KILLS_EVERY: Final = 0.05
THREADS: Final = 6
LOOPS: Final = 2
TASKS: Final = 4
LONGEST: Final = 0.008


class End(Enum):
    """What the caller saw of one input."""

    RESULT = "result"
    ERROR = "error"
    TIMEOUT = "timeout"
    LOST = "lost"
    CANCELLED = "cancelled"
    UNSEEN = "unseen"  # the caller went away


FAILED: Final = (End.ERROR, End.TIMEOUT, End.LOST)


class Sent:
    """One input, as its caller knows it."""

    def __init__(self, job: Job, kind: Kind) -> None:
        self.job = job
        self.kind = kind
        self.end: End | None = None

    def __repr__(self) -> str:
        return f"<input {self.job.number} of {self.kind.pool}, {self.job.plan}: {self.end}>"


class Caller:
    """What one thread or task does, until it has sent `quota` inputs."""

    def __init__(
        self, ways: list[Kind], seed: int, index: int, quota: int, wrong: list[str]
    ) -> None:
        self.ways = ways
        self.rng = random.Random(seed * 1_000 + index)
        self.first = index * 1_000_000
        self.quota = quota
        self.wrong = wrong
        self.tickets: list[Sent] = []  # the name that `hang` asks for
        self.did: Counter[str] = Counter()
        self.now = ""

    def make(self, kind: Kind, most: int = 1) -> list[Sent]:
        rng = self.rng
        made: list[Sent] = []
        for _ in range(rng.randint(1, most)):
            plan = rng.choice(("quick", "quick", "nap", "nap", "spin", "error"))
            if rng.random() < 0.02:
                plan = rng.choice(("exit", "exit", "die"))
            load = os.urandom(8) * 12_500 if rng.random() < 0.02 else b"x"
            number = self.first + len(self.tickets)
            job = Job(number, plan, rng.random() * LONGEST, load)
            made.append(Sent(job, kind))
            self.tickets.append(made[-1])
        return made

    def note(self, sent: Sent, got: object) -> None:
        """Note the one end of an input."""
        if sent.end is not None:
            self.wrong.append(f"{sent!r} ended twice, with {got!r}")
        number = sent.job.number
        if not isinstance(got, BaseException):
            if got != (number, sent.job.load):
                self.wrong.append(f"{sent!r} got {str(got)[:80]}")
            sent.end = End.RESULT
        elif isinstance(got, Planned):
            if got.args != (number,):
                self.wrong.append(f"{sent!r} got another's error {got!r}")
            sent.end = End.ERROR
        elif isinstance(got, InputCancelledError):
            sent.end = End.CANCELLED
            return  # its code may begin just now
        elif isinstance(got, FunctionTimeoutError):
            sent.end = End.TIMEOUT
            return  # as above
        elif isinstance(got, ContainerLostError):
            sent.end = End.LOST
        elif isinstance(got, RemoteError) and isinstance(got.__cause__, SystemExit):
            sent.end = End.ERROR
        else:
            self.wrong.append(f"{sent!r} got {got!r}, cause {got.__cause__!r}")
        bear_witness("outcome", number)

    def observe(self, sent: Sent, call: Callable[[], Any]) -> None:
        try:
            got = call()
        except Exception as error:
            got = error
        self.note(sent, got)

    async def observe_async(self, sent: Sent, call: Callable[[], Any]) -> None:
        try:
            got = await call()
        except Exception as error:
            got = error
        self.note(sent, got)

    def go_away(self, inputs: Iterable[Sent]) -> None:
        for sent in inputs:
            if sent.end is None:
                sent.end = End.UNSEEN

    def _choose(self, staying: list[Any], leaving: list[Any], stream: Any) -> tuple[Kind, Any]:
        kind = self.rng.choice(self.ways)
        if kind.is_generator:
            way = stream
        else:
            way = self.rng.choice(staying if kind.seen else [*staying, *leaving])
        self.now = f"{way.__name__} of {kind.pool}"
        self.did[way.__name__] += 1
        return kind, way

    # -- a thread -----------------------------------------------------------------------

    def run(self) -> None:
        while len(self.tickets) < self.quota:
            kind, way = self._choose(
                [self.remote, self.spawn, self.spawn, self.map], [self.part_of_map], self.stream
            )
            way(kind)
        self.now = "done"

    def remote(self, kind: Kind) -> None:
        (sent,) = self.make(kind)
        self.observe(sent, lambda: kind.function.remote(sent.job))

    def spawn(self, kind: Kind) -> None:
        rng = self.rng
        calls: list[tuple[Sent, FunctionCall[Any]]] = []
        for sent in self.make(kind, 16):
            calls.append((sent, kind.function.spawn(sent.job)))
            if rng.random() < 0.1:
                calls[-1][1].cancel()
        for _, call in calls:
            if rng.random() < 0.1:
                call.cancel(terminate_containers=rng.random() < 0.1)
        rng.shuffle(calls)
        for sent, call in calls:
            self.observe(sent, call.get)

    def map(self, kind: Kind) -> None:
        inputs = self.make(kind, 40)
        results = kind.function.map([sent.job for sent in inputs], return_exceptions=True)
        for sent, result in zip(inputs, results, strict=True):
            self.note(sent, result)

    def part_of_map(self, kind: Kind) -> None:
        inputs = self.make(kind, 40)
        results = kind.function.map([sent.job for sent in inputs], return_exceptions=True)
        with closing(results):
            count = self.rng.randint(1, len(inputs))
            for sent, result in zip(inputs[:count], results, strict=False):
                self.note(sent, result)
        self.go_away(inputs)

    def stream(self, kind: Kind) -> None:
        (sent,) = self.make(kind)
        most = ITEMS + 1 if self.rng.random() < 0.6 else self.rng.randint(1, ITEMS // 2)
        got: list[int] = []
        with closing(kind.function.remote_gen(sent.job)) as reader:
            try:
                for item in reader:
                    got.append(item)
                    if len(got) == most:
                        break
            except Exception as error:
                self.note(sent, error)
        self._read(sent, got, most)

    def _read(self, sent: Sent, got: list[int], most: int) -> None:
        if got != list(range(len(got))):
            self.wrong.append(f"{sent!r} gave the items {got}")
        if sent.end is None and len(got) < most:
            if len(got) != ITEMS:
                self.wrong.append(f"{sent!r} ended after {len(got)} items")
            self.note(sent, (sent.job.number, sent.job.load))
        self.go_away([sent])

    # -- a task ---------------------------------------------------------------------------

    async def run_async(self) -> None:
        while len(self.tickets) < self.quota:
            kind, way = self._choose(
                [self.remote_async, self.spawn_async, self.map_async],
                [self.cancelled_remote],
                self.stream_async,
            )
            await way(kind)
        self.now = "done"

    async def remote_async(self, kind: Kind) -> None:
        (sent,) = self.make(kind)
        await self.observe_async(sent, lambda: kind.function.remote.aio(sent.job))

    async def spawn_async(self, kind: Kind) -> None:
        calls = [(sent, await kind.function.spawn.aio(sent.job)) for sent in self.make(kind, 16)]
        for _, call in calls:
            if self.rng.random() < 0.1:
                await call.cancel.aio()
        for sent, call in calls:
            await self.observe_async(sent, call.get.aio)

    async def map_async(self, kind: Kind) -> None:
        inputs = self.make(kind, 30)
        index = 0
        jobs = [sent.job for sent in inputs]
        async for result in kind.function.map.aio(jobs, return_exceptions=True):
            self.note(inputs[index], result)
            index += 1

    async def cancelled_remote(self, kind: Kind) -> None:
        (sent,) = self.make(kind)
        task = asyncio.create_task(
            self.observe_async(sent, lambda: kind.function.remote.aio(sent.job))
        )
        await asyncio.sleep(0)  # the first step hands it over
        await asyncio.sleep(self.rng.random() * LONGEST)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        self.go_away([sent])

    async def stream_async(self, kind: Kind) -> None:
        (sent,) = self.make(kind)
        most = ITEMS + 1 if self.rng.random() < 0.6 else self.rng.randint(1, ITEMS // 2)
        got: list[int] = []
        async with aclosing(kind.function.remote_gen.aio(sent.job)) as reader:
            try:
                async for item in reader:
                    got.append(item)
                    if len(got) == most:
                        break
            except Exception as error:
                self.note(sent, error)
        self._read(sent, got, most)


# -- one run -------------------------------------------------------------------------------


def stress_placed(inputs: int, seed: int) -> Report:
    """Send about `inputs` inputs to processes that are killed, and say what does not agree."""
    report = Report()
    began = time.monotonic()
    before = set(threading.enumerate())
    with tempfile.TemporaryDirectory() as folder, listening(report.wrong):
        path = Path(folder) / "witness"
        os.environ[WITNESS] = str(path)
        try:
            callers, hung, goods_left = _run(path, inputs, seed, report)
        finally:
            del os.environ[WITNESS]
        if hung:
            return report
        sent = [each for caller in callers for each in caller.tickets]
        report.wrong += _compare(sent, report)
        lines = [line.split() for line in path.read_text().splitlines()]
        mine = [line for line in lines if not line[1].startswith("n")]
        report.wrong += _contradicted(mine, sent, report)
        nested = [line for line in lines if line[1].startswith("n")]
        report.wrong += _nested(nested, report)
        trades = {sent.job.number for sent in sent if sent.kind.pool == "trades"}
        did = Counter(what for what, number, _ in mine if int(number) in trades)
        report.wrong += _goods(nested, did["begin"] - did["returned"], goods_left, report)
    report.wrong += left(before)
    report.inputs = len(sent)
    report.fates.update(str(each.end and each.end.value) for each in sent)
    for stats in report.statistics.values():
        for name in COUNTED:
            report.pools[name] += getattr(stats, name)
    for caller in callers:
        report.did.update(caller.did)
    report.seconds = time.monotonic() - began
    return report


COUNTED: Final = (
    *("accepted", "succeeded", "failed", "cancelled", "retries"),
    *("containers_started", "lost_containers", "returned_inputs"),
)


Left = tuple[list[str], list[str]]
"""What was left in the queue, and in the dict."""


def _run(path: Path, inputs: int, seed: int, report: Report) -> tuple[list[Caller], bool, Left]:
    ways, owners = kinds()
    each = inputs // (THREADS + LOOPS)
    threads = [Caller(ways, seed, index, each, report.wrong) for index in range(THREADS)]
    on_loops = [
        [
            Caller(ways, seed, THREADS + loop * TASKS + task, each // TASKS, report.wrong)
            for task in range(TASKS)
        ]
        for loop in range(LOOPS)
    ]
    callers = [*threads, *(caller for group in on_loops for caller in group)]
    done = threading.Event()
    killed: deque[int] = deque()
    with app.run(placement=Processes(max_processes=32)):
        running = [threading.Thread(target=caller.run, daemon=True) for caller in threads]
        running += [
            threading.Thread(target=_in_loop, args=(group,), daemon=True) for group in on_loops
        ]
        killer = threading.Thread(target=_kill, args=(seed, done, killed), daemon=True)
        for thread in (killer, *running):
            thread.start()
        hung = not _joined(running, callers)
        done.set()
        killer.join()
        if not hung:
            hung = not _is_idle(owners)
        if hung:
            report.wrong.append(hang(callers))
            os.environ.pop(WITNESS, None)
            return callers, True, ([], [])
        report.statistics = {pool: statistics_of(owner) for pool, owner in owners.items()}
        children = _children()
        goods_left = goods.get_many(1_000_000, block=False), list(table.keys())
        table.clear()
    report.did["kill -9"] = len(killed)
    deadline = time.monotonic() + HANGS_AFTER
    while alive := [pid for pid in children if _lives(pid)]:
        if time.monotonic() > deadline:
            report.wrong.append(f"processes are left: {alive}")
            break
        time.sleep(0.01)
    return callers, False, goods_left


def _in_loop(group: list[Caller]) -> None:
    async def main() -> None:
        await asyncio.gather(*(caller.run_async() for caller in group))

    asyncio.run(main())


def _joined(running: list[threading.Thread], callers: list[Caller]) -> bool:
    """Wait for all callers; false if none gets on."""
    progress, since = -1, time.monotonic()
    for thread in running:
        while thread.is_alive():
            thread.join(1.0)
            now = sum(sent.end is not None for caller in callers for sent in caller.tickets)
            if now != progress:
                progress, since = now, time.monotonic()
            elif time.monotonic() - since > HANGS_AFTER:
                return False
    return True


def _is_idle(owners: dict[str, Any]) -> bool:
    """Wait until nothing runs; false if something does not end."""
    deadline = time.monotonic() + HANGS_AFTER
    while time.monotonic() < deadline:
        every = [statistics_of(owner) for owner in owners.values()]
        if not any(s.outside or s.queued or s.waiting or s.running for s in every):
            return True
        time.sleep(0.01)
    return False


def _kill(seed: int, done: threading.Event, killed: deque[int]) -> None:
    """Kill some container's process, every 50 ms."""
    rng = random.Random(seed)
    while not done.wait(KILLS_EVERY):
        children = _children()
        if children:
            pid = rng.choice(children)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)


def _children() -> list[int]:
    """The pids of the processes that the zygote has forked."""
    zygote = process_zygotes.of(()).pid
    if zygote is None:
        return []
    text = ""
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{zygote}/task/{zygote}/children").read_text()
    return [int(pid) for pid in text.split()]


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# -- the three sums ---------------------------------------------------------------------------


def _compare(inputs: list[Sent], report: Report) -> Iterable[str]:
    """What callers saw, beside what the pools counted."""
    by_pool: defaultdict[str, list[Sent]] = defaultdict(list)
    for sent in inputs:
        by_pool[sent.kind.pool].append(sent)
        if sent.end is None:
            yield f"{sent!r}: nobody saw its end"
    for pool, stats in report.statistics.items():
        if pool == NESTED:
            continue
        ends = Counter(sent.end for sent in by_pool[pool])
        unseen = ends[End.UNSEEN]
        count = len(by_pool[pool])
        if not count == stats.accepted == stats.succeeded + stats.failed + stats.cancelled:
            yield f"{pool}: callers sent {count} inputs, the pool has {stats}"
        for name, seen in (
            ("succeeded", ends[End.RESULT]),
            ("failed", sum(ends[end] for end in FAILED)),
            ("cancelled", ends[End.CANCELLED]),
        ):
            counted = getattr(stats, name)
            if not 0 <= counted - seen <= unseen:
                yield f"{pool}: callers saw {seen} {name} and not {unseen}, the pool has {counted}"
        gauges = {
            name: getattr(stats, name) for name in ("outside", "queued", "running", "abandoned")
        }
        if any(gauges.values()):
            yield f"{pool}: gauges that are not 0: {gauges}"
        most = by_pool[pool][0].kind.max_inputs if by_pool[pool] else 0
        if stats.peak_inputs > most:
            yield f"{pool}: {stats.peak_inputs} inputs at once in a container, of at most {most}"


def _nested(lines: list[list[str]], report: Report) -> Iterable[str]:
    """What the witness says of calls and operations of the code in containers."""
    times: dict[str, Counter[str]] = defaultdict(Counter)
    delivered: set[str] = set()
    for what, name, _ in lines:
        times[what][name] += 1
        report.ends[f"nested {what}"] += 1
        if what == "outcome":
            delivered.add(name)
        elif what == "begin" and name in delivered:
            yield f"the nested input {name} began after its outcome"
    sent, begun, returned = times["sent"], times["begin"], times["returned"]
    for name, count in begun.items():
        if count > 3:
            yield f"the nested input {name} ran {count} times"
        if name not in sent:
            yield f"the nested input {name} was never sent"
    for name, count in times["outcome"].items():
        if count > 1 or name not in returned:
            yield f"the nested input {name} has {count} outcomes, returned {returned[name]} times"
    stats = report.statistics[NESTED]
    if stats.accepted != stats.succeeded + stats.failed + stats.cancelled:
        yield f"{NESTED}: not every input has one end: {stats}"
    # Who was killed in the middle of a call may have sent, and may have got an outcome.
    if not len(begun.keys() | delivered) <= stats.accepted <= len(sent):
        yield f"{NESTED}: code sent {len(sent)} inputs, {len(begun)} began, the pool has {stats}"
    if stats.succeeded < len(delivered):
        yield f"{NESTED}: {len(delivered)} results were seen, the pool has {stats}"
    if stats.queued or stats.running or stats.outside or stats.abandoned:
        yield f"{NESTED}: gauges that are not 0: {stats}"


def _goods(lines: list[list[str]], struck: int, left: Left, report: Report) -> Iterable[str]:
    """What the witness says of the queue and the dict.

    Args:
        struck: how often code that puts and takes did not come to its end.
        left: what was in both after the run.
    """
    times: dict[str, Counter[str]] = defaultdict(Counter)
    for what, name, _ in lines:
        times[what][name] += 1
    in_queue, in_dict = left
    for name, count in (times["took"] + Counter(in_queue)).items():
        if count > 1 or name not in times["puts"]:
            yield f"{name} came out of the queue {count} times, put {times['puts'][name]} times"
    # Who was killed while it took something does not speak of it.
    lost = times["put"].keys() - times["took"].keys() - set(in_queue)
    if len(lost) > struck:
        yield f"{len(lost)} things were put into the queue and are nowhere: {sorted(lost)[:5]}"
    if len(in_dict) > struck:
        yield f"{len(in_dict)} things are in the dict, of {struck} runs that did not end well"
    report.did["in the queue"], report.did["in the dict"] = len(in_queue), len(in_dict)
    report.did["taken by the killed"] = len(lost)


def _contradicted(lines: list[list[str]], inputs: list[Sent], report: Report) -> Iterable[str]:
    """What the witness says, beside what callers saw."""
    by_number = {sent.job.number: sent for sent in inputs}
    runs: Counter[int] = Counter()
    returned: set[int] = set()
    delivered: set[int] = set()
    open_in: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for line in lines:
        what, text, pid = line
        number = int(text)
        sent = by_number[number]
        here = open_in[sent.kind.pool, pid]
        report.ends[what] += 1
        if what == "outcome":
            delivered.add(number)
        elif what == "begin":
            runs[number] += 1
            here.add(number)
            if number in delivered:
                yield f"{sent!r}: its code began after its outcome"
            # The last line of code that was struck may be missing.
            count = sum(by_number[each].end not in STRUCK for each in here)
            most = sent.kind.max_inputs * sent.kind.most_in_a_batch
            if count > most:
                yield f"{sent!r}: {count} inputs were open in process {pid}, of at most {most}"
        else:
            here.discard(number)
            if what == "returned":
                returned.add(number)
    for number, sent in by_number.items():
        if runs[number] > sent.kind.most_runs:
            yield f"{sent!r}: its code ran {runs[number]} times"
        if sent.end is End.RESULT and number not in returned:
            yield f"{sent!r}: a result that its code did not return"


STRUCK: Final = (End.CANCELLED, End.TIMEOUT, End.UNSEEN)
