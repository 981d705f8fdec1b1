"""Marks: what decorators write on a function or a class, and which may stand together.

Owns `PartialFunction`, the carrier of the marks, and the rules of composition.
Runs nothing and knows no app: ``partial_function.py`` and ``web/decorators.py``
mark, `App.function` and `App.cls` read.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    Generic,
    Literal,
    ParamSpec,
    Protocol,
    TypeVar,
    overload,
)

from .. import config
from ..arguments import meant
from ..exception import InvalidArgumentsError, InvalidError, InvalidUseError
from ..runtime.real import Real

if TYPE_CHECKING:
    # For type checkers only: what a method of an app's class is at run time is
    # made above and comes in through the instance's `_moorage_bind`.
    from ..functions import Function

P = ParamSpec("P")
R = TypeVar("R")
O = TypeVar("O")  # noqa: E741 - what the undecorated function returns
R_co = TypeVar("R_co", covariant=True)
O_co = TypeVar("O_co", covariant=True)
C = TypeVar("C", bound=type)


@dataclass(frozen=True, slots=True)
class Concurrency:
    """What ``concurrent`` was given; None where it said nothing."""

    max_inputs: int | None = None
    target_inputs: int | None = None

    def merged(self, other: Concurrency, name: str) -> Concurrency:
        """Both, if they say different things."""
        for field in ("max_inputs", "target_inputs"):
            if getattr(self, field) is not None and getattr(other, field) is not None:
                raise InvalidError(
                    f"concurrent sets {field} twice on {name}; write it once, with max_inputs "
                    "and target_inputs together"
                )
        both = Concurrency(
            self.max_inputs if other.max_inputs is None else other.max_inputs,
            self.target_inputs if other.target_inputs is None else other.target_inputs,
        )
        if not config.strict:
            both.check_order()
        return both

    def checked(self) -> Concurrency:
        """Itself, its numbers checked; in strict mode only what Modal checks at once."""
        for field in () if config.strict else ("max_inputs", "target_inputs"):
            value: object = getattr(self, field)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InvalidError(
                    f"{field} must be a whole number from 1 up, got {value!r}; "
                    f"write {field}={meant(value, 1) or 10}"
                )
        self.check_order()
        return self

    def check_order(self) -> None:
        most, target = self.max_inputs, self.target_inputs
        if target and most is not None and target > most:
            raise InvalidError(
                f"target_inputs must not exceed max_inputs, got {target} > {most}; "
                f"write target_inputs={most} or less"
            )


@dataclass(frozen=True, slots=True)
class Batching:
    """What ``batched`` was given; the wait in milliseconds, as Modal has it."""

    max_batch_size: int
    wait_ms: int


@dataclass(frozen=True, slots=True)
class Web:
    """What a web decorator was given."""

    kind: Literal["fastapi_endpoint", "asgi_app", "wsgi_app", "web_server"]
    method: str | None = None  # of fastapi_endpoint
    docs: bool = False  # of fastapi_endpoint
    port: int | None = None  # of web_server
    startup_timeout: float | None = None  # of web_server, seconds
    label: str | None = None
    custom_domains: tuple[str, ...] = ()
    requires_proxy_auth: bool = False


@dataclass(frozen=True, slots=True)
class Marks:
    """What the decorators said about one function or class."""

    concurrency: Concurrency | None = None
    batching: Batching | None = None
    web: Web | None = None
    is_method: bool = False
    is_generator: bool | None = None
    enter: Literal["", "snap", "enter"] = ""
    exit: bool = False
    cluster_size: int | None = None

    @property
    def is_interface(self) -> bool:
        """Whether callers reach it: a method, a batched one or a web endpoint."""
        return self.is_method or self.batching is not None or self.web is not None

    @property
    def is_hook(self) -> bool:
        return bool(self.enter) or self.exit


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


def is_written_in_a_class(function: object) -> bool:
    """Whether the function stands in a class body, to be called with an instance."""
    qualname: str = getattr(function, "__qualname__", "")
    return "." in qualname.rpartition("<locals>.")[2]


def parameters_beside_self(function: Callable[..., object]) -> list[str]:
    """The names of the parameters that a caller gives."""
    names = list(Real.signature(function).parameters)
    return names[1:] if names and is_written_in_a_class(function) else names


def name_of(obj: object) -> str:
    return str(getattr(obj, "__name__", obj))


def positional_arguments(name: str, got: object, instead: str) -> InvalidArgumentsError:
    """The error of a decorator that takes keywords only and was given `got`."""
    if callable(got):
        return InvalidArgumentsError(
            f"{name} was written without its parentheses above {name_of(got)}; write {instead}"
        )
    return InvalidArgumentsError(f"{name} takes keywords only, got {got!r}; write {instead}")


REQUIRED: Final = object()  # the default of a parameter that has none
