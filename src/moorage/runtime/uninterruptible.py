"""Uninterruptible regions: where a thread runs code that nothing from outside may break.

Owns :data:`uninterruptible`, with which each function of the engine that changes shared
state, or holds a lock, tells the guard of its thread.  The guard of a worker is its cell
(``guards/cells.py``); that of the main thread holds KeyboardInterrupt off
(``guards/interrupts.py``); other threads have none, and pay one look.

Begin at `_Uninterruptible`; what a guard is, is in ``thread_state.py``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import CodeType
from typing import Final, ParamSpec, TypeVar

from .thread_state import thread_state

P = ParamSpec("P")
T = TypeVar("T")


# Code at whose borders a region begins or ends, before it could say so.
# Clean-up begins with it: 1. an error leaves the user's block, 2. ``pool.cancel`` is
# called for it, 3. a Ctrl-C comes as its frame begins, and nobody would cancel.
begins_uninterruptible: Final[set[CodeType]] = set()


class _Uninterruptible:
    """``with uninterruptible:``, or ``@uninterruptible`` for a function.  Regions nest."""

    __slots__ = ()

    def __enter__(self) -> None:
        guard = thread_state.guard
        if guard is not None:
            guard.enter()

    def __exit__(self, *error: object) -> None:
        guard = thread_state.guard
        if guard is not None:
            guard.exit()

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            guard = thread_state.guard
            if guard is None:
                return function(*args, **kwargs)
            guard.enter()
            try:
                return function(*args, **kwargs)
            finally:
                guard.exit()

        begins_uninterruptible.add(guarded.__code__)  # one for all
        return functools.wraps(function)(guarded)


uninterruptible: Final = _Uninterruptible()
begins_uninterruptible.add(_Uninterruptible.__enter__.__code__)
