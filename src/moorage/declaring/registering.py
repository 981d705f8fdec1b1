"""Registering: what may be registered with an app, and with which options.

Owns how the marks of a function or class are joined with the arguments of ``app.function`` and
``app.cls``, and what is refused because of where it is written.  `App.function` and `App.cls`
call these functions, and keep what is registered.

Begin at `raw_and_marks`, then `with_marks`, then `check_place`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from .. import config
from ..exception import InvalidError, LocalFunctionError
from ..runtime.real import Real
from .declarations import Declarations
from .marks import Concurrency, Marks, is_written_in_a_class, name_of
from .options import FunctionOptions, check_concurrency
from .partial import PartialFunction
from .static_methods import without_wrapper


def shown_kind(obj: object) -> str:
    """Return `obj` as text for an error message."""
    return f"the function {name_of(obj)}" if Real.isfunction(obj) else repr(obj)


def raw_and_marks(obj: Any) -> tuple[Any, Marks]:
    """Return the undecorated object, and the marks of the decorators below the app's."""
    if isinstance(obj, PartialFunction):
        partial: PartialFunction[Any, Any, Any] = obj
        return without_wrapper(partial.raw), partial.marks
    return without_wrapper(obj), Marks()


def with_marks(
    options: FunctionOptions, marks: Marks, concurrent_inputs: int | None, name: str
) -> FunctionOptions:
    """Return `options` with the marks; `concurrent_inputs` is ``allow_concurrent_inputs``.

    Raises:
        InvalidError: if the options and the marks do not go together.
    """
    concurrency = marks.concurrency
    if concurrent_inputs:
        old = Concurrency(concurrent_inputs).checked()
        concurrency = old if concurrency is None else concurrency.merged(old, name)
    check_concurrency(concurrency, name, is_server=marks.is_server)
    joined = options.merged(concurrency=concurrency, batching=marks.batching)
    joined.check_queue_timeout()
    return joined


def check_place(raw: Callable[..., Any], shown: str, marks: Marks, serialized: bool) -> None:
    """Refuse methods and hooks, which belong to a class.

    In strict mode also refuse a function inside a function, unless `serialized`.

    Raises:
        InvalidError: if `raw` is in such a place.
    """
    misplaced = marks.is_method or marks.is_hook
    if is_written_in_a_class(raw) or (misplaced and not config.strict):
        what = "method" if not marks.is_hook else "hook (enter, exit)"
        above = "@moorage.method() above it and " if not marks.is_hook else ""
        raise InvalidError(
            f"app.function() decorates functions, got the {what} {shown}; write "
            f"{above}@app.cls() above its class"
        )
    refuse_nested(raw, serialized, InvalidError)


def refuse_nested(
    raw: object, serialized: bool, error: type[InvalidError] = LocalFunctionError
) -> None:
    """In strict mode, refuse an object inside a function, which Modal could not import."""
    if config.strict and not serialized and "<locals>" in str(getattr(raw, "__qualname__", "")):
        raise error(
            f"{name_of(raw)} is defined inside a function, and Modal can only import from global "
            "scope; move it there, or write serialized=True"
        )


def given_parameters(declared: Declarations) -> list[inspect.Parameter]:
    """Return the parameters that callers name: all but ``*args`` and ``**kwargs``."""
    return [
        parameter
        for parameter in declared.signature.parameters.values()
        if parameter.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    ]
