"""Errors without our frames: what a user reads is the user's line and the message.

Owns one decorator for public functions that check and mark.  Not for the way
of an input: ``runtime/outcome.py`` owns what crosses from user code to a caller.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from .exception import Error

F = TypeVar("F", bound=Callable[..., Any])


def shortened(function: F) -> F:
    """`function`, whose errors of ours leave it with one frame instead of all.

    Errors of other kinds, which the user's code may have raised, keep theirs.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Error as error:
            raise error.with_traceback(None)  # noqa: B904 - the same error

    return cast(F, call)
