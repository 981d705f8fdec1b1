"""Posing: wrappers of ours that have the name and the attributes of the user's callable.

Owns `poses_as`, which is `functools.wraps` for any callable.  Files that wrap user code call it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any, TypeVar

from .kinds import is_mock

F = TypeVar("F", bound=Callable[..., Any])


def poses_as(function: Callable[..., Any]) -> Callable[[F], F]:
    """Decorate a wrapper of `function`, which may be any callable.

    A wrapper of a mock keeps its own attributes: a mock has any attribute, and the mock of a
    function has a name that is no str.
    """

    def pose(wrapper: F) -> F:
        if not is_mock(function):
            try:
                update_wrapper(wrapper, function)
            except TypeError:
                pass  # an attribute of the user's, such as the name, has a type that Python refuses
        return wrapper

    return pose
