"""Definitions: objects that decorators and calls of the standard library leave in a module.

Code that goes by value takes along what its module has defined.  Functions and classes are
cloudpickle's; this file owns what pickle would look up by its name in the other process, which does
not have that module, or would refuse: functions with a cache, single dispatch, cached properties,
context variables, and the objects of ``typing``.  Each is made again there, with nothing in it: an
empty cache, a variable with its default.  What a module of the standard library compares by
identity stays that one object.

Called by the picklers of ``blueprints.py`` and ``shipping.py``.  Begin at `reduced_definition`.
"""

from __future__ import annotations

import contextvars
import dataclasses
import functools
import importlib
import sys
import typing
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any, Final, cast

_DISPATCH_CODE: Final = cast("FunctionType", functools.singledispatch(repr)).__code__


def reduced_definition(value: Any, is_found_again: Callable[[ModuleType], bool]) -> Any:
    """Return how a definition is made again, as ``__reduce__`` says it.

    Returns None for other objects, and for definitions that are found under their names.

    Args:
        is_found_again: whether another process that imports a module gets the same.
    """
    kind: Any = cast("Any", type(value))
    single = _SINGLE.get(kind)
    if single is not None:
        return _found_in, single
    reduce = _REDUCERS.get(kind)
    if reduce is None:
        if kind is FunctionType and value.__code__ is _DISPATCH_CODE:
            reduce = _reduced_dispatch
        else:
            return None
    if kind is contextvars.ContextVar:
        return _place_of(value, is_found_again) or reduce(value)
    named = value.func if kind is functools.cached_property else value
    name: str | None = getattr(named, "__module__", None)
    if name != "__main__" and "<locals>" not in getattr(named, "__qualname__", ""):
        module = sys.modules.get(name or "")
        if module is None or is_found_again(module):
            return None
    return reduce(value)


def _place_of(value: object, is_found_again: Callable[[ModuleType], bool]) -> Any:
    """Return how an object that does not know its module is found in one; None if in none."""
    for module in list(sys.modules.values()):
        if type(module) is ModuleType and module.__name__ != "__main__":
            for name, each in list(vars(module).items()):
                if each is value and is_found_again(module):
                    return _found_in, (module.__name__, name)
    return None


def _found_in(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def _reduced_cache(value: Any) -> Any:
    return _cached, (value.__wrapped__, value.cache_parameters()), vars(value)


def _cached(function: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    return functools.lru_cache(**parameters)(function)


def _reduced_property(value: Any) -> Any:
    state: dict[str, Any] = dict(cast("dict[str, Any]", vars(value)))
    state.pop("lock", None)
    return functools.cached_property, (value.func,), state


def _reduced_dispatch(value: Any) -> Any:
    # The functions may refer to `value` themselves, so they are no arguments.
    attributes = {name: getattr(value, name) for name in _NAMES if hasattr(value, name)}
    return _dispatching, (), (dict(value.registry), attributes), None, None, _fill_dispatch


_NAMES: Final = ("__wrapped__", *functools.WRAPPER_ASSIGNMENTS)


def _dispatching() -> Any:
    def function(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError  # replaced by `_fill_dispatch`

    return functools.singledispatch(function)


def _fill_dispatch(dispatching: Any, state: Any) -> None:
    registry, attributes = state
    for kind, function in registry.items():
        dispatching.register(kind, function)
    for name, attribute in attributes.items():
        setattr(dispatching, name, attribute)


def _reduced_variable(value: contextvars.ContextVar[Any]) -> Any:
    nothing: object = object()
    found = contextvars.Context().run(value.get, nothing)
    # With an argument, `get` prefers the argument to the default of the variable.
    if found is nothing:
        try:
            found = contextvars.Context().run(value.get)
        except LookupError:
            return contextvars.ContextVar, (value.name,)
    return _variable, (value.name, found)


def _variable(name: str, default: Any) -> contextvars.ContextVar[Any]:
    return contextvars.ContextVar(name, default=default)


def reduced_single(value: Any) -> Any:
    """Return how an object of the program is made whose ``__reduce__`` gives its name.

    None for other objects.
    """
    kind: Any = cast("Any", type(value))
    if kind.__module__ != "__main__" or isinstance(value, type):
        return None
    if kind.__reduce_ex__ is not object.__reduce_ex__:
        return None
    if kind.__reduce__ is object.__reduce__:
        return None
    reduced: Any = value.__reduce__()
    if not isinstance(reduced, str):
        return reduced
    return object.__new__, (kind,), getattr(value, "__dict__", None)


def _of_typing(value: Any, name: str, *args: Any) -> Any:
    return _typing_object, (name, args, value.__module__)


def _typing_object(name: str, args: tuple[Any, ...], module: str) -> Any:
    made = getattr(typing, name)(*args)
    try:
        made.__module__ = module
    except AttributeError:
        pass  # Python 3.12 made it read-only for some
    return made


# Types with one object, which pickle would make anew, and where that object is.
_SINGLE: Final[dict[type, tuple[str, str]]] = {
    type(dataclasses.MISSING): ("dataclasses", "MISSING"),
    type(dataclasses.KW_ONLY): ("dataclasses", "KW_ONLY"),
}

_REDUCERS: Final[dict[type, Callable[[Any], Any]]] = {
    functools._lru_cache_wrapper: _reduced_cache,
    functools.cached_property: _reduced_property,
    contextvars.ContextVar: _reduced_variable,
    typing.NewType: lambda value: _of_typing(value, "NewType", value.__name__, value.__supertype__),
    typing.ParamSpec: lambda value: _of_typing(value, "ParamSpec", value.__name__),
    typing.TypeVarTuple: lambda value: _of_typing(value, "TypeVarTuple", value.__name__),
}
if sys.version_info >= (3, 12):
    _REDUCERS[typing.TypeAliasType] = lambda value: _of_typing(
        value, "TypeAliasType", value.__name__, value.__value__
    )
