"""The program under stress: functions and classes of all kinds, and what their code does.

Owns the user's side: each function notes in its ticket that an attempt began and how
it ended, and who is in each container.  See ``tickets.py`` for how these notes bear
strikes.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import moorage
from moorage import experimental
from moorage.exception import (
    FunctionTimeoutError,
    InputCancellation,
    InputCancelledError,
    QueueTimeoutError,
    RemoteError,
    ResourceExhaustedError,
)
from moorage.runtime.context import current_input

from .balance import Rules
from .tickets import Attempt, Fate, Sent, Ticket

ITEMS = 24  # more than a stream is ahead of its reader


class Planned(Exception):
    """With the number of the ticket."""


class BadStart(Exception):
    """From an enter hook."""


@dataclass
class Kind:
    """One way to reach a pool: what to call, and what it takes."""

    pool: str
    function: Any
    is_async: bool = False
    is_generator: bool = False
    plans: tuple[str, ...] = ()  # beyond those that all do
    children: Kind | None = None  # what its code calls
    strikable: bool = False  # what it was about to send may be unsent


@dataclass
class Program:
    app: moorage.App
    kinds: list[Kind]
    owners: dict[str, Any]  # by pool: what has its `statistics`
    bounds: dict[str, Any]  # and its `update_autoscaler`
    rules: dict[str, Rules]
    hooks: Hooks
    most: dict[str, int] = field(default_factory=dict[str, int])
    problems: list[str] = field(default_factory=list[str])


class Hooks:
    """The enter and exit hooks that ran, by class and instance."""

    def __init__(self) -> None:
        self.entered: list[tuple[str, int]] = []
        self.failed: list[tuple[str, int]] = []
        self.exited: list[tuple[str, int]] = []
        self.numbers = itertools.count(1)


def observe(ticket: Ticket, call: Callable[[], Any], problems: list[str]) -> None:
    """Make the caller's note of what `call` gives or raises; others' errors pass."""
    try:
        value = call()
    except Exception as error:
        note(ticket, error, problems)
    else:
        note(ticket, value, problems)


async def observe_async(ticket: Ticket, call: Callable[[], Any], problems: list[str]) -> None:
    try:
        value = await call()
    except Exception as error:
        note(ticket, error, problems)
    else:
        note(ticket, value, problems)


def note(ticket: Ticket, got: object, problems: list[str]) -> None:
    """Note what came of `ticket`: a value, or an error."""
    if not isinstance(got, BaseException):
        if got != ticket.number:
            problems.append(f"{ticket!r} got the result {got!r}")
        ticket.met(Fate.RESULT)
    elif isinstance(got, Planned):
        if got.args != (ticket.number,):
            problems.append(f"{ticket!r} got another's error {got!r}")
        ticket.met(Fate.ERROR)
    elif isinstance(got, InputCancelledError):
        ticket.met(Fate.CANCELLED)
    elif isinstance(got, FunctionTimeoutError):
        ticket.met(Fate.TIMEOUT)
    elif isinstance(got, QueueTimeoutError):
        ticket.met(Fate.LATE)
    elif isinstance(got, ResourceExhaustedError):
        ticket.met(Fate.REFUSED)
    elif isinstance(got, BadStart):
        ticket.met(Fate.NO_CONTAINER)
    elif isinstance(got, RemoteError) and isinstance(got.__cause__, SystemExit):
        ticket.met(Fate.ERROR)
    else:
        problems.append(f"{ticket!r} got {got!r}, cause {got.__cause__!r}")


def make_program(seed: int) -> Program:
    app = moorage.App("stress")
    hooks = Hooks()
    crowds: dict[tuple[str, int], set[Attempt]] = {}
    most: dict[str, int] = {}
    problems: list[str] = []
    rng = random.Random(seed)

    def come(ticket: Ticket, attempt: Attempt) -> set[Attempt]:
        ticket.attempts.append(attempt)
        input = current_input()
        assert input is not None
        crowd = crowds.setdefault((ticket.pool, input.container.number), set())
        crowd.add(attempt)
        count = len(crowd)
        if count > most.get(ticket.pool, 0):
            most[ticket.pool] = count
        return crowd

    def go(ticket: Ticket, attempt: Attempt, how: str) -> None:
        if attempt.end is None:
            attempt.end = how
        input = current_input()
        assert input is not None
        crowds.setdefault((ticket.pool, input.container.number), set()).discard(attempt)

    # The outer handler of each is for a strike in the midst of the inner notes; there
    # is only one for each input.

    def run(ticket: Ticket, work: Callable[[Ticket], None]) -> int:
        attempt = Attempt()
        try:
            try:
                come(ticket, attempt)
                work(ticket)
            except InputCancellation:
                go(ticket, attempt, "struck")
                raise
            except BaseException:
                go(ticket, attempt, "raised")
                raise
            go(ticket, attempt, "returned")
            return ticket.number
        except InputCancellation:
            if attempt in ticket.attempts:
                go(ticket, attempt, "struck")
            raise

    async def run_async(ticket: Ticket, work: Callable[[Ticket], Any]) -> int:
        attempt = Attempt()
        come(ticket, attempt)
        try:
            await work(ticket)
        except asyncio.CancelledError:
            go(ticket, attempt, "struck")
            raise
        except BaseException:
            go(ticket, attempt, "raised")
            raise
        go(ticket, attempt, "returned")
        return ticket.number

    def stream(ticket: Ticket) -> Iterator[int]:
        attempt = Attempt()
        try:
            try:
                come(ticket, attempt)
                for item in range(ITEMS):
                    if item == ITEMS // 2:
                        perform(ticket)
                    yield item
            except InputCancellation:
                go(ticket, attempt, "struck")
                raise
            except GeneratorExit:
                go(ticket, attempt, "closed")
                raise
            except BaseException:
                go(ticket, attempt, "raised")
                raise
            go(ticket, attempt, "returned")
        except InputCancellation:
            if attempt in ticket.attempts:
                go(ticket, attempt, "struck")
            raise

    async def stream_async(ticket: Ticket) -> AsyncGenerator[int, None]:
        attempt = Attempt()
        come(ticket, attempt)
        try:
            for item in range(ITEMS):
                if item == ITEMS // 2:
                    await perform_async(ticket)
                yield item
        except (GeneratorExit, asyncio.CancelledError) as error:
            go(ticket, attempt, "closed" if isinstance(error, GeneratorExit) else "struck")
            raise
        except BaseException:
            go(ticket, attempt, "raised")
            raise
        go(ticket, attempt, "returned")

    kinds: list[Kind] = []
    owners: dict[str, Any] = {}
    bounds: dict[str, Any] = {}
    rules: dict[str, Rules] = {}

    def add(
        function: Any,
        pool: str,
        max_inputs: int,
        *,
        max_retries: int = 0,
        timed: bool = False,
        **kind: Any,
    ) -> Kind:
        made = Kind(pool, function, **kind)
        kinds.append(made)
        owners.setdefault(pool, function)
        rules[pool] = Rules(max_inputs, max_retries, timed, perhaps=pool == "loose")
        return made

    kept: dict[str, Any] = {"min_containers": 1, "scaledown_window": 2, "max_containers": 2}

    @app.function(**kept)
    def single(ticket: Ticket) -> int:
        return run(ticket, perform)

    @app.function(**kept)
    @moorage.concurrent(max_inputs=4, target_inputs=2)
    def several(ticket: Ticket) -> int:
        return run(ticket, perform)

    @app.function(**kept)
    @moorage.concurrent(max_inputs=20, target_inputs=10)
    async def tasks(ticket: Ticket) -> int:
        return await run_async(ticket, perform_async)

    # Reached by what may leave it unknown whether an input was handed over: inputs
    # that are struck while they call, and maps that read an iterator in a thread.
    @app.function(**kept)
    @moorage.concurrent(max_inputs=6)
    def loose(ticket: Ticket) -> int:
        return run(ticket, perform)

    @app.function(**kept)
    @moorage.concurrent(max_inputs=5, target_inputs=3)
    def items(ticket: Ticket) -> Iterator[int]:
        yield from stream(ticket)

    @app.function(**kept)
    @moorage.concurrent(max_inputs=8)
    async def items_async(ticket: Ticket) -> AsyncIterator[int]:
        async with aclosing(stream_async(ticket)) as steps:
            async for item in steps:
                yield item

    pause = moorage.Retries(max_retries=2, initial_delay=0.002, backoff_coefficient=1.0)

    @app.function(retries=pause, **kept)
    @moorage.concurrent(max_inputs=3)
    def again(ticket: Ticket) -> int:
        return run(ticket, perform)

    @app.function(retries=pause, **kept)
    @moorage.concurrent(max_inputs=6)
    async def again_async(ticket: Ticket) -> int:
        return await run_async(ticket, perform_async)

    @app.function(max_backlog=2, on_full="raise", **kept)
    @moorage.concurrent(max_inputs=2)
    def choosy(ticket: Ticket) -> int:
        return run(ticket, perform)

    @app.function(max_backlog=6, on_full="wait", **kept)
    @moorage.concurrent(max_inputs=3)
    def patient(ticket: Ticket) -> int:
        return run(ticket, perform)

    @app.function(max_backlog=6, on_full="wait", queue_timeout=0.05, **kept)
    @moorage.concurrent(max_inputs=3)
    async def bounded(ticket: Ticket) -> int:
        return await run_async(ticket, perform_async)

    @app.function(queue_timeout=0.02, **kept)
    @moorage.concurrent(max_inputs=2)
    def hurried(ticket: Ticket) -> int:
        return run(ticket, perform)

    @app.function(timeout=0.004, **kept)
    @moorage.concurrent(max_inputs=4)
    def brief(ticket: Ticket) -> int:
        return run(ticket, perform)

    @app.function(timeout=0.004, retries=pause, **kept)
    @moorage.concurrent(max_inputs=4)
    async def brief_async(ticket: Ticket) -> int:
        return await run_async(ticket, perform_async)

    @app.function(**kept)
    @moorage.concurrent(max_inputs=4)
    @moorage.cooperative
    def polite(ticket: Ticket) -> int:
        return run(ticket, perform)

    leaf = add(single, "single", 1)
    leaves = add(several, "several", 4)
    leaf_tasks = add(tasks, "tasks", 20, is_async=True)
    loose_leaf = add(loose, "loose", 6)
    add(items, "items", 5, is_generator=True)
    add(items_async, "items_async", 8, is_async=True, is_generator=True)
    add(again, "again", 3, max_retries=2, plans=("once",))
    add(again_async, "again_async", 6, max_retries=2, is_async=True, plans=("once",))
    add(choosy, "choosy", 2)
    add(patient, "patient", 3)
    add(bounded, "bounded", 3, is_async=True)
    add(hurried, "hurried", 2)
    add(brief, "brief", 4, timed=True)
    add(brief_async, "brief_async", 4, max_retries=2, timed=True, is_async=True)
    add(polite, "polite", 4, plans=("check",))

    def call_children(ticket: Ticket, child: Any) -> None:
        perform(ticket)
        if ticket.plan == "map":
            results = child.map(Sent(ticket.children), return_exceptions=True, order_outputs=True)
            for sent, result in zip(ticket.children, results, strict=False):
                note(sent, result, problems)
            return
        for sent in ticket.children:
            sent.sent = True
            observe(sent, lambda sent=sent: child.remote(sent), problems)  # type: ignore[misc]

    async def call_children_async(ticket: Ticket, child: Any) -> None:
        await perform_async(ticket)
        for sent in ticket.children:
            sent.sent = True
            await observe_async(sent, lambda sent=sent: child.remote.aio(sent), problems)  # type: ignore[misc]

    @app.function(**kept)
    @moorage.concurrent(max_inputs=3)
    def parent(ticket: Ticket) -> int:
        return run(ticket, lambda ticket: call_children(ticket, loose))

    @app.function(**kept)
    @moorage.concurrent(max_inputs=3)
    @moorage.cooperative
    def polite_parent(ticket: Ticket) -> int:
        return run(ticket, lambda ticket: call_children(ticket, several))

    @app.function(**kept)
    @moorage.concurrent(max_inputs=8)
    async def parent_async(ticket: Ticket) -> int:
        return await run_async(ticket, lambda ticket: call_children_async(ticket, tasks))

    @app.function(**kept)
    @moorage.concurrent(max_inputs=4)
    async def parent_of_single(ticket: Ticket) -> int:
        return await run_async(ticket, lambda ticket: call_children_async(ticket, single))

    add(parent, "parent", 3, children=loose_leaf, plans=("map",), strikable=True)
    add(polite_parent, "polite_parent", 3, children=leaves, plans=("map",))
    add(parent_async, "parent_async", 8, is_async=True, children=leaf_tasks)
    add(parent_of_single, "parent_of_single", 4, is_async=True, children=leaf)

    @app.cls(**{**kept, "max_containers": 3})
    @moorage.concurrent(max_inputs=6, target_inputs=4)
    class Service:
        @moorage.enter()
        def open(self) -> None:
            self.me = ("service", next(hooks.numbers))
            hooks.entered.append(self.me)

        @moorage.exit()
        def close(self) -> None:
            hooks.exited.append(self.me)

        @moorage.method()
        def work(self, ticket: Ticket) -> int:
            return run(ticket, perform)

        @moorage.method()
        async def work_async(self, ticket: Ticket) -> int:
            return await run_async(ticket, perform_async)

        @moorage.method()
        def items(self, ticket: Ticket) -> Iterator[int]:
            yield from stream(ticket)

        @moorage.method()
        async def items_async(self, ticket: Ticket) -> AsyncIterator[int]:
            async with aclosing(stream_async(ticket)) as steps:
                async for item in steps:
                    yield item

    @app.cls(**kept)
    @moorage.concurrent(max_inputs=4)
    class Fragile:
        """Some containers do not start."""

        @moorage.enter()
        async def open(self) -> None:
            self.me = ("fragile", next(hooks.numbers))
            if rng.random() < 0.3:
                hooks.failed.append(self.me)
                raise BadStart
            hooks.entered.append(self.me)

        @moorage.exit()
        async def close(self) -> None:
            hooks.exited.append(self.me)

        @moorage.method()
        async def work(self, ticket: Ticket) -> int:
            return await run_async(ticket, perform_async)

    service, fragile = Service(), Fragile()
    own = ("leave", "resize")
    add(service.work, "service", 6, plans=own)
    add(service.work_async, "service", 6, is_async=True, plans=own)
    add(service.items, "service", 6, is_generator=True, plans=own)
    add(service.items_async, "service", 6, is_async=True, is_generator=True, plans=own)
    add(fragile.work, "fragile", 4, is_async=True, plans=own)
    bounds.update(service=service, fragile=fragile)
    return Program(app, kinds, owners, owners | bounds, rules, hooks, most, problems)


def perform(ticket: Ticket) -> None:
    """What synchronous code does between its notes."""
    plan = ticket.plan
    if plan == "nap":
        time.sleep(ticket.seconds)
    elif plan == "spin":
        until = time.perf_counter() + ticket.seconds
        while time.perf_counter() < until:
            pass
    elif plan == "check":
        for _ in range(10):
            moorage.check_cancelled()
            time.sleep(ticket.seconds / 10)
    elif plan == "shield":
        with moorage.shield():
            time.sleep(ticket.seconds)
    else:
        perform_at_once(ticket)


async def perform_async(ticket: Ticket) -> None:
    plan = ticket.plan
    if plan in ("nap", "check"):
        await asyncio.sleep(ticket.seconds)
    elif plan == "spin":
        for _ in range(20):
            await asyncio.sleep(0)
    elif plan == "shield":
        with moorage.shield():
            await asyncio.sleep(ticket.seconds)
    else:
        perform_at_once(ticket)


def perform_at_once(ticket: Ticket) -> None:
    plan = ticket.plan
    if plan == "error" or (plan == "once" and len(ticket.attempts) == 1):
        raise Planned(ticket.number)
    if plan == "exit":
        raise SystemExit(ticket.number)
    if plan == "resize":
        experimental.set_local_input_concurrency(1 + ticket.number % 7)
    elif plan == "leave" and ticket.number % 4 == 0:
        experimental.stop_fetching_inputs()


__all__ = ["ITEMS", "Hooks", "Kind", "Program", "make_program"]
