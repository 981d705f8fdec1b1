"""Threads of anyio in virtual time: FastAPI and Starlette run sync handlers on these threads.

Owns `count_threads_of_anyio`, which makes what ``anyio.to_thread`` runs for one loop of a virtual
clock a participant of that clock, as ``asyncio.to_thread`` is.  Otherwise the loop would be idle
while such a thread runs, and time would jump to the next timeout.  On all other loops anyio runs
its own code, unchanged.

Begin at `count_threads_of_anyio`, then `_Counted`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..real import Real
from .virtual_loop import Job, VirtualLoop


class _Counted:
    """A limiter that counts a job from when anyio starts its thread until anyio has its result.

    anyio gives the job to a thread right after it has entered the limiter, and awaits nothing in
    between.  A job that was counted earlier would get the turn while it has no thread:
        1. the job is counted, 2. the loop, which would start the thread, gives the turn to
        the job, 3. nobody runs.
    """

    def __init__(self, loop: VirtualLoop, job: Job, limiter: Any) -> None:
        self._loop = loop
        self._job = job
        self._limiter = limiter

    async def __aenter__(self) -> None:
        await self._limiter.__aenter__()
        self._loop.join(self._job)

    async def __aexit__(self, *error: object) -> None:
        self._loop._answer(self._job)
        await self._limiter.__aexit__(*error)


def count_threads_of_anyio(loop: VirtualLoop) -> None:
    """Count the threads that anyio runs for `loop` from now on."""
    loop.counts_anyio = True
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
        if not (isinstance(loop, VirtualLoop) and loop.counts_anyio):
            return await run(func, args, abandon_on_cancel, limiter)
        job = Job(f"a thread that runs {getattr(func, '__name__', func)!s}", in_threads=True)

        def work(*args: Any) -> Any:
            loop._begin(job)
            try:
                return func(*args)
            finally:
                loop._end(job)

        limiter = limiter or cls.current_default_thread_limiter()
        return await run(work, args, abandon_on_cancel, _Counted(loop, job, limiter))

    run_sync_in_worker_thread.counts_for_moorage = True  # type: ignore[attr-defined]  # pyright: ignore[reportFunctionMemberAccess]
    backend.run_sync_in_worker_thread = classmethod(run_sync_in_worker_thread)
