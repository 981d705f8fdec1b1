"""Targets: what calling a user's function gives, and the batched ones among them.

Owns how a function becomes a `Target` of the engine.  `App.function` and
`Cls` make them when they register.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, cast

from . import config
from .exception import InvalidError
from .runtime.input import Kind, Target


def make_target(
    name: str,
    function: Callable[..., Any],
    is_generator: bool | None,
    *,
    is_method: bool = False,
    batched: bool = False,
) -> Target:
    """Describe what calling `function` gives."""
    if inspect.isasyncgenfunction(function):
        kind = Kind.ASYNC_GENERATOR
    elif inspect.iscoroutinefunction(function):
        kind = Kind.ASYNC
    elif inspect.isgeneratorfunction(function):
        kind = Kind.SYNC_GENERATOR
    else:
        kind = Kind.SYNC
    if batched:
        _check_batched(name, function, kind, is_method)
        function = _batch_of_one(name, function, kind, is_method)
    if is_generator and not kind.is_generator:
        kind = Kind.ASYNC_GENERATOR if kind.is_async else Kind.SYNC_GENERATOR
    return Target(name, function, kind, is_method=is_method)


def batched_target(target: Target) -> Target:
    """`target`, batched: as it is if it is so already."""
    if getattr(target.function, "_moorage_batched", False):
        return target
    return make_target(target.name, target.function, None, is_method=target.is_method, batched=True)


def _check_batched(name: str, function: Callable[..., Any], kind: Kind, is_method: bool) -> None:
    if is_method and config.strict:
        return  # found when the app runs
    if kind.is_generator:
        raise InvalidError(
            f"the batched function {name} is a generator; "
            "write one that returns a list, with one element for each input"
        )
    defaults = [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is not inspect.Parameter.empty
    ]
    if defaults:
        raise InvalidError(
            f"the batched function {name} has defaults for {', '.join(defaults)}; "
            "write it without, for each parameter receives a list"
        )


def _batch_of_one(
    name: str, function: Callable[..., Any], kind: Kind, is_method: bool
) -> Callable[..., Any]:
    """`function` on a batch with one input, a size that every batched function must take.

    Inputs are not gathered into larger batches yet.
    """
    bound = 1 if is_method else 0

    def listed(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Any]:
        yield [*args[:bound], *([value] for value in args[bound:])]
        yield {key: [value] for key, value in kwargs.items()}

    def only(result: object) -> Any:
        if isinstance(result, list) and len(cast("list[object]", result)) == 1:
            return cast("list[object]", result)[0]
        raise InvalidError(
            f"the batched function {name} must return a list with one element for each input, "
            f"got {result!r} for 1 input; return a list of that length"
        )

    if kind.is_async:

        @functools.wraps(function)
        async def run_async(*args: Any, **kwargs: Any) -> Any:
            positional, named = listed(args, kwargs)
            return only(await function(*positional, **named))

        run_async._moorage_batched = True  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        return run_async

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        positional, named = listed(args, kwargs)
        return only(function(*positional, **named))

    run._moorage_batched = True  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    return run
