"""Places: where a thread is, or a coroutine, as a person wants to read it.

Owns the way from a stack, or along what a coroutine awaits, to the user's line.
Reads names and line numbers only, never a variable: no user's object is kept,
shown, or asked anything.  Takes no lock, so anyone may ask at any time, also a
signal handler.
"""

from __future__ import annotations

import functools
import gc
import os
import sysconfig
from collections.abc import Iterator
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, GeneratorType
from typing import Any, Final

from .outcome import PACKAGE
from .real import Real

Step = tuple[CodeType, int]
"""A frame: its code and its line."""

# What stands between a coroutine and the asynchronous generator or the coroutine
# that it awaits, and does not say so.
_BETWEEN: Final = frozenset(
    {"async_generator_asend", "async_generator_athrow", "coroutine_wrapper", "anext_awaitable"}
)

# Ranks of files: the further up, the nearer to the user.
_STANDARD, _INSTALLED, _USERS = range(3)

# Further kinds of files: our own, and those that run tests.
_OURS, _RUNS_TESTS = -1, -2

# The plugin's part that stands outside of the package.
_PLUGIN: Final = "_moorage_pytest_plugin.py"
_RUNNERS: Final = tuple(f"{os.sep}{name}{os.sep}" for name in ("_pytest", "pluggy"))

# No chain of awaits is followed further.
_MOST: Final = 10_000


def place_in_stack(frame: FrameType | None) -> str | None:
    """The user's place in a thread of ours; None if it is in no code but ours."""
    steps = _stack(frame)
    # Outermost, the standard library starts the thread, then it is ours.
    while steps and not _is_ours(steps[-1]):
        steps.pop()
    return _shown([step for step in steps if not _is_ours(step)])


def place_of_caller(frame: FrameType | None) -> str | None:
    """Where a thread of the user's called us; None if it is not in our code."""
    steps = _stack(frame)
    # It may start a thread for us, or the like, in the standard library.
    while steps and _rank(steps[0][0].co_filename) == _STANDARD:
        del steps[0]
    if not steps or not _is_ours(steps[0]):
        return None
    return _shown([step for step in steps if not _is_ours(step)])


def place_of_thread(frame: FrameType | None) -> str | None:
    """Where any thread is, also one that is not ours."""
    return _shown([step for step in _stack(frame) if not _is_ours(step)])


def users_step(frame: FrameType | None) -> Step | None:
    """The innermost frame that is the user's own, or else a library's; None if none is.

    Quick enough for each task that is made.  What pytest was called by is not looked at.
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
    """Whether a step is in the user's own code, and not in a library's."""
    return _whose(step[0].co_filename) == _USERS


def shown_step(step: Step | None) -> str:
    """A step as a person wants to read it."""
    return "an unknown place" if step is None else _place(step)


def place_in_task(coroutine: object, stack: FrameType | None) -> str | None:
    """The user's place in a task; `stack` is that of its loop's thread.

    Suspended, that is where what it awaits is; running, where the thread is.
    """
    if isinstance(coroutine, CoroutineType) and coroutine.cr_running:
        return place_in_stack(stack)
    steps = list(_awaits(coroutine))
    steps.reverse()
    return _shown([step for step in steps if not _is_ours(step)])


def _stack(frame: FrameType | None) -> list[Step]:
    """The innermost first."""
    steps: list[Step] = []
    while frame is not None:
        steps.append((frame.f_code, frame.f_lineno or 0))
        frame = frame.f_back
    return steps


def _awaits(what: Any) -> Iterator[Step]:
    """The frames along what `what` awaits, the outermost first."""
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
        else:
            return
        if frame is None:
            return
        yield frame.f_code, frame.f_lineno or 0


def _is_ours(step: Step) -> bool:
    return step[0].co_filename.startswith(PACKAGE)


def _shown(steps: list[Step]) -> str | None:
    """The innermost of the user's own steps, and the innermost of all if that is another."""
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
    if file.startswith(PACKAGE) or file.endswith(_PLUGIN):
        return _OURS
    rank = _rank(file)
    return _RUNS_TESTS if rank != _STANDARD and any(name in file for name in _RUNNERS) else rank


def _short(file: str) -> str:
    """`file`, from the working directory, or from its library, on."""
    try:
        here = Real.getcwd() + os.sep
    except OSError:
        here = os.sep  # it was removed
    installed, standard = _libraries()
    for prefix in (*installed, *standard, *([here] if here != os.sep else ())):
        if file.startswith(prefix):
            return file[len(prefix) :]
    return file
