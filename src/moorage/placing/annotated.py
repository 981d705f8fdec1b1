"""Annotations that are strings: the names in them, which code by value needs as well.

With ``from __future__ import annotations`` an annotation is a string, and the code never names what
it says.  cloudpickle takes along the globals that code names; so in the other process whoever
evaluates the annotation, such as FastAPI, pydantic or `typing.get_type_hints`, finds nothing.  This
file owns the search for those globals.

Called by the picklers of ``shipping.py``.  Begin at `names_of_function`.
"""

from __future__ import annotations

import ast
import functools
import sys
import typing
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final, NamedTuple, cast

_POSTPONED: Final = annotations.compiler_flag  # of code, in `co_flags`


class Named(NamedTuple):
    """What annotations name."""

    values: dict[str, Any]  # globals, by their names
    modules: list[ModuleType]  # submodules, whose packages do not import them


NOTHING: Final = Named({}, [])


def names_of_function(function: FunctionType) -> Named:
    """Return what the annotations of a function, and of those defined in it, name."""
    texts = [*_texts(function.__annotations__), *_inner(function.__code__)]
    return _found(texts, function.__globals__)


def names_of_class(kind: type) -> Named:
    """Return what the annotations of a class of the program name; of another one, nothing.

    Annotations of a class are evaluated with the variables of its module, so there must be one.
    """
    if kind.__module__ != "__main__":
        return NOTHING
    annotated: Any = vars(kind).get("__annotations__")
    if annotated is None and sys.version_info >= (3, 14):
        annotated = kind.__annotations__
    return _found(_texts(annotated or {}), vars(sys.modules["__main__"]))


def _texts(annotated: Mapping[str, Any]) -> Iterator[str]:
    for value in annotated.values():
        yield from _texts_in(value)


def _texts_in(value: Any) -> Iterator[str]:
    """Yield the strings in an annotation, e.g. that of ``list["Item"]``."""
    if type(value) is str:
        yield value
    elif type(value) is typing.ForwardRef:
        yield value.__forward_arg__
    else:
        for each in typing.get_args(value):
            yield from _texts_in(each)


def _inner(code: CodeType) -> Iterator[str]:
    """Yield what annotations in `code` say, of functions and classes that it defines.

    A function's are a tuple of names and annotations, in turns.  A class's are among the strings in
    the code of its body: what else stands there is rarely the name of a global.
    """
    if code.co_flags & _POSTPONED:
        for constant in code.co_consts:
            if type(constant) is tuple:
                pairs = cast("tuple[object, ...]", constant)
                yield from (each for each in pairs[1::2] if type(each) is str)
            elif type(constant) is str and "__annotations__" in code.co_names:
                yield constant
    for inner in code.co_consts:
        if type(inner) is CodeType:
            yield from _inner(inner)


def _found(texts: Iterable[str], variables: Mapping[str, Any]) -> Named:
    found = Named({}, [])
    for text in texts:
        for name, *attributes in _paths(text):
            if name in variables:
                found.values[name] = value = variables[name]
                found.modules.extend(_submodules(value, attributes))
    return found


@functools.lru_cache(1024)
def _paths(text: str) -> tuple[tuple[str, ...], ...]:
    """Return the names in an annotation with their attributes: ``("fastapi", "Request")``."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError):
        return ()
    found: list[tuple[str, ...]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and type(node.value) is str:
            found += _paths(node.value)  # list["Item"]
        attributes: list[str] = []
        while isinstance(node, ast.Attribute):
            attributes.append(node.attr)
            node = node.value
        if isinstance(node, ast.Name):
            found.append((node.id, *reversed(attributes)))
    return tuple(found)


def _submodules(value: Any, attributes: list[str]) -> Iterator[ModuleType]:
    for name in attributes:
        if not isinstance(value, ModuleType):
            return
        value = sys.modules.get(f"{value.__name__}.{name}")
        if value is not None:
            yield value
