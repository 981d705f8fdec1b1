"""WSGI: a WSGI application as an ASGI application, over the threads of its container.

Owns `from_wsgi`, and the way of one request between the container's loop and the thread on which
the application runs.  The only file that imports a2wsgi, which makes the environ and calls the
application.  The thread is one of ``runtime/containers/errands.py``: the request holds its slot
until the thread is out.

The thread never waits for anything but this file: it waits for the body of the request, and for
room for the response.  If the client leaves, or the request is cancelled, each such wait ends with
an error, so the application's code ends, and its iterable is closed.

Begin at `from_wsgi`, then `Visit.run`, on the loop; then `Visit.put` and `Visit.read`, on the
thread.
"""

from __future__ import annotations

import asyncio
import functools
import io
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final

from ..exception import ExecutionError
from ..runtime.clocks.clock import Waiter
from ..runtime.clocks.parking import park
from ..runtime.containers.errands import Errand, Errands
from ..runtime.containers.task_lane import InputTask
from ..runtime.context import current_input
from ..runtime.outcome import Cancelled, Failure
from ..runtime.real import Real
from ..runtime.uninterruptible import uninterruptible
from .exchange import Application, Message, Receive, Scope, Send, has_left
from .extras import not_installed

# The thread waits if the loop has so much of the response that it has not sent.
WINDOW: Final = 64 * 1024
MESSAGES: Final = 16


class ClientLeft(ConnectionError):
    """Raised in a WSGI application that reads or writes when its client has left."""


def from_wsgi(name: str, application: Any) -> Application:
    """Return the ASGI application that runs `application` on threads of its container.

    Raises:
        InvalidError: if a2wsgi is not installed.
    """
    try:
        responder = _responder_type()
    except ImportError as error:
        raise not_installed(name, "wsgi_app") from error

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        elif scope["type"] == "http":
            visit = Visit(scope, receive, send)
            try:
                await visit.run(functools.partial(responder, application, visit))
            finally:
                visit.close()
        else:
            await _accept_lifespan(receive, send)

    return run


async def _accept_lifespan(receive: Receive, send: Send) -> None:
    for phase in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{phase}.complete"})


class Visit:
    """One request of a WSGI application."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        input = current_input()
        task = None if input is None else input.runner
        if input is None or not isinstance(task, InputTask) or input.container.errands is None:
            raise ExecutionError("a WSGI application runs only as the input of a container")
        self.scope: Scope = scope
        self._receive = receive
        self._send = send
        self._input = input
        self._task = task
        self._errands: Errands = input.container.errands
        self._loop = Real.get_running_loop()
        self._news: asyncio.Future[None] | None = None  # `_pump` waits; the loop's only
        self._lock = Real.Lock()
        # Guarded by `_lock`:
        self._outbox: deque[Message] = deque()
        self._unsent = 0  # bytes of the messages that the loop has not sent
        self._count = 0  # these messages
        self._room: Waiter | None = None  # the thread waits for room
        self._error: BaseException | None = None  # raised by `put` and `read`
        self._rings = False  # the loop will look at `_outbox`

    # -- on the container's loop ----------------------------------------------------------

    async def run(self, make: Callable[[], Any]) -> None:
        """Run the application on a thread; return when its code has ended.

        Raises:
            BaseException: what the application raised, or `send`.
        """
        errand = self._errands.start(self._task, self._input, lambda: make().answer(self.scope))
        errand.done.add_done_callback(self._ring_here)
        try:
            await self._pump(errand)
        except BaseException as error:
            self._end_thread(errand, error)
            await _shielded(errand.done)
            raise
        outcome = errand.outcome
        if isinstance(outcome, Failure) and not isinstance(outcome.error, ClientLeft):
            raise outcome.exception()

    def _end_thread(self, errand: Errand, error: BaseException) -> None:
        """Make the application's code end, after `error` came to the task of its request."""
        left = has_left(self._receive)
        self._fail(ClientLeft("the client has left") if left else error)
        if isinstance(error, asyncio.CancelledError):
            # A client that has left is no reason to break off the code: it sees that the input
            # is cancelled, and ends at its next read or write.
            outcome = self._input.cancellation or Cancelled("its container has stopped")
            errand.cancel(outcome, strikes=not left)

    async def _pump(self, errand: Errand) -> None:
        """Send what the thread has put, until its code has ended."""
        while True:
            ended = errand.done.done()
            with self._lock:
                messages, self._outbox = self._outbox, deque()
                self._rings = False
            sent = 0
            for message in messages:
                await self._send(message)
                sent += len(message.get("body") or b"")
            if messages:
                with self._lock:
                    self._unsent -= sent
                    self._count -= len(messages)
                    room, self._room = self._room, None
                if room is not None:
                    room.wake()
                continue
            if ended:
                return
            with self._lock:
                if self._rings:
                    continue
            self._news = self._loop.create_future()
            if errand.done.done():
                continue
            await self._news

    def _ring_here(self, _: object = None) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def _fail(self, error: BaseException) -> None:
        """Let each `put` and `read` of the thread raise, from now on."""
        with self._lock:
            self._error = self._error or error
            room, self._room = self._room, None
        if room is not None:
            room.wake()

    def close(self) -> None:
        """Drop what refers to this request: its error has a traceback that refers here."""
        self._task.errand = None
        with self._lock:
            self._error = None
            self._outbox.clear()

    async def _next_part(self, waiter: Waiter, answers: list[Message | BaseException]) -> None:
        try:
            answers.append(await self._receive())
        except BaseException as error:
            answers.append(error)
        waiter.wake()

    # -- on the thread ----------------------------------------------------------------------

    def put(self, message: Message) -> None:
        """Hand over a message of the response; wait while there is no room.

        Raises:
            ClientLeft: if the client has left.
            InputCancellation: if the input is cancelled.
        """
        size = len(message.get("body") or b"")
        with uninterruptible:
            while True:
                if has_left(self._receive):
                    raise ClientLeft("the client has left, so nobody reads the response")
                with self._lock:
                    if self._error is not None:
                        raise self._error
                    if self._count < MESSAGES and self._unsent < WINDOW:
                        self._outbox.append(message)
                        self._unsent += size
                        self._count += 1
                        rings, self._rings = not self._rings, True
                        break
                    self._room = waiter = self._errands.clock.make_waiter()
                park(self._errands.clock, waiter)
            if rings:
                self._loop.call_soon_threadsafe(self._ring_here, context=Context())

    def read(self) -> tuple[bytes, bool]:
        """Return the next part of the request's body, and whether there is more.

        Raises:
            ClientLeft: if the client has left.
            InputCancellation: if the input is cancelled.
        """
        answers: list[Message | BaseException] = []
        with uninterruptible:
            with self._lock:
                if self._error is not None:
                    raise self._error
            waiter = self._errands.clock.make_waiter()
            self._loop.call_soon_threadsafe(self._ask, waiter, answers, context=Context())
            park(self._errands.clock, waiter)
        message = answers[0]
        if isinstance(message, BaseException):
            raise message
        if message["type"] != "http.request":
            raise ClientLeft("the client has left before it sent the whole body")
        return message.get("body") or b"", bool(message.get("more_body", False))

    def _ask(self, waiter: Waiter, answers: list[Message | BaseException]) -> None:
        self._asking = self._loop.create_task(self._next_part(waiter, answers), context=Context())


async def _shielded(done: asyncio.Future[None]) -> None:
    """Wait for `done`, whatever cancels the task meanwhile: the thread holds the slot."""
    import anyio

    with anyio.CancelScope(shield=True):
        while not done.done():
            try:
                await Real.shield(done)
            except asyncio.CancelledError:
                continue


class _Body(io.RawIOBase):
    """The body of a request, read when the application reads."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._part = memoryview(b"")
        self._has_more = True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._part and self._has_more:
            part, self._has_more = self._visit.read()
            self._part = memoryview(part)
        view = memoryview(buffer).cast("B")
        count = min(len(view), len(self._part))
        view[:count], self._part = self._part[:count], self._part[count:]
        return count


@functools.cache
def _responder_type() -> Callable[[Any, Visit], Any]:
    """Return the class that calls a WSGI application for one request."""
    from a2wsgi.wsgi import WSGIResponder, build_environ

    class Responder(WSGIResponder):
        """a2wsgi's responder, whose messages go through a `Visit`."""

        def __init__(self, application: Any, visit: Visit) -> None:
            # Not the constructor of a2wsgi, which makes a queue on the loop.
            self.app = application
            self.response_started = False
            self.exc_info = None
            self._visit = visit

        def answer(self, scope: Scope) -> None:
            query: bytes = scope["query_string"]
            body: Any = io.BufferedReader(_Body(self._visit), WINDOW)
            given: Any = scope if query.isascii() else {**scope, "query_string": b""}
            environ: Any = build_environ(given, body)
            if given is not scope:
                environ["QUERY_STRING"] = query.decode("latin1")
                environ["asgi.scope"] = scope
            try:
                self.wsgi(environ, self.start_response)
                if self.exc_info is not None:
                    raise self.exc_info[1].with_traceback(self.exc_info[2])
            finally:
                self.exc_info = None

        def send(self, message: Any) -> None:
            self._visit.put(message)

    return Responder
