"""Threads of anyio in virtual time: FastAPI and Starlette run sync handlers on these threads.

Owns `count_threads_of_anyio`, which makes what ``anyio.to_thread`` runs for a loop of a virtual
clock a participant of that clock, as ``asyncio.to_thread`` is.  Otherwise the loop would be idle
while such a thread runs, and time would jump to the next timeout.  On all other loops anyio runs
its own code, unchanged.

Begin at `count_threads_of_anyio`, then `VirtualLoop.counted_job` in ``virtual_loop.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..real import Real
from .virtual_loop import VirtualLoop


def count_threads_of_anyio() -> None:
    """Count the threads of anyio from now on.  Called on an event loop of a virtual clock."""
    from anyio import CapacityLimiter
    from anyio._backends._asyncio import AsyncIOBackend

    backend: Any = AsyncIOBackend
    run: Any = backend.run_sync_in_worker_thread
    if getattr(run, "counts_for_moorage", False):
        return

    async def run_sync_in_worker_thread(
        cls: Any,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        abandon_on_cancel: bool = False,
        limiter: Any = None,
    ) -> Any:
        loop = Real._get_running_loop()
        if not isinstance(loop, VirtualLoop):
            return await run(func, args, abandon_on_cancel, limiter)
        # The job begins when its thread is granted: a job that waits for the limiter, while the
        # jobs before it sleep, must not count as busy.
        async with limiter or cls.current_default_thread_limiter():
            with loop.counted_job(func) as work:
                return await run(work, args, abandon_on_cancel, CapacityLimiter(1))

    run_sync_in_worker_thread.counts_for_moorage = True  # type: ignore[attr-defined]  # pyright: ignore[reportFunctionMemberAccess]
    backend.run_sync_in_worker_thread = classmethod(run_sync_in_worker_thread)
