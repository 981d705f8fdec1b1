"""The terminal: the part of Modal's terminal output and input that means something here.

Owns ``enable_output`` and ``interact``; users call them.  Code in a container prints to the
output of this process, and reads the standard input of this process.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from .exception import InvalidError
from .runtime.context import is_local
from .with_aio import plain_function


@contextmanager
def enable_output() -> Generator[None, None, None]:
    """Do nothing: containers print to the output of this process, which is always shown."""
    yield


@plain_function
def interact() -> None:
    """Do nothing: code in a container already has the terminal of this process.

    Raises:
        InvalidError: outside of a container.
    """
    if is_local():
        raise InvalidError(
            "interact works in code that a container runs, and none runs here; "
            "call it in a function of an app"
        )
