"""The HTTP loop: the one thread of the process on which sockets are served.

Owns `HttpLoop`, the thread "moorage-http" with its event loop.  The loop parses HTTP, looks at
headers, and passes messages on.  It runs no user code and never blocks, so it serves all web
functions of all runs.  The thread starts with the first site (``sites.py``), and ends with the
interpreter.

Begin at `HttpLoop.post`, then `HttpLoop.run`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Final

from ..exception import ExecutionError
from ..runtime import forking
from ..runtime.background import log
from ..runtime.clocks.clock import find_uvloop, join_threads, system_clock
from ..runtime.real import Real

logger: Final = logging.getLogger("moorage")


class HttpLoop:
    """The event loop of the HTTP thread.  Any thread may call the methods."""

    def __init__(self) -> None:
        self._begin()
        forking.know(self)

    def _begin(self) -> None:
        self._lock = Real.Lock()
        # Guarded by the lock.  Both are None, or the thread runs the loop.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def _after_fork(self) -> None:
        """In a forked child: there is no HTTP thread.  The parent's loop is never freed."""
        forking.keep(self._loop, self._thread)
        self._begin()

    @property
    def is_here(self) -> bool:
        """Whether this code runs on the HTTP thread."""
        return self._thread is Real.current_thread()

    def post(self, callback: Callable[[], object]) -> None:
        """Call `callback` on the loop, soon.  Starts the thread if there is none.

        Raises:
            ExecutionError: if no thread can be started: the interpreter exits.
        """
        with self._lock:
            loop = self._loop
            if loop is None:
                loop = self._start()
            loop.call_soon_threadsafe(callback, context=Context())

    def run(self, work: Callable[[], Coroutine[Any, Any, object]], seconds: float) -> bool:
        """Run a coroutine on the loop, and wait for its end; false if `seconds` pass first."""
        waiter = system_clock.make_waiter()

        def begin() -> None:
            task = Real.get_running_loop().create_task(work())
            task.add_done_callback(lambda _: waiter.wake())

        self.post(begin)
        return system_clock.wait(waiter, seconds)

    def stop(self, seconds: float) -> None:
        """End the thread; wait at most `seconds` for its end."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        join_threads([thread], seconds)

    def _start(self) -> asyncio.AbstractEventLoop:
        """Start the thread.  The caller holds the lock."""
        loop = (find_uvloop() or Real.new_event_loop)()
        loop.set_exception_handler(_log_error)
        thread = Real.Thread(target=_serve, args=(loop,), name=NAME, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            loop.close()
            raise ExecutionError(
                "no web function can be served any more, because the interpreter exits"
            ) from error
        self._loop, self._thread = loop, thread
        return loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


def _log_error(loop: asyncio.AbstractEventLoop, details: dict[str, Any]) -> None:
    error: BaseException | None = details.get("exception")
    log(logger, logging.ERROR, "the HTTP thread: %s", details.get("message"), exc_info=error)


# The name of the thread.
NAME: Final = "moorage-http"

# The HTTP loop of this process.
process_http: Final = HttpLoop()
