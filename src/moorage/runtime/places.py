"""Places: the line of user code at which a thread or a coroutine is, as text for people.

Owns the search for that line, in a stack or along the awaits of a coroutine, and the rules by
which a file counts as the user's, a library's or moorage's.  Any code may call this file at any
time, also a signal handler, because it takes no lock.

Begin at `place_in_stack` and `place_in_task`, then `_shown`.

This file reads names and line numbers only, and never a variable: it neither keeps nor shows
a user's object, and runs no user code.
"""

from __future__ import annotations

import functools
import gc
import os
import sysconfig
from collections.abc import Iterator
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, GeneratorType
from typing import Any, Final

from .by_hand import ByHand
from .outcome import PACKAGE
from .real import Real

Step = tuple[CodeType, int]
"""A frame: its code and its line."""

# Types of the objects that may stand between a coroutine and the async generator or coroutine
# that it awaits.  They have no attribute for it, so `_awaits` asks the garbage collector.
_BETWEEN: Final = frozenset(
    {"async_generator_asend", "async_generator_athrow", "coroutine_wrapper", "anext_awaitable"}
)

# Ranks of files: standard library, installed library, user's own.  A place shows the frame of
# the highest rank.
_STANDARD, _INSTALLED, _USERS = range(3)

# Further kinds of files: moorage's own, and those of pytest and pluggy.
_OURS, _RUNS_TESTS = -1, -2

# The file of the pytest plugin that is outside of the package.
_PLUGIN: Final = "_moorage_pytest_plugin.py"
_RUNNERS: Final = tuple(f"{os.sep}{name}{os.sep}" for name in ("_pytest", "pluggy"))

# The most awaits that `_awaits` follows.
_MOST: Final = 10_000


def place_in_stack(frame: FrameType | None) -> str | None:
    """Return the user's place in a thread of moorage; None if no user code runs on it."""
    steps = _stack(frame)
    # Remove the outermost frames: the standard library starts the thread, then calls moorage.
    while steps and not _is_ours(steps[-1]):
        steps.pop()
    return _shown([step for step in steps if not _is_ours(step)])


def place_of_caller(frame: FrameType | None) -> str | None:
    """Return where a user's thread called moorage; None if it is not in moorage's code now."""
    steps = _stack(frame)
    # moorage may have called the standard library, for example to start a thread.
    while steps and _rank(steps[0][0].co_filename) == _STANDARD:
        del steps[0]
    if not steps or not _is_ours(steps[0]):
        return None
    return _shown([step for step in steps if not _is_ours(step)])


def place_of_thread(frame: FrameType | None) -> str | None:
    """Return the place of any thread, also of one that moorage did not start."""
    return _shown([step for step in _stack(frame) if not _is_ours(step)])


def users_step(frame: FrameType | None) -> Step | None:
    """Return the innermost frame of the user's own code, or else of an installed library.

    None if the stack has neither.  Fast enough to run for each new task.  Ignores the frames
    of pytest and its callers.
    """
    installed: Step | None = None
    while frame is not None:
        whose = _whose(frame.f_code.co_filename)
        if whose == _USERS:
            return frame.f_code, frame.f_lineno or 0
        if whose == _RUNS_TESTS:
            break
        if whose == _INSTALLED and installed is None:
            installed = frame.f_code, frame.f_lineno or 0
        frame = frame.f_back
    return installed


def is_users(step: Step) -> bool:
    """Return whether a step is in the user's own code, and not in a library."""
    return _whose(step[0].co_filename) == _USERS


def shown_step(step: Step | None) -> str:
    """Return a step as text for people."""
    return "an unknown place" if step is None else _place(step)


def place_in_task(coroutine: object, stack: FrameType | None) -> str | None:
    """Return the user's place in a task; `stack` is the stack of its loop's thread.

    For a running task: the place of the thread.  For a suspended task: the place at the end
    of its chain of awaits.
    """
    if isinstance(coroutine, CoroutineType) and coroutine.cr_running:
        return place_in_stack(stack)
    steps = list(_awaits(coroutine))
    steps.reverse()
    return _shown([step for step in steps if not _is_ours(step)])


def _stack(frame: FrameType | None) -> list[Step]:
    """Return the steps of a stack, the innermost first."""
    steps: list[Step] = []
    while frame is not None:
        steps.append((frame.f_code, frame.f_lineno or 0))
        frame = frame.f_back
    return steps


def _awaits(what: Any) -> Iterator[Step]:
    """Yield the steps along the chain of awaits that begins at `what`, the outermost first."""
    for _ in range(_MOST):
        if isinstance(what, CoroutineType):
            frame, what = what.cr_frame, what.cr_await
        elif isinstance(what, AsyncGeneratorType):
            frame, what = what.ag_frame, what.ag_await
        elif isinstance(what, GeneratorType):
            frame, what = what.gi_frame, what.gi_yieldfrom
        elif type(what).__name__ in _BETWEEN:
            kinds = (AsyncGeneratorType, CoroutineType)
            what = next((r for r in gc.get_referents(what) if isinstance(r, kinds)), None)
            continue
        elif type(what) is ByHand:
            what = what.awaited
            continue
        else:
            return
        if frame is None:
            return
        yield frame.f_code, frame.f_lineno or 0


def _is_ours(step: Step) -> bool:
    return step[0].co_filename.startswith(PACKAGE)


def _shown(steps: list[Step]) -> str | None:
    """Return the innermost step of the highest rank; None without steps.

    If another step is the innermost of all, the text names that step too.
    """
    if not steps:
        return None
    ranks = [_rank(code.co_filename) for code, _ in steps]
    users = steps[ranks.index(max(ranks))]
    if users is steps[0]:
        return _place(users)
    return f"{_place(users)}, in {_place(steps[0])}"


def _place(step: Step) -> str:
    code, line = step
    return f"{code.co_qualname.rpartition('<locals>.')[2]} ({_short(code.co_filename)}:{line})"


@functools.cache
def _libraries() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the folders of installed libraries, and those of the standard library."""
    paths = sysconfig.get_paths()
    installed = (paths["purelib"], paths["platlib"])
    return tuple(p + os.sep for p in installed), tuple(
        paths[name] + os.sep for name in ("stdlib", "platstdlib")
    )


def _rank(file: str) -> int:
    installed, standard = _libraries()
    if file.startswith(installed):
        return _INSTALLED
    return _STANDARD if file.startswith((*standard, "<frozen ")) else _USERS


@functools.cache
def _whose(file: str) -> int:
    """Return the rank of a file, or one of the further kinds."""
    if file.startswith(PACKAGE) or file.endswith(_PLUGIN):
        return _OURS
    rank = _rank(file)
    return _RUNS_TESTS if rank != _STANDARD and any(name in file for name in _RUNNERS) else rank


def _short(file: str) -> str:
    """Return `file` relative to its library's folder, or else to the working directory."""
    try:
        here = Real.getcwd() + os.sep
    except OSError:
        here = os.sep  # the working directory was removed
    installed, standard = _libraries()
    for prefix in (*installed, *standard, *([here] if here != os.sep else ())):
        if file.startswith(prefix):
            return file[len(prefix) :]
    return file
