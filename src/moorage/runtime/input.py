"""Inputs: one set of arguments to run, its ids and its state.

Owns the states of an input and their legal moves, the description of what an
input runs (:class:`Target`), and what the engine asks of the call it belongs
to (:class:`Call`).  The state is guarded by the lock of the input's pool.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Any, Final, Protocol

from . import forking
from .outcome import Outcome
from .real import Real


class InputState(enum.Enum):
    """Where an input is.  Each moves along :data:`MOVES` and no other way.

    The table is checked at every write while the project's tests run, and costs nothing
    apart from that.
    """

    OUTSIDE = "outside"  # the backlog is full: not accepted yet, its caller waits for room
    QUEUED = "queued"  # in the pool's queue, bound to no container
    GRANTED = "granted"  # holds a slot, its code has not begun
    RUNNING = "running"  # its code runs
    WAITING = "waiting"  # it failed, and its next attempt comes later; it holds no slot
    ABANDONED = "abandoned"  # its caller has the outcome; its code still runs and holds the slot
    SETTLED = "settled"  # the outcome is final and the slot, if any, is free


MOVES: Final[Mapping[InputState, frozenset[InputState]]] = {
    InputState.OUTSIDE: frozenset({InputState.QUEUED, InputState.SETTLED}),
    # To OUTSIDE only when it is submitted, in the same step.  To RUNNING if it gets the slot
    # of an input that has just ended, whose worker or loop runs it at once; and as a member
    # of a batch, which is what is GRANTED then.
    InputState.QUEUED: frozenset(
        {InputState.OUTSIDE, InputState.GRANTED, InputState.RUNNING, InputState.SETTLED},
    ),
    InputState.GRANTED: frozenset({InputState.RUNNING, InputState.SETTLED}),
    InputState.RUNNING: frozenset({InputState.WAITING, InputState.ABANDONED, InputState.SETTLED}),
    InputState.WAITING: frozenset({InputState.QUEUED, InputState.SETTLED}),
    InputState.ABANDONED: frozenset({InputState.SETTLED}),
    InputState.SETTLED: frozenset(),
}


class IllegalMove(AssertionError):
    """A fault in the engine: a state was left in a way that its table forbids."""


class Kind(enum.Enum):
    """What calling the user's function gives."""

    SYNC = "function"
    ASYNC = "async function"
    SYNC_GENERATOR = "generator"
    ASYNC_GENERATOR = "async generator"

    @property
    def is_async(self) -> bool:
        return self in (Kind.ASYNC, Kind.ASYNC_GENERATOR)

    @property
    def is_generator(self) -> bool:
        return self in (Kind.SYNC_GENERATOR, Kind.ASYNC_GENERATOR)


class Target:
    """What an input runs: one function, or one method of the container's instance."""

    __slots__ = (
        "function",
        "is_async",
        "is_cooperative",
        "is_generator",
        "is_method",
        "is_plain",
        "is_reported",
        "kind",
        "name",
    )

    def __init__(
        self, name: str, function: Callable[..., Any], kind: Kind, *, is_method: bool = False
    ) -> None:
        self.name: str = name
        self.function: Callable[..., Any] = function
        self.kind: Kind = kind
        self.is_method: bool = is_method
        # Plain attributes, because each input asks.
        self.is_async: bool = kind.is_async
        self.is_generator: bool = kind.is_generator
        self.is_plain: bool = not is_method and not kind.is_generator
        self.is_reported: bool = False  # that it blocks its loop: see ``loopwatch.py``
        # Marked by `cancellation.cooperative`: it ends itself when it is cancelled.
        self.is_cooperative: bool = getattr(function, "_moorage_cooperative", False)

    def __repr__(self) -> str:
        return f"<Target {self.name}: {self.kind.value}>"


class Call(Protocol):
    """What the engine needs of the call that an input belongs to."""

    @property
    def number(self) -> int: ...
    @property
    def target(self) -> Target: ...
    @property
    def context(self) -> Context: ...

    def settled(self, input: Input, /) -> Callable[[], object] | None:
        """Take note that `input.outcome` is there; return how to wake who waits for it.

        Called once per input, under the pool's lock: must not block, log or run
        user code.  The returned callable runs after the lock is let go.
        """
        ...


class Input:
    """One set of arguments, from its acceptance until it is settled."""

    __slots__ = (
        "args",
        "call",
        "cancellation",
        "container",
        "index",
        "kwargs",
        "outcome",
        "queued_at",
        "runner",
        "state",
        "ticket",
    )

    def __init__(
        self,
        call: Call,
        index: int,
        args: tuple[Any, ...],
        kwargs: dict[str, Any] | None,
    ) -> None:
        self.call: Call = call
        self.index: int = index
        self.args: tuple[Any, ...] = args
        # None for no keywords: an empty dict would cost 64 bytes.
        self.kwargs: dict[str, Any] | None = kwargs
        self.state: InputState = InputState.QUEUED
        self.outcome: Outcome | None = None
        # The container whose slot it holds; None before the grant.
        self.container: Any = None
        # What runs it: an asyncio task or a worker; None unless it runs.
        self.runner: Any = None
        # The outcome that a cancel or a timeout asked for; None if nobody did.
        self.cancellation: Outcome | None = None
        # When it came into the queue, the last time.  Unset, which costs nothing,
        # for those that got a slot at once.
        self.queued_at: float
        # The order of coming among inputs of both kinds.  Unset unless the backlog needs it.
        self.ticket: int

    @property
    def input_id(self) -> str:
        return f"in-{_process_of(self.call.number)}{self.call.number:08x}-{self.index:x}"

    @property
    def function_call_id(self) -> str:
        """The id of the call, for somebody who may look the call up by it from now on."""
        give_out: Callable[[], str] | None = getattr(self.call, "_give_out_id", None)
        return call_id(self.call.number) if give_out is None else give_out()

    def __repr__(self) -> str:
        return f"<Input {self.input_id} of {self.call.target.name}: {self.state.value}>"


# Ids differ between processes, so that two logs can be put side by side.
_process: str = Real.urandom(4).hex()
next_call_number: Final = itertools.count(1).__next__
# The first number of a call of this process, and, in a forked child, the processes
# before it: each with its first number, the eldest first.
_first_number: int = 1
_earlier: Final[list[tuple[int, str]]] = []


def _after_fork() -> None:
    global _process, _first_number
    _earlier.append((_first_number, _process))
    _process = Real.urandom(4).hex()
    _first_number = next_call_number()


forking.in_child(_after_fork)


def _process_of(number: int) -> str:
    if number >= _first_number:
        return _process
    return [name for first, name in _earlier if first <= number][-1]


def is_of_this_process(input: Input) -> bool:
    """False in a forked child for the inputs of its parent."""
    return input.call.number >= _first_number


def call_id(number: int) -> str:
    """The public id of the call with this number."""
    return f"fc-{_process_of(number)}{number:08x}"


def call_number(function_call_id: str) -> int | None:
    """The number of a call of this process by its public id; None for any other text."""
    prefix = f"fc-{_process}"
    if not str(function_call_id).startswith(prefix):
        return None
    try:
        return int(function_call_id[len(prefix) :], 16)
    except ValueError:
        return None
