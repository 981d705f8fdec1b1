"""Functions and methods that can be called, and awaited under ``.aio``.

Owns the descriptors for that; the public files use them as decorators.  If nothing in a function
waits, its async form runs the same body; otherwise the function has a separate coroutine
function.  The often used ways to call a function have their own classes in ``calling/ways.py``
and ``calling/function_call.py``.

Looked up on a class (``Dict.put``), and in a module, such a function is a plain function that has
an attribute ``aio``: ``help``, ``inspect`` and ``create_autospec`` know what to do with it.  Looked
up on an instance (``d.put``) it is a `FunctionWithAio`, which `PosesAsFunction` gives the
attributes of a function.

Begin at `PosesAsFunction`, then `FunctionWithAio`, then `MethodWithAio`, then `with_aio`.
"""

from __future__ import annotations

import functools
import inspect
import queue
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator, Mapping
from types import FunctionType, TracebackType, coroutine
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Concatenate,
    Final,
    Generic,
    NoReturn,
    ParamSpec,
    Protocol,
    TypeVar,
    cast,
    overload,
)

from .exception import DeprecationError, Error
from .frames import is_about_arguments, shown_name, without_our_frames, wrong_arguments
from .runtime.real import Real

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)
T_co = TypeVar("T_co", covariant=True)


class Annotations(dict[str, Any]):
    """The ``__annotations__`` of a class whose instances pose as functions.

    The class has its own annotations, and an instance those of its function.  A dict, because
    `typing.get_type_hints` reads those of a class from the class's ``__dict__``.
    """

    def __get__(self, instance: Any, owner: type) -> Mapping[str, Any]:
        if instance is None:
            return self
        wrapped = getattr(instance, "__wrapped__", None)
        found: Mapping[str, Any] = getattr(wrapped, "__annotations__", {})
        return found


def poses_as_coroutine_function(function: Callable[P, T]) -> Callable[P, T]:
    """Return `function`, which returns coroutines, as one that `inspect` takes for ``async def``.

    Web frameworks call any other function on a thread.
    """
    mark: Any = getattr(inspect, "markcoroutinefunction", None)  # since Python 3.12
    if mark is not None:
        mark(function)
        return function
    code = function.__code__
    flagged = code.replace(co_flags=code.co_flags | inspect.CO_COROUTINE)
    made: Any = FunctionType(flagged, function.__globals__, closure=function.__closure__)
    functools.update_wrapper(made, function)
    del made.__wrapped__
    return cast("Callable[P, T]", made)


class _Doc:
    """The ``__doc__`` of such a class, and the ``__doc__`` of an instance's function."""

    def __init__(self, of_class: str | None) -> None:
        self._of_class = of_class

    def __get__(self, instance: Any, owner: type) -> str | None:
        if instance is None:
            return self._of_class
        wrapped = getattr(instance, "__wrapped__", None)
        return None if wrapped is None else wrapped.__doc__


# The errors of the standard library that methods of dicts, queues and volumes raise by intention.
_MEANT: Final = (
    *(KeyError, queue.Empty, queue.Full),
    *(FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError),
)


def hidden(error: Exception) -> Exception:
    """Return an error of a method for the caller to raise again, without frames of ours."""
    return without_our_frames(error, is_ours=isinstance(error, _MEANT))


C = TypeVar("C", bound=type)


def poses_as_function(cls: C) -> C:
    """Give the instances of `cls` the annotations and the docstring of their ``__wrapped__``.

    Read when asked for: making an instance costs nothing more.
    """
    cls.__annotations__ = Annotations(vars(cls).get("__annotations__", {}))
    cls.__doc__ = cast("str", _Doc(cls.__doc__))  # a descriptor, which Python asks
    return cls


# The attributes of a function that an instance has, and its class does not have.
OF_A_FUNCTION: Final = frozenset(
    {"__name__", "__qualname__", "__annotations__", "__defaults__", "__kwdefaults__"}
    | {"__type_params__"}
)


class PosesAsFunction:
    """What is called like a method, has an ``aio``, and has the attributes of a function."""

    __slots__ = ()
    __test__: Final = False  # pytest does not collect one that is named test_...

    _way: ClassVar[str] = ""  # the name of the method, if the class of the way is not its owner

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        poses_as_function(cls)

    def _way_of(self) -> str:
        """Return the ``__qualname__`` of a way."""
        return self._way

    def _called(self) -> Callable[..., Any]:
        """Return the function whose attributes this object has."""
        call: Callable[..., Any] = cast("Any", self).__call__
        return call

    if not TYPE_CHECKING:  # hidden, so that type checkers refuse unknown attributes

        def __getattr__(self, name):
            if name == "__wrapped__":  # inspect.signature() reads it
                return self._called()
            if self._way and name in ("__name__", "__qualname__"):
                return self._way if name == "__name__" else self._way_of()
            if name in OF_A_FUNCTION:
                return getattr(self._called(), name)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def refuse_patch(qualname: str, name: str) -> NoReturn:
    """Refuse to set an attribute of what an instance makes at each access.

    Args:
        qualname: the method, as ``Dict.put``.
        name: the attribute.
    """
    owner, _, method = qualname.rpartition(".")
    raise AttributeError(
        f"{method}.{name} of an instance is made at each access, so setting it has no effect; "
        f"write patch.object({owner}, {method!r}, ...), which replaces {method} and its .aio"
    )


class FunctionWithAio(PosesAsFunction, Generic[P, R_co]):
    """A function for which ``f(...)`` and ``await f.aio(...)`` do the same."""

    def __init__(
        self,
        function: Callable[P, R_co],
        aio: Callable[P, Coroutine[Any, Any, R_co]] | None = None,
    ) -> None:
        self.__dict__["_function"] = function
        self.__dict__["_aio"] = aio

    if TYPE_CHECKING:
        _function: Callable[P, R_co]
        _aio: Callable[P, Coroutine[Any, Any, R_co]] | None
        __name__: str
        __qualname__: str
        __wrapped__: Callable[P, R_co]
    else:

        def __setattr__(self, name, value):
            refuse_patch(self.__qualname__, name)

    def _called(self) -> Callable[P, R_co]:
        return self._function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        try:
            return self._function(*args, **kwargs)
        except (Error, DeprecationError) as error:
            raise without_our_frames(error)
        except _MEANT as error:
            raise without_our_frames(error, is_ours=True)
        except TypeError as error:
            if not is_about_arguments(error):
                raise
            name = shown_name(self._function)
            raise wrong_arguments(self._function, name, args, kwargs) from None

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Do the same as a plain call, for asyncio and trio."""
        try:
            if self._aio is None:  # nothing waits
                return self._function(*args, **kwargs)
            return await self._aio(*args, **kwargs)
        except (Error, DeprecationError) as error:
            raise without_our_frames(error)
        except _MEANT as error:
            raise without_our_frames(error, is_ours=True)


if TYPE_CHECKING:
    BoundWithAio = FunctionWithAio
    _new_bound: Callable[..., Any]
else:

    class BoundWithAio(functools.partial, FunctionWithAio):
        """A `FunctionWithAio` of a method and an instance: made at each access, so made fast.

        A partial, because the interpreter makes and calls a partial without running Python code:
        that halves the time of ``d.get``.
        """

        __slots__ = ()

        # Not those of partial, as for all else that it shares with a function with `aio`.
        __setattr__ = FunctionWithAio.__setattr__

        @property
        def _function(self):
            return self.func.of_method._function.__get__(self.args[0])

        @property
        def _aio(self):
            aio = self.func.of_method._aio
            return None if aio is None else aio.__get__(self.args[0])

        async def aio(self, *args, **kwargs):
            """Do the same as a plain call, for asyncio and trio."""
            method = self.func.of_method
            try:
                if method._aio is None:  # nothing waits
                    return method._function(self.args[0], *args, **kwargs)
                return await method._aio(self.args[0], *args, **kwargs)
            except (Error, DeprecationError) as error:
                raise without_our_frames(error)
            except _MEANT as error:
                raise without_our_frames(error, is_ours=True)

        def __reduce__(self):
            return getattr, (self.args[0], self.func.__name__)

        def __repr__(self):
            return f"<bound method {self.__qualname__} of {self.args[0]!r}>"

    _new_bound = functools.partial.__new__


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method whose errors leave it without frames of ours."""

    def __call__(instance: Any, /, *args: Any, **kwargs: Any) -> Any:
        try:
            return function(instance, *args, **kwargs)
        except (Error, DeprecationError) as error:
            raise without_our_frames(error)
        except _MEANT as error:
            raise without_our_frames(error, is_ours=True)
        except TypeError as error:
            if not is_about_arguments(error):
                raise
            bound = function.__get__(instance)
            raise wrong_arguments(bound, shown_name(bound), args, kwargs) from None

    __call__.__name__ = function.__name__  # in tracebacks it is `__call__`
    return __call__


class IterationWithAio(PosesAsFunction, Generic[P, T_co]):
    """A function for which ``for x in f(...)`` and ``async for x in f.aio(...)`` do the same."""

    def __init__(
        self,
        function: Callable[P, Iterator[T_co]],
        aio: Callable[P, AsyncIterator[T_co]] | None = None,
    ) -> None:
        self._function = function
        self._aio = aio

    def _called(self) -> Callable[P, Iterator[T_co]]:
        return self._function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Iterator[T_co]:
        return self._function(*args, **kwargs)

    def aio(self, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T_co]:
        if self._aio is not None:
            return self._aio(*args, **kwargs)
        return self._steps(*args, **kwargs)

    async def _steps(self, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T_co]:
        for each in self._function(*args, **kwargs):  # nothing waits
            yield each


class ContextWithAio(PosesAsFunction, Generic[P, T]):
    """A function for which ``with f(...)`` and ``async with f(...)`` do the same.

    ``f.aio(...)`` is ``f(...)``.  Leaving the block calls `leave` with the object, if it is given.
    """

    def __init__(
        self,
        function: Callable[P, T],
        leave: Callable[[T], object] | None = None,
        kind: type[EitherContext[Any]] | None = None,
    ) -> None:
        self._function = function
        self._leave = leave
        self._kind: type[EitherContext[Any]] = EitherContext if kind is None else kind

    def _called(self) -> Callable[P, T]:
        return self._function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> EitherContext[T]:
        # Raises a TypeError for wrong arguments here, not at a `with` that may come later.
        Real.signature(self._function).bind(*args, **kwargs)
        made: EitherContext[T] = self._kind(lambda: self._function(*args, **kwargs), self._leave)
        return made

    def aio(self, *args: P.args, **kwargs: P.kwargs) -> EitherContext[T]:
        return self(*args, **kwargs)


def _plain(posed: Any, function: Callable[..., Any], aio: Callable[..., Any] | None = None) -> Any:
    """Return `posed` as a plain function, with the name and the signature of `function`.

    Args:
        aio: the function whose name and signature ``.aio`` has; `function` if None.
    """
    call_aio: Any
    if Real.iscoroutinefunction(posed.aio):

        @functools.wraps(aio or function)
        async def call_async(*args: Any, **kwargs: Any) -> Any:
            try:
                return await posed.aio(*args, **kwargs)
            except Exception as error:
                raise without_our_frames(error)

        call_aio = call_async
    else:

        @functools.wraps(aio or function)
        def call_other(*args: Any, **kwargs: Any) -> Any:
            return posed.aio(*args, **kwargs)

        call_aio = call_other

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return posed(*args, **kwargs)
        except Exception as error:
            raise without_our_frames(error)

    made: Any = call
    made.aio = call_aio
    return made


def plain_function(function: Callable[P, R_co]) -> FunctionWithAio[P, R_co]:
    """Decorate a function, or a method below ``@staticmethod``, in which nothing waits."""
    made: FunctionWithAio[P, R_co] = _plain(FunctionWithAio(function), function)
    return made


def plain_iteration(function: Callable[P, Iterator[T_co]]) -> IterationWithAio[P, T_co]:
    """As `plain_function`, for a function that yields."""
    made: IterationWithAio[P, T_co] = _plain(IterationWithAio(function), function)
    return made


def plain_context(function: Callable[P, T]) -> ContextWithAio[P, T]:
    """As `plain_function`, for a function whose result is entered with ``with``."""
    made: ContextWithAio[P, T] = _plain(ContextWithAio(function), function)
    return made


def context_left_by(
    leave: Callable[[T], object],
) -> Callable[[Callable[P, T]], ContextWithAio[P, T]]:
    """As `plain_context`; leaving the block calls `leave` with what the function returned."""

    def decorate(function: Callable[P, T]) -> ContextWithAio[P, T]:
        made: ContextWithAio[P, T] = _plain(ContextWithAio(function, leave), function)
        return made

    return decorate


class Ends(Protocol):
    """An object that ends with the block that made it."""

    def _end(self) -> object: ...


E = TypeVar("E", bound=Ends)


def ending_context(
    function: Callable[P, E], kind: type[EitherContext[Any]] | None = None
) -> ContextWithAio[P, E]:
    """As `plain_context`; leaving the block ends the object.

    Args:
        function: makes the object.
        kind: the class of the context manager; `EitherContext` if None.
    """
    made: ContextWithAio[P, E] = _plain(ContextWithAio(function, _end, kind), function)
    return made


def _end(made: Ends) -> None:
    made._end()


class EitherContext(Generic[T]):
    """A context manager for ``with`` and ``async with``.

    Leaving it calls `leave` with the object that was entered, and does nothing without `leave`.
    """

    def __init__(self, enter: Callable[[], T], leave: Callable[[T], object] | None = None) -> None:
        self._enter = enter
        self._leave = leave
        self._entered: list[T] = []

    def __enter__(self) -> T:
        entered = self._enter()
        if self._leave is not None:
            self._entered.append(entered)
        return entered

    def _end(self) -> None:
        if self._leave is not None and self._entered:
            self._leave(self._entered.pop())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    async def __aenter__(self) -> T:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()


class _InAClass:
    """A descriptor that a class has for a method with ``aio``.

    `isinstance` and `inspect.isfunction` take it for a function.  So `unittest.mock` knows that
    the method has a ``self``, which a caller does not give: it looks in the ``__dict__`` of the
    class.
    """

    _posed: Any  # what `_plain` makes a plain function of
    __wrapped__: Callable[..., Any]

    @property
    def plain(self) -> Any:
        """The plain function that the class has: always the same."""
        made: Any = self.__dict__.get("_plain")
        if made is None:
            made = self.__dict__.setdefault("_plain", _plain(self._posed, self.__wrapped__))
        return made

    if not TYPE_CHECKING:
        __class__ = property(lambda self: FunctionType)

        def __call__(self, *args, **kwargs):  # inspect.signature() wants it to be callable
            return self.plain(*args, **kwargs)

        def __getattr__(self, name):
            if name in ("_posed", "__wrapped__"):
                raise AttributeError(name)
            return getattr(self.plain, name)


class MethodWithAio(_InAClass, Generic[S, P, R_co]):
    """A method that becomes a `FunctionWithAio` when it is read from an instance.

    Args:
        function: the method.
        aio: its form for an event loop; None if nothing waits.
        direct: call `function` itself, which hides the frames of ours in its errors.  For methods
            in which each call counts; for wrong arguments they raise Python's own TypeError.
    """

    def __init__(
        self,
        function: Callable[Concatenate[S, P], R_co],
        aio: Callable[Concatenate[S, P], Coroutine[Any, Any, R_co]] | None = None,
        *,
        direct: bool = False,
    ) -> None:
        self._function = function
        self._aio = aio
        self._posed = FunctionWithAio(function, aio)
        called: Any = function if direct else _guarded(function)
        called.of_method = self
        self._called: Callable[..., Any] = called
        self.__doc__: str | None = function.__doc__
        self.__wrapped__: Callable[Concatenate[S, P], R_co] = function

    @overload
    def __get__(
        self, instance: None, owner: type[S]
    ) -> FunctionWithAio[Concatenate[S, P], R_co]: ...
    @overload
    def __get__(self, instance: S, owner: type[S]) -> FunctionWithAio[P, R_co]: ...
    def __get__(
        self, instance: S | None, owner: type[S]
    ) -> FunctionWithAio[P, R_co] | FunctionWithAio[Concatenate[S, P], R_co]:
        if instance is None:
            plain: FunctionWithAio[Concatenate[S, P], R_co] = self.plain
            return plain
        made: FunctionWithAio[P, R_co] = _new_bound(BoundWithAio, self._called, instance)
        return made


def plain_method(bound: T, qualname: str) -> T:
    """Return an object with ``__call__`` and ``aio`` as a plain function, for a static method."""
    posed: Any = bound
    made: Any = _plain(posed, posed.__call__, posed.aio)
    made.__name__, made.__qualname__ = qualname.rpartition(".")[2], qualname
    made.aio.__qualname__ = f"{qualname}.aio"
    same: T = made
    return same


def function_with_aio(
    aio: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[[Callable[P, T]], FunctionWithAio[P, T]]:
    """Decorate a function that waits; `aio` is its form for an event loop."""

    def decorate(function: Callable[P, T]) -> FunctionWithAio[P, T]:
        made: FunctionWithAio[P, T] = _plain(FunctionWithAio(function, aio), function)
        return made

    return decorate


def with_aio(
    aio: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
    *,
    direct: bool = False,
) -> Callable[[Callable[Concatenate[S, P], T]], MethodWithAio[S, P, T]]:
    """Decorate a method that waits; `aio` is its form for an event loop.

    For `direct` see `MethodWithAio`.
    """
    return lambda function: MethodWithAio(function, aio, direct=direct)


class IteratorMethodWithAio(_InAClass, Generic[S, P, T_co]):
    """A method that becomes an `IterationWithAio` when it is read from an instance."""

    def __init__(
        self,
        function: Callable[Concatenate[S, P], Iterator[T_co]],
        aio: Callable[Concatenate[S, P], AsyncIterator[T_co]] | None = None,
    ) -> None:
        self._function = function
        self._aio = aio
        self._posed = IterationWithAio(function, aio)
        self.__doc__: str | None = function.__doc__
        self.__wrapped__: Callable[Concatenate[S, P], Iterator[T_co]] = function

    @overload
    def __get__(
        self, instance: None, owner: type[S]
    ) -> IterationWithAio[Concatenate[S, P], T_co]: ...
    @overload
    def __get__(self, instance: S, owner: type[S]) -> IterationWithAio[P, T_co]: ...
    def __get__(
        self, instance: S | None, owner: type[S]
    ) -> IterationWithAio[P, T_co] | IterationWithAio[Concatenate[S, P], T_co]:
        if instance is None:
            plain: IterationWithAio[Concatenate[S, P], T_co] = self.plain
            return plain
        function = _bound(self._function, instance, owner)
        if self._aio is None:
            return IterationWithAio(function)
        return IterationWithAio(function, _bound(self._aio, instance, owner))


def iteration_with_aio(
    aio: Callable[Concatenate[S, P], AsyncIterator[T]],
) -> Callable[[Callable[Concatenate[S, P], Iterator[T]]], IteratorMethodWithAio[S, P, T]]:
    """Decorate a method that yields and waits; `aio` is its form for an event loop."""
    return lambda function: IteratorMethodWithAio(function, aio)


@coroutine
def _one_turn() -> Generator[None, None, None]:
    yield  # asyncio runs the task again in its next turn


async def one_turn() -> None:
    """Let the other tasks of the loop run once, on asyncio and trio."""
    if Real._get_running_loop() is not None:
        await _one_turn()
    else:
        import trio

        await trio.lowlevel.checkpoint()


def after_a_turn(
    function: Callable[Concatenate[S, P], T],
) -> MethodWithAio[S, P, T]:
    """Decorate a method in which nothing waits; ``.aio`` first lets the other tasks run.

    So a task that asks again and again does not hold up its loop.  The method runs after that:
    a task that is cancelled there has changed nothing.
    """

    @functools.wraps(function)
    async def aio(instance: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        await one_turn()
        return function(instance, *args, **kwargs)

    return MethodWithAio(function, aio)


def direct_after_a_turn(
    function: Callable[Concatenate[S, P], T],
) -> MethodWithAio[S, P, T]:
    """As `after_a_turn`, for a method that hides the frames of ours itself."""
    return MethodWithAio(function, after_a_turn(function)._aio, direct=True)


class Way(_InAClass):
    """A descriptor for a method whose class is `kind`, with ``__call__`` and ``aio``.

    `kind` takes the instance.  A way refers to its instance; so if an instance kept its ways,
    each would be a reference cycle.  No ``__set__``: then an attribute of the instance comes
    before this descriptor, so that tests can replace a way.
    """

    def __init__(
        self, kind: Callable[[Any], Any], doc: str, make: Callable[[Any], Any] | None = None
    ) -> None:
        self._kind = kind
        self._make = make or kind  # makes the way of an instance
        self.__doc__ = doc

    def __set_name__(self, owner: type, name: str) -> None:
        kind: Any = self._kind

        def way(instance: Any, /, *args: Any, **kwargs: Any) -> Any:
            try:
                return getattr(instance, name)(*args, **kwargs)
            except Exception as error:
                raise without_our_frames(error)

        def aio(instance: Any, /, *args: Any, **kwargs: Any) -> Any:
            return getattr(instance, name).aio(*args, **kwargs)

        async def aio_of_coroutine(instance: Any, /, *args: Any, **kwargs: Any) -> Any:
            try:
                return await getattr(instance, name).aio(*args, **kwargs)
            except Exception as error:
                raise without_our_frames(error)

        made: Any = functools.wraps(kind.__call__)(way)
        is_async = Real.iscoroutinefunction(kind.aio)
        made.aio = functools.wraps(kind.aio)(aio_of_coroutine if is_async else aio)
        made.__name__, made.__qualname__ = name, f"{owner.__qualname__}.{name}"
        made.__module__, made.__doc__ = owner.__module__, self.__doc__
        made.aio.__qualname__ = f"{made.__qualname__}.aio"
        self.__dict__["_plain"] = made
        self.__dict__["__wrapped__"] = kind.__call__

    def __get__(self, instance: Any, owner: type) -> Any:
        return self.plain if instance is None else self._make(instance)


def add_way(
    owner: type,
    name: str,
    kind: Callable[[Any], Any],
    doc: str,
    make: Callable[[Any], Any] | None = None,
) -> None:
    """Add a `Way` to a class that is already made."""
    way = Way(kind, doc, make)
    setattr(owner, name, way)
    way.__set_name__(owner, name)


def _bound(function: Callable[Concatenate[S, P], T], instance: S, owner: type[S]) -> Callable[P, T]:
    bind: Callable[[S, type[S]], Callable[P, T]] = function.__get__
    return bind(instance, owner)
