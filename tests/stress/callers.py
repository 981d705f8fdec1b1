"""The callers: threads and tasks that call in all ways, cancel, close and drop.

Owns the callers' side of the tickets.  Whoever goes away gives its tickets up
(`give_up`); which of those were accepted is told at the end by `resolve`.
"""

from __future__ import annotations

import asyncio
import gc
import random
import threading
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import Any

from moorage import FunctionCall
from moorage.exception import ResourceExhaustedError

from .program import ITEMS, Kind, Planned, Program, note, observe, observe_async
from .tickets import Fate, Sent, Ticket

# How long a caller's plan may make its code last, in seconds.
LONGEST = 0.004
# Pools whose errors do not say to which ticket they belong.
NAMELESS = frozenset(
    {
        "brief",
        "brief_async",
        "hurried",
        "bounded",
        "fragile",
        "lists",
        "lists_async",
        "lists_again",
        "lists_brief",
        "lists_brief_async",
        "lists_bounded",
        "lists_service",
    }
)


# Pools whose callers never go away, so that each outcome is seen, and compared exactly.
SEEN = frozenset({"again", "patient", "hurried", "lists_again"})


class Caller:
    """What one thread or task does, until it has sent `quota` inputs."""

    def __init__(
        self, program: Program, seed: int, index: int, quota: int, board: deque[Any]
    ) -> None:
        self.program = program
        self.problems = program.problems
        self.rng = random.Random(seed * 1_000 + index)
        self.first = index * 10_000_000
        self.quota = quota
        self.tickets: list[Ticket] = []
        self.count = 0  # of those that were sent
        self.did: Counter[str] = Counter()
        self.board = board  # calls that anybody may cancel
        self.fed: list[list[Ticket]] = []  # of maps given up that had a feeder
        self.now = ""  # what it is at, for whoever asks why it hangs

    # -- tickets ----------------------------------------------------------------------

    def make(self, kind: Kind) -> Ticket:
        ticket = self._new(kind)
        if kind.children is not None:
            for _ in range(self.rng.randint(1, 4)):
                child = self._new(kind.children)
                child.surely = not kind.strikable
                ticket.children.append(child)
        return ticket

    def _new(self, kind: Kind) -> Ticket:
        rng = self.rng
        chance = rng.random()
        if chance < 0.5:
            plan = rng.choice(("quick", *kind.plans))
        else:
            plan = rng.choice(("nap", "spin", "error", "error", "exit", "shield", "check"))
        number = self.first + len(self.tickets)
        ticket = Ticket(number, kind.pool, plan, rng.random() * LONGEST)
        self.tickets.append(ticket)
        return ticket

    def make_many(self, kind: Kind, most: int) -> list[Ticket]:
        return [self.make(kind) for _ in range(self.rng.randint(1, most))]

    def give_up(self, tickets: list[Ticket], *, fed: bool = False) -> None:
        """Note that nobody waits for these any more: what is left of them is cancelled."""
        self.did["inputs given up"] += sum(ticket.fate is None for ticket in tickets)
        self.see_no_more(tickets)
        if fed:
            self.fed.append(tickets)

    def see_no_more(self, tickets: list[Ticket]) -> None:
        """Note that their outcomes are shown to nobody."""
        for ticket in tickets:
            ticket.given_up = True

    def refused(self, tickets: list[Ticket]) -> None:
        """Note that a map was refused: all that it had read was."""
        for ticket in tickets:
            if ticket.sent:
                ticket.met(Fate.REFUSED)
            else:
                ticket.met(Fate.UNSENT)

    def note_by_name(self, tickets: list[Ticket], got: list[object]) -> None:
        """Note results that came in no order."""
        by_number = {ticket.number: ticket for ticket in tickets}
        nameless: list[object] = []
        for result in got:
            number: object = None
            if isinstance(result, int):
                number = result
            elif isinstance(result, Planned):
                number = result.args[0]
            elif isinstance(result, BaseException) and isinstance(result.__cause__, SystemExit):
                number = result.__cause__.args[0]
            if number in by_number:
                note(by_number[number], result, self.problems)
            else:
                nameless.append(result)
        rest = [ticket for ticket in tickets if ticket.fate is None]
        for ticket, result in zip(rest, nameless, strict=True):
            note(ticket, result, self.problems)

    # -- a thread ----------------------------------------------------------------------

    def run(self) -> None:
        staying: list[Callable[[Kind], None]] = [
            self.remote,
            self.spawn,
            self.spawn,
            self.map,
            self.unordered_map,
            self.spawn_map,
        ]
        ways = [*staying, self.part_of_map, self.first_error, self.for_each]
        while self.count < self.quota:
            mark = len(self.tickets)
            kind = self.rng.choice(self.program.kinds)
            way = self.rng.choice(staying if kind.pool in SEEN else ways)
            if kind.is_generator:
                way = self.stream
            self.now = f"{way.__name__} of {kind.pool}"
            way(kind)
            self.did[way.__name__] += 1
            self.count += sum(ticket.sent for ticket in self.tickets[mark:])
        self.now = "done"

    def remote(self, kind: Kind) -> None:
        ticket = self.make(kind)
        ticket.sent = True
        observe(ticket, lambda: kind.function.remote(ticket), self.problems)

    def spawn(self, kind: Kind) -> None:
        rng = self.rng
        calls: list[tuple[Ticket, FunctionCall[int]]] = []
        for ticket in self.make_many(kind, 16):
            ticket.sent = True
            try:
                call = kind.function.spawn(ticket)
            except ResourceExhaustedError as error:
                note(ticket, error, self.problems)
                continue
            calls.append((ticket, call))
            if rng.random() < 0.2:
                self.cancel(call)
            if rng.random() < 0.1:
                self.board.append(call)
            if rng.random() < 0.1:
                self.cancel_anothers()
        for _, call in calls:
            if rng.random() < 0.3:
                self.cancel(call)
        if calls and rng.random() < 0.2:
            try:
                FunctionCall.gather(*(call for _, call in calls))
            except Exception:
                self.did["gather that raised"] += 1
        rng.shuffle(calls)
        for ticket, call in calls:
            if rng.random() < 0.1:
                try:
                    call.get(timeout=rng.random() * 0.002)
                except TimeoutError:
                    self.did["get that timed out"] += 1
                except Exception:
                    self.did["get that raised"] += 1
            observe(ticket, call.get, self.problems)

    def cancel(self, call: FunctionCall[int]) -> None:
        call.cancel()
        self.did["cancel"] += 1

    def cancel_anothers(self) -> None:
        try:
            call = self.board.popleft()
        except IndexError:
            return
        self.cancel(call)

    def source(self, kind: Kind, tickets: list[Ticket], fed: bool = False) -> Any:
        """What a map reads: a list, if it may be; it is read whole before the first result."""
        if fed:
            return iter_of(tickets)
        if kind.perhaps:
            return Sent(tickets)  # by a feeder, one by one
        for ticket in tickets:
            ticket.sent = True
        return list(tickets)

    def map(self, kind: Kind) -> None:
        tickets = self.make_many(kind, 40)
        source = self.source(kind, tickets, self.rng.random() < 0.3)
        if self.rng.random() < 0.3:
            results = kind.function.starmap(Rows(source), return_exceptions=True)
        else:
            results = kind.function.map(source, return_exceptions=True)
        try:
            for ticket, result in zip(tickets, results, strict=True):
                note(ticket, result, self.problems)
        except ResourceExhaustedError:
            self.refused(tickets)

    def unordered_map(self, kind: Kind) -> None:
        if kind.pool in NAMELESS:
            return
        tickets = self.make_many(kind, 40)
        source = self.source(kind, tickets, self.rng.random() < 0.3)
        try:
            got = list(kind.function.map(source, return_exceptions=True, order_outputs=False))
        except ResourceExhaustedError:
            self.refused(tickets)
        else:
            self.note_by_name(tickets, got)

    def part_of_map(self, kind: Kind) -> None:
        tickets = self.make_many(kind, 40)
        fed = kind.pool == "loose" and self.rng.random() < 0.5
        results = kind.function.map(self.source(kind, tickets, fed), return_exceptions=True)
        try:
            for ticket, result in zip(
                tickets[: self.rng.randint(1, len(tickets))], results, strict=False
            ):
                note(ticket, result, self.problems)
        except ResourceExhaustedError:
            self.refused(tickets)
            return
        self.leave(results)
        self.give_up(tickets, fed=kind.perhaps)

    def leave(self, reader: Any) -> bool:
        """Close `reader`, or let go of it; true if only the collector will find it."""
        chance = self.rng.random()
        if chance < 0.6:
            reader.close()
            self.did["close"] += 1
        elif chance < 0.98:
            self.did["drop"] += 1  # by the last reference to it
        else:
            cycle: list[Any] = [reader]
            cycle.append(cycle)
            del reader, cycle
            self.did["drop in a cycle"] += 1
            return True
        return False

    def first_error(self, kind: Kind) -> None:
        tickets = self.make_many(kind, 20)
        try:
            for ticket, result in zip(
                tickets, kind.function.map(self.source(kind, tickets)), strict=True
            ):
                note(ticket, result, self.problems)
        except ResourceExhaustedError:
            self.refused(tickets)
        except Exception as error:
            first = next(ticket for ticket in tickets if ticket.fate is None)
            note(first, error, self.problems)
            self.give_up(tickets, fed=kind.perhaps)

    def for_each(self, kind: Kind) -> None:
        tickets = self.make_many(kind, 20)
        try:
            kind.function.for_each(
                self.source(kind, tickets), ignore_exceptions=self.rng.random() < 0.5
            )
        except ResourceExhaustedError:
            self.refused(tickets)
        except Exception:
            self.give_up(tickets, fed=kind.perhaps)
        else:
            self.see_no_more(tickets)

    def spawn_map(self, kind: Kind) -> None:
        tickets = self.make_many(kind, 6)
        for ticket in tickets:
            ticket.sent = True
        try:
            call = kind.function.experimental_spawn_map(tickets)
        except ResourceExhaustedError:
            self.refused(tickets)
            return
        if self.rng.random() < 0.4:
            self.cancel(call)
        for index, ticket in enumerate(tickets):
            observe(ticket, lambda index=index: call.get(index=index), self.problems)

    def stream(self, kind: Kind) -> None:
        if kind.is_generator:
            ticket = self.make(kind)
            reader = kind.function.remote_gen(ticket)
            ticket.sent = True
            if self.rng.random() < 0.6:
                observe(ticket, lambda: self.read(ticket, list(reader)), self.problems)
                return
            for _ in range(self.rng.randint(1, ITEMS // 2)):
                next(reader)
            in_a_cycle = self.leave(reader)
            del reader
            if in_a_cycle:
                gc.collect()  # else it may hold its slot for as long as this thread waits for one
            self.give_up([ticket])

    def read(self, ticket: Ticket, items: list[int]) -> int:
        if items != list(range(ITEMS)):
            self.problems.append(f"{ticket!r} gave the items {items}")
        return ticket.number

    # -- a task -------------------------------------------------------------------------

    async def run_async(self) -> None:
        staying: list[Callable[[Kind], Awaitable[None]]] = [
            self.remote_async,
            self.spawn_async,
            self.map_async,
            self.spawn_map_async,
        ]
        ways = [
            *staying,
            self.cancelled_remote,
            self.cancelled_remote,
            self.impatient_remote,
            self.part_of_map_async,
            self.cancelled_map,
            self.for_each_async,
        ]
        while self.count < self.quota:
            mark = len(self.tickets)
            kind = self.rng.choice(self.program.kinds)
            way = self.rng.choice(staying if kind.pool in SEEN else ways)
            if kind.is_generator:
                way = self.stream_async
            self.now = f"{way.__name__} of {kind.pool}"
            await way(kind)
            for _ in range(3):
                # A reader that was dropped is closed by its loop, in a task: until then it
                # would be taken for one that waits for something else.
                await asyncio.sleep(0)
            self.did[way.__name__] += 1
            self.count += sum(ticket.sent for ticket in self.tickets[mark:])
        self.now = "done"

    async def remote_async(self, kind: Kind) -> None:
        ticket = self.make(kind)
        ticket.sent = True
        await observe_async(ticket, lambda: kind.function.remote.aio(ticket), self.problems)

    async def _remote(self, kind: Kind, ticket: Ticket) -> None:
        # The first step hands it over, with no await before.
        ticket.sent = True
        await observe_async(ticket, lambda: kind.function.remote.aio(ticket), self.problems)

    async def cancelled_remote(self, kind: Kind) -> None:
        tickets = self.make_many(kind, 6)
        tasks = [asyncio.create_task(self._remote(kind, ticket)) for ticket in tickets]
        if self.rng.random() < 0.8:
            await asyncio.sleep(self.rng.choice((0, 0, self.rng.random() * 0.005)))
        for task in tasks:
            if self.rng.random() < 0.6:
                task.cancel()
                self.did["task.cancel"] += 1
        await asyncio.gather(*tasks, return_exceptions=True)
        self._give_up_cancelled(tasks, tickets)

    def _give_up_cancelled(self, tasks: list[asyncio.Task[None]], tickets: list[Ticket]) -> None:
        for task, ticket in zip(tasks, tickets, strict=True):
            if task.cancelled():
                self.give_up([ticket])
            elif (error := task.exception()) is not None:
                self.problems.append(f"the caller of {ticket!r} got {error!r}")

    async def impatient_remote(self, kind: Kind) -> None:
        ticket = self.make(kind)
        try:
            await asyncio.wait_for(self._remote(kind, ticket), self.rng.random() * 0.005)
        except TimeoutError:
            self.did["wait_for"] += 1
            self.give_up([ticket])

    async def spawn_async(self, kind: Kind) -> None:
        rng = self.rng
        calls: list[tuple[Ticket, FunctionCall[int]]] = []
        for ticket in self.make_many(kind, 8):
            ticket.sent = True
            try:
                call = await kind.function.spawn.aio(ticket)
            except ResourceExhaustedError as error:
                note(ticket, error, self.problems)
                continue
            calls.append((ticket, call))
            if rng.random() < 0.15:
                self.cancel(call)
        if calls and rng.random() < 0.2:
            try:
                await FunctionCall.gather.aio(*(call for _, call in calls))
            except Exception:
                self.did["gather that raised"] += 1
        for ticket, call in calls:
            if rng.random() < 0.1:
                try:
                    await call.get.aio(timeout=rng.random() * 0.002)
                except TimeoutError:
                    self.did["get that timed out"] += 1
                except Exception:
                    self.did["get that raised"] += 1
            if rng.random() < 0.05:
                self.cancel(call)
            await observe_async(ticket, call.get.aio, self.problems)

    async def map_async(self, kind: Kind) -> None:
        tickets = self.make_many(kind, 30)
        chance = self.rng.random()
        source: Any = (
            async_iter_of(tickets) if chance < 0.3 else self.source(kind, tickets, chance < 0.5)
        )
        try:
            index = 0
            async for result in kind.function.map.aio(source, return_exceptions=True):
                note(tickets[index], result, self.problems)
                index += 1
        except ResourceExhaustedError:
            self.refused(tickets)

    async def part_of_map_async(self, kind: Kind) -> None:
        tickets = self.make_many(kind, 30)
        fed = kind.pool == "loose" and self.rng.random() < 0.6
        source: Any = self.source(kind, tickets)
        if fed:
            source = async_iter_of(tickets) if self.rng.random() < 0.5 else iter_of(tickets)
        results = kind.function.map.aio(source, return_exceptions=True)
        count = self.rng.randint(1, len(tickets))
        try:
            index = 0
            async for result in results:
                note(tickets[index], result, self.problems)
                index += 1
                if index == count:
                    break
        except ResourceExhaustedError:
            self.refused(tickets)
            return
        if self.rng.random() < 0.5:
            await results.aclose()
            self.did["close"] += 1
        else:
            self.did["drop"] += 1
        self.give_up(tickets, fed=kind.perhaps)

    async def cancelled_map(self, kind: Kind) -> None:
        tickets = self.make_many(kind, 30)
        fed = kind.pool == "loose" and self.rng.random() < 0.6

        async def read() -> None:
            source: Any = async_iter_of(tickets) if fed else self.source(kind, tickets)
            index = 0
            async for result in kind.function.map.aio(source, return_exceptions=True):
                note(tickets[index], result, self.problems)
                index += 1

        task = asyncio.create_task(read())
        await asyncio.sleep(self.rng.random() * 0.01)
        task.cancel()
        self.did["task.cancel"] += 1
        try:
            await task
        except ResourceExhaustedError:
            self.refused(tickets)
        except asyncio.CancelledError:
            self.give_up(tickets, fed=kind.perhaps)

    async def for_each_async(self, kind: Kind) -> None:
        tickets = self.make_many(kind, 20)
        try:
            await kind.function.for_each.aio(
                self.source(kind, tickets), ignore_exceptions=self.rng.random() < 0.5
            )
        except ResourceExhaustedError:
            self.refused(tickets)
        except Exception:
            self.give_up(tickets, fed=kind.perhaps)
        else:
            self.see_no_more(tickets)

    async def spawn_map_async(self, kind: Kind) -> None:
        tickets = self.make_many(kind, 6)
        for ticket in tickets:
            ticket.sent = True
        try:
            call = await kind.function.experimental_spawn_map.aio(tickets)
        except ResourceExhaustedError:
            self.refused(tickets)
            return
        if self.rng.random() < 0.4:
            self.cancel(call)
        for index, ticket in enumerate(tickets):
            await observe_async(
                ticket, lambda index=index: call.get.aio(index=index), self.problems
            )

    async def stream_async(self, kind: Kind) -> None:
        ticket = self.make(kind)
        ticket.sent = True
        chance = self.rng.random()
        if chance < 0.5:

            async def read() -> int:
                reader = kind.function.remote_gen.aio(ticket)
                return self.read(ticket, [item async for item in reader])

            await observe_async(ticket, read, self.problems)
            return
        reader = kind.function.remote_gen.aio(ticket)
        if chance < 0.7:

            async def read_on() -> None:
                # A cancelled loop leaves its iterator to the collector.
                async with aclosing(reader):
                    async for _ in reader:
                        await asyncio.sleep(0)

            ticket.sent = False

            async def begin() -> None:
                ticket.sent = True
                await observe_async(ticket, lambda: self._number(ticket, read_on()), self.problems)

            task = asyncio.create_task(begin())
            await asyncio.sleep(self.rng.random() * 0.003)
            task.cancel()
            self.did["task.cancel"] += 1
            await asyncio.gather(task, return_exceptions=True)
            self._give_up_cancelled([task], [ticket])
            return
        left = self.rng.randint(1, ITEMS // 2)
        async for _ in reader:
            left -= 1
            if not left:
                break
        if chance < 0.9:
            await reader.aclose()
            self.did["close"] += 1
        else:
            self.did["drop"] += 1
        self.give_up([ticket])

    async def _number(self, ticket: Ticket, reading: Awaitable[None]) -> int:
        await reading
        return ticket.number


class Rows:
    """Rows of one for ``starmap``, read as `source` is."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def __iter__(self) -> Iterator[tuple[Ticket]]:
        for ticket in self._source:
            yield (ticket,)


def iter_of(tickets: list[Ticket]) -> Iterator[Ticket]:
    yield from Sent(tickets)


async def async_iter_of(tickets: list[Ticket]) -> AsyncIterator[Ticket]:
    for ticket in Sent(tickets):
        if ticket.number % 5 == 0:
            await asyncio.sleep(0)
        yield ticket


def resolve(tickets: list[Ticket], fed: list[list[Ticket]]) -> None:
    """Say of each ticket whose caller went away whether it was accepted.  At the very end."""
    for several in fed:
        # The last that a feeder had read when its map was closed, it may have kept.
        sent = [ticket for ticket in several if ticket.sent]
        if sent:
            sent[-1].surely = False
    for ticket in tickets:
        ended = ticket.attempts[-1].end if ticket.attempts else None
        for child in ticket.children:
            # Code that returned has seen the ends of all it called.
            child.given_up = ended != "returned"
    for ticket in tickets:
        if ticket.fate is None and ticket.given_up:
            if not ticket.sent:
                ticket.fate = Fate.UNSENT
            else:
                ticket.fate = Fate.UNSEEN if ticket.surely else Fate.PERHAPS


def in_thread(caller: Caller, errors: list[BaseException]) -> threading.Thread:
    def main() -> None:
        try:
            caller.run()
        except BaseException as error:
            errors.append(error)

    return threading.Thread(target=main, name=f"caller-{caller.first}", daemon=True)


def in_loop(callers: list[Caller], errors: list[BaseException]) -> threading.Thread:
    async def main() -> None:
        await asyncio.gather(*(caller.run_async() for caller in callers))

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            errors.append(error)

    return threading.Thread(target=run, name=f"loop-{callers[0].first}", daemon=True)
