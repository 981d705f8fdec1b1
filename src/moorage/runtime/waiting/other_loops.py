"""Other loops: whether an input that ran out of time waited for an object of another loop.

Owns the search, which begins at the input's own task and follows what that task waits for.
The task lane calls this file on the thread of the container's loop, when an input's timeout has
passed: it costs inputs that end in time nothing.

Three things are found:
    1. a future of another loop, for example in ``asyncio.wait``;
    2. a future of this loop that is done while the loop slept.  The thread of another loop has
       completed the future, and asyncio does not wake a loop for that.  A ``Lock`` or an
       ``Event`` that two loops share behaves so;
    3. a wait for a primitive of asyncio, or of anyio on asyncio.  Then the note speaks of the
       possibility only.

Begin at `why_it_waits`.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from typing import Any, Final, cast, get_origin

from ..loop_notes import ADVICE
from .awaited import Future, Task, awaited_by, awaited_in, innermost

# How many futures are looked at for one input.
MOST: Final = 100

IT_WAITED: Final = f"the input waited for an object of another event loop: {ADVICE}"

# The classes whose coroutines wait in a future that any thread may complete by mistake.
_PRIMITIVES: Final[tuple[type, ...]] = (
    *(asyncio.Lock, asyncio.Event, asyncio.Semaphore, asyncio.Condition, asyncio.Queue),
    asyncio.Barrier,
)


_FUTURE: Final[Any] = get_origin(Future)


def why_it_waits(task: Task, slept: bool) -> str | None:
    """Return a note if `task` waits for an object of another event loop; None if not.

    On the thread of the task's loop, while no task runs.  Runs no user code.

    Args:
        task: the task of the input.
        slept: true if the loop has run nothing since it slept.  Then a done future that `task`
            waits for was completed by another thread.
    """
    loop = task.get_loop()
    seen: set[Future] = set()
    pending: list[Task] = [task]
    primitive: str | None = None
    while pending and len(seen) < MOST:
        waiting = pending.pop()
        future: Future | None = getattr(waiting, "_fut_waiter", None)
        futures = [] if future is None else [future]
        if future is not None and primitive is None:
            primitive = _primitive_of(waiting)
        while futures and len(seen) < MOST:
            each = futures.pop()
            if each in seen:
                continue
            seen.add(each)
            if each.get_loop() is not loop or (slept and each.done()):
                return IT_WAITED
            if each.done():
                continue
            if hasattr(each, "get_coro"):  # a task, in C or in Python
                pending.append(cast(Task, each))
                continue
            inner = awaited_by(each)
            if inner is None and each is future:
                inner = awaited_in(waiting, each, ()) or _futures_in(waiting)
            futures += inner or ()
    if primitive is None:
        return None
    return (
        f"the input waited for an {primitive}; if code on another event loop uses that object too, "
        f"it cannot wake the input: {ADVICE}"
    )


def _futures_in(task: Task) -> list[Future]:
    """Return the futures that the code of asyncio in which `task` waits knows, as ``wait_for``."""
    inner = _inner_of_asyncio(task)
    return [cast(Future, r) for r in gc.get_referents(inner) if _FUTURE in type(r).__mro__]


def _inner_of_asyncio(task: Task) -> object:
    """Return the coroutine in which `task` is suspended, if it is asyncio's own; else None."""
    _, inner = innermost(task)
    code: Any = getattr(inner, "cr_code", None)
    return inner if code is not None and code.co_filename.startswith(_ASYNCIO) else None


def _inner_of_anyio(task: Task) -> object:
    """As `_inner_of_asyncio`, for the coroutines of anyio's backend for asyncio."""
    _, inner = innermost(task)
    code: Any = getattr(inner, "cr_code", None)
    backend = sys.modules.get(_BACKEND)
    is_anyio = code is not None and code.co_filename == getattr(backend, "__file__", None)
    return inner if is_anyio else None


def _primitive_of(task: Task) -> str | None:
    """Return the class of the primitive that `task` waits for: "asyncio.Lock", "anyio.Lock"."""
    inner, library, primitives = _inner_of_asyncio(task), "asyncio", _PRIMITIVES
    if inner is None:
        inner, library = _inner_of_anyio(task), "anyio"
        # The other primitives of anyio wait for an `asyncio.Event`.
        backend = sys.modules.get(_BACKEND)
        primitives = tuple(
            kind for name in ("Lock", "Semaphore") if (kind := getattr(backend, name, None))
        )
    # Not by `isinstance`, which reads the value's `__class__`, and so may run user code.
    for referent in gc.get_referents(inner):
        kind = next((kind for kind in primitives if kind in type(referent).__mro__), None)
        if kind is not None:
            # Nobody else has an object of which only this wait and this function know:
            # ``await asyncio.Event().wait()``.  The references are those of the coroutine's
            # frame, of `referent`, and of the argument of `getrefcount`.
            if sys.getrefcount(referent) <= LONELY:
                return None
            return f"{library}.{kind.__name__}"
    return None


_ASYNCIO: Final = asyncio.__file__.removesuffix("__init__.py")
_BACKEND: Final = "anyio._backends._asyncio"

# The references to a primitive that only the coroutine of its wait knows: see `_primitive_of`.
LONELY: Final = 4
