"""Loop notes: what to write when code uses an object of another event loop.

Owns the texts, and how an error of asyncio, anyio, trio or aiohttp that speaks of another loop
is recognized.  Pure: runs no user code, takes no lock.  ``waiting/other_loops.py`` finds the
inputs that wait for such an object without any error.

Begin at `explained`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, cast

from .error_copies import links_of
from .outcome import Failure

ADVICE: Final = (
    "an async function runs on the event loop of its container, not on its caller's, and an object "
    "of another event loop (a future, lock, queue, event, session or connection) does not work "
    "there; make the object in an @moorage.enter() hook or in the function, and pass plain data"
)

# What the libraries say when an object meets another loop than its own.
_TEXTS: Final = (
    "attached to a different loop",  # asyncio: a task awaits a future of another loop
    "await wasn't used with future",  # asyncio: the same future, awaited a second time
    "bound to a different event loop",  # asyncio: Lock, Queue, Event, ...
    "belongs to a different loop",  # asyncio: wait_for, as_completed
    "different from the loop",  # asyncio: a transport, a subprocess watcher
    "attached to different loop",  # aiohttp, aioredis
    "to use same event loop",  # aiohttp: a session and its connector
    "Non-thread-safe operation invoked on an event loop other than the current one",
    "Timeout context manager should be used inside a task",  # aiohttp: a session of another loop
    "Event loop is closed",  # the loop of the object has ended
    "must be called from async context",  # trio: an object of trio on a loop of asyncio
)

# How many of the errors behind an error are looked at.
_DEPTH: Final = 8

_args_of: Final = vars(BaseException)["args"].__get__


def explained(failure: Failure) -> Failure:
    """Return `failure`, with `ADVICE` as its note if its error speaks of another event loop."""
    if speaks_of_loops(failure.error):
        failure.note = ADVICE
    return failure


def with_advice(text: str, error: BaseException) -> str:
    """Return `text`, the format of a log record, with `ADVICE` if it fits `error`."""
    return f"{text}; {ADVICE}" if speaks_of_loops(error) else text


def speaks_of_loops(error: BaseException) -> bool:
    """Return whether `error`, or an error behind it, says that an object met another loop."""
    return any(_says_so(each) for each in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield `error`, its causes or contexts, and the members of groups: at most `_DEPTH`."""
    pending, count = [error], 0
    while pending and count < _DEPTH:
        each = pending.pop()
        count += 1
        yield each
        cause, context, suppressed = links_of(each)
        behind = context if cause is None and not suppressed else cause
        if behind is not None:
            pending.append(behind)
        if issubclass(type(each), BaseExceptionGroup):
            group = cast("BaseExceptionGroup[BaseException]", each)
            pending += group.exceptions


def _says_so(error: BaseException) -> bool:
    # Not `str(error)`, which may run the user's code.
    args: tuple[object, ...] = _args_of(error)
    text = args[0] if args else None
    return type(text) is str and any(said in text for said in _TEXTS)
