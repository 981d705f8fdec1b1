"""Partial functions: what a decorator gives until an app's decorator reads its marks.

Owns `PartialFunction`, which carries the marks, the types of the decorators, and the rules of
which marks may stand together.  Runs nothing and knows no app: ``partial_function.py`` and
``web/decorators.py`` mark, `App.function` and `App.cls` read.

Begin at `mark`, which every decorator calls.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    TypeVar,
    overload,
)

from .. import config
from ..exception import InvalidArgumentsError, InvalidError, InvalidUseError
from .marks import Marks, name_of

if TYPE_CHECKING:
    # What ``obj.method`` gives.  At run time it is made above this folder, and comes in through
    # the instance's `_moorage_bind`.
    from ..functions import Function

P = ParamSpec("P")
R = TypeVar("R")
O = TypeVar("O")  # noqa: E741 - what the undecorated function returns
R_co = TypeVar("R_co", covariant=True)
O_co = TypeVar("O_co", covariant=True)
C = TypeVar("C", bound=type)


class PartialFunction(Generic[P, R_co, O_co]):
    """A function or class with marks, waiting for ``app.function`` or ``app.cls``."""

    def __init__(self, raw: Any, marks: Marks) -> None:
        self.raw: Any = raw
        self.marks: Marks = marks
        self.is_static: bool = False  # below @staticmethod in an app's class: see Declarations
        self.__name__: str = name_of(raw)
        self.__doc__: str | None = getattr(raw, "__doc__", None)

    def __set_name__(self, owner: type, name: str) -> None:
        self.__name__ = name

    @overload
    def __get__(self, instance: None, owner: type) -> PartialFunction[P, R_co, O_co]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Function[P, R_co, O_co]: ...
    def __get__(self, instance: object, owner: type) -> Any:
        if instance is None:
            return self
        if not self.marks.is_interface:
            # A hook: callable from other code of the class, as it was written.
            return self.raw.__get__(instance, owner)
        bind: Callable[..., Any] | None = getattr(instance, "_moorage_bind", None)
        if bind is None:
            # Made by hand, not through app.cls: the plain method.
            return self.raw.__get__(instance, owner)
        return bind(instance, self.__name__, self)

    if not TYPE_CHECKING:  # so that type checkers refuse it too

        def __call__(self, *args, **kwargs):
            if self.is_static:
                raise InvalidArgumentsError(self._not_seen("cannot be called"))
            raise InvalidArgumentsError(
                f"{self.__name__} is decorated and cannot be called directly: decorate it with "
                "@app.function() or its class with @app.cls(), and call .remote() or .local() "
                "on that"
            )

        def __getattr__(self, name):
            if name in ("remote", "map", "spawn", "remote_gen", "local"):
                if self.is_static:
                    raise AttributeError(self._not_seen(f"has no .{name}"))
                if self.marks.is_method:
                    instead = f"make an instance first: MyClass().{self.__name__}.{name}(...)"
                else:
                    instead = "put @app.function() above its other decorators"
                raise AttributeError(f"{self.__name__} has no .{name} yet; {instead}")
            raise AttributeError(name)

    def _not_seen(self, what: str) -> str:
        return (
            f"{self.__name__} {what}: @staticmethod stands above its decorators, so that its "
            "app's class does not see them; take @staticmethod away and give it self"
        )

    def __repr__(self) -> str:
        return f"<PartialFunction {self.__name__}: {self.marks}>"


class Decorator(Protocol):
    """Marks a function, a class, or what is marked already; the types stay."""

    # A class is a callable too, for which the last would do as well: mypy warns
    # of that, but the first that fits is the one that counts.
    @overload
    def __call__(self, obj: C, /) -> C: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, obj: PartialFunction[P, R, O], /) -> PartialFunction[P, R, O]: ...
    @overload
    def __call__(
        self, obj: Callable[P, Coroutine[Any, Any, R]], /
    ) -> PartialFunction[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, obj: Callable[P, R], /) -> PartialFunction[P, R, R]: ...


class BatchDecorator(Protocol):
    """Marks a batched function or method: callers give one element and get one.

    The parameters are those of one caller, which no type can derive from the
    lists of the function.
    """

    @overload
    def __call__(self, obj: PartialFunction[P, R, O], /) -> PartialFunction[P, R, O]: ...
    @overload
    def __call__(
        self, obj: Callable[..., Coroutine[Any, Any, list[R]]], /
    ) -> PartialFunction[..., R, Coroutine[Any, Any, list[R]]]: ...
    @overload
    def __call__(self, obj: Callable[..., list[R]], /) -> PartialFunction[..., R, list[R]]: ...


class WebDecorator(Protocol):
    """Marks a web endpoint, a function or a method."""

    @overload
    def __call__(self, obj: PartialFunction[P, R, O], /) -> PartialFunction[P, R, O]: ...
    @overload
    def __call__(
        self, obj: Callable[..., Coroutine[Any, Any, R]], /
    ) -> PartialFunction[..., R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, obj: Callable[..., R], /) -> PartialFunction[..., R, R]: ...


class MethodDecorator(Protocol):
    """Marks a method; the types stay, without ``self``."""

    @overload
    def __call__(self, obj: PartialFunction[P, R, O], /) -> PartialFunction[P, R, O]: ...
    @overload
    def __call__(
        self, obj: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /
    ) -> PartialFunction[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, obj: Callable[Concatenate[Any, P], R], /) -> PartialFunction[P, R, R]: ...


def mark(decorator: str, obj: Any, **changes: Any) -> PartialFunction[Any, Any, Any]:
    """`obj` with further marks; a new object, so that nothing is shared by accident."""
    registered = getattr(obj, "_moorage_registered", False)
    # Modal marks an entrypoint in silence.
    if registered and not (config.strict and getattr(obj, "_moorage_is_entrypoint", False)):
        above = getattr(obj, "_moorage_registered_by", "@app.function()")
        if decorator in ("method", "enter", "exit"):
            raise InvalidError(
                f"{decorator} stands above the app's decorator {above} on {name_of(obj)}, and is "
                f"for the methods of a class; write @moorage.{decorator}() above a def in the class"
            )
        raise InvalidError(
            f"{decorator} stands above the app's decorator {above} on {name_of(obj)}; swap the "
            f"two: {above} first, @moorage.{decorator}(...) below it"
        )
    if isinstance(obj, PartialFunction):
        marks = _composed(decorator, obj, changes)
        return PartialFunction(obj.raw, marks)
    if not callable(obj) and not (obj is None and config.strict):
        raise InvalidError(
            f"{decorator} decorates a function, a method or a class, got {obj!r}; "
            f"write @moorage.{decorator}(...) above a def, and below @staticmethod and the like"
        )
    if isinstance(obj, staticmethod):
        raise InvalidUseError(
            f"{decorator} decorates a method of the instance, got the static {name_of(obj)}; "
            "take @staticmethod away and give it self"
        )
    return PartialFunction(obj, Marks(**changes))


def refuse_class(decorator: str, obj: object) -> None:
    """Refuse a class where only its methods may be decorated."""
    raw = obj.raw if isinstance(obj, PartialFunction) else obj
    if isinstance(raw, type):
        raise InvalidError(
            f"{decorator} is for methods and functions, got the class {raw.__name__}; "
            "decorate a method instead"
        )


def _composed(
    decorator: str, partial: PartialFunction[Any, Any, Any], changes: dict[str, Any]
) -> Marks:
    marks, name = partial.marks, partial.__name__
    if marks.concurrency is not None and "concurrency" in changes:
        changes["concurrency"] = marks.concurrency.merged(changes["concurrency"], name)
    for field, what in (("batching", "batched"), ("web", "a web decorator")):
        if field in changes and getattr(marks, field) is not None:
            raise InvalidError(f"{what} is applied twice to {name}; write it once")
    if "is_method" in changes and marks.is_method:
        raise InvalidError(f"method is applied twice to {name}; write it once")
    both = replace(marks, **changes)
    if both.is_interface and both.is_hook:
        raise InvalidError(
            f"{decorator} on {name} makes it both a lifecycle hook (enter, exit) and callable "
            "from outside (method, batched, a web decorator); write two methods"
        )
    if both.web is not None and (both.is_method or both.batching is not None):
        raise InvalidError(
            f"{decorator} on {name} makes it both a web endpoint ({both.web.kind}) and callable "
            "by method or batched; keep one of the two decorators"
        )
    return both
