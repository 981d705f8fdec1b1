"""Outcomes: how an input ended: with a value, a failure, or a cancellation.

Owns the three value types, and the rule for exceptions that cross from user code to a caller:
the user's exception keeps its type, attributes and user frames; moorage's frames are removed;
control-flow exceptions are wrapped in a `RemoteError`.  Takes no lock and has no state; any
layer may use this file.

Begin at `failure_of`, then `user_frames`, which takes moorage's frames out, then `Failure`.
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

# Files whose frames are removed.  asyncio's are among them, because in a task they stand
# between moorage's frames and the user's.
_NOT_THE_USERS: Final = (PACKAGE, str(Path(asyncio.__file__).parent))

# Exceptions that control the interpreter, a loop or a generator.  Raised at the caller, they
# would control the caller's, so `failure_of` wraps them.
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
        # The errors of earlier attempts.  `exception` adds them to `error` as notes.
        self.earlier: tuple[BaseException, ...] = ()
        self.traceback: TracebackType | None = error.__traceback__
        # True if several inputs failed with this error: each caller gets a copy, so that the
        # callers can raise them independently.
        self.shared: bool = False

    def exception(self) -> BaseException:
        """Return the exception to raise at a caller, with the user's frames only."""
        earlier, self.earlier = self.earlier, ()
        for number, failed in enumerate(earlier, 1):
            # Format the notes here, in the caller's thread and without a lock, because
            # `_shown` runs the user's `__repr__`.
            self.error.add_note(f"attempt {number} of {len(earlier) + 1} failed: {_shown(failed)}")
        error = _copy_of(self.error) if self.shared else self.error
        # Reset the traceback: otherwise a second raise of the same object would show the
        # frames of the first raise too.
        return error.with_traceback(self.traceback)

    def let_locals_go(self) -> None:
        """Clear the local variables of the frames in which the error was raised.

        Frees memory for a failure that is kept after a caller has read it.  Frames that run,
        or may run on, stay untouched.  Dropping the variables may run users' destructors, so
        call this only where user code may run.
        """
        error, traceback = self.error, self.traceback
        _clear_frames(traceback)
        for linked in _linked_to(error):
            _clear_frames(linked.__traceback__)
        # When the caller raised the error, the caller's frames were added to its traceback.
        # Remove them, unless somebody else still has the error and may want to see them.
        # The 3 references here are `self.error`, `error` and the argument of `getrefcount`.
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
    """Return the failure that callers get for `error`, which was just caught from user code."""
    # Not `error.__traceback__ = ...`, which an exception that is a frozen dataclass refuses.
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
        return error  # the error cannot be copied or written to: the callers share the object
    return copied


def _copied(error: BaseException) -> object:
    try:
        return Real.copy(error)
    except TypeError:
        # `copy` calls the class with `args`, but `__init__` needs more, for example a
        # keyword-only argument.  Make the copy without `__init__`, and copy the attributes.
        kind = type(error)
        if any(cls.__dict__.get("__slots__") for cls in kind.__mro__):
            raise
        made = kind.__new__(kind, *error.args)
        made.__dict__.update(error.__dict__)
        return made


def _linked_to(error: BaseException) -> Iterator[BaseException]:
    """Yield the causes and contexts of `error` and the members of groups, all levels deep."""
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
                pass  # the frame runs
        traceback = traceback.tb_next


def _may_be_suspended(frame: FrameType) -> bool:
    """Whether `frame` belongs to a generator or a coroutine that may go on.

    Clearing such a frame would close the generator.  A traceback can contain such a frame: a
    generator catches the error, yields, and later the error is raised a second time.
    """
    code, last = frame.f_code, frame.f_lasti
    if not code.co_flags & _GENERATORS:
        return False
    # In a suspended frame `f_lasti` points to the yield or behind it: it depends on the version.
    return _YIELD in (code.co_code[last : last + 1] + code.co_code[max(0, last - 2) : last - 1])


_GENERATORS: Final = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_YIELD: Final = opcode.opmap["YIELD_VALUE"]


def user_frames(traceback: TracebackType | None) -> TracebackType | None:
    """Return `traceback` without its leading frames that belong to moorage or to asyncio."""
    while traceback is not None and (
        traceback.tb_frame.f_code.co_filename.startswith(_NOT_THE_USERS)
    ):
        traceback = traceback.tb_next
    return traceback
