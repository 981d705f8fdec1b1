"""Waits of asynchronous callers: one waker for each kind of event loop.

Owns how a task of the caller's is woken from our threads: on asyncio by
``call_soon_threadsafe``, on trio by ``TrioToken.run_sync_soon``; which of the
two, is asked of anyio where it is not plainly asyncio.  Blocking callers wait
by `uninterruptible.park`; how either waits for inputs is in ``callers.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from typing import Any, Protocol, TypeVar

from .. import forking
from ..captured import capture
from ..clocks.participants import LoopPart
from ..containers.offload import LoopExecutor
from ..real import Real
from ..thread_state import thread_state

T = TypeVar("T")


class AsyncWaiter(Protocol):
    """A place for one task to wait, once."""

    def wake(self) -> None:
        """From any thread; more than once, and after the loop's end, is harmless."""
        ...

    async def wait(self) -> None: ...


class AsyncioWaiter:
    """A future, set on its own loop."""

    __slots__ = ("_mail", "future")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.future: asyncio.Future[None] = loop.create_future()
        mail = thread_state.mailbox
        if mail is None or mail.loop is not loop:
            thread_state.mailbox = mail = _Mail(loop)
        self._mail = mail

    def wake(self) -> None:
        self._mail.post(self.future)

    async def wait(self) -> None:
        await self.future


class _Mail:
    """Futures of one loop that are due: one wake-up for all that come before it looks."""

    __slots__ = ("_due", "_lock", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._lock = Real.Lock()
        # Guarded by the lock.  Invariant: if not empty, _deliver was scheduled,
        # or is about to be by whoever found it empty.
        self._due: list[asyncio.Future[None]] = []

    def post(self, future: asyncio.Future[None]) -> None:
        with self._lock:
            due = self._due
            due.append(future)
            if len(due) > 1:
                return
        try:
            # An empty context: ours would be held by the loop until it runs.
            self.loop.call_soon_threadsafe(self._deliver, context=Context())
        except RuntimeError:
            pass  # the caller's loop is closed: nobody waits

    def _deliver(self) -> None:
        with self._lock:
            due, self._due = self._due, []
        for future in due:
            if not future.done():
                future.set_result(None)


def _after_fork() -> None:
    thread_state.mailbox = None  # its lock may be held by a thread that stayed behind


forking.in_child(_after_fork)


class TrioWaiter:
    """An event, set in its own trio run."""

    __slots__ = ("_closed", "_event", "_token")

    def __init__(self) -> None:
        import trio

        self._event = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        self._closed = trio.RunFinishedError

    def wake(self) -> None:
        try:
            self._token.run_sync_soon(self._event.set)
        except self._closed:
            pass  # the caller's run has ended: nobody waits

    async def wait(self) -> None:
        await self._event.wait()


def make_async_waiter() -> AsyncioWaiter | TrioWaiter:
    """A waiter for the task that calls, whatever loop it runs on."""
    loop = Real._get_running_loop()
    return TrioWaiter() if loop is None else AsyncioWaiter(loop)


async def run_in_thread(function: Callable[[], T]) -> T:
    """Run a blocking function of ours in a thread; a cancel waits for its end."""
    if Real._get_running_loop() is None:
        import anyio
        import anyio.to_thread

        with anyio.CancelScope(shield=True):
            return await anyio.to_thread.run_sync(function, limiter=anyio.CapacityLimiter(1))
    future = _in_own_thread(function)
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await Real.shield(future)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return future.result()


def _in_own_thread(function: Callable[[], T]) -> asyncio.Future[T]:
    """The result of `function`, which runs in a thread made for it.

    All threads of the default executor may sit in calls that only the end of `function`
    releases.
    """
    loop = Real.get_running_loop()
    if isinstance(loop, LoopPart):
        # The thread takes part in virtual time, which the loop sees to.
        executor = LoopExecutor("moorage-leaving")
        running = loop.run_in_executor(executor, function)
        executor.shutdown()
        return running
    # Not by an executor: asyncio's way from its futures to the loop's looks up what users patch.
    future: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        tell: Callable[[], object]
        try:
            tell = partial(future.set_result, function())
        except BaseException as error:
            tell = partial(future.set_exception, error)
        try:
            loop.call_soon_threadsafe(tell, context=Context())
        except RuntimeError:
            pass  # the loop was closed: nobody waits

    Real.Thread(target=run, name="moorage-leaving", daemon=True).start()
    return future


def run_coroutine_in_thread(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine of the user's on a loop in a thread of its own, and block for its end.

    For a thread whose loop runs already.  It lives in the context of the caller.
    """
    executor = LoopExecutor("moorage-loop")
    future = executor.submit(capture().run, Real.run, coroutine)
    executor.shutdown()
    return future.result()
