"""Uninterruptible regions: code in which no exception from outside may be raised.

Owns :data:`uninterruptible`.  A function of the engine that changes shared state or holds a
lock is such a region: it calls the guard of its thread at its beginning and its end.  The
guard of a worker is its cell (``guards/cells.py``), which delays strikes (exceptions raised
by another thread); the guard of the main thread delays KeyboardInterrupt
(``guards/interrupts.py``).  Other threads have no guard, and only read `thread_state.guard`.

Begin at `_Uninterruptible`, then `Guard` in ``thread_state.py``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import CodeType
from typing import Final, ParamSpec, TypeVar

from .thread_state import thread_state

P = ParamSpec("P")
T = TypeVar("T")


# Code objects with which a region begins or ends.  If Ctrl-C comes while such a frame is the
# innermost, `Guard.enter` may not have been called yet, so ``guards/interrupts.py`` does not
# raise, but lets the signal come once more.  Otherwise:
#     1. an error leaves the user's block,
#     2. the clean-up calls ``pool.cancel``, which is `uninterruptible`,
#     3. Ctrl-C comes when the frame of the wrapper begins: KeyboardInterrupt is raised there,
#        and nothing cancels.
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

        # All wrapped functions share this one code object.
        begins_uninterruptible.add(guarded.__code__)
        return functools.wraps(function)(guarded)


uninterruptible: Final = _Uninterruptible()
begins_uninterruptible.add(_Uninterruptible.__enter__.__code__)
