"""Inputs: one set of arguments to run, its ids and its state.

Owns the states of an input and their legal moves (`MOVES`), the function that an input runs
(`Target`), the methods that the engine needs of a call (`Call`), and the ids.  The lock of the
input's pool guards `Input.state`.  All layers above use this file.

Begin at `InputState`, then `MOVES`, then `Input`.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Any, Final, Protocol

from . import forking
from .kinds import Kind as Kind
from .kinds import is_marked_with
from .labels import Shown
from .outcome import Outcome
from .real import Real


class InputState(enum.Enum):
    """The state of an input.  A state changes only along :data:`MOVES`.

    Each write is checked against the table while the project's tests run; outside of the
    tests nothing is checked, and the table costs nothing.
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
    # To OUTSIDE only in the step that submits the input.  To RUNNING in two cases: the input
    # gets the slot of an input that has just ended, and the same worker or loop runs it at
    # once; or the input is a member of a batch, and the batch is the input that is GRANTED.
    InputState.QUEUED: frozenset(
        {InputState.OUTSIDE, InputState.GRANTED, InputState.RUNNING, InputState.SETTLED},
    ),
    # From GRANTED and RUNNING to QUEUED: the container was lost (see `Host.container_lost`).
    InputState.GRANTED: frozenset({InputState.RUNNING, InputState.SETTLED, InputState.QUEUED}),
    InputState.RUNNING: frozenset(
        {InputState.WAITING, InputState.ABANDONED, InputState.SETTLED, InputState.QUEUED},
    ),
    InputState.WAITING: frozenset({InputState.QUEUED, InputState.SETTLED}),
    InputState.ABANDONED: frozenset({InputState.SETTLED}),
    InputState.SETTLED: frozenset(),
}


class IllegalMove(AssertionError):
    """A bug in the engine: a state changed in a way that its table of moves forbids."""


class Target:
    """The function that an input runs, or the method of the container's instance."""

    __slots__ = (
        "ends_at_once",
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
        # Attributes and not properties, because the engine reads them for each input.
        self.is_async: bool = kind.is_async
        self.is_generator: bool = kind.is_generator
        self.is_plain: bool = not is_method and not kind.is_generator
        # True once a warning says that it blocks its loop; guarded by the lock in
        # ``containers/loopwatch.py``.
        self.is_reported: bool = False
        # Whether the last async input of it ended in the first step of its task.  Any loop writes
        # it: see ``containers/task_lane.py``.
        self.ends_at_once: bool = False
        # Marked by `cooperative` in ``guards/cancellation.py``: the function ends itself when
        # its input is cancelled.
        self.is_cooperative: bool = is_marked_with(function, "_moorage_cooperative")

    def __repr__(self) -> str:
        return f"<Target {self.name}: {self.kind.value}>"


class Call(Protocol):
    """The methods that the engine needs of the call that an input belongs to."""

    @property
    def number(self) -> int: ...
    @property
    def target(self) -> Target: ...
    @property
    def context(self) -> Context: ...

    def settled(self, input: Input, /) -> Callable[[], object] | None:
        """Note that `input.outcome` is set; return an effect that wakes the waiting caller.

        Called once per input, under the pool's lock: must not block, log or run user code.
        The effect runs after the lock is released.
        """
        ...


class Input:
    """One set of arguments, from the time it is submitted until it is settled."""

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
        # None if there are no keyword arguments: an empty dict would cost 64 bytes.
        self.kwargs: dict[str, Any] | None = kwargs
        self.state: InputState = _QUEUED
        self.outcome: Outcome | None = None
        # The container whose slot the input holds; None before the grant.
        self.container: Any = None
        # The asyncio task or the worker that runs the input; None unless the input runs.
        self.runner: Any = None
        # The outcome that a cancel or a timeout asks for; None without such a request.
        self.cancellation: Outcome | None = None
        # The clock's time when the input last entered the queue, in seconds.  An input that
        # gets a slot at once never has this attribute, which saves the time to set it.
        self.queued_at: float
        # The order of arrival among sync and async inputs.  Set only if the backlog needs it.
        self.ticket: int

    @property
    def input_id(self) -> str:
        return input_id(self.call.number, self.index)

    @property
    def function_call_id(self) -> str:
        """The id of the call.  After this the user may look the call up by the id."""
        give_out: Callable[[], str] | None = getattr(self.call, "_give_out_id", None)
        return call_id(self.call.number) if give_out is None else give_out()

    @property
    def shown(self) -> str:
        """The name of the function; of a web request also its method and path."""
        name, args = self.call.target.name, self.args
        if len(args) == 1 and Shown in type(args[0]).__mro__ and args[0].shown:
            return f"{name}({args[0].shown})"
        return name

    def __repr__(self) -> str:
        return f"<Input {self.input_id} of {self.call.target.name}: {self.state.value}>"


_QUEUED: Final = InputState.QUEUED
_new_input: Final[Callable[[type[Input]], Input]] = object.__new__


def make_input(
    call: Call, args: tuple[Any, ...], kwargs: dict[str, Any] | None, index: int = 0
) -> Input:
    """As ``Input(call, index, args, kwargs)``, in two thirds of the time."""
    input = _new_input(Input)
    input.call = call
    input.index = index
    input.args = args
    input.kwargs = kwargs
    input.state = _QUEUED
    input.outcome = None
    input.container = None
    input.runner = None
    input.cancellation = None
    return input


# A part of each id.  It differs between processes, so that the logs of two processes can be
# compared side by side.
_process: str = Real.urandom(4).hex()
next_call_number: Final = itertools.count(1).__next__
# The number of the first call of this process.  In a forked child, `_earlier` has the
# parent and its ancestors, the oldest first: (number of its first call, its `_process`).
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
    """Return whether this process made the input; false in a forked child for older inputs."""
    return input.call.number >= _first_number


def call_id(number: int) -> str:
    """Return the public id of the call with this number."""
    return f"fc-{_process_of(number)}{number:08x}"


def input_id(number: int, index: int) -> str:
    """Return the public id of the input `index` of the call with this number."""
    return f"in-{_process_of(number)}{number:08x}-{index:x}"


def call_number(function_call_id: str) -> int | None:
    """Return the number of a call of this process from its id; None for any other text."""
    prefix = f"fc-{_process}"
    if not str(function_call_id).startswith(prefix):
        return None
    try:
        return int(function_call_id[len(prefix) :], 16)
    except ValueError:
        return None
