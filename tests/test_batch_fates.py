"""Thousands of batches in one container, whose members meet every fate: the others get theirs."""

import asyncio
import io
import os
import random
import threading
from collections import Counter

import pytest

import moorage
from moorage import App, config
from moorage.exception import (
    FunctionTimeoutError,
    InputCancelledError,
    InvalidError,
    RemoteError,
)
from onlooker import wait_until_idle

# More by hand: MOORAGE_BATCHES=50000 pytest tests/test_batch_fates.py
BATCHES = int(os.environ.get("MOORAGE_BATCHES", "1500"))
SIZE = 4


class Mine(Exception):
    """In one member's place; with its number."""


class Ours(Exception):
    """Of a whole batch."""


# What one member asks for, for itself or for its batch, and how often.
PLANS = {
    "return": 60,
    "error in its place": 8,
    "exit in its place": 3,
    "arguments that do not fit": 6,
    "raise": 4,
    "exit": 2,
    "interrupt": 2,
    "cancelled error": 2,
    "generator exit": 1,
    "too short a list": 2,
    "no list": 2,
    "cancels its task": 2,
    "cancels all tasks": 1,
    "stops the loop": 2,
    "hang": 0.1,
}
RAISES = {
    "raise": Ours,
    "exit": SystemExit,
    "interrupt": KeyboardInterrupt,
    "cancelled error": asyncio.CancelledError,
    "generator exit": GeneratorExit,
}


class World:
    """The batched function, and what it meant each of its members to get."""

    def __init__(self, kind):
        self.app = App("fates")
        self.meant = {}  # by number: what its code said
        self.batches = 0
        self.lock = threading.Lock()
        self.kind = kind

        def sync(numbers, plans):
            plan = self.begin(numbers, plans)
            if plan == "hang":
                self.hang()
            return self.end(numbers, plans, plan)

        async def asynchronous(numbers, plans):
            plan = self.begin(numbers, plans)
            await asyncio.sleep(0)
            if plan == "hang":
                await asyncio.Event().wait()
            elif plan == "cancels its task":
                asyncio.current_task().cancel()
                await asyncio.sleep(0)
            elif plan == "cancels all tasks":
                self.swept = True
                for task in asyncio.all_tasks():
                    task.cancel()
                await asyncio.sleep(0)
            elif plan == "stops the loop":
                asyncio.get_running_loop().stop()
                await asyncio.sleep(0)
            return self.end(numbers, plans, plan)

        self.swept = False  # any batch may have been cancelled by another
        self.function = self.app.function(max_containers=1, timeout=1, serialized=True)(
            moorage.concurrent(max_inputs=2)(
                moorage.batched(max_batch_size=SIZE, wait_ms=1)(
                    sync if kind == "sync" else asynchronous
                )
            )
        )

    def hang(self):
        while True:
            moorage.check_cancelled()

    def begin(self, numbers, plans):
        with self.lock:
            self.batches += 1
        plan = next((plan for plan in plans if plan not in OWN), "return")
        if self.kind == "sync" and plan in ONLY_ASYNC:
            plan = "return"
        if plan in RAISES:
            self.mean(numbers, RAISES[plan])
            raise RAISES[plan]
        if plan == "hang":
            self.mean(numbers, FunctionTimeoutError)
        elif plan == "cancels its task":
            self.mean(numbers, asyncio.CancelledError)
        return plan

    def mean(self, numbers, what):
        for number in numbers:
            self.meant[number] = what

    def end(self, numbers, plans, plan):
        if plan in ("too short a list", "no list"):
            self.mean(numbers, InvalidError)
            return numbers[1:] if plan == "too short a list" else None
        places = []
        for number, its in zip(numbers, plans, strict=True):
            if its == "error in its place":
                places.append(Mine(number))
            elif its == "exit in its place":
                places.append(SystemExit(number))
            else:
                places.append(number)
            self.meant[number] = places[-1]
        return places


OWN = ("return", "error in its place", "exit in its place", "arguments that do not fit")
ONLY_ASYNC = ("cancels its task", "cancels all tasks", "stops the loop")


def call(world, first, seen, problems):
    """Spawn some at a time, cancel a few of them, and see what each gets."""
    rng = random.Random(first)
    number = first
    while world.batches < BATCHES and not problems:
        calls = []
        for _ in range(rng.randint(1, 12)):
            plan = rng.choices(list(PLANS), list(PLANS.values()))[0]
            number += 1
            if plan == "arguments that do not fit":
                calls.append((number, plan, world.function.spawn(number, plan, 3)))
            else:
                calls.append((number, plan, world.function.spawn(number, plan)))
        cancelled = {number for number, _, _ in calls if rng.random() < 0.15}
        for which, _, spawned in calls:
            if which in cancelled:
                spawned.cancel()
        for which, plan, spawned in calls:
            try:
                got = spawned.get(timeout=60)
            except BaseException as error:
                got = error
            seen[type(got).__name__] += 1
            if not fits(world, which, plan, got, which in cancelled):
                problems.append((which, plan, got, world.meant.get(which)))


def fits(world, number, plan, got, cancelled):
    if isinstance(got, InputCancelledError):
        return cancelled
    if world.swept and isinstance(getattr(got, "__cause__", None), asyncio.CancelledError):
        return True  # maybe before its first step
    if plan == "arguments that do not fit":
        return isinstance(got, InvalidError)
    meant = world.meant.get(number)
    if isinstance(meant, int):
        return got == meant == number
    if isinstance(meant, Mine):
        return isinstance(got, Mine) and got.args == (number,)
    if isinstance(meant, SystemExit):
        return isinstance(got, RemoteError) and got.__cause__.args == (number,)
    if meant in (Ours, InvalidError, FunctionTimeoutError):
        return isinstance(got, meant)
    return meant is not None and isinstance(got, RemoteError) and isinstance(got.__cause__, meant)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_batch_loop_survives_any_members_fate(kind, monkeypatch, caplog, often_switching):
    monkeypatch.setattr(config, "cancel_grace", 0.002)
    world = World(kind)
    # A count for each caller: one that all add to would lose some.
    counts, problems = [Counter() for _ in range(4)], []
    with world.app.run():
        threads = [
            threading.Thread(target=call, args=(world, index * 10_000_000, seen, problems))
            for index, seen in enumerate(counts)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            if thread.is_alive():
                said = io.StringIO()
                moorage.describe(said)
                pytest.fail(f"a caller waits for ever:\n{said.getvalue()}")
        assert problems == []
        assert world.batches >= BATCHES
        assert world.function.remote(1, "return") == 1, "it works as on its first day"
        # What was answered may be on its way out.
        wait_until_idle(world.function)
        seen_at_end = world.function.statistics()
    s, seen = seen_at_end, sum(counts, Counter())
    assert (s.queued, s.waiting, s.running, s.abandoned, s.abandoned_threads) == (0,) * 5
    assert s.accepted == s.succeeded + s.failed + s.cancelled == sum(seen.values()) + 1
    assert s.batches.running == 0
    assert max(size for size, _ in s.batches.sizes) <= SIZE
    assert s.containers_started == 1, "the same container all the time"
    for name in ("int", "Mine", "Ours", "RemoteError", "InvalidError", "InputCancelledError"):
        assert seen[name], name
