"""The types of batched functions, for type checkers: a caller gives one element of each list.

Owns `BatchDecorator`, which ``batched`` returns, and what it says of the decorated function.  At
run time a decorated function is a `PartialFunction`, and nothing makes the classes `Batched1` to
`Batched3`: they say how a call of one input, and a local call of a batch, is written.

Begin at `BatchDecorator`, then `Batched1`, then `OneInput`.

How the types are made: ``batched`` above ``def f(texts: list[str]) -> list[int]`` has the type
``Batched1[str, int, list[int]]``, of which `OneInput` reads the parameters of a caller,
``(a: str = ..., /, **kwargs: str)``.  The names of the parameters cannot be known, so a keyword
may have any name, and a missing argument is not found.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Generic, Never, ParamSpec, Protocol, Self, TypeVar, overload

if TYPE_CHECKING:
    from ..functions import BatchedFunction
    from .partial import PartialFunction

P = ParamSpec("P")
L = ParamSpec("L")  # the parameters of `local`, which takes lists
S = TypeVar("S")  # the type of `self`, or of a fourth element
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
R = TypeVar("R")
O = TypeVar("O")  # noqa: E741 - what the undecorated function returns
A_contra = TypeVar("A_contra", contravariant=True)
B_contra = TypeVar("B_contra", contravariant=True)
C_contra = TypeVar("C_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)
O_co = TypeVar("O_co", covariant=True)


class OneInput(Protocol[P, R_co]):
    """A batched function as the caller of one input sees it."""

    def _moorage_call(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


class OneInputAndLocal(Protocol[P, R_co, O_co, L]):
    """As `OneInput`; and a local call, which takes the lists of a batch."""

    def _moorage_call(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    def _moorage_local(self, *args: L.args, **kwargs: L.kwargs) -> O_co: ...


class BatchedPartial:
    """A batched function or method, before an app registers it."""

    if TYPE_CHECKING:
        # See `NotAFunction`.
        __sizeof__: None  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleMethodOverride]

        @overload
        def __get__(self, instance: None, owner: type) -> Self: ...
        @overload
        def __get__(
            self: OneInputAndLocal[P, R, O, L], instance: object, owner: type
        ) -> BatchedFunction[P, R, O, L]: ...
        def __get__(self, instance: object, owner: type) -> object: ...


class Batched1(BatchedPartial, Generic[A_contra, R_co, O_co]):
    """A batched function of 1 parameter."""

    if TYPE_CHECKING:

        def _moorage_call(self, a: A_contra = ..., /, **kwargs: A_contra) -> R_co: ...
        def _moorage_local(self, a: list[A_contra] = ..., /, **kwargs: list[A_contra]) -> O_co: ...


class Batched2(BatchedPartial, Generic[A_contra, B_contra, R_co, O_co]):
    """A batched function of 2 parameters."""

    if TYPE_CHECKING:

        def _moorage_call(
            self, a: A_contra = ..., b: B_contra = ..., /, **kwargs: A_contra | B_contra
        ) -> R_co: ...
        def _moorage_local(
            self,
            a: list[A_contra] = ...,
            b: list[B_contra] = ...,
            /,
            **kwargs: list[A_contra] | list[B_contra],
        ) -> O_co: ...


class Batched3(BatchedPartial, Generic[A_contra, B_contra, C_contra, R_co, O_co]):
    """A batched function of 3 parameters."""

    if TYPE_CHECKING:

        def _moorage_call(
            self,
            a: A_contra = ...,
            b: B_contra = ...,
            c: C_contra = ...,
            /,
            **kwargs: A_contra | B_contra | C_contra,
        ) -> R_co: ...
        def _moorage_local(
            self,
            a: list[A_contra] = ...,
            b: list[B_contra] = ...,
            c: list[C_contra] = ...,
            /,
            **kwargs: list[A_contra] | list[B_contra] | list[C_contra],
        ) -> O_co: ...


class _Variadic(Protocol[O_co]):
    # `Never`: of any element.
    def __call__(self, *args: Never) -> O_co: ...


class BatchDecorator(Protocol):
    """The decorator of a batched function or method: a caller gives and gets one element."""

    # Above another decorator, such as `concurrent`: the parameters are unknown (``...``).
    @overload
    def __call__(self, obj: PartialFunction[P, list[R], O], /) -> PartialFunction[..., R, O]: ...
    # Functions with ``*args``: each argument has the same type, and any number may come.
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, obj: _Variadic[Coroutine[Any, Any, list[R]]], /
    ) -> PartialFunction[..., R, Coroutine[Any, Any, list[R]]]: ...
    @overload
    def __call__(self, obj: _Variadic[list[R]], /) -> PartialFunction[..., R, list[R]]: ...  # type: ignore[overload-overlap]
    # Functions.
    @overload
    def __call__(  # pyright: ignore[reportOverlappingOverload]
        self, obj: Callable[[list[A]], Coroutine[Any, Any, list[R]]], /
    ) -> Batched1[A, R, Coroutine[Any, Any, list[R]]]: ...
    @overload
    def __call__(self, obj: Callable[[list[A]], list[R]], /) -> Batched1[A, R, list[R]]: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def __call__(
        self, obj: Callable[[list[A], list[B]], Coroutine[Any, Any, list[R]]], /
    ) -> Batched2[A, B, R, Coroutine[Any, Any, list[R]]]: ...
    @overload
    def __call__(
        self, obj: Callable[[list[A], list[B]], list[R]], /
    ) -> Batched2[A, B, R, list[R]]: ...
    @overload
    def __call__(
        self, obj: Callable[[list[A], list[B], list[C]], Coroutine[Any, Any, list[R]]], /
    ) -> Batched3[A, B, C, R, Coroutine[Any, Any, list[R]]]: ...
    @overload
    def __call__(
        self, obj: Callable[[list[A], list[B], list[C]], list[R]], /
    ) -> Batched3[A, B, C, R, list[R]]: ...
    # A function of four parameters, which is not a method of three.
    @overload
    def __call__(
        self,
        obj: Callable[[list[A], list[B], list[C], list[S]], Coroutine[Any, Any, list[R]]],
        /,
    ) -> PartialFunction[..., R, Coroutine[Any, Any, list[R]]]: ...
    @overload
    def __call__(
        self, obj: Callable[[list[A], list[B], list[C], list[S]], list[R]], /
    ) -> PartialFunction[..., R, list[R]]: ...
    # Methods.
    @overload
    def __call__(
        self, obj: Callable[[S, list[A]], Coroutine[Any, Any, list[R]]], /
    ) -> Batched1[A, R, Coroutine[Any, Any, list[R]]]: ...
    @overload
    def __call__(self, obj: Callable[[S, list[A]], list[R]], /) -> Batched1[A, R, list[R]]: ...
    @overload
    def __call__(
        self, obj: Callable[[S, list[A], list[B]], Coroutine[Any, Any, list[R]]], /
    ) -> Batched2[A, B, R, Coroutine[Any, Any, list[R]]]: ...
    @overload
    def __call__(
        self, obj: Callable[[S, list[A], list[B]], list[R]], /
    ) -> Batched2[A, B, R, list[R]]: ...
    @overload
    def __call__(
        self, obj: Callable[[S, list[A], list[B], list[C]], Coroutine[Any, Any, list[R]]], /
    ) -> Batched3[A, B, C, R, Coroutine[Any, Any, list[R]]]: ...
    @overload
    def __call__(
        self, obj: Callable[[S, list[A], list[B], list[C]], list[R]], /
    ) -> Batched3[A, B, C, R, list[R]]: ...
    # Others.
    @overload
    def __call__(
        self, obj: Callable[..., Coroutine[Any, Any, list[R]]], /
    ) -> PartialFunction[..., R, Coroutine[Any, Any, list[R]]]: ...
    @overload
    def __call__(self, obj: Callable[..., list[R]], /) -> PartialFunction[..., R, list[R]]: ...
