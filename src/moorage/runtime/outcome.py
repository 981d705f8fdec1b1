"""How an input ended: a value, a failure, or a cancellation.

Owns the three small value types and the rule for exceptions that cross from
user code to a caller: the user's exception keeps its type, attributes and user
frames; ours are taken out; control-flow exceptions are wrapped.  Pure; any
layer may use it.
"""

from __future__ import annotations

import asyncio
import inspect
import opcode
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final

from ..exception import InputCancellation, InputCancelledError, RemoteError
from .real import Real

PACKAGE: Final = str(Path(__file__).resolve().parent.parent)

# A task's own frames stand between ours and the user's.
_NOT_THE_USERS: Final = (PACKAGE, str(Path(asyncio.__file__).parent))

# They steer the interpreter or a loop, and would do so at the caller too.
_CONTROL_FLOW: Final = (
    SystemExit,
    KeyboardInterrupt,
    GeneratorExit,
    StopIteration,
    StopAsyncIteration,
    asyncio.CancelledError,
    InputCancellation,
)


class Value:
    """The input returned."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value: Any = value

    def __repr__(self) -> str:
        return f"Value({self.value!r})"


class Failure:
    """The input raised."""

    __slots__ = ("earlier", "error", "shared", "traceback")

    def __init__(self, error: BaseException) -> None:
        self.error: BaseException = error
        # The errors of earlier attempts, for a caller to read as notes.
        self.earlier: tuple[BaseException, ...] = ()
        self.traceback: TracebackType | None = error.__traceback__
        # Several inputs failed by this one error: each caller gets a copy, so
        # that they can be raised independently.
        self.shared: bool = False

    def exception(self) -> BaseException:
        """What to raise at a caller, with the user's frames only."""
        earlier, self.earlier = self.earlier, ()
        for number, failed in enumerate(earlier, 1):
            # Here, at the caller: the user's __str__ may do anything.
            self.error.add_note(f"attempt {number} of {len(earlier) + 1} failed: {_shown(failed)}")
        error = _copy_of(self.error) if self.shared else self.error
        # The traceback is set anew: raising one exception object twice would
        # otherwise add the frames of the first raise to the second.
        return error.with_traceback(self.traceback)

    def let_locals_go(self) -> None:
        """Clear the local variables of the frames in which the error was raised.

        For a failure that is kept for a while, after it was read.  What runs, or will run
        on, is left alone.  Must be called where the user's code may run.
        """
        error, traceback = self.error, self.traceback
        _clear_frames(traceback)
        for linked in _linked_to(error):
            _clear_frames(linked.__traceback__)
        # Raising it added the frames of whoever read it.  If somebody has it still, they
        # may want to see these.  Here it is `self.error`, `error` and the argument.
        if sys.getrefcount(error) <= 3:
            error.with_traceback(traceback)

    def __repr__(self) -> str:
        return f"Failure({self.error!r})"


class Cancelled:
    """The input was cancelled, before it started or while it ran."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason: str = reason

    def exception(self) -> BaseException:
        return InputCancelledError(self.reason)

    def __repr__(self) -> str:
        return f"Cancelled({self.reason!r})"


Outcome = Value | Failure | Cancelled


def failure_of(error: BaseException) -> Failure:
    """The failure that callers see for `error`, just caught around user code."""
    # Not by assignment: a frozen dataclass refuses that.
    error.with_traceback(user_frames(error.__traceback__))
    if isinstance(error, _CONTROL_FLOW):
        wrapped = RemoteError(
            f"the input ended with {_shown(error)}, "
            "which is not passed on to callers; return normally or raise an Exception instead"
        )
        wrapped.__cause__ = error
        return Failure(wrapped)
    return Failure(error)


def _shown(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}({', '.join(map(repr, error.args))})"
    except Exception:
        return type(error).__name__


def _copy_of(error: BaseException) -> BaseException:
    try:
        copied: object = _copied(error)
        if type(copied) is not type(error):
            return error
        copied.__cause__ = error.__cause__
        copied.__context__ = error.__context__
        copied.__suppress_context__ = error.__suppress_context__
    except Exception:
        return error  # its class cannot be copied, or not written to: share the object
    return copied


def _copied(error: BaseException) -> object:
    try:
        return Real.copy(error)
    except TypeError:
        # Its class asks for more than `args`, as one with keyword-only parameters does:
        # then without its __init__, and with what that left.
        kind = type(error)
        if any(cls.__dict__.get("__slots__") for cls in kind.__mro__):
            raise
        made = kind.__new__(kind, *error.args)
        made.__dict__.update(error.__dict__)
        return made


def _linked_to(error: BaseException) -> Iterator[BaseException]:
    """The errors that led to `error`, and those within it."""
    pending, met = [error], {id(error)}
    while pending:
        one = pending.pop()
        linked = [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            linked += one.exceptions
        for other in linked:
            if other is not None and id(other) not in met:
                met.add(id(other))
                pending.append(other)
                yield other


def _clear_frames(traceback: TracebackType | None) -> None:
    while traceback is not None:
        frame = traceback.tb_frame
        if not _may_be_suspended(frame):
            try:
                frame.clear()
            except RuntimeError:
                pass  # it runs
        traceback = traceback.tb_next


def _may_be_suspended(frame: FrameType) -> bool:
    """Whether it is a generator's or a coroutine's that may go on; to clear that, closes it.

    An error that was kept and raised once more leads to frames that had caught it.
    """
    code, last = frame.f_code, frame.f_lasti
    if not code.co_flags & _GENERATORS:
        return False
    # Depending on the version, `f_lasti` of a suspended frame is the yield, or behind it.
    return _YIELD in (code.co_code[last : last + 1] + code.co_code[max(0, last - 2) : last - 1])


_GENERATORS: Final = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_YIELD: Final = opcode.opmap["YIELD_VALUE"]


def user_frames(traceback: TracebackType | None) -> TracebackType | None:
    """`traceback` without the leading frames that belong to this package, or to asyncio."""
    while traceback is not None and (
        traceback.tb_frame.f_code.co_filename.startswith(_NOT_THE_USERS)
    ):
        traceback = traceback.tb_next
    return traceback
