"""Methods with an ``.aio``: one name for callers that block and for callers that await.

Owns the descriptor that gives a method its ``.aio``.  The hot ways to call a
function have classes of their own, in ``invoking.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

S = TypeVar("S")
P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")


class WithAio(Generic[P, R_co]):
    """A callable whose ``.aio`` is the same for asyncio and trio."""

    __slots__ = ("__doc__", "_aio", "_call", "_name")

    def __init__(
        self,
        call: Callable[P, R_co],
        aio: Callable[P, Coroutine[Any, Any, R_co]] | None = None,
    ) -> None:
        self._call = call
        self._aio = aio
        self._name: str = getattr(call, "__name__", "call")
        self.__doc__ = call.__doc__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        return self._call(*args, **kwargs)

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """As calling it, for asyncio and trio."""
        if self._aio is None:  # it does not wait
            return self._call(*args, **kwargs)
        return await self._aio(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<{self._name}, and {self._name}.aio>"


class MethodWithAio(Generic[S, P, R_co]):
    """The descriptor: bound to an instance it is a `WithAio`."""

    def __init__(
        self,
        call: Callable[Concatenate[S, P], R_co],
        aio: Callable[Concatenate[S, P], Coroutine[Any, Any, R_co]] | None,
    ) -> None:
        self._call = call
        self._aio = aio
        self.__doc__: str | None = call.__doc__

    @overload
    def __get__(self, instance: None, owner: type[S]) -> MethodWithAio[S, P, R_co]: ...
    @overload
    def __get__(self, instance: S, owner: type[S] | None = None) -> WithAio[P, R_co]: ...
    def __get__(
        self, instance: S | None, owner: type[S] | None = None
    ) -> WithAio[P, R_co] | MethodWithAio[S, P, R_co]:
        if instance is None:
            return self
        # Bound as Python binds methods: by the functions' own descriptors.
        call: Callable[P, R_co] = self._call.__get__(instance, owner)  # type: ignore[attr-defined]  # pyright: ignore[reportFunctionMemberAccess, reportAttributeAccessIssue, reportUnknownMemberType]
        if self._aio is None:
            return WithAio(call)
        aio: Callable[P, Coroutine[Any, Any, R_co]] = self._aio.__get__(instance, owner)  # type: ignore[attr-defined]  # pyright: ignore[reportFunctionMemberAccess, reportAttributeAccessIssue, reportUnknownMemberType]
        return WithAio(call, aio)


def with_aio(
    aio: Callable[Concatenate[S, P], Coroutine[Any, Any, R]] | None = None,
) -> Callable[[Callable[Concatenate[S, P], R]], MethodWithAio[S, P, R]]:
    """Give a method an ``.aio``: the coroutine function `aio`, or none if it does not wait."""
    return lambda call: MethodWithAio(call, aio)
