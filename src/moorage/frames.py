"""Errors and warnings that point at the user's line.

Owns how public functions hide their own frames: an error leaves them with one frame of ours
instead of all; an unexpected argument becomes an error that says what to write; a warning names
the user's line that called.  Every public function uses this file.  ``runtime/outcome.py`` owns
the errors that cross from user code to a caller.

Begin at `hide_our_frames`, then `without_our_frames`, then `wrong_arguments`.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import CodeType
from typing import Any, Final, TypeVar, cast

from .advice import (
    ABSENT,
    batched_numbers,
    concurrent_numbers,
    for_keyword,
    for_positions,
    shown,
)
from .exception import DeprecationError, Error, InvalidArgumentsError
from .runtime.context import is_beginning
from .runtime.error_copies import traceback_of
from .runtime.outcome import PACKAGE, user_frames
from .runtime.real import Real

F = TypeVar("F", bound=Callable[..., Any])
E = TypeVar("E", bound=BaseException)


def without_our_frames(error: E, *, is_ours: bool = False) -> E:
    """Return `error` without its leading frames of ours, for the caller to raise again.

    An error keeps all its frames if it is not one of this library's errors (`is_ours` tells that
    an error of the standard library was raised by intention), has no frame of
    the user's, and was raised deeper than in the frame that raises it again: then it is a bug
    of this library, and the frames show where.
    """
    traceback = traceback_of(error)
    frames = user_frames(traceback)
    if frames is not None or is_ours or isinstance(error, (Error, DeprecationError)):
        BaseException.with_traceback(error, frames)
        return error
    if traceback is not None and traceback.tb_next is None:
        BaseException.with_traceback(error, None)
    return error


def hide_our_frames(function: F) -> F:
    """Wrap `function` so that its errors leave it with one frame of ours instead of all.

    Arguments that `function` does not take raise `InvalidArgumentsError`.  An exception of the
    user's code keeps the user's frames.
    """
    return _hide_our_frames(function, shown_name(function), "")


def hide_our_frames_as(name: str, unknown: str = "") -> Callable[[F], F]:
    """Like `hide_our_frames`, for a function that users know as `name`.

    `unknown` is the advice for an unknown keyword argument.
    """
    return lambda function: _hide_our_frames(function, name, unknown)


def hide_our_frames_of_decorator(example: str) -> Callable[[F], F]:
    """Like `hide_our_frames`, for a decorator with arguments, all of which have names.

    `example` is what to write instead of the decorator without its parentheses.
    """
    return lambda function: _hide_our_frames(function, shown_name(function), "", example)


def _hide_our_frames(function: F, name: str, unknown: str, example: str = "") -> F:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            if example:
                _refuse_positional(name, args, kwargs, example)
            return function(*args, **kwargs)
        except TypeError as error:
            if not is_about_arguments(error):
                raise without_our_frames(error)
            raise wrong_arguments(function, name, args, kwargs, unknown) from None
        except Exception as error:
            raise without_our_frames(error)

    code: CodeType | None = getattr(function, "__code__", None)
    if code is not None and "old_names" in code.co_varnames:
        # ``**old_names`` is there for the advice in an error.
        shown = Real.signature(function)
        parameters = [p for p in shown.parameters.values() if p.name != "old_names"]
        vars(call)["__signature__"] = shown.replace(parameters=parameters)
    return cast(F, call)


def _refuse_positional(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], example: str
) -> None:
    given = args[1:] if name.startswith("app.") else args  # without `self`
    if given:
        raise positional_arguments(name, given, example, kwargs)


def positional_arguments(
    name: str,
    given: Sequence[object],
    instead: str,
    keywords: Mapping[str, object] | None = None,
) -> InvalidArgumentsError:
    """Return the error for a decorator that takes keywords only and was given `given`.

    `instead` is what to write if a function was given, or values that are not recognized.
    `keywords` are the values with a name.
    """
    got = given[0]
    if callable(got):
        shown = getattr(got, "__name__", got)
        return InvalidArgumentsError(
            f"{name} was written without its parentheses above {shown}; write {instead}"
        )
    named = {keyword: value for keyword, value in (keywords or {}).items() if value is not None}
    if name in ("app.function", "app.cls", "concurrent"):
        instead = for_positions(name, given, named, ("max_inputs", "target_inputs"), ())
    elif name == "fastapi_endpoint":
        instead = for_positions(name, given, {}, ("method",), ())
    return InvalidArgumentsError(f"{name} takes keywords only, got {got!r}; write {instead}")


def is_about_arguments(error: TypeError) -> bool:
    """Whether Python refused the call itself, so that no code of the function ran."""
    return error.__traceback__ is not None and error.__traceback__.tb_next is None


def shown_name(function: Callable[..., Any]) -> str:
    """Return the function's name for users: ``App.function`` is ``app.function``."""
    qualname: str = getattr(function, "__qualname__", "") or type(function).__name__
    name = qualname.removesuffix(".__init__")
    owner, _, last = name.rpartition(".")
    if last == "_update_autoscaler":  # the name on an instance, where attributes are user methods
        last = "update_autoscaler"
    return last if owner != "App" else f"app.{last}"


def wrong_arguments(
    function: Callable[..., Any],
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    unknown: str = "",
) -> InvalidArgumentsError:
    """Return the error for a call of `function` whose arguments Python refused."""
    parameters = Real.signature(function).parameters
    named = [n for n, p in parameters.items() if p.kind in _NAMED and n != "self"]
    for key in kwargs:
        if key not in parameters:
            return unknown_keyword(name, key, named, unknown, kwargs[key])
    required = [n for n in named if parameters[n].default is inspect.Parameter.empty]
    written = f"{name}({', '.join(f'{n}=...' for n in required or named)})"
    given = args[1:] if next(iter(parameters), "") == "self" else args
    if given and not any(p.kind in _BY_PLACE and n != "self" for n, p in parameters.items()):
        if callable(given[0]):
            shown = getattr(given[0], "__name__", repr(given[0]))
            return InvalidArgumentsError(
                f"{name} was written without its parentheses above {shown}; write "
                f"@{'' if name.startswith('app.') else 'moorage.'}{written}"
            )
        instead = for_positions(name, given, kwargs, named, required)
        return InvalidArgumentsError(
            f"{name} takes keywords only, got {given[0]!r}; write {instead}"
        )
    missing = [n for n in required if n not in kwargs]
    if missing and len(given) < len(required):
        return InvalidArgumentsError(f"{name} needs {' and '.join(missing)}; write {written}")
    return InvalidArgumentsError(
        f"{name} got more arguments than it takes, or one argument twice; write {written}"
    )


_BY_PLACE: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_NAMED: Final = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def unknown_keyword(
    where: str, name: str, known: Iterable[str], instead: str = "", value: object = ABSENT
) -> InvalidArgumentsError:
    """Return the error for an unknown keyword argument.

    Its advice is the first of these: where the argument belongs, this library's word for another
    library's, a similar name among `known`, `instead`, all names in `known`.  The advice keeps
    `value`.
    """
    names = [n for n in known if n not in ("self", "args", "old_names")]
    near = difflib.get_close_matches(name, names, 1)
    advice = _place_of(where, name, value) or for_keyword(where, name, value)
    if advice:
        pass
    elif near:
        advice = f"write {near[0]}={shown(value)}"
    elif instead:
        advice = instead
    elif names:
        advice = f"write one of {', '.join(sorted(names))}"
    else:
        advice = "take it away: there are no keyword arguments"
    return InvalidArgumentsError(f"{where} got an unexpected keyword argument {name!r}; {advice}")


# `_DECORATORS`: arguments of a decorator, and that decorator.  `_OPTIONS`: arguments of
# ``app.function`` and ``app.cls`` only.
_DECORATORS: Final = {
    "max_inputs": "concurrent",
    "target_inputs": "concurrent",
    "max_batch_size": "batched",
    "wait_ms": "batched",
}
_OPTIONS: Final = (
    "min_containers",
    "max_containers",
    "buffer_containers",
    "scaledown_window",
    "retries",
    "timeout",
    "startup_timeout",
    "queue_timeout",
    "max_backlog",
    "on_full",
)
_CHANGES: Final = {"concurrent": "with_concurrency", "batched": "with_batching"}


def _place_of(where: str, name: str, value: object) -> str:
    """Return the advice for a keyword that belongs elsewhere than to `where`; "" if none."""
    is_change = where.startswith(("with_", "update"))
    decorator = _DECORATORS.get(name)
    if decorator is None and "batch" in name and where not in ("batched", "with_batching"):
        decorator = "batched"  # max_batch, batch_size and the like
    if decorator is None:
        if name not in _OPTIONS or where not in (*_DECORATORS.values(), *_CHANGES.values()):
            return ""
        given = f"{name}={shown(value)}"
        if not is_change:
            return f"write @app.function({given}) above it, or @app.cls({given}) of a class"
        method = "update_autoscaler" if name == "min_containers" else "with_options"
        return f"write .{method}({given})"
    if decorator == "concurrent":
        numbers = concurrent_numbers(**{name: value})
    else:
        numbers = batched_numbers(**{name if name == "wait_ms" else "max_batch_size": value})
    if is_change:
        change = f".{_CHANGES[decorator]}({numbers})"
        return f"write {change} on a function or a class, which makes one with its own containers"
    if where not in ("app.function", "app.cls", "method", *_CHANGES):
        return ""
    at = f"below @{where}()" if where.startswith("app.") else "beside it"
    if decorator == "batched" and where == "app.cls":
        at = "above a method of it"
    elif decorator == "concurrent" and where == "method":
        at = "on its class, below @app.cls()"
    return f"write @moorage.{decorator}({numbers}) {at}"


def warn(message: str, category: type[Warning]) -> None:
    """Issue a warning that names the user's line: the innermost frame outside this package.

    Not in a container that imports the program's code: the program has given the warning.
    """
    if is_beginning():
        return
    frame = Real.currentframe()
    level = 0
    while frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
        level += 1
    warnings.warn(message, category, stacklevel=level + 1)
