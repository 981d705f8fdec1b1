"""Fork: what a forked child does with what it inherited.

Owns the one handler that runs in the child, the number by which what is
inherited is told from what is the child's own, and the end of a child that
comes back into our code.

A fork copies one thread.  All others are gone in the child, with whatever locks
they held and whatever they were about to do, at any instant.  So the handler
takes no lock: what lives on gets new ones, and what needed those threads (runs,
pools, containers, streams) is dead, and says so to whoever waits for it.  Objects
that have something to do in the child say so with :func:`know`; modules, with
:func:`in_child`.  Nothing here is asked on the way of an input.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import traceback
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, NoReturn, Protocol

from ..exception import ExecutionError
from .real import Real

logger: Final = logging.getLogger("moorage")


class Process:
    """This process: its number changes in each forked child."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number: int = 0


process: Final = Process()


class Inheritance(Protocol):
    """What has something to do in a forked child."""

    def _after_fork(self) -> None:
        """On the child's only thread: take no lock that was there before, block nowhere."""
        ...


_known: Final[weakref.WeakSet[Inheritance]] = weakref.WeakSet()
_callbacks: Final[list[Callable[[], object]]] = []

# What a child lets go of.  It stays: a user's objects must not die in the
# handler, and a loop or a task that dies closes what it shares with the parent.
_kept: Final[list[object]] = []


def know(inheritance: Inheritance) -> None:
    """Have its `_after_fork` called in a child, if it lives then."""
    _known.add(inheritance)


def in_child(callback: Callable[[], object]) -> None:
    """Have `callback` called in a child, after all that is known."""
    _callbacks.append(callback)


def keep(*things: object) -> None:
    """Never let go of `things` in this process."""
    _kept.append(things)


def renew(lock: Any) -> None:
    """Make `lock` a new one in its place: for those that nobody holds across user code."""
    # As threading, logging and concurrent.futures do it with theirs.
    lock._at_fork_reinit()


def _child_begins() -> None:
    process.number += 1
    inherited = list(_known)
    keep(inherited)
    for step in [*(one._after_fork for one in inherited), *_callbacks]:
        try:
            step()
        except Exception:
            logger.exception("a step of moorage in a forked child failed")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_child_begins)


def stayed_behind(name: str) -> ExecutionError:
    """What to raise where something of the parent's would be waited for."""
    return ExecutionError(
        f"{name} belongs to the process from which this one was forked, and nothing runs it "
        "here; call it anew in this process"
    )


class InheritedLock:
    """In the place of a lock that guards what stayed behind: it cannot be taken."""

    def __init__(self, name: str) -> None:
        self._name = name

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        raise stayed_behind(self._name)

    def __enter__(self) -> bool:
        raise stayed_behind(self._name)

    def __exit__(self, *error: object) -> None: ...

    def release(self) -> None: ...

    def locked(self) -> bool:
        return False


class UserCode:
    """``with UserCode():`` around what runs on a thread of ours and may fork.

    The child's only thread is ours then, and has nothing to come back to: its
    process ends.
    """

    __slots__ = ("_born",)

    def __enter__(self) -> None:
        self._born = process.number

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if process.number != self._born:
            end_child(error)


def end_child(error: BaseException | None) -> NoReturn:
    """End this process, a child in which the user's code has ended on our thread.

    As multiprocessing ends its own: threads and runs that the child began are
    ended, and what is in memory is left as it is.  The exit code is that of
    SystemExit, 1 for another `error`, which is shown, else 0.
    """
    code = 0
    try:
        code = _exit_code(error)
        threading._shutdown()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    except BaseException:
        code = code or 1
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:  # None, closed, or a full disk: it ends all the same
                pass
        Real.exit_now(code)


def _exit_code(error: BaseException | None) -> int:
    if error is None:
        return 0
    if not isinstance(error, SystemExit):
        traceback.print_exception(error)
        return 1
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    print(error.code, file=sys.stderr)
    return 1
