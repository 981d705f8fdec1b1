"""Off the loop: async forms that do the work of files in threads.

Owns the decorators for methods that read and write many files, or large ones: the plain form does
the work in the caller's thread, ``.aio`` in a thread of its own, so that the caller's event loop
runs on.  A task that is cancelled meanwhile ends when the work has ended: no work goes on unseen.

``volume.py``, ``network_file_system.py`` and ``named_objects.py`` use this file.  ``with_aio.py``
owns the descriptors.

Begin at `off_the_loop`.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from itertools import islice
from types import TracebackType
from typing import Concatenate, ParamSpec, TypeVar

from .runtime.captured import capture
from .runtime.waiting.async_waiters import run_in_thread
from .with_aio import (
    ContextWithAio,
    EitherContext,
    Ends,
    FunctionWithAio,
    MethodWithAio,
    ending_context,
    function_with_aio,
)

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")
E = TypeVar("E", bound=Ends)


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function that blocks in a thread, in a copy of this context; return its result."""
    return await run_in_thread(partial(capture().run, partial(function, *args, **kwargs)))


def off_the_loop(function: Callable[Concatenate[S, P], T]) -> MethodWithAio[S, P, T]:
    """Decorate a method that blocks; its ``.aio`` calls it in a thread."""

    @functools.wraps(function)
    async def aio(instance: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await in_thread(function, instance, *args, **kwargs)

    return MethodWithAio(function, aio)


def function_off_the_loop(function: Callable[P, T]) -> FunctionWithAio[P, T]:
    """As `off_the_loop`, for a method below ``@staticmethod``."""

    @functools.wraps(function)
    async def aio(*args: P.args, **kwargs: P.kwargs) -> T:
        return await in_thread(function, *args, **kwargs)

    return function_with_aio(aio)(function)


async def steps_off_the_loop(make: Callable[[], Iterator[T]], most: int) -> AsyncIterator[T]:
    """Iterate over ``make()`` in threads, up to `most` steps in each."""
    steps: Iterator[T] | None = None

    def take() -> list[T]:
        nonlocal steps
        if steps is None:
            steps = make()
        return list(islice(steps, most))

    try:
        while True:
            found = await in_thread(take)
            for each in found:
                yield each
            if len(found) < most:
                return
    finally:
        close = getattr(steps, "close", None)
        if close is not None:
            try:
                close()
            except ValueError:
                pass  # a thread still takes steps: the iterator ends with them


class ContextOffTheLoop(EitherContext[T]):
    """As `EitherContext`; for ``async with`` the object is made and ended in threads."""

    async def __aenter__(self) -> T:
        try:
            return await in_thread(self.__enter__)
        except BaseException:
            self._end()  # the task was cancelled, and the object is there
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await in_thread(self.__exit__, kind, error, traceback)


def ending_off_the_loop(function: Callable[P, E]) -> ContextWithAio[P, E]:
    """As `ending_context`, for an object that is on the disk."""
    return ending_context(function, ContextOffTheLoop)
