"""The terminal: the part of Modal's terminal output and input that means something here.

Owns ``enable_output`` and ``interact``; users call them.  Code in a container prints to the
output of the program.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from .exception import InvalidError
from .placing.terminal import here
from .runtime.context import is_local
from .with_aio import plain_function


@contextmanager
def enable_output() -> Generator[None, None, None]:
    """Do nothing: containers print to the output of the program, which is always shown."""
    yield


@plain_function
def interact() -> None:
    """Let the code of a container read at the terminal.

    A container that is a thread has the terminal anyway.  One that is a process takes the terminal
    until its input has ended; that needs ``moorage run -i``.

    Raises:
        InvalidError: outside of a container; or if this container is a process, and the program
            runs on a terminal, without ``-i``.
    """
    if is_local():
        raise InvalidError(
            "interact works in code that a container runs, and none runs here; "
            "call it in a function of an app"
        )
    if here.terminal is not None:
        here.terminal.check("interact()")
        here.terminal.take_until_the_input_ends()
