"""Tickets: what is known of each input, written by its caller and by its code.

Owns the notes that the two sides make, each without a look at the other's and
without a lock: a strike may end code between any two lines, so every note is one
store or one append, and may be made twice.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from typing import Any


class Fate(enum.Enum):
    """What the caller saw of one input.  Exactly one for each."""

    RESULT = "result"
    ERROR = "error"  # that its code raised
    TIMEOUT = "timeout"  # of its run
    LATE = "late"  # in the queue: it got no slot in time
    NO_CONTAINER = "no container"  # the enter hook failed
    CANCELLED = "cancelled"
    REFUSED = "refused"  # the backlog was full: not accepted
    # The caller went away: it closed or dropped what it read, or was cancelled itself.
    UNSEEN = "unseen"  # accepted, and ended without it
    PERHAPS = "perhaps"  # the same, but whether it was accepted cannot be known
    UNSENT = "unsent"  # never handed over


FAILED = frozenset({Fate.ERROR, Fate.TIMEOUT, Fate.LATE, Fate.NO_CONTAINER})


class Attempt:
    """One run of an input's code.  Made and ended by that code."""

    __slots__ = ("end",)

    def __init__(self) -> None:
        self.end: str | None = None  # "returned", "raised", "struck" or "closed"


class Ticket:
    """The argument of one input."""

    __slots__ = (
        "attempts",
        "children",
        "fate",
        "given_up",
        "number",
        "plan",
        "pool",
        "seconds",
        "sent",
        "surely",
        "twice",
    )

    def __init__(self, number: int, pool: str, plan: str, seconds: float = 0.0) -> None:
        self.number = number
        self.pool = pool
        self.plan = plan  # what its code does: see `program.perform`
        self.seconds = seconds
        self.children: list[Ticket] = []  # that its code sends on
        # The caller's notes.
        self.sent = False  # handed over, or about to be
        self.given_up = False  # its caller went away, or may have
        self.surely = True  # if it was sent, it was accepted or refused
        self.fate: Fate | None = None
        self.twice = False  # a second fate came
        # The code's notes.
        self.attempts: list[Attempt] = []

    def met(self, fate: Fate) -> None:
        if self.fate is not None:
            self.twice = True
        self.fate = fate

    def __repr__(self) -> str:
        ends = ", ".join(str(attempt.end) for attempt in self.attempts)
        fate = None if self.fate is None else self.fate.value
        return f"<ticket {self.number} of {self.pool}, {self.plan}: {fate}, code [{ends}]>"


class Sent(Sequence[Ticket]):
    """Tickets that note that they were taken out; a map has a thread that reads them."""

    def __init__(self, tickets: list[Ticket]) -> None:
        self._tickets = tickets

    def __len__(self) -> int:
        return len(self._tickets)

    def __getitem__(self, index: Any) -> Any:
        return self._tickets[index]

    def __iter__(self) -> Iterator[Ticket]:
        for ticket in self._tickets:
            ticket.sent = True
            yield ticket
