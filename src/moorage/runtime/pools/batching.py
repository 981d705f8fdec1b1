"""Batching: several inputs that one call of a batched function runs.

Owns the call of a batch, which holds the members; the code that makes lists of the members'
arguments; and the code that makes their outcomes of the list that the function returns.  A
batch is itself an `Input`: it takes a slot, runs, is cancelled and ends like any other input.
Only the pool and this file know that it has members.  The pool decides which inputs are in a
batch, when it grants a slot, under its lock.  The lists are made where the user's code runs.

Begin at `make_batch`, then `batch_target`, then `Gathering.__call__`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextvars import Context
from dataclasses import dataclass
from inspect import Parameter
from typing import Any, Final, cast

from ...exception import InvalidError
from ..background import let_go
from ..context import current_input
from ..input import Input, InputState, Target
from ..kinds import NOT_RUN, discard, is_awaitable, refusal, refused_part
from ..outcome import Failure, Outcome, Value, failure_of
from ..posing import poses_as
from ..real import Real

_POSITIONAL: Final = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How a pool forms batches."""

    target: Target  # what one batch runs: made by `batch_target`
    max_batch_size: int
    wait: float  # seconds that the first member of a batch waits for others


class BatchCall:
    """The call of one batch: see `Call`.  `Pool._record_batch` gives the members outcomes."""

    __slots__ = ("context", "listed", "live", "members", "misfits", "number", "ran", "target")

    def __init__(self, target: Target, members: list[Input]) -> None:
        self.target: Target = target
        # Guarded by the pool's lock, as `live` is.  A member that is cancelled before the
        # batch runs is removed; a member that is cancelled later stays, for its place in the
        # lists.
        self.members: list[Input] = members
        self.live: int = len(members)  # the number of members without an outcome
        # Set when the batch's code begins.  `ran`: the members that had no outcome then, each
        # of which gets one.  `listed`: those of `ran` whose arguments are in the lists.
        self.ran: list[Input] = []
        self.listed: list[Input] = []
        # The outcomes of `ran` without `listed`: their arguments did not fit, so they get
        # these outcomes whatever the outcome of the batch is.
        self.misfits: dict[Input, Outcome] = {}
        first = members[0].call
        self.number: int = first.number
        self.context: Context = first.context

    def settled(self, input: Input, /) -> None:
        return None  # no caller waits for the batch itself, only for its members

    def leave(self, batch: Input, member: Input) -> None:
        """Remove `member`, which was cancelled before the batch ran."""
        self.members.remove(member)
        if self.members:
            # The batch has the ids and the context of its first member.
            first = self.members[0]
            self.number, self.context = first.call.number, first.call.context
            batch.index = first.index

    def run_for(self, listed: list[Input]) -> None:
        """Note that the code of the batch begins, for `listed`.

        Called in the batch's own task or thread, with no lock held.  The first of `members`
        may not be in `listed`: its arguments did not fit, or it was cancelled after the batch
        began to run and before this call.
        """
        self.listed = listed
        batch = current_input()
        if batch is not None and listed and listed[0] is not self.members[0]:
            self.number, batch.index = listed[0].call.number, listed[0].index

    def outcomes(self, outcome: Outcome) -> Iterator[tuple[Input, Outcome]]:
        """Yield each member without an outcome, with its part of the batch's `outcome`."""
        if type(outcome) is Value:
            for member, its in zip(self.ran, outcome.value, strict=True):
                if member.outcome is None:
                    yield member, its
            return
        for member in self.members:
            if member.outcome is None:
                if member in self.misfits:
                    yield member, self.misfits[member]
                elif type(outcome) is Failure:
                    # A `Failure` for each member, because each has its own earlier errors.
                    yield member, outcome.after(())
                else:
                    yield member, outcome

    def forget(self, *, ended: bool) -> None:
        """Drop the arguments of members that are settled.  No lock held.

        Args:
            ended: true if the batch has ended; the members are dropped then too.  The
                traceback of an error may refer to the frames that called the batch's code,
                and so to this object.  Without this, that cycle would keep the members, and
                by them the error, alive until the next garbage collection.
        """
        members = self.members
        if ended:
            self.members, self.ran, self.listed, self.misfits = [], [], [], {}
        gone: list[object] = []
        for member in members:
            if member.outcome is not None:
                gone += (member.args, member.kwargs)
                member.args, member.kwargs = (), None
        let_go(gone)

    def __repr__(self) -> str:
        return f"<BatchCall of {len(self.members)} of {self.target.name}>"


def make_batch(target: Target, members: list[Input]) -> Input:
    call = BatchCall(target, members)
    return Input(call, members[0].index, (call,), None)


def batch_of(input: Input) -> Input:
    """Return the batch with a slot that `input` is in; `input` itself if it is in none."""
    runner: object = input.runner  # read once: another thread may set it to None
    return runner if type(runner) is Input else input


def members_of(input: Input) -> list[Input]:
    """Return the members of a batch; for any other input, the input itself.

    The caller holds the pool's lock.
    """
    call = input.call
    return list(call.members) if isinstance(call, BatchCall) else [input]


def end_of_batch(batch: Input) -> None:
    """Note that the code of `batch` has ended and its slot is released.

    The caller holds the pool's lock.
    """
    for member in members_of(batch):
        if member.runner is batch:
            member.runner = None
            if member.state is InputState.ABANDONED:
                member.state = InputState.SETTLED


def batch_target(target: Target) -> Target:
    """Return what a batch of inputs of `target` runs.

    The function of the returned target takes the `BatchCall` as its last argument, and
    returns one outcome for each input in ``call.ran``.
    """
    # Each batch reads `target.function` again: a test may replace the method of a class.
    function = target.function
    gather = Gathering(target)

    if target.is_async:

        @poses_as(function)
        async def run_async(*bound_and_call: Any) -> list[Outcome]:
            *bound, call = bound_and_call
            outcomes, args, kwargs = gather(call)
            if args is not None:
                result = target.function(*bound, *args, **kwargs)
                if is_awaitable(result):
                    result = await result
                _hand_out(target, result, outcomes)
            return cast("list[Outcome]", outcomes)

        run: Callable[..., Any] = run_async
    else:

        @poses_as(function)
        def run_sync(*bound_and_call: Any) -> list[Outcome]:
            *bound, call = bound_and_call
            outcomes, args, kwargs = gather(call)
            if args is not None:
                _hand_out(target, target.function(*bound, *args, **kwargs), outcomes)
            return cast("list[Outcome]", outcomes)

        run = run_sync
    made = Target(target.name, run, target.kind, is_method=target.is_method)
    made.is_cooperative = target.is_cooperative  # which `run` shows only if `function` is a def
    return made


class Gathering:
    """Makes one list of arguments for each parameter of a batched function."""

    __slots__ = ("_more_names", "_more_positions", "_names", "_positional", "_required", "_shown")

    def __init__(self, target: Target) -> None:
        parameters = parameters_of(target.function)
        if target.is_method:
            parameters = parameters[1:]
        self._shown = target.name
        fixed = [p for p in parameters if p.kind in _POSITIONAL or p.kind is p.KEYWORD_ONLY]
        self._names: list[str] = [p.name for p in fixed]
        # Usually all names.  A method in strict mode may have defaults, as in Modal.
        self._required: list[str] = [p.name for p in fixed if p.default is p.empty]
        self._positional: int = sum(p.kind in _POSITIONAL for p in fixed)
        # True if the function has *args, or **kwargs: arguments beyond the names are gathered.
        self._more_positions: bool = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        self._more_names: bool = any(p.kind is p.VAR_KEYWORD for p in parameters)

    def __call__(
        self, call: BatchCall
    ) -> tuple[list[Outcome | None], tuple[list[Any], ...] | None, dict[str, list[Any]]]:
        """Decide which members run, and gather their arguments.

        Returns:
            One outcome for each of ``call.ran``, None for each member that runs.  The lists
            to pass by position; None instead if no member runs.  The lists to pass by name.
        """
        ran = call.ran = [member for member in call.members if member.outcome is None]
        outcomes: list[Outcome | None] = [None] * len(ran)
        count = self._positional
        if count == len(self._names):
            # Read `args` once: a member that is cancelled at this moment drops its arguments.
            rows = [member.args for member in ran]
            if all(len(row) == count for row in rows) and not any(m.kwargs for m in ran):
                if not rows:
                    return outcomes, None, {}
                call.run_for(ran)
                if count == 1:
                    return outcomes, ([row[0] for row in rows],), {}
                return outcomes, tuple(map(list, zip(*rows, strict=True))), {}
        gathered = self._by_name(ran, outcomes)
        by_member = dict(zip(ran, outcomes, strict=True))
        call.misfits = {member: its for member, its in by_member.items() if its is not None}
        call.run_for([member for member, its in by_member.items() if its is None])
        return gathered

    def _by_name(
        self, ran: list[Input], outcomes: list[Outcome | None]
    ) -> tuple[list[Outcome | None], tuple[list[Any], ...] | None, dict[str, list[Any]]]:
        gathered: dict[object, list[Any]] = {}
        for index, member in enumerate(ran):
            try:
                given = self._bound(member.args, member.kwargs or {}, gathered)
            except InvalidError as error:
                outcomes[index] = failure_of(error)
                continue
            for key, value in given.items():
                gathered.setdefault(key, []).append(value)
        if all(outcome is not None for outcome in outcomes):
            return outcomes, None, {}
        args: list[list[Any]] = []
        for name in self._names[: self._positional]:
            if name not in gathered:
                break  # no member gave it: it has a default; later parameters go by name
            args.append(gathered.pop(name))
        more = sorted(key for key in gathered if isinstance(key, int))
        args += [gathered.pop(key) for key in more]
        return outcomes, tuple(args), cast("dict[str, list[Any]]", gathered)

    def _bound(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], gathered: dict[object, list[Any]]
    ) -> dict[object, Any]:
        """Return the arguments of one member by parameter; extra positions by their index.

        Raises:
            InvalidError: if the arguments do not fit.  The other members run.
        """
        names, shown = self._names, self._shown
        # Keyword-only parameters may be given by position too, as in Modal.
        by_position = names[: self._positional] if self._more_positions else names
        if (args or kwargs) and not (names or self._more_positions or self._more_names):
            count = len(args) + len(kwargs)
            raise InvalidError(
                f"the batched function {shown} has no parameter, so it takes no list of inputs, "
                f"but an input of the batch has {count} argument{'' if count == 1 else 's'}; "
                f"write def {shown.rpartition('.')[2]}(inputs): with a list for each thing that "
                "callers give"
            )
        if len(args) > len(by_position) and not self._more_positions:
            raise InvalidError(
                f"the batched function {shown} takes {len(by_position)} positional arguments, "
                f"but an input of the batch has {len(args)}; write {self._call()}"
            )
        given: dict[object, Any] = dict(zip(by_position, args, strict=False))
        given.update(enumerate(args[len(by_position) :]))
        for key, value in kwargs.items():
            if key in given:
                raise InvalidError(
                    f"the batched function {shown} got several values for its argument {key} in "
                    f"an input of the batch; write {self._call()}"
                )
            if key not in names and not self._more_names:
                raise InvalidError(
                    f"the batched function {shown} got an unexpected keyword argument {key} in an "
                    f"input of the batch; write {self._call()}"
                )
            given[key] = value
        missing = [name for name in self._required if name not in given]
        missing += [str(key) for key in gathered if key not in given and key not in missing]
        if missing:
            raise InvalidError(
                f"the batched function {shown} got no {', '.join(missing)} in an input of the "
                f"batch; write {self._call()}"
            )
        if gathered and len(given) > len(gathered):
            extra = next(key for key in given if key not in gathered)
            raise InvalidError(
                f"the batched function {shown} got {extra} in one input of the batch and not in "
                "another; write the same arguments in all calls of it"
            )
        return given

    def _call(self) -> str:
        """Return how to call the function for one input, for an error message."""
        return f"{self._shown}.remote({', '.join(self._names)})"


def parameters_of(function: Callable[..., Any]) -> list[Parameter]:
    """Return the parameters of a batched function; ``*args`` if it does not say them."""
    try:
        return list(Real.signature(function).parameters.values())
    except (TypeError, ValueError):  # a function in C, which does not say its parameters
        return [Parameter("args", Parameter.VAR_POSITIONAL)]


def _hand_out(target: Target, result: object, outcomes: list[Outcome | None]) -> None:
    """Give each member that ran its element of `result`.

    An element that is a coroutine or a generator fails its member alone.

    Raises:
        InvalidError: unless `result` is a list with one element for each of these members.
    """
    name = target.name
    if is_awaitable(result):
        raise refusal(name, target.kind, result)
    count = sum(outcome is None for outcome in outcomes)
    if not isinstance(result, list):
        raise InvalidError(
            f"the batched function {name} must return a list with one element for each input, "
            f"got {type(result).__name__} for {_inputs(count)}; write return list(...)"
        )
    values = cast("list[object]", result)
    if len(values) != count:
        for value in values:
            discard(value)
        raise InvalidError(
            f"the batched function {name} must return a list with one element for each input, "
            f"got a list of {len(values)} for {_inputs(count)}; "
            "return a list of that length"
        )
    places = [index for index, outcome in enumerate(outcomes) if outcome is None]
    for index, value in zip(places, values, strict=True):
        # `type`, because `isinstance` may run a user's ``__class__`` property.
        if issubclass(type(value), BaseException):
            outcomes[index] = failure_of(cast("BaseException", value))
        elif id(type(value)) in NOT_RUN:
            part = f"an element of the list that the batched function {name} returned"
            outcomes[index] = failure_of(
                refused_part(
                    part, "await asyncio.gather(*...)", "[list(each) for each in ...]", value
                )
            )
        else:
            outcomes[index] = Value(value)


def _inputs(count: int) -> str:
    return "1 input" if count == 1 else f"{count} inputs"


def current_input_ids() -> list[str]:
    """Return the ids of the inputs that this code runs for, in the order of its lists.

    In a batched function these are the ids of all listed members, and `current_input_id` is
    the first of them.  In any other function it is that one id.  Outside of any input the
    list is empty.
    """
    input = current_input()
    if input is None:
        return []
    call = input.call
    members = call.listed if isinstance(call, BatchCall) else []
    # `listed` is empty after the batch has ended: code that still runs gets the first id.
    return [member.input_id for member in members or [input]]
