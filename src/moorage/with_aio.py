"""Functions and methods that can be called, and awaited under ``.aio``.

Owns the descriptors for that; the public files use them as decorators.  If nothing in a function
waits, its async form runs the same body; otherwise the function has a separate coroutine
function.  The often used ways to call a function have their own classes in ``calling/ways.py``
and ``calling/function_call.py``.

Begin at `FunctionWithAio`, then `MethodWithAio`, then `with_aio`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from .exception import DeprecationError, Error
from .frames import is_about_arguments, shown_name, without_our_frames, wrong_arguments
from .runtime.real import Real

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)
T_co = TypeVar("T_co", covariant=True)


class FunctionWithAio(Generic[P, R_co]):
    """A function for which ``f(...)`` and ``await f.aio(...)`` do the same."""

    def __init__(
        self,
        function: Callable[P, R_co],
        aio: Callable[P, Coroutine[Any, Any, R_co]] | None = None,
    ) -> None:
        self._function = function
        self._aio = aio
        self.__name__: str = getattr(function, "__name__", "")
        self.__doc__: str | None = function.__doc__
        self.__wrapped__: Callable[P, R_co] = function  # inspect.signature() reads it

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        try:
            return self._function(*args, **kwargs)
        except (Error, DeprecationError) as error:
            raise without_our_frames(error)
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


class IterationWithAio(Generic[P, T_co]):
    """A function for which ``for x in f(...)`` and ``async for x in f.aio(...)`` do the same."""

    def __init__(self, function: Callable[P, Iterator[T_co]]) -> None:
        self._function = function
        self.__name__: str = getattr(function, "__name__", "")
        self.__doc__: str | None = function.__doc__
        self.__wrapped__: Callable[P, Iterator[T_co]] = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Iterator[T_co]:
        return self._function(*args, **kwargs)

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T_co]:
        for each in self._function(*args, **kwargs):
            yield each


class ContextWithAio(Generic[P, T]):
    """A function for which ``with f(...)`` and ``async with f(...)`` do the same.

    ``f.aio(...)`` is ``f(...)``.
    """

    def __init__(self, function: Callable[P, T]) -> None:
        self._function = function
        self.__name__: str = getattr(function, "__name__", "")
        self.__doc__: str | None = function.__doc__
        self.__wrapped__: Callable[P, T] = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> EitherContext[T]:
        # Raises a TypeError for wrong arguments here, not at a `with` that may come later.
        Real.signature(self._function).bind(*args, **kwargs)
        return EitherContext(lambda: self._function(*args, **kwargs))

    def aio(self, *args: P.args, **kwargs: P.kwargs) -> EitherContext[T]:
        return self(*args, **kwargs)


class EitherContext(Generic[T]):
    """A context manager for ``with`` and ``async with``; leaving it does nothing."""

    def __init__(self, enter: Callable[[], T]) -> None:
        self._enter = enter

    def __enter__(self) -> T:
        return self._enter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    async def __aenter__(self) -> T:
        return self._enter()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class MethodWithAio(Generic[S, P, R_co]):
    """A method that becomes a `FunctionWithAio` when it is read from an instance."""

    def __init__(
        self,
        function: Callable[Concatenate[S, P], R_co],
        aio: Callable[Concatenate[S, P], Coroutine[Any, Any, R_co]] | None = None,
    ) -> None:
        self._function = function
        self._aio = aio
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
            return FunctionWithAio(self._function, self._aio)
        function = _bound(self._function, instance, owner)
        if self._aio is None:
            return FunctionWithAio(function)
        return FunctionWithAio(function, _bound(self._aio, instance, owner))


def function_with_aio(
    aio: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[[Callable[P, T]], FunctionWithAio[P, T]]:
    """Decorate a function that waits; `aio` is its form for an event loop."""
    return lambda function: FunctionWithAio(function, aio)


def with_aio(
    aio: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[[Callable[Concatenate[S, P], T]], MethodWithAio[S, P, T]]:
    """Decorate a method that waits; `aio` is its form for an event loop."""
    return lambda function: MethodWithAio(function, aio)


class IteratorMethodWithAio(Generic[S, P, T_co]):
    """A method that becomes an `IterationWithAio` when it is read from an instance."""

    def __init__(self, function: Callable[Concatenate[S, P], Iterator[T_co]]) -> None:
        self._function = function
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
            return IterationWithAio(self._function)
        return IterationWithAio(_bound(self._function, instance, owner))


def _bound(function: Callable[Concatenate[S, P], T], instance: S, owner: type[S]) -> Callable[P, T]:
    bind: Callable[[S, type[S]], Callable[P, T]] = function.__get__
    return bind(instance, owner)
