"""Fork: what a forked child does with the objects that it inherits.

Owns the one handler that runs in a forked child, the number that tells inherited objects from
the child's own (`Process.number`), and the end of a child that returns into moorage's code.
Objects that must act in the child register with :func:`know`, modules with :func:`in_child`.

Begin at `_child_begins`, then `UserCode`.

A fork copies one thread only.  The other threads do not exist in the child, but the locks that
they held stay locked, and their work stays half done.  So the handler takes no lock: objects
that the child still uses get new locks.  Objects that needed the lost threads (runs, pools,
containers, streams) are dead in the child, and raise an error at each caller that would wait.
While no fork happens, all this costs an input nothing but comparisons of `Process.number`.
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
    """This process.  An object compares `number` with the number at its creation.

    They differ in a forked child that has inherited the object.
    """

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number: int = 0


process: Final = Process()


class Inheritance(Protocol):
    """An object that must act in a forked child."""

    def _after_fork(self) -> None:
        """Act, on the child's only thread.  Must not block, or take a lock of the parent's."""
        ...


_known: Final[weakref.WeakSet[Inheritance]] = weakref.WeakSet()
_callbacks: Final[list[Callable[[], object]]] = []

# Objects that a child does not use any more.  They are never freed: users' destructors must
# not run in the handler, and a freed loop or task would close what it shares with the parent.
_kept: Final[list[object]] = []


def know(inheritance: Inheritance) -> None:
    """Call `_after_fork` of this object in each forked child, as long as the object lives."""
    _known.add(inheritance)


def in_child(callback: Callable[[], object]) -> None:
    """Call `callback` in each forked child, after the objects that :func:`know` registered."""
    _callbacks.append(callback)


def keep(*things: object) -> None:
    """Never free `things` in this process."""
    _kept.append(things)


def renew(lock: Any) -> None:
    """Make `lock` an unlocked lock again, in a forked child.

    Only for locks that a thread never holds while it runs user code.  User code calls the
    fork, so the child's one thread does not hold such a lock.
    """
    # threading, logging and concurrent.futures do the same with their locks.
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
    """Return the error for a wait, in a forked child, for an object of the parent."""
    return ExecutionError(
        f"{name} belongs to the process from which this one was forked, and nothing runs it "
        "here; call it again in this process"
    )


class InheritedLock:
    """Replaces the lock of an inherited object in a forked child: taking this lock raises."""

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
    """``with UserCode():`` around user code that runs on a thread of moorage, and may fork.

    If the user code forks and returns in the child, the child's only thread is one of
    moorage, which has nothing to do there.  So the end of the block ends the child.
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
    """End this process, a forked child whose user code has ended on a thread of moorage.

    Ends the child as multiprocessing does: ends the threads and runs that the child began,
    flushes stdout and stderr, and exits without freeing memory.  The exit code is that of a
    SystemExit; 1 for any other `error`, which is printed; else 0.
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
            except Exception:
                pass  # no stream, a closed stream, or a full disk: the child ends anyway
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
