"""Errors: an exception on its way to another process, with all that hangs on it.

Owns how an exception becomes bytes: its class and arguments, its attributes and notes, its cause
and context, the members of a group, and its traceback.  As with a pickle of any object, a class is
found by its name, or goes along by value.

An exception is made anew without its ``__init__``, unless its class has a ``__reduce__`` of its
own: most classes take other arguments than those that `BaseException` keeps.

A traceback refers to frames, which cannot cross.  On the other side each line gets a frame of the
same file, name and line, in which nothing runs and which has no variables; so ``traceback`` shows
the lines of the source as usual.

Begin at `reduced_error`; ``shipping.py`` calls it for each exception that it pickles.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from itertools import islice
from types import CodeType, FrameType, FunctionType, TracebackType
from typing import Any, Final

from ..exception import ExecutionError, SerializationError
from ..runtime.error_copies import Links, links_of, set_links, traceback_of
from ..runtime.outcome import Failure
from ..serialize.culprits import error_text, type_name

Columns = tuple[int, int, int]
"""The last line, and the columns at which an expression begins and ends."""

Line = tuple[str, str, int, Columns | None]
"""The file, the name of the function, and the line of one frame; and what a traceback marks."""

_dict: Final[Any] = vars(BaseException)["__dict__"]

# The most frames of one traceback that cross: the first and the last of them.
MOST_FRAMES: Final = 200


def reduced_error(error: BaseException) -> Any:
    """Return what a pickler writes for `error`."""
    kind: Any = type(error)
    reduced: Any = error.__reduce_ex__(5)
    make, args = reduced[0], reduced[1]
    state = reduced[2] if len(reduced) > 2 else None
    if kind.__reduce__ in _OWN_REDUCE and kind.__reduce_ex__ is BaseException.__reduce_ex__:
        make, args = _made, (kind, args)
    lines = _lines_of(traceback_of(error))
    return make, args, (state, links_of(error), lines), None, None, _set_state


_OWN_REDUCE: Final = (BaseException.__reduce__, BaseExceptionGroup.__reduce__)


def _made(kind: Any, args: tuple[Any, ...]) -> BaseException:
    """Make an exception without the ``__init__`` of the classes that users have written."""
    made: BaseException = kind.__new__(kind, *args)
    base = next(each for each in kind.__mro__ if each.__module__ == "builtins")
    if kind.__init__ is not base.__init__:
        # The built-in class keeps its data in fields of its own: ``SystemExit.code``.
        try:
            base.__init__(made, *args)
        except TypeError:
            pass
    else:
        made.__init__(*args)  # type: ignore[misc]
    return made


def _set_state(error: BaseException, state: tuple[Any, Links, Sequence[Line]]) -> None:
    its, links, lines = state
    if its is not None:
        error.__setstate__(its)
    set_links(error, links)
    BaseException.with_traceback(error, _traceback_of_lines(lines))


# -- tracebacks ------------------------------------------------------------------------


def _lines_of(traceback: TracebackType | None) -> list[Line]:
    lines: list[Line] = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        columns = _columns_of(code, traceback.tb_lasti, traceback.tb_lineno)
        lines.append((code.co_filename, code.co_name, traceback.tb_lineno, columns))
        traceback = traceback.tb_next
    if len(lines) > MOST_FRAMES:
        lines[MOST_FRAMES // 2 : -MOST_FRAMES // 2] = []
    return lines


def _columns_of(code: CodeType, offset: int, line: int) -> Columns | None:
    if offset < 0:
        return None
    here = next(islice(code.co_positions(), offset // 2, None), None)
    if here is None or here[0] != line:
        return None
    _, last, begin, end = here
    return None if last is None or begin is None or end is None else (last, begin, end)


def _traceback_of_lines(lines: Sequence[Line]) -> TracebackType | None:
    made: TracebackType | None = None
    for filename, name, line, columns in reversed(lines):
        # An offset that is even (see `frames_of_raise`): that of the first instruction, or one that
        # has no place in the code, so that nobody looks for the columns of the line.
        if columns is None:
            made = TracebackType(made, _frame(filename, name), -2, line)
        else:
            made = TracebackType(made, _frame(filename, name, line, columns), 0, line)
    return made


def _nothing() -> Iterator[None]:
    yield


@functools.lru_cache(1000)
def _frame(filename: str, name: str, line: int = 1, columns: Columns | None = None) -> FrameType:
    """Return a frame that never runs, with no variables and no caller.

    Its code has one position, if `columns` are given.

    The frame of a generator that has not begun: any other frame would refer to its callers, and
    keep all that they have.
    """
    code = _nothing.__code__.replace(co_filename=filename, co_name=name, co_qualname=name)
    if columns is not None:
        table = _location_table(len(code.co_code) // 2, line, columns)
        code = code.replace(co_firstlineno=line, co_linetable=table)
    generator: Any = FunctionType(code, {"__name__": "<another process>"})()
    frame: FrameType = generator.gi_frame
    return frame


def _location_table(units: int, line: int, columns: Columns) -> bytes:
    """Return the ``co_linetable`` of code of so many units, all at one position.

    The format is in ``Objects/locations.md`` of CPython: an entry in the long form is for 8 units
    at most, and its lines are relative to the entry before.
    """
    last, begin, end = columns
    table = bytearray()
    for first in range(0, units, 8):
        table.append(0x80 | 14 << 3 | min(8, units - first) - 1)
        table.append(0)  # on the same line as the entry before
        for number in (last - line, begin + 1, end + 1):
            while number >= 64:
                table.append(0x40 | number & 63)
                number >>= 6
            table.append(number)
    return bytes(table)


# -- failures --------------------------------------------------------------------------


def packed_failure(failure: Failure, name: str, pack: Any, explain: Any) -> tuple[Any, str]:
    """Return the error of `failure` as bytes, and its text.  Runs user code.

    An exception that cannot be pickled goes as a `SerializationError`, as in Modal.

    Args:
        name: the function that failed, as messages show it.
        pack: makes bytes of a value, or raises.
        explain: says which part of an error does not pickle, and what to write instead.
    """
    error = failure.exception()
    shown = shown_error(error)
    try:
        return pack(error), shown
    except Exception as refused:
        made: BaseException = SerializationError(
            f"the exception {type_name(type(error))} that left {name} cannot be serialized: "
            f"{explain(error, refused)}"
        )
        BaseException.with_traceback(made, traceback_of(error))
    return pack(made), shown_error(made)


def shown_error(error: BaseException) -> str:
    """Return the last line of what a traceback shows, also if the user's ``__str__`` fails."""
    try:
        text = str(error)
    except Exception:
        text = "<its text cannot be shown>"
    kind = type_name(type(error))
    return f"{kind}: {text}" if text else kind


def opened_error(load: Any, shown: str, name: str) -> BaseException:
    """Return the exception that `load` reads, or an `ExecutionError` that says why it cannot."""
    kind = shown.partition(":")[0]
    advice = "pass all arguments of its __init__ on to super().__init__(), or give it a __reduce__"
    try:
        made: object = load()
    except Exception as refused:
        return ExecutionError(
            f"the exception {kind} that left {name} cannot be read back at the caller: "
            f"{error_text(refused)}; {advice}; it said: {shown}"
        )
    if not isinstance(made, BaseException):
        return ExecutionError(
            f"the exception {kind} that left {name} was read back as {type_name(type(made))}; "
            f"{advice}; it said: {shown}"
        )
    return made
