"""Decorators that mark functions and classes, and check what they can at once.

Owns the marks; runs nothing.  ``App.function`` and ``App.cls`` read them.
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
    Never,
    ParamSpec,
    Protocol,
    TypeVar,
    dataclass_transform,
    overload,
)

from .exception import InvalidArgumentsError, InvalidError

if TYPE_CHECKING:
    # For type checkers only: what a method of an app's class is at run time is
    # made above and comes in through the instance's `_moorage_bind`.
    from .functions import Function

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
O = TypeVar("O")  # noqa: E741 - what the undecorated function returns
F = TypeVar("F", bound="Callable[..., object] | PartialFunction[..., object, object]")
R_co = TypeVar("R_co", covariant=True)
O_co = TypeVar("O_co", covariant=True)
C = TypeVar("C", bound=type)


@dataclass(frozen=True, slots=True)
class Concurrency:
    """What ``concurrent`` was given."""

    max_inputs: int
    target_inputs: int


@dataclass(frozen=True, slots=True)
class Marks:
    """What the decorators said about one function or class."""

    concurrency: Concurrency | None = None
    is_method: bool = False
    is_generator: bool | None = None
    enter: Literal["", "snap", "enter"] = ""
    exit: bool = False


class PartialFunction(Generic[P, R_co, O_co]):
    """A function or class with marks, waiting for ``app.function`` or ``app.cls``."""

    def __init__(self, raw: Any, marks: Marks) -> None:
        self.raw: Any = raw
        self.marks: Marks = marks
        self.__name__: str = getattr(raw, "__name__", repr(raw))
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
        if not self.marks.is_method:
            # A hook: callable from other code of the class, as it was written.
            return self.raw.__get__(instance, owner)
        bind: Callable[[str], Any] | None = getattr(instance, "_moorage_bind", None)
        if bind is None:
            # Made by hand, not through app.cls: the plain method.
            return self.raw.__get__(instance, owner)
        return bind(self.__name__)

    if not TYPE_CHECKING:  # so that type checkers refuse it too

        def __call__(self, *args, **kwargs):
            raise InvalidError(
                f"{self.__name__} is decorated and cannot be called directly: decorate it with "
                "@app.function() or its class with @app.cls(), and call .remote() or .local() "
                "on that"
            )

        def __getattr__(self, name):
            if name in ("remote", "map", "spawn", "remote_gen", "local"):
                if self.marks.is_method:
                    instead = f"make an instance first: MyClass().{self.__name__}.{name}(...)"
                else:
                    instead = "put @app.function() above its other decorators"
                raise AttributeError(f"{self.__name__} has no .{name} yet; {instead}")
            raise AttributeError(name)

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


REQUIRED: Final = object()  # the default of a parameter that has none


class Parameter:
    """The mark that ``parameter()`` leaves in a class body."""

    __slots__ = ("default", "init")

    def __init__(self, default: object, init: bool) -> None:
        self.default: object = default
        self.init: bool = init


@overload
def parameter(*, default: T, init: bool = True) -> T: ...
@overload
def parameter(*, init: bool = True) -> Any: ...
def parameter(*, default: object = REQUIRED, init: bool = True) -> Any:
    """A parameter of an app's class, given when an instance is made.

    Each set of values has its own pool of containers.  The types are str, int,
    bool and bytes.

    Args:
        default: its value when none is given; without one it must be given.
        init: False keeps it out of the constructor: an annotated attribute with
            a default, set by the enter hooks.
    """
    return Parameter(default, init)


# Two overloads, for `max_inputs` must be given, and what comes without it, or
# with something positional, is to get an error of ours at run time.  That a
# class with `parameter`s takes them by name, is said here too, for mypy does
# not look for it at a method like `app.cls`.
@overload
@dataclass_transform(kw_only_default=True, field_specifiers=(parameter,))
def concurrent(*, max_inputs: int) -> Decorator: ...
@overload
def concurrent(*, max_inputs: int, target_inputs: int | None) -> Decorator: ...
def concurrent(
    *args: object, max_inputs: int | None = None, target_inputs: int | None = None
) -> Decorator:
    """Let one container run several inputs at once.

    ``async def`` functions run as tasks on the container's event loop, ``def``
    functions on at most `max_inputs` threads of it.  Applies to functions and to
    classes, whose methods then share the slots of each container; never to a
    method.

    Args:
        max_inputs: the hard limit: a container never runs more at once.
        target_inputs: the soft limit: containers are started to keep each near
            it; while there is nothing better, one may burst to `max_inputs`.
            Default: `max_inputs`.

    Raises:
        InvalidError: if written without parentheses or with positional
            arguments, or if `target_inputs` exceeds `max_inputs`.
    """
    if args:
        raise positional_arguments("concurrent", args[0], "@moorage.concurrent(max_inputs=10)")
    if max_inputs is None:
        raise TypeError(
            "concurrent needs max_inputs, got none; write @moorage.concurrent(max_inputs=10)"
        )
    _check_count("max_inputs", max_inputs)
    if target_inputs is not None:
        _check_count("target_inputs", target_inputs)
        if target_inputs > max_inputs:
            raise InvalidError(
                f"target_inputs must not exceed max_inputs, got {target_inputs} > {max_inputs}; "
                f"write target_inputs={max_inputs} or less"
            )
    marked = Concurrency(max_inputs, max_inputs if target_inputs is None else target_inputs)

    def decorate(obj: Any) -> Any:
        if getattr(obj, "_moorage_registered", False):
            raise InvalidError(
                f"concurrent stands above the app's decorator on {_name_of(obj)}; swap the two: "
                "@app.function() or @app.cls() first, @moorage.concurrent(...) below it"
            )
        if isinstance(obj, PartialFunction) and obj.marks.concurrency is not None:
            raise InvalidError(
                f"concurrent is applied twice to {_name_of(obj)}; write it once, with max_inputs "
                "and target_inputs together"
            )
        return _mark("concurrent", obj, concurrency=marked)

    return decorate


def method(*args: Never, is_generator: bool | None = None) -> MethodDecorator:
    """Make a method of an app's class callable with ``.remote()`` and the like.

    Args:
        is_generator: whether calling it gives a generator; found out if None.
    """
    if args:
        raise positional_arguments("method", args[0], "@moorage.method()")

    def decorate(obj: Any) -> Any:
        if isinstance(obj, type):
            raise InvalidError(
                f"method is for methods, got the class {obj.__name__}; decorate its methods instead"
            )
        return _mark("method", obj, is_method=True, is_generator=is_generator)

    return decorate


def enter(*args: Never, snap: bool = False) -> Callable[[F], F]:
    """Run a method once in each container, before its first input.

    Those with ``snap=True`` run first, as in Modal; no snapshot is taken here.
    """
    if args:
        raise positional_arguments("enter", args[0], "@moorage.enter()")

    def decorate(obj: Any) -> Any:
        return _mark("enter", obj, enter="snap" if snap else "enter")

    return decorate


def exit(*args: Never) -> Callable[[F], F]:
    """Run a method once in each container whose enter hooks succeeded, after its last input."""
    if args:
        raise positional_arguments("exit", args[0], "@moorage.exit()")

    def decorate(obj: Any) -> Any:
        return _mark("exit", obj, exit=True)

    return decorate


def _mark(decorator: str, obj: Any, **changes: Any) -> PartialFunction[Any, Any, Any]:
    if isinstance(obj, PartialFunction):
        return PartialFunction(obj.raw, replace(obj.marks, **changes))
    if not callable(obj):
        raise InvalidError(
            f"{decorator} decorates a function, a method or a class, got {obj!r}; "
            f"write @moorage.{decorator}(...) above a def, and below @staticmethod and the like"
        )
    return PartialFunction(obj, Marks(**changes))


def _name_of(obj: Any) -> str:
    return str(getattr(obj, "__name__", obj))


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidError(
            f"{name} must be a whole number from 1 up, got {value!r}; write {name}=10"
        )


def positional_arguments(name: str, got: object, instead: str) -> InvalidArgumentsError:
    """The error of a decorator that takes keywords only and was given `got`."""
    if callable(got):
        return InvalidArgumentsError(
            f"{name} was written without its parentheses above {_name_of(got)}; write {instead}"
        )
    return InvalidArgumentsError(f"{name} takes keywords only, got {got!r}; write {instead}")
