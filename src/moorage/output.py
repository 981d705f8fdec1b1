"""The terminal: what Modal shows and asks there, and what of it means something here.

Owns ``enable_output`` and ``interact``.  In process, what user code prints is
printed by this very process, and its standard input is this one's.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from .exception import InvalidError
from .runtime.context import is_local
from .with_aio import FunctionWithAio


@contextmanager
def enable_output() -> Generator[None, None, None]:
    """Do nothing: the output of containers is this process's and is always shown."""
    yield


def _interact() -> None:
    """Go on: code in a container has the terminal of this process already.

    Raises:
        InvalidError: outside of a container.
    """
    if is_local():
        raise InvalidError(
            "interact works in code that a container runs, and none runs here; "
            "call it in a function of an app"
        )


interact: FunctionWithAio[[], None] = FunctionWithAio(_interact)
