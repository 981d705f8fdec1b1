"""Waits of asynchronous callers: one waker for each kind of event loop.

Owns how a task of the caller's is woken from our threads: on asyncio by
``call_soon_threadsafe``, on trio by ``TrioToken.run_sync_soon``; which of the
two, is asked of anyio where it is not plainly asyncio.  Blocking callers wait
by ``cancellation.park``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Protocol, TypeVar

T = TypeVar("T")


class AsyncWaiter(Protocol):
    """A place for one task to wait, once."""

    def wake(self) -> None:
        """From any thread; more than once, and after the loop's end, is harmless."""
        ...

    async def wait(self) -> None: ...


class AsyncioWaiter:
    """A future, set on its own loop."""

    __slots__ = ("_future", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._future: asyncio.Future[None] = loop.create_future()

    def wake(self) -> None:
        try:
            # An empty context: ours would be held by the loop until it runs.
            self._loop.call_soon_threadsafe(self._set, context=Context())
        except RuntimeError:
            pass  # the caller's loop is closed: nobody waits

    def _set(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    async def wait(self) -> None:
        await self._future


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
    loop = asyncio._get_running_loop()
    return TrioWaiter() if loop is None else AsyncioWaiter(loop)


async def run_in_thread(function: Callable[[], T]) -> T:
    """Run a blocking function of ours in a thread; a cancel waits for its end."""
    if asyncio._get_running_loop() is None:
        import anyio
        import anyio.to_thread

        with anyio.CancelScope(shield=True):
            return await anyio.to_thread.run_sync(function)
    future = asyncio.get_running_loop().run_in_executor(None, function)
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return future.result()
