"""Threads of anyio: in virtual time what ``anyio.to_thread`` and blocking portals start.

Owns what moorage changes in anyio.  ``virtual_clock.py`` calls `install` once, when it is
imported; in real time nothing changes.  Begin at `install`, then `_JobQueue`, then `_of_portals`.

anyio has a hook for neither, so two of its names are replaced:
    1. The constructor of ``WorkerThread``.  A worker of a loop of a virtual clock gets a queue
       that makes each function in it a participant: from the moment at which the loop hands the
       function over (``put_nowait``), until the worker has told the loop the result
       (``task_done``).  The worker's thread waits in ``get`` for its turn.
    2. ``Thread`` in ``anyio.from_thread``: the thread of a blocking portal, as of the
       ``TestClient`` of Starlette and FastAPI.  If a participant starts it, it takes part, and
       so its event loop is one of the clock: see ``loops_here.py``.
"""

from __future__ import annotations

import functools
import queue
import threading
from collections.abc import Callable
from typing import Any

from ...exception import InvalidError
from ..real import Real
from ..thread_state import thread_state
from .awaited_futures import add_callback_of, mark
from .clock_of_here import clock_of_here
from .participant_thread import ParticipantThread
from .participants import LoopPart, Participants


def install() -> None:
    """Make threads that anyio starts from now on know virtual time."""
    import anyio.from_thread
    from anyio._backends import _asyncio

    worker: Any = getattr(_asyncio, "WorkerThread", None)
    if worker is not None:
        worker.__init__ = _knowing(worker.__init__)
    backend: Any = getattr(_asyncio, "AsyncIOBackend", None)
    run_sync: Any = getattr(backend, "run_sync_from_thread", None)
    if run_sync is not None:
        add_callback_of(run_sync.__func__, "wrapper")
    portals: Any = anyio.from_thread
    make = getattr(portals, "Thread", None)
    if isinstance(make, type) and issubclass(Real.Thread, make):
        portals.Thread = _of_portals(make)
    else:  # before anyio 4.8
        portals.start_blocking_portal = _refusing(portals.start_blocking_portal)


# -- to_thread -------------------------------------------------------------------


def _knowing(construct: Callable[..., None]) -> Callable[..., None]:
    """Wrap the constructor of ``WorkerThread``."""

    @functools.wraps(construct)
    def __init__(self: Any, *args: Any, **options: Any) -> None:
        construct(self, *args, **options)
        loop: object = self.loop
        if isinstance(loop, LoopPart):
            jobs: object = getattr(self, "queue", None)
            if type(jobs) is not queue.Queue:
                raise InvalidError(
                    "moorage does not know the worker threads of this version of anyio, which "
                    "would take no part in virtual time; write asyncio.to_thread(...)"
                )
            self.queue = _JobQueue(loop.clock.participants, jobs.maxsize)

    return __init__


class _JobQueue(queue.Queue[Any]):
    """The queue of one worker thread of anyio."""

    def __init__(self, participants: Participants, size: int) -> None:
        super().__init__(size)
        self._participants = participants
        # The functions that were put and not done: at most one, and the worker's next.
        self._keys: list[object] = []

    def put_nowait(self, item: Any) -> None:
        """Hand a function to the worker, or None to end the worker.  On the loop's thread."""
        if item is not None:
            key = object()
            self._keys.append(key)
            self._participants.begin(key, "a thread of anyio.to_thread")
        super().put_nowait(item)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Wait for a function, and then for its turn.  On the worker's thread."""
        item = super().get(block, timeout)
        if item is not None:
            self._participants.bind_thread(self._keys[0])
        return item

    def task_done(self) -> None:
        """Note that the loop was told the result of the function.  On the worker's thread."""
        super().task_done()
        self._participants.end(self._keys.pop(0))


# -- portals ---------------------------------------------------------------------


def _of_portals(make: Callable[..., threading.Thread]) -> Callable[..., threading.Thread]:
    """Return what makes the threads of portals, in place of `make`."""

    def thread_of_portal(**options: Any) -> threading.Thread:
        clock: Any = None if thread_state.makes_real_loops else clock_of_here()
        if clock is None:
            return make(**options)
        target = options["target"]
        names = target.__code__.co_freevars
        cells = zip(names, target.__closure__ or (), strict=True)
        portal = {name: cell.cell_contents for name, cell in cells}
        _refuse_real_portal(portal.get("backend"), portal.get("backend_options"))
        mark(portal.get("future"), clock)
        return ParticipantThread(clock, "the thread of a portal", **options)

    return thread_of_portal


def _refusing(start: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``start_blocking_portal`` of a version of anyio whose threads are not known."""

    @functools.wraps(start)
    def start_blocking_portal(*args: Any, **options: Any) -> Any:
        if thread_state.clock is not None and clock_of_here() is not None:
            raise InvalidError(
                "moorage does not know the threads of portals (TestClient) of this version of "
                "anyio, which would take no part in virtual time; "
                "write pip install 'anyio>=4.8', or httpx.ASGITransport in place of TestClient"
            )
        return start(*args, **options)

    return start_blocking_portal


def _refuse_real_portal(backend: object, options: Any) -> None:
    """Refuse a portal whose loop cannot be of a clock."""
    options = options or {}
    what = f"backend_options={options!r}"
    if backend not in (None, "asyncio"):
        what = f"backend={backend!r}"
    elif not options.get("use_uvloop") and options.get("loop_factory") is None:
        return
    raise InvalidError(
        f"a portal (TestClient, start_blocking_portal) with {what} runs its loop in real time, but "
        "this thread takes part in virtual time, which stands still while the thread waits for "
        f"that loop; leave {what.partition('=')[0]} out, or test this part without a virtual clock"
    )
