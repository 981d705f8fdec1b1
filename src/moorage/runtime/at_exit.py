"""The interpreter's exit, when no thread can start: on Python 3.12 from the exit's beginning on.

Owns how the refusal of a thread is recognized, and the error that the inputs get which needed
the thread.  Pure: runs no user code, takes no lock.

Begin at `told`.
"""

from __future__ import annotations

import builtins
from typing import Final

from ..exception import ExecutionError

# What `threading.Thread.start` raises then.
_TYPES: Final = (RuntimeError, getattr(builtins, "PythonFinalizationError", RuntimeError))
_TEXT: Final = "interpreter shutdown"


def is_refusal(error: BaseException) -> bool:
    """Return whether `error` says that no thread can start because the interpreter exits."""
    # A class of the user's might run the user's code here.
    text = error.args[0] if type(error) in _TYPES and error.args else None
    return type(text) is str and _TEXT in text


def told(error: BaseException, name: str) -> BaseException:
    """Return `error`, or what to write instead if it is a refusal, for the inputs of `name`."""
    if not is_refusal(error):
        return error
    instead = ExecutionError(
        f"{name} cannot start, because the program has ended and no thread can start any more; "
        "make the call, and wait for it, before the program ends"
    )
    instead.__cause__ = error
    return instead
