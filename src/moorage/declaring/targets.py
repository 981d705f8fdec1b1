"""Targets: what a call of a user's function returns, and the rules for batched functions.

Owns how a function becomes a `Target` of the engine; ``runtime/kinds.py`` says of which kind the
function is.  `App.function`, `Declarations` and ``cls.py`` call this file when they register.

Begin at `make_target`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from .. import config
from ..exception import InvalidError
from ..runtime.input import Target
from ..runtime.kinds import Kind, inner_kind_of, kind_of
from ..runtime.pools.batching import parameters_of


def make_target(
    name: str,
    function: Callable[..., Any],
    is_generator: bool | None,
    *,
    is_method: bool = False,
    batched: bool = False,
) -> Target:
    """Return the `Target` of `function`: its name, and what kind of result a call returns.

    Raises:
        InvalidError: if `batched` and the function cannot be batched.
    """
    kind = kind_of(function)
    if batched:
        _check_batched(name, function, kind, is_method)
    if is_generator and not kind.is_generator:
        # The user says that the call gives a generator.  Which kind of generator a plain wrapper
        # gives is that of the function that it wraps.
        inner = inner_kind_of(function)
        is_async = kind.is_async or inner is Kind.ASYNC_GENERATOR
        kind = Kind.ASYNC_GENERATOR if is_async else Kind.SYNC_GENERATOR
    return Target(name, function, kind, is_method=is_method)


def check_batched(target: Target) -> None:
    """Refuse a function that cannot be batched.

    Raises:
        InvalidError: if the function is a generator or has defaults.  In strict mode a method is
            not checked here, because Modal checks it when the app runs.
    """
    _check_batched(target.name, target.function, target.kind, target.is_method)


def refuse_of_web(name: str, *, batched: bool = False, retried: bool = False) -> None:
    """Refuse what does not go with the web function `name`: batches, and further attempts.

    Raises:
        InvalidError: if it has one of them.
    """
    for is_so, way, why in (
        (batched, "with_batching(...)", "call a batched function in it"),
        (retried, "with_options(retries=...)", "write the attempts in its code"),
    ):
        if is_so:
            raise InvalidError(
                f"{way} does not go with the web function {name}, each of whose requests is "
                f"answered once; {why}"
            )


def check_batched_class(name: str, targets: Sequence[Target]) -> None:
    """Refuse a class that ``with_batching`` cannot batch.

    Raises:
        InvalidError: unless the class has exactly one method that is called from outside.
    """
    if len(targets) != 1:
        methods = ", ".join(target.name for target in targets)
        raise InvalidError(
            f"with_batching is for a class with one method that is called from outside, "
            f"{name} has {methods or 'none'}; write a class for each"
        )
    check_batched(targets[0])


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
        for parameter in parameters_of(function)
        if parameter.default is not inspect.Parameter.empty
    ]
    if defaults:
        raise InvalidError(
            f"the batched function {name} has defaults for {', '.join(defaults)}; "
            "write it without, for each parameter receives a list"
        )
