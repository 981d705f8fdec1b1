"""Outcomes: how an input ended: with a value, a failure, or a cancellation.

Owns the three value types, and the rule for exceptions that cross from user code to a caller:
each caller gets a copy of its own (``error_copies.py``), with the user's type, attributes,
context and frames; moorage's frames are removed; control-flow exceptions are wrapped in a
`RemoteError`.  Takes no lock and has no state; any layer may use this file.

Begin at `failure_of`, then `Failure`, then `Raising`.
"""

from __future__ import annotations

import asyncio
import inspect
import opcode
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..exception import InputCancellation, InputCancelledError, RemoteError
from .error_copies import (
    Links,
    add_notes,
    context_at_caller,
    copy_error,
    links_of,
    set_context,
    set_links,
    traceback_of,
)

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


class Sealed(Protocol):
    """What a process has written and no reader has opened: see ``placing/shipping.py``."""

    def open(self) -> Any:
        """Return a copy of what was sealed.  Runs user code, on the reader's thread.

        Raises:
            DeserializationError: if the value cannot be read back.
        """
        ...


class _Opened:
    """Takes the place of a `Sealed` that was opened, for a reader that came at the same time."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    def open(self) -> Any:
        return self._value


class Value:
    """The input returned.

    A value of another process is *sealed*: it is bytes until the first reader of `value`, on
    whose thread it is read back.
    """

    __slots__ = ("_sealed", "value")

    if TYPE_CHECKING:
        _sealed: Sealed  # of a sealed value only

    def __init__(self, value: Any) -> None:
        self.value: Any = value
        # No `_sealed`: setting it would cost each input of this process some time.

    @staticmethod
    def sealed(sealed: Sealed) -> Value:
        made = Value.__new__(Value)
        made._sealed = sealed
        return made

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            # Called only for an attribute that has no value.  Several readers may come here at
            # once: each opens a copy, and the last one is kept.
            if name != "value":
                raise AttributeError(name)
            value = self.value = self._sealed.open()
            self._sealed = _Opened(value)  # drops the bytes
            return value

    def __repr__(self) -> str:
        return f"Value({self.value!r})"


class Failure:
    """The input raised."""

    __slots__ = ("_links", "_notes", "_sealed", "earlier", "error", "note", "traceback")

    if TYPE_CHECKING:
        _sealed: tuple[Sealed, BaseException]  # of a sealed failure only

    def __init__(self, error: BaseException) -> None:
        # The user's object: only read, except for its traceback (see `frames_of_raise`).
        self.error: BaseException = error
        # Both are read at once, because user code may keep the error and raise it again.
        self.traceback: TracebackType | None = traceback_of(error)
        self._links: Links = links_of(error)
        # The errors of earlier attempts, until `exception` makes notes of them.
        self.earlier: tuple[BaseException, ...] = ()
        self._notes: tuple[str, ...] = ()
        # A note of the library for the error: see ``loop_notes.py``.
        self.note: str | None = None

    @staticmethod
    def sealed(sealed: Sealed, shown: str) -> Failure:
        """Return the failure of another process, whose error is bytes until it is read.

        Args:
            shown: the error, for those that must not run the user's code.
        """
        made = Failure.__new__(Failure)
        made._sealed = sealed, UnreadError(shown)
        made.earlier, made._notes, made.note = (), (), None
        return made

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            # As in `Value`.
            if name not in ("error", "traceback", "_links"):
                raise AttributeError(name)
            sealed, unread = self._sealed
            error = sealed.open()
            self.traceback, self._links = traceback_of(error), links_of(error)
            self.error = error
            self._sealed = _Opened(error), unread
            return getattr(self, name)

    @property
    def unread(self) -> BaseException:
        """The error, or what stands for it while it is sealed.  Runs no user code."""
        sealed = getattr(self, "_sealed", None)
        return self.error if sealed is None else sealed[1]

    def after(self, earlier: tuple[BaseException, ...]) -> Failure:
        """Return this failure for one of its inputs, whose earlier attempts raised `earlier`."""
        sealed = getattr(self, "_sealed", None)
        if sealed is not None:
            made = Failure.__new__(Failure)
            made._sealed, made._notes = sealed, ()
            made.earlier, made.note = earlier, self.note
            return made
        made = Failure(self.error)
        made.traceback, made._links, made.earlier = self.traceback, self._links, earlier
        made.note = self.note
        return made

    def exception(self) -> BaseException:
        """Return an exception to raise at one caller, with the user's frames only.

        Each call makes a copy, so callers that share the failure may raise and change their
        exceptions independently.
        """
        notes = self._notes_of_attempts()
        made = copy_error(self.error)
        if made is not self.error:
            set_links(made, self._links)
            add_notes(made, notes)
            # Not twice, if the error has come through several calls.
            if self.note is not None and self.note not in getattr(made, "__notes__", ()):
                add_notes(made, (self.note,))
        return BaseException.with_traceback(made, self.traceback)

    def _notes_of_attempts(self) -> tuple[str, ...]:
        # Format the notes here, in the caller's thread and without a lock, because `_shown`
        # runs the user's `__repr__`.  Several callers may do so at once, with equal results:
        # `_notes` is set before `earlier` is dropped.
        earlier = self.earlier
        if earlier:
            of = len(earlier) + 1
            self._notes = tuple(
                f"attempt {number} of {of} failed: {_shown(failed)}"
                for number, failed in enumerate(earlier, 1)
            )
            self.earlier = ()
        return self._notes

    def let_locals_go(self) -> None:
        """Clear the local variables of the frames in which the error was raised.

        Frees memory for a failure that is kept after a caller has read it.  Frames that run,
        or may run on, stay untouched.  Dropping the variables may run users' destructors, so
        call this only where user code may run.
        """
        self._notes_of_attempts()  # drops the earlier errors
        _clear_frames(self.traceback)
        for linked in _linked_to(self.error, *self._links[:2]):
            _clear_frames(traceback_of(linked))

    def __repr__(self) -> str:
        return f"Failure({self.unread!r})"


class UnreadError(Exception):
    """Stands for an error of another process that nobody has read."""

    def __init__(self, shown: str) -> None:
        super().__init__(shown)
        self.shown: str = shown

    def __repr__(self) -> str:
        return self.shown

    __str__ = __repr__


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
    failure = failure_as_it_is(error)
    if issubclass(type(error), _CONTROL_FLOW):  # `isinstance` may run a user's ``__class__``
        wrapped = RemoteError(
            f"the input ended with {_shown(error)}, "
            "which is not passed on to callers; return normally or raise an Exception instead"
        )
        wrapped.__cause__ = error
        return Failure(wrapped)
    return failure


def failure_as_it_is(error: BaseException) -> Failure:
    """As `failure_of`, but an exception that controls the interpreter is not wrapped."""
    frames = frames_of_raise(error)
    failure = Failure(error)
    failure.traceback = frames
    return failure


class Raising:
    """Raises the exception of an outcome at a caller, with its own ``__context__``.

    ``raise`` sets the context of an exception to the one that the caller handles, and the
    exception's own context would be lost.  So the own context is set again after ``raise``::

        with Raising() as error_of:
            raise error_of(outcome)
    """

    __slots__ = ("_context", "_exception")

    def __init__(self) -> None:
        self._exception: BaseException | None = None
        self._context: BaseException | None = None

    def __enter__(self) -> Raising:
        return self

    def __call__(self, outcome: Outcome | None) -> BaseException:
        """Return the exception to raise for a settled input that has no value."""
        assert outcome is not None and not isinstance(outcome, Value)
        self._exception = error = outcome.exception()
        self._context = context_at_caller(error, sys.exception())
        return error

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        mine, context = self._exception, self._context
        # Else a cycle: this object -> the error -> its traceback -> the frame that raises.
        self._exception = self._context = None
        if error is not None and error is mine and context is not None:
            set_context(error, context)


def _shown(error: BaseException) -> str:
    if isinstance(error, UnreadError):
        return error.shown
    try:
        return f"{type(error).__name__}({', '.join(map(repr, error.args))})"
    except Exception:
        return type(error).__name__


def _linked_to(*errors: BaseException | None) -> Iterator[BaseException]:
    """Yield the causes and contexts of `errors` and the members of groups, all levels deep.

    All of `errors` but the first are yielded, too.
    """
    first, *others = [error for error in errors if error is not None]
    yield from others
    pending, met = [first, *others], {id(error) for error in errors}
    while pending:
        one = pending.pop()
        linked = list(links_of(one)[:2])
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


def frames_of_raise(error: BaseException) -> TracebackType | None:
    """Return the user's frames of `error`, which was just caught from user code.

    User code may keep `error` and raise it again.  Python puts the new frames before the old
    frames, so the traceback would grow with each raise.  So this function leaves a mark in the
    traceback of `error`; when it meets the mark again, it removes what Python has put before.
    The frames that `error` had before its first raise here stay: those of the load that failed,
    for example.

    The mark is an odd `tb_lasti`.  Instructions begin at even offsets, and Python halves the
    offset to find the line and the column, so the traceback looks the same.
    """
    frames = user_frames(traceback_of(error))
    new: list[TracebackType] = []
    old = frames
    while old is not None and not old.tb_lasti & 1:
        new.append(old)
        old = old.tb_next
    if old is None:
        marked = None if frames is None else _with_lasti(frames, frames.tb_lasti | 1)
        # Not `error.__traceback__ = ...`, which an exception that is a frozen dataclass refuses.
        BaseException.with_traceback(error, marked)
        return frames
    BaseException.with_traceback(error, old)
    # The old frames begin with those of the first raise here.  If the new raise took the same
    # lines, the new frames replace those.
    first = _with_lasti(old, old.tb_lasti & ~1)
    rest: TracebackType | None = first
    for one in new:
        if rest is None or _line_of(one) != _line_of(rest):
            rest = first
            break
        rest = rest.tb_next
    for one in reversed(new):
        rest = TracebackType(rest, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return rest


def _line_of(traceback: TracebackType) -> tuple[object, int]:
    return traceback.tb_frame.f_code, traceback.tb_lineno


def _with_lasti(traceback: TracebackType, lasti: int) -> TracebackType:
    return TracebackType(traceback.tb_next, traceback.tb_frame, lasti, traceback.tb_lineno)
