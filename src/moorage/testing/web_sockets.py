"""WebSockets of the test kit's web client.

Owns `AsyncWebSocket` and `WebSocket`, what ``client.websocket(path)`` gives, and their errors.

Begin at `SocketSession.connect`, then `SocketSession.receive`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from ..exception import Error, InvalidUseError
from ..frames import without_our_frames
from ..web.exchange import Message
from .web_requests import ServedSocket

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

Mode = Literal["text", "binary"]

# The code of a close without one, and of a connection that ended without a close.
NO_CODE: Final = 1005
BROKEN: Final = 1006


class WebSocketRefused(Error):
    """The handshake of a WebSocket was answered with an HTTP response."""

    def __init__(self, response: httpx.Response) -> None:
        text = response.text
        super().__init__(
            f"the WebSocket {response.request.url.raw_path.decode()!r} was refused with "
            f"{response.status_code}" + (f": {text}" if text else "")
        )
        self.response: httpx.Response = response

    @property
    def status_code(self) -> int:
        """The status of the response; 403 if the application closed instead of accepting."""
        return self.response.status_code


class WebSocketClosed(Error):
    """The WebSocket is closed, so there are no more messages."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(
            f"the WebSocket was closed with code {code}" + (f": {reason}" * bool(reason))
        )
        self.code: int = code
        self.reason: str = reason


class SocketSession:
    """One WebSocket on its front loop."""

    def __init__(
        self, served: ServedSocket, respond: Callable[[int, Message, bytes], httpx.Response]
    ) -> None:
        self._served = served
        self._respond = respond  # makes an ``httpx.Response``
        self._closed: WebSocketClosed | None = None
        self.subprotocol: str | None = None
        self.response: httpx.Response | None = None

    async def connect(self) -> None:
        """Wait for the answer to the handshake.

        Raises:
            WebSocketRefused: if the answer is no.
        """
        served = self._served
        try:
            message = await served.next()
            kind = None if message is None else message["type"]
            if message is not None and kind == "websocket.accept":
                self.subprotocol = message.get("subprotocol")
                self.response = self._respond(101, message, b"")
                return
            if message is not None and kind == "websocket.http.response.start":
                raise WebSocketRefused(await self._denial(message))
            # As servers do: for a close, and for an application that has ended.
            status = 403 if kind == "websocket.close" else 500
            raise WebSocketRefused(self._respond(status, {"headers": []}, b""))
        except BaseException:
            served.leave()
            raise

    async def _denial(self, start: Message) -> httpx.Response:
        body = b""
        while not self._served.is_complete or self._served.messages:
            message = await self._served.next()
            if message is None:
                break
            body += message.get("body", b"")
        return self._respond(start["status"], start, body)

    async def send(self, message: Message) -> None:
        self._check_open()
        await self._served.put({"type": "websocket.receive", **message})
        self._check_open()

    async def receive(self) -> str | bytes:
        """Return the next message.

        Raises:
            WebSocketClosed: if there are no more.
        """
        if self._closed is not None:
            raise self._closed
        message = await self._served.next()
        if message is None:
            self._closed = WebSocketClosed(BROKEN)
            raise self._closed
        if message["type"] == "websocket.close":
            self._closed = WebSocketClosed(message.get("code", 1000), message.get("reason") or "")
            raise self._closed
        data: bytes | None = message.get("bytes")
        if data is not None:
            return data
        text: str = message["text"]
        return text

    async def close(self, code: int, reason: str) -> None:
        if self._closed is None:
            self._closed = WebSocketClosed(code, reason)
        await self._served.close(code, reason)

    def _check_open(self) -> None:
        served = self._served
        if self._closed is not None:
            raise self._closed
        if (served.is_over or served.is_complete) and not served.messages:
            raise WebSocketClosed(BROKEN)


def _text(message: str | bytes) -> str:
    if not isinstance(message, str):
        raise InvalidUseError(
            f"expected a text message, got {len(message)} bytes; write receive_bytes()"
        )
    return message


def _bytes(message: str | bytes) -> bytes:
    if not isinstance(message, bytes):
        raise InvalidUseError(
            f"expected a binary message, got the text {message[:40]!r}; write receive_text()"
        )
    return message


def _json(data: Any, mode: Mode) -> Message:
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    return {"text": text} if mode == "text" else {"bytes": text.encode()}


class AsyncWebSocket:
    """An open WebSocket of an async client: ``async with client.websocket(path) as socket:``."""

    def __init__(self, session: SocketSession) -> None:
        self._session = session

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the application chose."""
        return self._session.subprotocol

    @property
    def response(self) -> httpx.Response:
        """The answer to the handshake, with its headers."""
        assert self._session.response is not None
        return self._session.response

    async def send_text(self, data: str) -> None:
        """Send a text message.

        Raises:
            WebSocketClosed: if the WebSocket is closed.
        """
        await _without_frames(self._session.send({"text": data}))

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary message; see `send_text`."""
        await _without_frames(self._session.send({"bytes": data}))

    async def send_json(self, data: Any, mode: Mode = "text") -> None:
        """Send `data` as JSON, in a text or a binary message; see `send_text`."""
        await _without_frames(self._session.send(_json(data, mode)))

    async def receive(self) -> str | bytes:
        """Return the next message; wait for it.

        Raises:
            WebSocketClosed: if the WebSocket is closed, and no message is left.
        """
        return await _without_frames(self._session.receive())

    async def receive_text(self) -> str:
        """Return the next message, which must be text; see `receive`."""
        return _text(await self.receive())

    async def receive_bytes(self) -> bytes:
        """Return the next message, which must be binary; see `receive`."""
        return _bytes(await self.receive())

    async def receive_json(self) -> Any:
        """Return the data of the next message, which must be JSON; see `receive`."""
        return json.loads(await self.receive())

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        """Iterate over the messages until the WebSocket is closed."""
        while True:
            try:
                message = await self.receive()
            except WebSocketClosed:
                return
            yield message

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the WebSocket.  Nothing happens if it is closed already."""
        await self._session.close(code, reason)


class WebSocket:
    """An open WebSocket of a sync client: ``with client.websocket(path) as socket:``."""

    def __init__(
        self, session: SocketSession, run: Callable[[Coroutine[Any, Any, Any]], Any]
    ) -> None:
        self._session = session
        self._run = run  # runs a coroutine on the front loop

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the application chose."""
        return self._session.subprotocol

    @property
    def response(self) -> httpx.Response:
        """The answer to the handshake, with its headers."""
        assert self._session.response is not None
        return self._session.response

    def send_text(self, data: str) -> None:
        """Send a text message.

        Raises:
            WebSocketClosed: if the WebSocket is closed.
        """
        self._do(self._session.send({"text": data}))

    def send_bytes(self, data: bytes) -> None:
        """Send a binary message; see `send_text`."""
        self._do(self._session.send({"bytes": data}))

    def send_json(self, data: Any, mode: Mode = "text") -> None:
        """Send `data` as JSON, in a text or a binary message; see `send_text`."""
        self._do(self._session.send(_json(data, mode)))

    def receive(self) -> str | bytes:
        """Return the next message; wait for it.

        Raises:
            WebSocketClosed: if the WebSocket is closed, and no message is left.
        """
        message: str | bytes = self._do(self._session.receive())
        return message

    def receive_text(self) -> str:
        """Return the next message, which must be text; see `receive`."""
        return _text(self.receive())

    def receive_bytes(self) -> bytes:
        """Return the next message, which must be binary; see `receive`."""
        return _bytes(self.receive())

    def receive_json(self) -> Any:
        """Return the data of the next message, which must be JSON; see `receive`."""
        return json.loads(self.receive())

    def __iter__(self) -> Iterator[str | bytes]:
        """Iterate over the messages until the WebSocket is closed."""
        while True:
            try:
                message = self.receive()
            except WebSocketClosed:
                return
            yield message

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the WebSocket.  Nothing happens if it is closed already."""
        self._do(self._session.close(code, reason))

    def _do(self, step: Coroutine[Any, Any, T]) -> T:
        try:
            done: T = self._run(step)
            return done
        except Error as error:
            raise without_our_frames(error)


async def _without_frames(step: Coroutine[Any, Any, T]) -> T:
    try:
        return await step
    except Error as error:
        raise without_our_frames(error)
