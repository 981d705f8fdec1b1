"""Lifespans: the start and the end of an ASGI application in a container.

Owns `Lifespan`, which speaks ASGI's lifespan protocol with one application on the loop of one
container.  An application that does not speak it is served without.

Begin at `Lifespan.start`.
"""

from __future__ import annotations

import asyncio
import builtins
import logging
from typing import Any, Final

from ..exception import ExecutionError
from ..runtime.background import log
from ..runtime.context import hook_context
from ..runtime.real import Real
from .exchange import Application, Message

logger: Final = logging.getLogger("moorage")

# Seconds that a cancelled lifespan gets to end.
CANCEL_GRACE: Final = 1.0


class Lifespan:
    """The lifespan of one application.  Used on the container's loop only."""

    def __init__(self, name: str, application: Application) -> None:
        self._name = name
        self._application = application
        # What the application put in its state at its start; each request gets a copy.
        self.state: dict[str, Any] = {}
        self._inbox: list[Message] = []
        self._reader: asyncio.Future[None] | None = None  # the application waits in `_receive`
        self._news: asyncio.Future[None] | None = None  # `_wait` waits for the application
        self._task: asyncio.Task[None] | None = None
        self._received = False  # the application has received a message
        self._phase = "startup"
        self._answer: Message | None = None  # to the message of the phase

    async def start(self) -> None:
        """Start the application.

        Raises:
            ExecutionError: if the application says that its start failed, or ended in its start.
            BaseException: what the application raised in its start.
        """
        loop = Real.get_running_loop()
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        self._task = loop.create_task(self._run(scope), context=hook_context())
        self._task.add_done_callback(lambda _: self._look())
        self._put({"type": "lifespan.startup"})
        try:
            await self._wait()
        except BaseException:
            await self._end_task()
            raise
        task, answer = self._task, self._answered()
        if answer is None:
            error = None if task.cancelled() else task.exception()
            if not self._received:
                why = "returned" if error is None else f"raised {type(error).__name__}"
                text = "%s has no lifespan: it %s before it received lifespan.startup"
                log(logger, logging.INFO, text, self._name, why)
                return
            if error is not None:
                raise error
            raise ExecutionError(
                f"the lifespan of {self._name} ended in its startup; send "
                "'lifespan.startup.complete', then wait for 'lifespan.shutdown'"
            )
        if answer["type"] == "lifespan.startup.failed":
            await self._end_task()
            message = answer.get("message") or "no message"
            raise ExecutionError(f"the lifespan of {self._name} failed to start: {message}")

    async def _run(self, scope: dict[str, Any]) -> None:
        await self._application(scope, self._receive, self._send)

    async def stop(self, grace: float) -> None:
        """Shut the application down, within `grace` seconds; then cancel its lifespan.

        Raises:
            ExecutionError: if the application says that its shut-down failed, or if the time is
                over.
            BaseException: what the application raised meanwhile.
        """
        task = self._task
        if task is None or (task.done() and not self._received):
            return
        self._phase, self._answer = "shutdown", None
        self._put({"type": "lifespan.shutdown"})
        try:
            await Real.wait_for(self._wait(), grace)
        except builtins.TimeoutError:
            await self._end_task()
            raise ExecutionError(
                f"the lifespan of {self._name} did not shut down within {grace:g} s, and was "
                "cancelled"
            ) from None
        except BaseException:
            await self._end_task()
            raise
        await self._end_task()
        answer = self._answered()
        if answer is not None and answer["type"] == "lifespan.shutdown.failed":
            message = answer.get("message") or "no message"
            raise ExecutionError(f"the lifespan of {self._name} failed to shut down: {message}")

    def _answered(self) -> Message | None:
        return self._answer

    async def _wait(self) -> None:
        """Wait until the application has answered, or its lifespan has ended."""
        assert self._task is not None
        while self._answer is None and not self._task.done():
            self._news = Real.get_running_loop().create_future()
            await self._news

    async def _end_task(self) -> None:
        """Cancel the lifespan if it still runs; raise what it raised in its shut-down."""
        task = self._task
        assert task is not None
        if not task.done():
            task.cancel()
            await Real.wait([task], timeout=CANCEL_GRACE)
        # A lifespan that ignores its cancellation is logged when the container closes its loop.
        if task.done() and not task.cancelled():
            error = task.exception()
            if error is not None and self._phase == "shutdown":
                raise error

    def _put(self, message: Message) -> None:
        self._inbox.append(message)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def _receive(self) -> Message:
        while not self._inbox:
            self._reader = Real.get_running_loop().create_future()
            await self._reader
        self._received = True
        return self._inbox.pop(0)

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind not in (f"lifespan.{self._phase}.complete", f"lifespan.{self._phase}.failed"):
            raise ExecutionError(
                f"the lifespan of {self._name} sent {kind!r} in its {self._phase}; "
                f"send 'lifespan.{self._phase}.complete'"
            )
        self._answer = message
        self._look()

    def _look(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)
