"""Requests of the test kit's web client, as the bridge sees them.

Owns one HTTP request (`ServedRequest`) or WebSocket (`ServedSocket`) between a client and a
`Bridge`: the scope, what the bridge receives and sends, and the disconnect.  So these classes do
what a server does, without a socket.  All of it happens on one event loop, the *front loop* of the
request.  ``web_client.py`` and ``web_sockets.py`` have the clients.

Begin at `Served.run`, then `Served.next`, then `ServedRequest.receive`.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Final, Protocol
from urllib.parse import unquote

from ..runtime.input import Input
from ..runtime.outcome import Failure, Outcome, Raising
from ..web.bridge import (
    CONNECTION,
    Bridge,
    BrokenOff,
    Connection,
    Endpoint,
    WebCall,
    is_failure_of_the_application,
)
from ..web.exchange import Exchange, Message, Scope

# Bytes of a response that the client has not read, above which `send` waits, as a server's does.
RESPONSE_BYTES: Final = 64 * 1024

# Messages of a WebSocket that wait in each direction, above which the sender waits.
MESSAGES: Final = 16

# The most bytes of a request's body in one message, as servers read them.
BODY_PART: Final = 64 * 1024

# The address of every client: the same in each run of a test.
CLIENT: Final = ("127.0.0.1", 50000)


# What no header of a response may have in its name, and in its value: as with uvicorn.
_NO_NAME: Final = re.compile(rb'[\x00-\x1f\x7f()<>@,;:\[\]={} \t\\"]')
_NO_VALUE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class Body(Protocol):
    """The body of a request."""

    async def next(self) -> bytes | None:
        """Return the next part; None at the end."""
        ...

    async def close(self) -> None:
        """Let go of a body that is not read to its end."""
        ...


class WatchedBridge(Bridge):
    """A bridge whose requests hear how their inputs end, for ``raise_app_exceptions``."""

    def __init__(self, endpoint: Endpoint, *, raises: bool) -> None:
        super().__init__(endpoint)
        self.raises: bool = raises

    def make_call(self, exchange: Exchange, connection: Connection | None) -> WebCall:
        if self.raises and isinstance(connection, Served):
            connection.waits_for_end = True
            return _WatchedCall(self.endpoint.target, exchange, connection)
        return super().make_call(exchange, connection)


class _WatchedCall(WebCall):
    """A call that also tells the client's request how it has ended."""

    __slots__ = ("_served",)

    def __init__(self, target: Any, exchange: Exchange, served: Served) -> None:
        super().__init__(target, exchange)
        self._served = served

    def settled(self, input: Input, /) -> Callable[[], object] | None:
        effect = super().settled(input)
        outcome = input.outcome
        assert effect is not None
        assert outcome is not None

        def tell() -> None:
            effect()
            self.exchange.front.post(partial(self._served.app_ended, outcome))

        return tell


class Changes:
    """Wakes tasks of one loop that wait until something is true."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiters: list[asyncio.Future[None]] = []

    async def until(self, is_true: Callable[[], object]) -> None:
        while not is_true():
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)

    def tell(self) -> None:
        """Let all tasks look again."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class Served:
    """What is common to requests and WebSockets.  Used on its front loop only."""

    def __init__(
        self, bridge: WatchedBridge, scope: Scope, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.scope: Scope = scope
        self.loop: asyncio.AbstractEventLoop = loop
        # The bridge will call `app_ended`, and the client waits for that.
        self.waits_for_end: bool = False
        self.changes: Changes = Changes(loop)
        self.is_over: bool = False  # the bridge has returned
        self.is_complete: bool = False  # the application's last message is in `messages`
        self.has_left: bool = False
        # Raised in the client: what its own body raised, or a fault of the bridge.
        self.error: BaseException | None = None
        self.messages: deque[Message] = deque()  # which the client has not taken
        self.outcome: Outcome | None = None  # of the application, if `waits_for_end`
        self._bridge = bridge
        self._on_lost: list[Callable[[], object]] = []
        scope[CONNECTION] = self

    async def run(self) -> None:
        """Have the bridge answer; runs as a task of its own until the request is over."""
        try:
            await self._bridge(self.scope, self.receive, self.send)
        except BrokenOff:
            pass  # the client sees that the response is not complete
        except Exception as error:
            self.error = error
        finally:
            self.is_over = True
            self._on_lost = []  # an ``httpx.Response`` is in a cycle, and keeps this object
            self.changes.tell()

    # -- what the bridge calls ------------------------------------------------------------

    def when_lost(self, callback: Callable[[], object], /) -> None:
        """See `Connection.when_lost`."""
        if self.has_left:
            callback()
        else:
            self._on_lost.append(callback)

    async def receive(self) -> Message:
        """See ASGI."""
        raise NotImplementedError

    async def send(self, message: Message) -> None:
        """See ASGI."""
        raise NotImplementedError

    def app_ended(self, outcome: Outcome) -> None:
        """Note how the input of this request ended."""
        self.outcome = outcome
        self.changes.tell()

    # -- what the client calls --------------------------------------------------------------

    async def next(self) -> Message | None:
        """Return the next message of the application; None if there are no more.

        The last message comes when the bridge is done with the request: then statistics, and the
        slot, are as they are after the request.

        Raises:
            BaseException: what the client's own body raised; and what the application raised, for
                a client with ``raise_app_exceptions``.
        """
        await self.changes.until(lambda: self.has_next)
        if self.error is not None:
            raise self.error
        if len(self.messages) == 1 and self.is_complete:
            await self.changes.until(lambda: self.is_over)
        if len(self.messages) <= 1 and self.is_over:
            await self._raise_what_the_app_raised()
        if not self.messages:
            return None
        message = self.messages.popleft()
        self.changes.tell()
        return message

    @property
    def has_next(self) -> bool:
        """Whether `next` has something to return or to raise."""
        return bool(self.messages) or self.is_over or self.error is not None

    async def _raise_what_the_app_raised(self) -> None:
        if not self.waits_for_end or self.has_left:
            return
        await self.changes.until(lambda: self.outcome is not None)
        outcome = self.outcome
        if type(outcome) is Failure and is_failure_of_the_application(outcome):
            with Raising() as error_of:
                raise error_of(outcome)

    def complete(self) -> None:
        """Note that the application's last message has come."""
        self.is_complete = True

    def fail(self, error: BaseException) -> None:
        """Leave, and raise `error` in the client."""
        self.error = error
        self.leave()

    def leave(self) -> None:
        """Close the connection, as a client that does not read the rest.

        Nothing happens if the response is complete.
        """
        if self.is_over or self.has_left:
            return
        self.has_left = True
        callbacks, self._on_lost = self._on_lost, []
        for callback in callbacks:
            callback()
        self.changes.tell()


class ServedRequest(Served):
    """One HTTP request."""

    def __init__(
        self,
        bridge: WatchedBridge,
        scope: Scope,
        loop: asyncio.AbstractEventLoop,
        body: Body,
        length: int | None,
    ) -> None:
        super().__init__(bridge, scope, loop)
        self._body = body
        self._rest = memoryview(b"")  # of the part that `body` gave last
        self._left = length  # bytes to come; None if the request does not say
        self._is_reading = False
        self._unread = 0  # bytes in `messages`
        self._expected: int | None = None  # bytes of the response that its headers announce
        self._has_no_body = scope["method"] == "HEAD"  # the client expects none

    async def run(self) -> None:
        try:
            await super().run()
        finally:
            await self.changes.until(lambda: not self._is_reading)
            await self._body.close()

    async def receive(self) -> Message:
        if not self._rest and self._left != 0 and not self.has_left:
            self._is_reading = True
            try:
                part = await self._body.next()
            except asyncio.CancelledError:
                raise
            except Exception as error:
                self.fail(error)
                return {"type": "http.disconnect"}
            finally:
                self._is_reading = False
                self.changes.tell()
            if part is None:
                self._left = 0
                return {"type": "http.request", "body": b"", "more_body": False}
            self._rest = memoryview(part)
        if self.has_left or (not self._rest and self._left == 0):
            await self.changes.until(lambda: self.has_left)
            return {"type": "http.disconnect"}
        part, self._rest = bytes(self._rest[:BODY_PART]), self._rest[BODY_PART:]
        if self._left is not None:
            self._left = max(0, self._left - len(part))
        return {"type": "http.request", "body": part, "more_body": self._left != 0}

    async def send(self, message: Message) -> None:
        if self.has_left:
            return
        kind = message["type"]
        if kind == "http.response.start":
            self._expect(message)
        elif self._has_no_body:
            message = {**message, "body": b""}
        body: bytes = message.get("body", b"")
        if self._expected is not None:
            self._expected -= len(body)
            if self._expected < 0:
                raise RuntimeError("Response content longer than Content-Length")
        if kind == "http.response.body" and not message.get("more_body", False):
            if self._expected:
                raise RuntimeError("Response content shorter than Content-Length")
            self.complete()
        self.messages.append(message)
        self._unread += len(body)
        self.changes.tell()
        if not self.is_complete:
            await self.changes.until(lambda: self._unread < RESPONSE_BYTES or self.has_left)

    def _expect(self, message: Message) -> None:
        """Read the start of a response, and refuse what servers refuse."""
        if not 100 <= message["status"] < 600:
            raise RuntimeError("Invalid HTTP status.")
        length: int | None = None
        for name, value in message["headers"]:
            if _NO_NAME.search(name):
                raise RuntimeError("Invalid HTTP header name.")
            if _NO_VALUE.search(value):
                raise RuntimeError("Invalid HTTP header value.")
            if name.lower() == b"content-length":
                length = int(value)
        self._has_no_body = self._has_no_body or message["status"] in (204, 304)
        if not self._has_no_body:
            self._expected = length

    async def next(self) -> Message | None:
        message = await super().next()
        if message is not None:
            self._unread -= len(message.get("body", b""))
            self.changes.tell()
        return message


class ServedSocket(Served):
    """One WebSocket."""

    def __init__(
        self, bridge: WatchedBridge, scope: Scope, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(bridge, scope, loop)
        self._sent: deque[Message] = deque([{"type": "websocket.connect"}])
        self._is_accepted = False

    async def receive(self) -> Message:
        # As servers do: no message of the client comes before the handshake is over.
        await self.changes.until(
            lambda: (
                self.has_left
                or (
                    self._sent
                    and (self._is_accepted or self._sent[0]["type"] == "websocket.connect")
                )
            )
        )
        if not self._sent or (self.has_left and not self._is_accepted):
            return {"type": "websocket.disconnect", "code": 1006, "reason": ""}
        message = self._sent.popleft()
        self.changes.tell()
        return message

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if self.has_left:
            raise OSError("the client has left")
        self._is_accepted = self._is_accepted or kind == "websocket.accept"
        is_last = kind == "websocket.http.response.body" and not message.get("more_body", False)
        if is_last or kind == "websocket.close":
            self.complete()
        self.messages.append(message)
        self.changes.tell()
        if not self.is_complete:
            await self.changes.until(lambda: len(self.messages) < MESSAGES or self.has_left)

    async def put(self, message: Message) -> None:
        """Send a message of the client; wait while too many are on their way."""
        await self.changes.until(
            lambda: len(self._sent) < MESSAGES or self.is_complete or self.is_over
        )
        self._sent.append(message)
        self.changes.tell()

    async def close(self, code: int, reason: str) -> None:
        """Close as the client; wait until the bridge knows."""
        if self.is_complete or self.is_over or self.has_left:
            return
        self._sent.append({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.changes.tell()
        for _ in range(TURNS):
            if not self._sent:
                break
            turn = self.loop.create_future()
            self.loop.call_soon(turn.set_result, None)
            await turn
        # If the bridge does not read, because the application has not received what was sent
        # before, the end of the connection is what it can see.
        self.leave()


# Turns of the front loop in which the bridge reads what was sent, if it reads.
TURNS: Final = 2 * MESSAGES + 4


def scope_of(
    kind: str,
    method: str,
    url: Any,
    headers: list[tuple[bytes, bytes]],
) -> Scope:
    """Return the scope of a request.

    Args:
        kind: ``"http"`` or ``"websocket"``.
        url: the ``httpx.URL``.
    """
    raw_path, _, query = url.raw_path.partition(b"?")
    secure = url.scheme in ("https", "wss")
    scheme = ("http" if kind == "http" else "ws") + "s" * secure
    scope: Scope = {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": scheme,
        "path": unquote(raw_path.decode("ascii")),
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in headers],
        "client": CLIENT,
        "server": (url.host, url.port or (443 if secure else 80)),
    }
    if kind == "http":
        scope["method"] = method
    else:
        scope["extensions"] = {"websocket.http.response": {}}
    return scope


class AsyncBody:
    """The body of a request of an async client."""

    def __init__(self, parts: AsyncIterator[bytes]) -> None:
        self._parts = parts

    async def next(self) -> bytes | None:
        async for part in self._parts:
            if part:
                return part
        return None

    async def close(self) -> None:
        close = getattr(self._parts, "aclose", None)
        if close is not None:
            await close()


class AskedBody:
    """The body of a request of a sync client, which gives a part whenever `wants` is set."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.wants: bool = False
        self.changes: Changes = Changes(loop)
        self._given: deque[bytes | None] = deque()

    async def next(self) -> bytes | None:
        if not self._given:
            self.wants = True
            self.changes.tell()
            await self.changes.until(lambda: self._given)
        return self._given.popleft()

    def give(self, part: bytes | None) -> None:
        """Give the next part; None at the end."""
        self.wants = False
        self._given.append(part)
        self.changes.tell()

    async def close(self) -> None:
        pass  # the client closes its own iterator
