"""What a fake container can run: a function of an app, an instance of a class, any callable.

Owns how `FakeContainer` (``fake_container.py``) gets functions of the engine from what a test
gave, and the names that timelines show.  A callable that no app knows is registered here, and
not with an app: the checks of ``App.function`` are about what Modal can import and find by name,
and this container calls an object that is there already.

Begin at `functions_of`, then `_function_of_callable`, then `shown_name`.

A test double answers questions that nobody meant: ``Mock()`` has any attribute, and
``Mock(spec=f)`` says that its class is that of `f`.  So this file asks the type of an object,
and takes an attribute for a name only if the attribute is a str.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import MethodType
from typing import Any, Final

from ..app import App
from ..cls import Cls, Obj
from ..declaring.marks import Marks
from ..declaring.options import FunctionOptions
from ..declaring.partial import PartialFunction
from ..declaring.registering import raw_and_marks, with_marks
from ..declaring.targets import make_target
from ..exception import InvalidError
from ..functions import Function
from ..running.services import AppService, Service
from ..runtime.containers.lifecycle import Lifecycle
from ..runtime.kinds import is_mock

Functions = dict[str, Function[Any, Any, Any]]

# More layers of partials than a test writes.  A callable may refer to itself.
_DEPTH: Final = 50

_WANTED: Final = (
    "a fake container runs a function, an instance of a class of an app, or anything else that "
    "can be called"
)


def functions_of(function: Any) -> tuple[Functions, Service]:
    """Return the functions that the container can run, by name, and their shared service.

    Raises:
        InvalidError: if `function` cannot be run.
    """
    if _is(function, Function):
        registered: Function[Any, Any, Any] = function
        return {registered._name: registered}, registered._service
    if _is(function, Obj):
        return _functions_of_instance(function)
    if _is(function, Cls):
        name = function.__name__
        raise InvalidError(
            f"a fake container runs an instance, got the class {name}; "
            f"write FakeContainer({name}(...))"
        )
    raw, marks = raw_and_marks(function) if _is(function, PartialFunction) else (function, Marks())
    if _is_for_an_app(raw, marks):
        name = shown_name(raw)
        raise InvalidError(
            f"a fake container runs an instance, got the class {name}; "
            f"write with @app.cls() above it, FakeContainer({name}(...))"
        )
    if marks.is_method or marks.is_hook:
        what = "hook" if marks.is_hook else "method"
        raise InvalidError(
            f"a fake container runs the methods of an instance, got the {what} "
            f"{shown_name(raw)} of a class; write @app.cls() above the class, and "
            "FakeContainer(Model(...))"
        )
    if not callable(raw):
        raise _refusal(raw)
    return _function_of_callable(raw, marks)


def _functions_of_instance(instance: Obj) -> tuple[Functions, Service]:
    declared = instance._cls._declared
    methods = {name: instance._method(name) for name in declared.methods}
    if not methods:
        raise InvalidError(f"{declared.name} has no method to run; put @moorage.method() above one")
    return methods, instance._service


def _function_of_callable(function: Callable[..., Any], marks: Marks) -> tuple[Functions, Service]:
    """Register `function`, alone, for this container."""
    name = shown_name(function)
    target = make_target(name, function, None, batched=marks.batching is not None)
    options = with_marks(FunctionOptions(), marks, None, name)
    service = AppService(App()._runs, name, object(), options, [target], Lifecycle())
    return {name: Function._make(target, service, function, web=marks.web)}, service


def _refusal(given: object) -> InvalidError:
    """Return the error for what cannot be called."""
    kind = type(given)
    if kind is classmethod:
        name = shown_name(given)
        return InvalidError(
            f"{_WANTED}, got the classmethod object {name}, which cannot be called; get it from "
            f"its class, and write FakeContainer(TheClass.{name})"
        )
    if _has_marked_methods(kind):
        name = kind.__name__
        return InvalidError(
            f"{_WANTED}, got an instance of {name}, which no app knows; "
            f"write @app.cls() above the class {name}, and FakeContainer({name}(...))"
        )
    return InvalidError(f"{_WANTED}, got {given!r}; write FakeContainer(function)")


def _is_for_an_app(raw: object, marks: Marks) -> bool:
    """Whether `raw` is a class that is meant for ``@app.cls()``, because moorage decorated it."""
    return isinstance(raw, type) and (marks != Marks() or _has_marked_methods(raw))


def _has_marked_methods(kind: type) -> bool:
    values = [value for owner in kind.__mro__ for value in vars(owner).values()]
    return any(_is(value, PartialFunction) for value in values)


def _is(given: object, kind: type) -> bool:
    """Whether the type of `given` is `kind`; `isinstance` also believes ``Mock(spec=kind)``."""
    return issubclass(type(given), kind)


# -- names ------------------------------------------------------------------------------------


def shown_name(function: object) -> str:
    """Return the name that timelines and errors show for a callable.

    Its ``__name__``; of a partial and a bound method, that of the function inside; of a mock,
    the name that the mock was given; of any other object, the name of its class.
    """
    layer = function
    for _ in range(_DEPTH):
        name = _attribute(layer, "_mock_name") if is_mock(layer) else ""
        name = name or _attribute(layer, "__name__")
        if name:
            # A lambda in a partial has a name of no use.
            return "partial" if name == "<lambda>" and layer is not function else name
        if isinstance(layer, partial):
            inner: object = layer.func
        elif isinstance(layer, MethodType):
            inner = layer.__func__
        else:
            break
        layer = inner
    return type(layer).__name__


def _attribute(layer: object, attribute: str) -> str:
    """Return the attribute if it is a str, or else an empty one."""
    found: object = getattr(layer, attribute, None)
    return str(found) if issubclass(type(found), str) else ""
