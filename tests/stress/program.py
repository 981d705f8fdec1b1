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
from typing import Any, Final

import moorage
from moorage import experimental
from moorage.exception import (
    FunctionTimeoutError,
    InputCancellation,
    InputCancelledError,
    InvalidError,
    QueueTimeoutError,
    RemoteError,
    ResourceExhaustedError,
)
from moorage.runtime.context import current_input
from moorage.runtime.uninterruptible import uninterruptible

from .balance import Rules
from .tickets import Attempt, Fate, Ticket

ITEMS = 24  # more than a stream is ahead of its reader


class Planned(Exception):
    """With the number of the ticket."""


class BatchFailed(Exception):
    """Of all members of a batch."""


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
    perhaps: bool = False  # of what is fed to it one by one, the last may be kept by the feeder


# Pools whose maps are fed by a thread or a task: their iterables are read one by one, or
# their backlogs have bounds.
FED: Final = frozenset({"loose", "choosy", "patient", "bounded", "lists_bounded"})


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
    elif (
        isinstance(got, BatchFailed)
        or (isinstance(got, RemoteError) and isinstance(got.__cause__, SystemExit))
        or (isinstance(got, InvalidError) and "must return a list" in str(got))
    ):
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

    # A batch is one in its crowd, and an attempt of each of its members.

    def come_all(tickets: list[Ticket], attempts: list[Attempt], whole: Attempt) -> None:
        for ticket, attempt in zip(tickets, attempts, strict=True):
            ticket.attempts.append(attempt)
        ids = moorage.current_input_ids()
        if len(ids) != len(tickets) or ids[0] != moorage.current_input_id():
            problems.append(f"a batch of {len(tickets)} has the ids {ids}")
        input = current_input()
        assert input is not None
        crowd = crowds.setdefault((tickets[0].pool, input.container.number), set())
        crowd.add(whole)
        count = len(crowd)
        if count > most.get(tickets[0].pool, 0):
            most[tickets[0].pool] = count

    def go_all(
        tickets: list[Ticket], attempts: list[Attempt], whole: Attempt, hows: list[str]
    ) -> None:
        for ticket, attempt, how in zip(tickets, attempts, hows, strict=True):
            if attempt.end is None and attempt in ticket.attempts:
                attempt.end = how
        input = current_input()
        assert input is not None
        crowds.setdefault((tickets[0].pool, input.container.number), set()).discard(whole)

    def run_batch(tickets: list[Ticket]) -> list[int | BaseException]:
        attempts, whole = [Attempt() for _ in tickets], Attempt()
        struck, raised = ["struck"] * len(tickets), ["raised"] * len(tickets)
        try:
            try:
                come_all(tickets, attempts, whole)
                perform(lead_of(tickets))
                places = places_of(tickets)
            except InputCancellation:
                go_all(tickets, attempts, whole, struck)
                raise
            except BaseException:
                go_all(tickets, attempts, whole, raised)
                raise
            go_all(tickets, attempts, whole, hows_of(places, len(tickets)))
            return places
        except InputCancellation:
            go_all(tickets, attempts, whole, struck)
            raise

    async def run_batch_async(tickets: list[Ticket]) -> list[int | BaseException]:
        attempts, whole = [Attempt() for _ in tickets], Attempt()
        come_all(tickets, attempts, whole)
        try:
            await perform_async(lead_of(tickets))
            places = places_of(tickets)
        except asyncio.CancelledError:
            go_all(tickets, attempts, whole, ["struck"] * len(tickets))
            raise
        except BaseException:
            go_all(tickets, attempts, whole, ["raised"] * len(tickets))
            raise
        go_all(tickets, attempts, whole, hows_of(places, len(tickets)))
        return places

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
        most_in_a_batch: int | None = None,
        **kind: Any,
    ) -> Kind:
        perhaps = pool in FED
        made = Kind(pool, function, perhaps=perhaps, **kind)
        kinds.append(made)
        owners.setdefault(pool, function)
        rules[pool] = Rules(
            max_inputs,
            max_retries,
            timed,
            perhaps=perhaps,
            refuses=pool == "choosy",
            most_in_a_batch=most_in_a_batch,
        )
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

    # A batch of each kind is made of what many callers send.
    @app.function(**kept)
    @moorage.concurrent(max_inputs=2)
    @moorage.batched(max_batch_size=8, wait_ms=2)
    def lists(tickets: list[Ticket]) -> list[int | BaseException]:
        return run_batch(tickets)

    @app.function(**kept)
    @moorage.concurrent(max_inputs=4, target_inputs=2)
    @moorage.batched(max_batch_size=16, wait_ms=1)
    async def lists_async(tickets: list[Ticket]) -> list[int | BaseException]:
        return await run_batch_async(tickets)

    @app.function(retries=pause, **kept)
    @moorage.concurrent(max_inputs=2)
    @moorage.batched(max_batch_size=4, wait_ms=1)
    def lists_again(tickets: list[Ticket]) -> list[int | BaseException]:
        return run_batch(tickets)

    @app.function(timeout=0.004, **kept)
    @moorage.concurrent(max_inputs=2)
    @moorage.batched(max_batch_size=4, wait_ms=1)
    def lists_brief(tickets: list[Ticket]) -> list[int | BaseException]:
        return run_batch(tickets)

    @app.function(timeout=0.004, retries=pause, **kept)
    @moorage.concurrent(max_inputs=3)
    @moorage.batched(max_batch_size=4, wait_ms=1)
    async def lists_brief_async(tickets: list[Ticket]) -> list[int | BaseException]:
        return await run_batch_async(tickets)

    @app.function(max_backlog=3, on_full="wait", queue_timeout=0.05, **kept)
    @moorage.batched(max_batch_size=5, wait_ms=3)
    async def lists_bounded(tickets: list[Ticket]) -> list[int | BaseException]:
        return await run_batch_async(tickets)

    @app.cls(**kept)
    @moorage.concurrent(max_inputs=3)
    class Lists:
        @moorage.enter()
        def open(self) -> None:
            self.me = ("lists", next(hooks.numbers))
            hooks.entered.append(self.me)

        @moorage.exit()
        def close(self) -> None:
            hooks.exited.append(self.me)

        @moorage.batched(max_batch_size=6, wait_ms=2)
        def work(self, tickets: list[Ticket]) -> list[int | BaseException]:
            return run_batch(tickets)

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

    fails = ("fail", "short")
    add(lists, "lists", 2, most_in_a_batch=8, plans=fails)
    leaf_lists = add(lists_async, "lists_async", 4, most_in_a_batch=16, is_async=True, plans=fails)
    add(lists_again, "lists_again", 2, most_in_a_batch=4, max_retries=2, plans=("once", *fails))
    add(lists_brief, "lists_brief", 2, most_in_a_batch=4, timed=True)
    add(
        lists_brief_async,
        "lists_brief_async",
        3,
        most_in_a_batch=4,
        max_retries=2,
        timed=True,
        is_async=True,
    )
    add(lists_bounded, "lists_bounded", 1, most_in_a_batch=5, is_async=True)
    lists_service = Lists()
    add(lists_service.work, "lists_service", 3, most_in_a_batch=6, plans=fails)
    bounds["lists_service"] = lists_service

    def call_children(ticket: Ticket, child: Any) -> None:
        perform(ticket)
        if ticket.plan == "map":
            results = child.map(list(ticket.children), return_exceptions=True, order_outputs=True)
            with uninterruptible:  # a strike comes before all of them are sent, or after
                for sent in ticket.children:
                    sent.sent = True
                first = next(results)
            every = itertools.chain([first], results)
            for sent, result in zip(ticket.children, every, strict=False):
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

    @app.function(**kept)
    @moorage.concurrent(max_inputs=5)
    async def parent_of_lists(ticket: Ticket) -> int:
        return await run_async(ticket, lambda ticket: call_children_async(ticket, lists_async))

    add(parent_of_lists, "parent_of_lists", 5, is_async=True, children=leaf_lists)
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


PLACES = ("error", "once", "exit", "fail", "short")


def lead_of(tickets: list[Ticket]) -> Ticket:
    """Whose plan says how long the batch takes, and how."""
    return max(tickets, key=lambda ticket: -1.0 if ticket.plan in PLACES else ticket.seconds)


def places_of(tickets: list[Ticket]) -> list[int | BaseException]:
    """What a batch returns: for some members an exception, or too few elements."""
    first = tickets[0]
    if first.plan == "fail" and first.number % 3 == 0:
        raise BatchFailed
    places: list[int | BaseException] = []
    for ticket in tickets:
        if ticket.plan == "error" or (ticket.plan == "once" and len(ticket.attempts) == 1):
            places.append(Planned(ticket.number))
        elif ticket.plan == "exit":
            places.append(SystemExit(ticket.number))
        else:
            places.append(ticket.number)
    if first.plan == "short" and first.number % 3 == 0:
        places.pop()
    return places


def hows_of(places: list[int | BaseException], count: int) -> list[str]:
    if len(places) != count:
        return ["raised"] * count
    return ["raised" if isinstance(place, BaseException) else "returned" for place in places]


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
    if plan in PLACES and ticket.pool.startswith("lists"):
        return  # it is in what the batch returns: see `places_of`
    if plan == "error" or (plan == "once" and len(ticket.attempts) == 1):
        raise Planned(ticket.number)
    if plan == "exit":
        raise SystemExit(ticket.number)
    if plan == "resize":
        experimental.set_local_input_concurrency(1 + ticket.number % 7)
    elif plan == "leave" and ticket.number % 4 == 0:
        experimental.stop_fetching_inputs()


__all__ = ["ITEMS", "Hooks", "Kind", "Program", "make_program"]
