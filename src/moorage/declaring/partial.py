"""Partial functions: what a decorator returns until an app's decorator reads its marks.

Owns `PartialFunction`, which carries the marks; the types of the decorators; and the rules about
which marks may be combined.  This file runs nothing and does not know the app.  The decorators in
``partial_function.py`` and ``web/decorators.py`` call `mark`; `App.function` and `App.cls` read
the marks.

Begin at `mark`, which every decorator calls, then `_composed`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    Generic,
    ParamSpec,
    Protocol,
    TypeVar,
    overload,
)

from .. import config
from ..advice import CALLS, of_function
from ..exception import InvalidArgumentsError, InvalidError
from ..runtime.kinds import is_registered
from ..with_aio import OF_A_FUNCTION, poses_as_function
from .batch_types import BatchDecorator as BatchDecorator
from .batch_types import BatchedPartial
from .marks import Marks, name_of
from .static_methods import taking_instance

if TYPE_CHECKING:
    # The type of ``obj.method``.  At run time a layer above this folder makes it, through
    # `_moorage_bind` of the instance.
    from ..functions import Function

P = ParamSpec("P")
R = TypeVar("R")
O = TypeVar("O")  # noqa: E741 - what the undecorated function returns
R_co = TypeVar("R_co", covariant=True)
O_co = TypeVar("O_co", covariant=True)
C = TypeVar("C", bound=type)
BP = TypeVar("BP", bound=BatchedPartial)


class NotAFunction(Protocol):
    """For type checkers: any object but a `Function` and a `PartialFunction`.

    The last of several overloads takes this, and not `object`.  The type of an async function
    has an Any (``Coroutine[Any, Any, R]``).  If more than one overload fits an argument whose
    type has an Any, mypy gives up and says Any.  The two classes say that they have no
    ``__sizeof__``, which every other object has; nobody calls it.
    """

    def __sizeof__(self) -> int: ...


@poses_as_function
class PartialFunction(Generic[P, R_co, O_co]):
    """A function or class with marks, before ``app.function`` or ``app.cls`` registers it."""

    __test__: Final = False  # pytest does not collect one that is named test_...

    if TYPE_CHECKING:
        # See `NotAFunction`.
        __sizeof__: None  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleMethodOverride]

    def __init__(self, raw: Any, marks: Marks) -> None:
        self.raw: Any = raw
        self.marks: Marks = marks
        # True below @staticmethod in an app's class; set by `Declarations`.
        self.is_static: bool = False
        self.__name__: str = name_of(raw)
        self.__module__ = getattr(raw, "__module__", __name__)
        self.__wrapped__: Any = raw

    def _moorage_code(self) -> Any:
        """Return the code in whose place this object is: see ``placing/blueprints.py``."""
        return self.raw

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
            # A hook, which other code of the class may call as a plain method.
            return self.raw.__get__(instance, owner)
        bind: Callable[..., Any] | None = getattr(instance, "_moorage_bind", None)
        if bind is None:
            # An instance of the undecorated class: the plain method.
            return self.raw.__get__(instance, owner)
        return bind(instance, self.__name__, self)

    if not TYPE_CHECKING:  # hidden, so that type checkers refuse such a call

        def __call__(self, *args, **kwargs):
            if self.is_static:
                raise InvalidArgumentsError(self._not_seen("cannot be called"))
            raise InvalidArgumentsError(
                f"{self.__name__} is decorated and cannot be called directly: decorate it with "
                "@app.function() or its class with @app.cls(), and call .remote() or .local() "
                "on that"
            )

        def __getattr__(self, name):
            if name in OF_A_FUNCTION:
                return getattr(self.__wrapped__, name)
            if name in CALLS or name == "local":
                if self.is_static:
                    raise AttributeError(self._not_seen(f"has no .{name}"))
                if self.marks.is_method:
                    way = of_function(f"MyClass().{self.__name__}", name, ()) or (
                        f"write MyClass().{self.__name__}.{name}(...)"
                    )
                    instead = f"make an instance first: {way.removeprefix('write ')}"
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
    """A decorator of functions, classes and marked functions that keeps their types."""

    # A class is also a callable, so the last overload fits it too, and mypy warns about the
    # overlap.  The first overload that fits is used.
    @overload
    def __call__(self, obj: C, /) -> C: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, obj: BP, /) -> BP: ...
    @overload
    def __call__(self, obj: PartialFunction[P, R, O], /) -> PartialFunction[P, R, O]: ...
    @overload
    def __call__(
        self, obj: Callable[P, Coroutine[Any, Any, R]], /
    ) -> PartialFunction[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, obj: Callable[P, R], /) -> PartialFunction[P, R, R]: ...


class WebDecorator(Protocol):
    """The decorator of a web endpoint: a function or a method."""

    @overload
    def __call__(self, obj: BP, /) -> BP: ...
    @overload
    def __call__(self, obj: PartialFunction[P, R, O], /) -> PartialFunction[P, R, O]: ...
    @overload
    def __call__(
        self, obj: Callable[..., Coroutine[Any, Any, R]], /
    ) -> PartialFunction[..., R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, obj: Callable[..., R], /) -> PartialFunction[..., R, R]: ...


class MethodDecorator(Protocol):
    """The decorator of a method; it keeps the types, without ``self``."""

    @overload
    def __call__(self, obj: BP, /) -> BP: ...
    @overload
    def __call__(self, obj: PartialFunction[P, R, O], /) -> PartialFunction[P, R, O]: ...
    @overload
    def __call__(
        self, obj: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /
    ) -> PartialFunction[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, obj: Callable[Concatenate[Any, P], R], /) -> PartialFunction[P, R, R]: ...


def mark(decorator: str, obj: Any, **changes: Any) -> PartialFunction[Any, Any, Any]:
    """Return `obj` with the marks `changes` added, as a new object, which shares nothing.

    Raises:
        InvalidError: if `decorator` cannot decorate `obj`, or does not go with its marks.
    """
    registered = is_registered(obj)
    # Modal marks a local entrypoint without an error.
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
            f"write @moorage.{decorator}(...) above a def"
        )
    if isinstance(obj, staticmethod):  # accepted, as in Modal
        return PartialFunction(taking_instance(obj), Marks(**changes))
    return PartialFunction(obj, Marks(**changes))


def refuse_class(decorator: str, obj: object) -> None:
    """Refuse a class: `decorator` is for functions and methods only."""
    raw = obj.raw if isinstance(obj, PartialFunction) else obj
    if isinstance(raw, type):
        raise InvalidError(
            f"{decorator} is for methods and functions, got the class {raw.__name__}; "
            "decorate a method instead"
        )


def _composed(
    decorator: str, partial: PartialFunction[Any, Any, Any], changes: dict[str, Any]
) -> Marks:
    """Return the marks of `partial` with `changes`, or refuse the combination."""
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
