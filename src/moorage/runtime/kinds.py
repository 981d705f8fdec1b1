"""Kinds: what a call of user code gives, as declared and as seen.

Owns `Kind` and two questions.  `kind_of` answers the first, when a callable is registered: does
a call give a value, a coroutine or a generator?  `unfinished` answers the second, when the call
has given something: is that a result, or code that has not run?  The files that register user
code ask the first question; lanes, batches, streams and hooks ask the second.  This file takes
no lock and has no state.

Begin at `kind_of`, then `_layers`; for results at `FINISHED`, then `unfinished`.

Why a plain ``def`` with ``functools.wraps`` over an ``async def`` counts as a ``def``: there are
two kinds of such wrappers, and only a call tells them apart.  A timing decorator returns the
coroutine; other decorators run the coroutine themselves (``asyncio.run(function(...))``), which
works only on a thread without a running loop, that is, as a ``def``.  Modal decides in the same
way.  A coroutine that the wrapper gives is refused: see `refusal`.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import functools
import inspect
from collections.abc import Iterator
from types import (
    AsyncGeneratorType,
    BuiltinFunctionType,
    CoroutineType,
    FunctionType,
    GeneratorType,
    MethodDescriptorType,
    MethodType,
    WrapperDescriptorType,
)
from typing import Any, Final, cast

from ..exception import InvalidError
from .real import Real

# More layers than any callable has.  A callable may refer to itself.
_DEPTH: Final = 50
# Modules whose wrappers return what the wrapped function gives, and do not run it: those of
# `singledispatch` and `lru_cache`, and of a `ContextDecorator`.
_PASSES_ON: Final = tuple(map(id, (vars(functools), vars(contextlib))))
# What `markcoroutinefunction` sets before Python 3.12 (in asgiref), and what an AsyncMock has.
_MARK: Final[object] = getattr(asyncio.coroutines, "_is_coroutine", object())


class Kind(enum.Enum):
    """The kind of the user's function: sync or async, function or generator."""

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


# -- what a callable is ---------------------------------------------------------------------


def kind_of(function: object) -> Kind:
    """Return what a call of `function` gives, as far as its definition says.

    A callable object counts by the ``__call__`` of its class.  A partial, a bound or static
    method, and a wrapper of the standard library count by the function inside.
    """
    layers = list(_layers(function))
    # First, because a coroutine function of `types.coroutine` is a generator function too.
    if any(map(_is_marked, layers)):
        return Kind.ASYNC
    for layer in layers:
        if is_mock(layer):
            continue  # ``Mock(spec=f)`` poses as a function, and its code is a mock too
        if Real.isasyncgenfunction(layer):
            return Kind.ASYNC_GENERATOR
        if Real.iscoroutinefunction(layer):
            return Kind.ASYNC
        if Real.isgeneratorfunction(layer):
            return Kind.SYNC_GENERATOR
    return Kind.SYNC


def inner_kind_of(function: object) -> Kind:
    """Return the kind of the innermost function: behind all wrappers, also those of users.

    This says what a plain wrapper may give, and not what the wrapper does give.
    """
    for layer in _layers(function, all_wrappers=True):
        kind = kind_of(layer)
        if kind is not Kind.SYNC:
            return kind
    return Kind.SYNC


def is_marked_with(function: object, attribute: str) -> bool:
    """Whether `function`, or a function that it calls for every call, has a true `attribute`."""
    return any(getattr(layer, attribute, None) is True for layer in _layers(function))


def _layers(function: object, *, all_wrappers: bool = False) -> Iterator[object]:
    """Yield `function` and the callables inside it, the outermost first.

    Args:
        all_wrappers: also look behind the wrappers of users, which need not return what the
            wrapped function gives.
    """
    layer: object = function
    for _ in range(_DEPTH):
        yield layer
        inner = _inside(layer, all_wrappers)
        if inner is None or inner is layer:
            return
        layer = inner


def _inside(layer: object, all_wrappers: bool) -> object | None:
    """Return the callable that a call of `layer` calls; None if `layer` is the last."""
    if is_mock(layer):
        return _inside_mock(layer)
    if isinstance(layer, (MethodType, staticmethod, classmethod)):
        return cast("object", layer.__func__)
    if isinstance(layer, (functools.partial, functools.partialmethod)):
        return cast("object", layer.func)
    if isinstance(layer, type):
        return None  # a call makes an instance
    attributes: dict[str, object] = getattr(layer, "__dict__", {})
    wrapped = attributes.get("__wrapped__")
    if isinstance(layer, FunctionType):
        if is_mock(attributes.get("mock")):  # made by `create_autospec`
            return _inside_mock(layer)
        return wrapped if all_wrappers or id(layer.__globals__) in _PASSES_ON else None
    for owner in type(layer).__mro__:
        if "__call__" in vars(owner):
            call: object = vars(owner)["__call__"]
            break
    else:
        return None
    # Without Python code of its own an object gives what the wrapped function gives, as
    # `lru_cache` does.  Else the code of the object's `__call__` decides.
    is_builtin = isinstance(call, _BUILTIN)
    if wrapped is not None and (all_wrappers or is_builtin):
        return wrapped
    return None if is_builtin else call


def _inside_mock(mock: Any) -> object | None:
    """Return the function whose result a call of `mock` returns; None if there is none."""
    effect: object = mock.side_effect
    return effect if callable(effect) else getattr(mock, "_mock_wraps", None)


_BUILTIN: Final = (WrapperDescriptorType, BuiltinFunctionType, MethodDescriptorType)


def is_registered(value: object) -> bool:
    """Whether `value` is what an app made of a function or class.  A mock has any attribute."""
    return getattr(value, "_moorage_registered", False) is True


def is_mock(value: object) -> bool:
    """Whether `value` is a mock of `unittest.mock`, or of the package ``mock``.

    Asks the class, because a mock has any attribute, and may pose as an object of any class.
    """
    return _has_base(type(value), "NonCallableMock")


def _has_base(kind: type, name: str) -> bool:
    return any(each.__name__ == name and each.__module__ in _MOCKS for each in kind.__mro__)


_MOCKS: Final = ("unittest.mock", "mock.mock")


def _is_marked(layer: object) -> bool:
    if is_mock(layer):
        return _has_base(type(layer), "AsyncMockMixin")
    if getattr(layer, "_is_coroutine", None) is _MARK:
        return True
    code = getattr(layer, "__code__", None) if isinstance(layer, FunctionType) else None
    return code is not None and bool(code.co_flags & inspect.CO_ITERABLE_COROUTINE)


# -- what a call gave -----------------------------------------------------------------------

# For ``type(value) is COROUTINE``, which does not change the type that checkers see.
COROUTINE: Final[type] = CoroutineType

# The ids of the types whose objects are code that has not run, for the items of streams and the
# elements of batches.  Ids: see `FINISHED`.
NOT_RUN: Final[frozenset[int]] = frozenset(
    map(id, (CoroutineType, GeneratorType, AsyncGeneratorType))
)

# The ids of the types of results that need no look.  The thread lane tests
# ``id(type(value)) not in FINISHED`` for each input, which costs about 50 ns, and calls
# `unfinished`, about 200 ns, only for other types.  Ids, because the hash of a user's class may
# be user code.
FINISHED: Final[frozenset[int]] = frozenset(
    map(
        id,
        (
            *(type(None), bool, int, float, complex, str, bytes, bytearray),
            *(list, tuple, dict, set, frozenset),
        ),
    )
)


def unfinished(value: object) -> bool:
    """Whether `value`, which a ``def`` gave, is code that has not run, or is still awaited."""
    kind = type(value)
    if kind is CoroutineType or kind is GeneratorType or kind is AsyncGeneratorType:
        return True
    return is_awaitable(value)


def is_awaitable(value: object) -> bool:
    """Whether ``await value`` is possible.  Looks at the class only, so runs no user code."""
    kind = type(value)
    if kind is CoroutineType:
        return True
    if kind is GeneratorType:
        code = cast("GeneratorType[Any, Any, Any]", value).gi_code
        return bool(code.co_flags & inspect.CO_ITERABLE_COROUTINE)
    # `hasattr` of a class takes longer (it makes an error), and may call the metaclass.
    for owner in kind.__mro__:
        if "__await__" in owner.__dict__:
            return owner.__dict__["__await__"] is not None
    return False


def is_iterable(value: object, *, asynchronously: bool = False) -> bool:
    """Whether ``for`` (or ``async for``) can begin to iterate `value`."""
    kind = type(value)
    if asynchronously:
        return hasattr(kind, "__aiter__")
    return hasattr(kind, "__iter__") or hasattr(kind, "__getitem__")


def refusal(name: str, declared: Kind, value: object) -> InvalidError:
    """Return the error for an input of the function `name` that gave `value`; discard `value`.

    Args:
        declared: the kind as which the function was called.
    """
    kind = type(value)
    awaitable = is_awaitable(value)
    discard(value)
    if declared.is_generator:
        wanted = "an async generator" if declared.is_async else "a generator"
        return InvalidError(
            f"the function {name} must give {wanted}, got an object of type {kind.__name__}; "
            "write yield in it (or in the function of the decorator that wraps it), or take "
            "is_generator=True away"
        )
    if awaitable and declared.is_async:
        return InvalidError(
            f"the async function {name} returned an awaitable of type {kind.__name__}, "
            "which nobody awaits; write return await ... in it"
        )
    if awaitable:
        return InvalidError(
            f"the function {name} was called as a def and gave an awaitable of type "
            f"{kind.__name__}, which nobody awaits (usually that of an async def behind a plain "
            "decorator); write async def for the function in that decorator, and return await ... "
            "in it"
        )
    if declared.is_async:
        listed = "[item async for item in ...]" if kind is AsyncGeneratorType else "list(...)"
        return InvalidError(
            f"the async function {name} returned an object of type {kind.__name__}, which nobody "
            "iterates (usually that of a generator behind a plain decorator); write "
            "is_generator=True in @app.function() or @moorage.method(), and call "
            f".remote_gen(...), or return {listed}"
        )
    return InvalidError(
        f"the function {name} gave an object of type {kind.__name__}, which nobody iterates "
        "(usually that of a generator behind a plain decorator); write is_generator=True in "
        "@app.function() or @moorage.method(), and call .remote_gen(...), or return list(...)"
    )


def refused_part(part: str, awaited: str, listed: str, value: object) -> InvalidError:
    """Return the error for a `value` inside of what user code gave; discard `value`.

    Args:
        part: which value it is, as the first words of the message.
        awaited: the code to write if `value` is a coroutine.
        listed: the code to write if `value` is a generator.
    """
    kind = type(value)
    discard(value)
    if kind is CoroutineType:
        return InvalidError(f"{part} is a coroutine, which nobody awaits; write {awaited}")
    shown = "an async generator" if kind is AsyncGeneratorType else "a generator"
    return InvalidError(f"{part} is {shown}, which nobody iterates; write {listed}")


def discard(value: object) -> None:
    """Close `value` if it is a coroutine that has not begun.

    Otherwise Python warns that nobody awaited the coroutine.  Closing runs no code of the
    coroutine, because the coroutine has not begun.
    """
    if isinstance(value, CoroutineType):
        coroutine: Any = value
        if Real.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
            coroutine.close()
