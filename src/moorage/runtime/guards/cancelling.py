"""What user code says about its own cancellation: `check_cancelled`, `shield`, `cooperative`.

Owns these three public names.  How a cancellation reaches the code is in ``cells.py`` for sync
inputs; an async input is cancelled as its task is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar, overload

from ...exception import InputCancellation, InvalidArgumentsError, InvalidError
from ..context import current_input
from ..input import Input
from ..real import Real
from .cells import Cell, current_cell

F = TypeVar("F")


def check_cancelled() -> None:
    """End here, if the input that this code runs for was cancelled or ran out of time.

    For synchronous code that computes for long: costs well below a microsecond.
    Does nothing in code that no container runs, as under ``.local()``.

    Raises:
        InputCancellation: in a synchronous input, and in threads that it started
            with its context; not while `shield` is in force.
        asyncio.CancelledError: in an asynchronous one.
    """
    cell = current_cell()
    if cell is not None and cell.input is not None:
        cell.check()
        return
    input = current_input()
    if input is None or input.cancellation is None:
        return
    if not input.call.target.is_async:
        raise InputCancellation
    if not getattr(input.runner, "shields", 0):
        raise asyncio.CancelledError


class shield:
    """``with moorage.shield():`` holds the cancellation of the input off, until its end.

    For steps that must be done whole: release what was acquired, write the second
    of two files.  The caller is released all the same, and the slot stays held.
    An exception that became due meanwhile is raised at the end of the block: in a
    ``def`` InputCancellation, in an ``async def`` CancelledError at the next await.
    Blocks nest.  Outside of any input it does nothing.

    Keep it short: an input that cannot be cancelled holds its slot.
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: list[Cell | Input | None] = []

    def __enter__(self) -> None:
        cell = current_cell()
        if cell is not None and cell.input is not None:
            cell.add_shield()
            self._held.append(cell)
            return
        input = current_input()
        if input is not None and input.call.target.is_async and input.runner is not None:
            with input.container.host.lock:
                input.runner.shields += 1
            self._held.append(input)
        else:
            self._held.append(None)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        held = self._held.pop()
        if isinstance(held, Cell):
            held.drop_shield()
        elif held is not None and held.runner is not None:
            held.runner.drop_shield(held.container.host.lock)


@overload
def cooperative(function: F, /) -> F: ...


@overload
def cooperative() -> Callable[[F], F]: ...


def cooperative(*functions: Any) -> Any:
    """Mark a synchronous function as one that ends itself when it is cancelled.

    ``@moorage.cooperative`` below ``@app.function()``, or on a method; with parentheses
    or without.  No exception is raised in the midst of its code: it calls
    `check_cancelled` now and then, or waits in calls of this library, which end when
    the input is cancelled.  Its slot is held until it ends.

    Raises:
        InvalidError: for what is no function, is an ``async def``, or is registered
            with an app already.
    """
    if not functions:
        return cooperative
    function = functions[0]
    raw: Any = getattr(function, "raw", function)
    if getattr(function, "_moorage_registered", False):
        raise InvalidError(
            f"cooperative stands above the app's decorator on {getattr(raw, '__name__', raw)}; "
            "swap the two: write @app.function() first, @moorage.cooperative below it"
        )
    if not callable(raw) or isinstance(raw, type):
        raise InvalidArgumentsError(
            f"cooperative marks a function or a method, got {raw!r}; "
            "write @moorage.cooperative above a def"
        )
    if Real.iscoroutinefunction(raw) or Real.isasyncgenfunction(raw):
        raise InvalidArgumentsError(
            f"cooperative marks a def, got the async def {getattr(raw, '__name__', raw)}, which is "
            "cancelled at its awaits only; write `with moorage.shield():` around what must be whole"
        )
    try:
        setattr(raw, "_moorage_cooperative", True)  # noqa: B010
    except (AttributeError, TypeError):
        raise InvalidArgumentsError(
            f"cooperative cannot mark {raw!r}, which takes no attributes; "
            "write a def that calls it, and mark that"
        ) from None
    return function
