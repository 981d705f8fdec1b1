"""One stress run: starts the callers, watches them, waits for the end and compares.

Owns the order of the steps, the watchdog, and what must be left at the end: nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import io
import logging
import random
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import moorage
from moorage import config
from moorage.exception import InputCancellation
from moorage.running import runs
from moorage.runtime.clocks.timekeeper import process_timekeeper
from moorage.runtime.pools.capacity import process_capacity
from moorage.runtime.pools.statistics import PoolStatistics
from moorage.testing import Probe

from .balance import compare
from .callers import Caller, in_loop, in_thread, resolve
from .program import Program, make_program
from .tickets import Ticket

# Seconds without any caller's progress after which the run counts as hung.
HANGS_AFTER = 60.0

# What the log may say: containers that were told to fail, and those that the run
# itself fills with code that was answered and goes on.  On a busy machine a thread may
# need long for its end; that it comes is looked at after the run.
EXPECTED = ("failed to start", "is given up: ", "which is ending", "is lost")


COUNTED = (
    "accepted",
    "succeeded",
    "failed",
    "cancelled",
    "refused",
    "retries",
    "containers_started",
)


@dataclass
class Report:
    inputs: int = 0
    did: Counter[str] = field(default_factory=Counter[str])
    fates: Counter[str] = field(default_factory=Counter[str])
    ends: Counter[str] = field(default_factory=Counter[str])
    pools: Counter[str] = field(default_factory=Counter[str])
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list[str])
    # For tests of the comparison itself.
    tickets: list[Ticket] = field(default_factory=list[Ticket])
    statistics: dict[str, PoolStatistics] = field(default_factory=dict[str, PoolStatistics])
    program: Program | None = None

    def __str__(self) -> str:
        rows = (
            ("callers did", self.did),
            ("callers saw", self.fates),
            ("code", self.ends),
            ("statistics", self.pools),
        )
        return "\n".join(
            f"  {name}: " + ", ".join(f"{what} {count:,}" for what, count in counts.most_common())
            for name, counts in rows
        )


class _Log(logging.Handler):
    def __init__(self, into: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._into = into

    def emit(self, record: logging.LogRecord) -> None:
        if not any(expected in record.getMessage() for expected in EXPECTED):
            text = record.getMessage()
            if record.exc_info:
                text += "\n" + logging.Formatter().formatException(record.exc_info)
            self._into.append(f"the log says: {text}")


@contextlib.contextmanager
def listening(into: list[str]) -> Iterator[None]:
    """Whatever nobody else would hear of goes into `into`."""
    log = _Log(into)
    loggers = [logging.getLogger("moorage"), logging.getLogger("asyncio")]
    thread_hook, lost_hook = threading.excepthook, sys.unraisablehook

    def in_a_thread(args: Any) -> None:
        into.append(f"a thread ended with {args.exc_value!r}")
        thread_hook(args)

    def lost(args: Any) -> None:
        if isinstance(args.exc_value, InputCancellation):
            return  # a strike that landed in a finalizer of the user's code is lost there
        into.append(f"nobody got {args.exc_value!r} of {args.object!r}")
        lost_hook(args)

    for logger in loggers:
        logger.addHandler(log)
    propagated = loggers[0].propagate
    loggers[0].propagate = False
    threading.excepthook, sys.unraisablehook = in_a_thread, lost
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = thread_hook, lost_hook
        loggers[0].propagate = propagated
        for logger in loggers:
            logger.removeHandler(log)


@contextlib.contextmanager
def quick_strikes(seed: int) -> Iterator[None]:
    """Strikes come soon, and threads are switched often: more happens in each second."""
    grace, interval = config.cancel_grace, sys.getswitchinterval()
    config.cancel_grace = 0.002
    sys.setswitchinterval((1e-4, 1e-5, 1e-3)[seed % 3])
    try:
        yield
    finally:
        config.cancel_grace = grace
        sys.setswitchinterval(interval)


def stress(inputs: int, seed: int, *, threads: int = 8, loops: int = 4, tasks: int = 6) -> Report:
    """Send about `inputs` inputs, and say what does not agree."""
    report = Report()
    began = time.monotonic()
    before = set(threading.enumerate())
    with listening(report.wrong), quick_strikes(seed):
        program = report.program = make_program(seed)
        board: deque[Any] = deque(maxlen=64)
        # A thread does as much as a loop.
        each = inputs // (threads + loops)
        callers = [Caller(program, seed, index, each, board) for index in range(threads)]
        on_loops = [
            [
                Caller(program, seed, threads + loop * tasks + task, each // tasks, board)
                for task in range(tasks)
            ]
            for loop in range(loops)
        ]
        everybody = [*callers, *(caller for group in on_loops for caller in group)]
        errors: list[BaseException] = []
        with program.app.run():
            hung = not _call(program, callers, on_loops, errors, seed)
            if hung or not _wait_idle(program):
                report.wrong.append(hang(everybody))
                return report
            report.statistics = {
                pool: statistics_of(owner) for pool, owner in program.owners.items()
            }
        report.wrong += [f"a caller ended with {error!r}" for error in errors]
        report.wrong += program.problems
    report.tickets = [ticket for caller in everybody for ticket in caller.tickets]
    resolve(report.tickets, [tickets for caller in everybody for tickets in caller.fed])
    report.wrong += compare(report.tickets, report.statistics, program.rules, program.most)
    report.wrong += _hooks_unfit(program, report.statistics)
    report.wrong += left(before)
    report.inputs = sum(ticket.sent for ticket in report.tickets)
    report.fates.update(str(ticket.fate and ticket.fate.value) for ticket in report.tickets)
    report.ends.update(str(attempt.end) for ticket in report.tickets for attempt in ticket.attempts)
    for s in report.statistics.values():
        for name in COUNTED:
            report.pools[name] += getattr(s, name)
    for caller in everybody:
        report.did.update(caller.did)
    report.seconds = time.monotonic() - began
    return report


def _call(
    program: Program,
    callers: list[Caller],
    on_loops: list[list[Caller]],
    errors: list[BaseException],
    seed: int,
) -> bool:
    """Let them all call, while the pools' bounds change; false if they hang."""
    done = threading.Event()
    resizer = threading.Thread(target=_resize, args=(program, seed, done), daemon=True)
    running = [in_thread(caller, errors) for caller in callers]
    running += [in_loop(group, errors) for group in on_loops]
    everybody = [*callers, *(caller for group in on_loops for caller in group)]
    for thread in (resizer, *running):
        thread.start()
    progress, since = -1, time.monotonic()
    for thread in running:
        while thread.is_alive():
            thread.join(1.0)
            now = sum(len(caller.tickets) for caller in everybody)
            if now != progress:
                progress, since = now, time.monotonic()
            elif time.monotonic() - since > HANGS_AFTER:
                done.set()
                return False
    done.set()
    resizer.join()
    return True


def _resize(program: Program, seed: int, done: threading.Event) -> None:
    rng = random.Random(seed)
    owners = list(program.bounds.values())
    while not done.wait(0.005):
        rng.choice(owners).update_autoscaler(
            min_containers=1,  # a pool that is never empty keeps its counts
            max_containers=rng.randint(1, 4),
            buffer_containers=rng.randint(0, 1),
            scaledown_window=2,
        )


def _wait_idle(program: Program) -> bool:
    """Until what callers went away from has ended too; false if it does not."""
    gc.collect()
    waiting = threading.Thread(target=_be_idle, args=(program,), daemon=True)
    waiting.start()
    waiting.join(HANGS_AFTER)
    return not waiting.is_alive()


def _be_idle(program: Program) -> None:
    def is_idle() -> bool:
        every = [statistics_of(owner) for owner in program.owners.values()]
        return not any(s.outside or s.queued or s.waiting or s.running for s in every)

    # Only now: what they ran was not to be looked at.
    probe, pools = Probe(), runs.open_pools()
    for pool in pools:
        with pool.lock:
            pool.watch(probe)
    while True:
        # Readers that were dropped are closed there, which ends their feeders.
        closed = threading.Event()
        process_timekeeper.post(closed.set)
        closed.wait()
        feeders = [t for t in threading.enumerate() if t.name.startswith("moorage-feeder")]
        if not feeders and is_idle():
            break
        for feeder in feeders:
            feeder.join()
        probe.wait_until(is_idle)
    for pool in pools:
        with pool.lock:
            pool.watch(None)


def statistics_of(owner: Any) -> PoolStatistics:
    found: PoolStatistics | None = owner.statistics()
    assert found is not None, f"{owner!r} has no pool"
    return found


def hang(everybody: list[Any]) -> str:
    text = io.StringIO()
    moorage.describe(text)
    print(text.getvalue(), file=sys.stderr)
    faulthandler.dump_traceback(all_threads=True)
    at = [f"{caller.first}: {caller.now}" for caller in everybody if caller.now != "done"]
    return f"it hangs; callers that are not done: {at}"


def _hooks_unfit(program: Program, statistics: dict[str, PoolStatistics]) -> Iterator[str]:
    hooks = program.hooks
    entered, exited = Counter(hooks.entered), Counter(hooks.exited)
    if exited != entered:
        yield f"enter hooks ended {entered - exited} times more, {exited - entered} times less"
    if entered and max(entered.values()) > 1:
        yield f"enter hooks ran twice: {entered.most_common(3)}"
    for pool in ("service", "fragile"):
        count = sum(name == pool for name, _ in hooks.entered)
        # One that was stopped while it started ran both hooks, and is not counted.
        if count < statistics[pool].containers_started:
            yield f"{pool}: {count} enter hooks, but {statistics[pool]}"


def left(before: set[threading.Thread]) -> Iterator[str]:
    """What is left after the run: threads, tasks, runs, pools, room."""
    until = time.monotonic() + 30  # idle threads stay for 5 s, and again if work comes meanwhile
    for thread in set(threading.enumerate()) - before:
        if thread.name in ("moorage-timekeeper", "moorage-post"):  # while there is a zygote
            continue
        thread.join(max(0.0, until - time.monotonic()))
        if thread.is_alive():
            yield f"a thread is left: {thread.name}"
    if runs._open_runs or runs.open_pools():
        yield f"runs are left: {list(runs._open_runs)}, {runs.open_pools()}"
    capacity = process_capacity.statistics()
    if capacity.containers or capacity.sync_slots or capacity.waiting:
        yield f"room is left: {capacity}"
    gc.collect()
    for found in gc.get_objects():
        if isinstance(found, asyncio.Task) and not found.done():
            yield f"a task is left: {found!r}"
