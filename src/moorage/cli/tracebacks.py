"""Tracebacks of the user's program, without the frames of the command line and of this library.

Owns which frames are cut.  ``MODAL_TRACEBACK=1`` shows all frames.  With rich installed, a
traceback on a terminal is shown by rich.

Begin at `keep_users_frames`, then `print_traceback`.
"""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final

import click

from .. import config
from ..runtime.error_copies import traceback_of
from ..runtime.outcome import PACKAGE
from .rich_output import show_traceback

# Files whose frames are cut, wherever they are in the traceback.
_OURS: Final = (
    PACKAGE + os.sep,
    str(Path(click.__file__).parent) + os.sep,
    "<frozen importlib",
    "<frozen runpy",
)
# Files whose frames are cut in front of the user's first frame: they run an async entrypoint.
_IN_FRONT: Final = str(Path(asyncio.__file__).parent) + os.sep


def keep_users_frames(error: BaseException) -> None:
    """Remove the frames that are not the user's from `error`, and from all that it is linked to.

    An error that is a fault of this library, or of a package that the command line uses, has no
    frame of the user's: such an error keeps its frames, unless it is one of this library's own
    errors or about the text of a file (SyntaxError).
    """
    if config.config.get("traceback"):
        return
    pending, met = [error], {id(error)}
    while pending:
        one = pending.pop()
        _cut(one)
        linked: list[BaseException | None] = [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            linked += one.exceptions
        for other in linked:
            if other is not None and id(other) not in met:
                met.add(id(other))
                pending.append(other)


def _cut(error: BaseException) -> None:
    frames: list[TracebackType] = []
    one = traceback_of(error)
    while one is not None:
        file = one.tb_frame.f_code.co_filename
        if not file.startswith(_OURS) and (frames or not file.startswith(_IN_FRONT)):
            frames.append(one)
        one = one.tb_next
    is_explained = isinstance(error, SyntaxError) or type(error).__module__.startswith("moorage.")
    if not frames and not is_explained:
        return
    kept: TracebackType | None = None
    for frame in reversed(frames):
        kept = TracebackType(kept, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    # Not `error.__traceback__ = ...`, which an exception that is a frozen dataclass refuses.
    BaseException.with_traceback(error, kept)


def print_traceback(error: BaseException, file: IO[Any] | None = None) -> None:
    """Write the traceback of `error` to stderr, or to `file`."""
    where = sys.stderr if file is None else file
    if not (where.isatty() and show_traceback(error, where)):
        traceback.print_exception(error, file=where)
    where.flush()
