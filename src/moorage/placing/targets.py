"""What a child runs: the user's function on copies of its arguments, with its result as bytes.

Owns the targets of a child.  Each is a wrapper of the user's function that unpacks the arguments
and packs what the function gives: on the thread and in the context of the user's code, so that a
slow or failing ``__setstate__`` is the affair of that input alone.  The lanes run it as any other
function.  Errors are left as they are: `ChildHost` packs them when the lane has made an outcome.

Begin at `child_target`, then `batch_of_packed`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

from ..runtime.input import Input, Target
from ..runtime.kinds import FINISHED, NOT_RUN, Kind, is_awaitable, is_iterable, refusal, unfinished
from ..runtime.outcome import Outcome, Value, failure_of
from ..runtime.pools.batching import BatchCall, batch_target
from ..runtime.posing import poses_as
from .shipping import Packed, pack_result, unpacked_arguments


def child_target(target: Target) -> Target:
    """Return the target that runs `target` on a `Packed`, its last argument."""
    made = Target(target.name, _wrapper(target), target.kind, is_method=target.is_method)
    made.is_cooperative = target.is_cooperative
    return made


def _wrapper(target: Target) -> Callable[..., Any]:
    function = target.function
    if target.kind.is_generator:

        @poses_as(function)
        def run_generator(*bound_and_packed: Any) -> Any:
            *bound, packed = bound_and_packed
            args, kwargs = unpacked_arguments(packed, target)
            items = function(*bound, *args, **kwargs)
            if target.is_async:
                return _AsyncItems(items, target)
            return _Items(items, target) if is_iterable(items) else items  # the lane refuses these

        return run_generator

    if target.kind is Kind.ASYNC:

        @poses_as(function)
        async def run_async(*bound_and_packed: Any) -> Any:
            *bound, packed = bound_and_packed
            args, kwargs = unpacked_arguments(packed, target)
            result = function(*bound, *args, **kwargs)
            del args, kwargs
            if is_awaitable(result):
                result = await result
            elif unfinished(result):
                raise refusal(target.name, target.kind, result)
            # The lane refuses what has not run, which pickle would refuse with another text.
            return result if unfinished(result) else pack_result(result, "result", target)

        return run_async

    @poses_as(function)
    def run(*bound_and_packed: Any) -> Any:
        args, kwargs = unpacked_arguments(bound_and_packed[-1], target)
        result = function(*bound_and_packed[:-1], *args, **kwargs)
        del args, kwargs
        kind: type = type(result)  # pyright: ignore[reportUnknownVariableType]
        if id(kind) not in FINISHED and unfinished(result):
            return result
        return pack_result(result, "result", target)

    return run


# -- generators --------------------------------------------------------------------------


class _Items:
    """An iterator of a generator's items, as bytes.  `close` closes the generator."""

    def __init__(self, items: Any, target: Target) -> None:
        self._items = items
        self._target = target
        self._steps: Iterator[Any] = iter(items)

    def __iter__(self) -> _Items:
        return self

    def __next__(self) -> Any:
        return _packed_item(next(self._steps), self._target)

    def close(self) -> None:
        close = getattr(self._items, "close", None)
        if close is not None:  # a user's iterator that is not a generator may have no `close`
            close()


class _AsyncItems:
    """An async iterator of an async generator's items, as bytes; as `_Items`."""

    def __init__(self, items: Any, target: Target) -> None:
        self._items = items
        self._target = target
        self._steps: AsyncIterator[Any] | None = None

    def __aiter__(self) -> _AsyncItems:
        return self

    async def __anext__(self) -> Any:
        if self._steps is None:
            # A function declared `is_generator` may be a coroutine function that returns an async
            # generator.
            if is_awaitable(self._items):
                self._items = await self._items
            if not is_iterable(self._items, asynchronously=True):
                raise refusal(self._target.name, Kind.ASYNC_GENERATOR, self._items)
            self._steps = aiter(self._items)
        return _packed_item(await anext(self._steps), self._target)

    async def aclose(self) -> None:
        aclose = getattr(self._items, "aclose", None)
        if aclose is not None:
            await aclose()


def _packed_item(item: Any, target: Target) -> Any:
    kind: type = type(item)  # pyright: ignore[reportUnknownVariableType]
    if id(kind) in NOT_RUN:
        return item  # the stream refuses this item
    return pack_result(item, "item", target)


# -- batches -------------------------------------------------------------------------------


def batch_of_packed(target: Target) -> Target:
    """Return the target of a batch whose members have a `Packed` each: see `batch_target`.

    It gives one outcome for each member, with values as bytes.  A member whose arguments cannot be
    read back, or whose result does not pickle, fails alone.
    """
    gather = batch_target(target)
    function = gather.function
    if target.is_async:

        @poses_as(target.function)
        async def run_async(*bound_and_call: Any) -> list[Outcome]:
            call: BatchCall = bound_and_call[-1]
            _unpack_members(call, target)
            outcomes = await function(*bound_and_call)
            return _packed_outcomes(call, outcomes, target)

        run: Callable[..., Any] = run_async
    else:

        @poses_as(target.function)
        def run_sync(*bound_and_call: Any) -> list[Outcome]:
            call: BatchCall = bound_and_call[-1]
            _unpack_members(call, target)
            return _packed_outcomes(call, function(*bound_and_call), target)

        run = run_sync
    made = Target(target.name, run, target.kind, is_method=target.is_method)
    made.is_cooperative = target.is_cooperative
    return made


def _unpack_members(call: BatchCall, target: Target) -> None:
    for member in call.members:
        try:
            args, kwargs = unpacked_arguments(cast(Packed, member.args[0]), target)
        except BaseException as error:
            member.outcome = failure_of(error)  # so it is not among those that run
        else:
            member.args, member.kwargs = args, kwargs or None


def _packed_outcomes(call: BatchCall, outcomes: list[Outcome], target: Target) -> list[Outcome]:
    """Return the outcomes of all members, in their order."""
    ran = dict(zip(call.ran, outcomes, strict=True))
    return [_packed_outcome(member.outcome or ran[member], target) for member in call.members]


def _packed_outcome(outcome: Outcome, target: Target) -> Outcome:
    if type(outcome) is not Value:
        return outcome
    try:
        return Value(pack_result(outcome.value, "result", target))
    except Exception as error:
        return failure_of(error)


def outcomes_of_members(call: BatchCall, outcome: Outcome) -> list[Outcome]:
    """Return the outcome of each member of a batch that ended with `outcome`."""
    if type(outcome) is Value:
        return cast("list[Outcome]", outcome.value)
    members: list[Input] = call.members
    return [member.outcome or call.misfits.get(member) or outcome for member in members]
