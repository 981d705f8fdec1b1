"""How user code takes part in its own cancellation: `check_cancelled`, `shield`, `cooperative`.

Owns these three public names; user code calls them.  Begin at `check_cancelled`.  How a
cancellation reaches a sync input is in ``cells.py``; an async input is cancelled by cancelling
its task (``containers/task_lane.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar, overload

from ...exception import InputCancellation, InvalidArgumentsError, InvalidError
from ..context import current_input
from ..input import Input
from ..kinds import is_registered, kind_of
from .cells import Cell, current_cell

F = TypeVar("F")


def check_cancelled() -> None:
    """Raise if the input that runs this code was cancelled or ran out of time.

    For sync code that computes for long; a call costs well below a microsecond.
    Does nothing in code that no container runs, for example under ``.local()``,
    and in a `shield` block.

    Raises:
        InputCancellation: in a sync input, and in threads that the input started
            with its context.
        asyncio.CancelledError: in an async input.
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
    """``with moorage.shield():`` defers the cancellation of the input to the end of the block.

    For steps that must not be interrupted: release a lock, write the second of two
    files.  The input's caller does not wait for the block: the caller of a ``def`` is
    answered at once, that of an ``async def`` normally within 0.1 s.  The input keeps its
    slot.  An exception that became due during the block is raised at the end of
    the block: InputCancellation in a ``def``, CancelledError in an ``async def``, at
    the next await.  Blocks nest.  Outside of any input, ``shield`` does nothing.

    Keep the block short: an input that cannot be cancelled keeps its slot.
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
    """Mark a sync function that ends by itself when its input is cancelled.

    Write ``@moorage.cooperative`` below ``@app.function()``, or on a method, with or
    without parentheses.  No exception is raised at an arbitrary place in the function.
    Instead the function calls `check_cancelled` now and then, or waits in calls of this
    library, which end when the input is cancelled.  The input keeps its slot until the
    function ends.

    Raises:
        InvalidError: if the argument is not a function, is an ``async def``, or is
            registered with an app already.
    """
    if not functions:
        return cooperative
    function = functions[0]
    raw: Any = getattr(function, "raw", function)
    if is_registered(function):
        raise InvalidError(
            f"cooperative stands above the app's decorator on {getattr(raw, '__name__', raw)}; "
            "swap the two: write @app.function() first, @moorage.cooperative below it"
        )
    if not callable(raw) or isinstance(raw, type):
        raise InvalidArgumentsError(
            f"cooperative marks a function or a method, got {raw!r}; "
            "write @moorage.cooperative above a def"
        )
    if kind_of(raw).is_async:
        raise InvalidArgumentsError(
            f"cooperative marks a def, got the async def {getattr(raw, '__name__', raw)}, which is "
            "cancelled only at its awaits; write `with moorage.shield():` around code that must "
            "not be interrupted"
        )
    try:
        setattr(raw, "_moorage_cooperative", True)  # noqa: B010
    except (AttributeError, TypeError):
        raise InvalidArgumentsError(
            f"cooperative cannot mark {raw!r}, which takes no attributes; "
            "write a def that calls it, and mark the def"
        ) from None
    return function
