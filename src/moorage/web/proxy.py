"""The proxy: requests to a server of the user's, which listens on a port of this machine.

Owns `Proxy`, the ASGI application that passes each request on and its response back.  The only file
that imports aiohttp.  Nothing is kept of a request or a response but what is on its way: bodies
stream both ways, contents are not decompressed, and redirects are the client's to follow.

Each request has a TCP connection of its own, so that no request meets a connection that the server
has just closed.

Begin at `Proxy.__call__`, then `_http` and `_websocket`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextvars import Context
from typing import Any, Final

from ..runtime.background import log
from ..runtime.real import Real
from .exchange import Message, Receive, Scope, Send, has_body
from .extras import not_installed

logger: Final = logging.getLogger("moorage")

# Connections to one server at a time, and bytes of a line of its headers, at most.
MOST_CONNECTIONS: Final = 1000
LONGEST_LINE: Final = 64 * 1024

# Headers of one connection, which are not passed on.
_HOP_BY_HOP: Final = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization"),
        *(b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"),
    }
)
# The front answers 100-continue itself, when the body is asked for.
_ANSWERED: Final = frozenset({b"expect"})
# What the client of a WebSocket says about its own connection.
_OF_WEBSOCKET: Final = frozenset(
    {
        *(b"sec-websocket-accept", b"sec-websocket-extensions", b"sec-websocket-key"),
        *(b"sec-websocket-protocol", b"sec-websocket-version"),
    }
)

# Methods whose body is dropped.
_WITHOUT_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})

# Close codes that never travel: no code came, and no close frame came.
_NO_CODE: Final = 1005
_ABNORMAL: Final = 1006


class Proxy:
    """An ASGI application that asks a server.  On the container's loop."""

    def __init__(self, name: str, host: str, port: int, container: Any) -> None:
        self._name = name
        self._base = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._port = port
        self._container = container
        self._session: Any = None

    async def open(self) -> None:
        """Get ready.

        Raises:
            InvalidError: if aiohttp is not installed.
        """
        try:
            import aiohttp
        except ImportError as error:
            raise not_installed(self._name, "web_server") from error
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=MOST_CONNECTIONS, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close all connections to the server."""
        if self._session is not None:
            await self._session.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._http(scope, receive, send)

    def _url(self, scope: Scope, scheme: str) -> Any:
        import yarl

        path: bytes = scope.get("raw_path") or _quoted(scope["path"])
        query: bytes = scope["query_string"]
        target = path.partition(b"?")[0] + (b"?" + query if query else b"")
        return yarl.URL(f"{scheme}://{self._base}{target.decode('latin1')}", encoded=True)

    def _refused(self, error: BaseException) -> None:
        """Note that the server takes no connections: its container gets no further requests."""
        log(
            logger,
            logging.WARNING,
            "the server of %s on port %d cannot be reached any more, so its container takes no "
            "more requests: %s",
            self._name,
            self._port,
            error,
        )
        self._container.host.stop_fetching(self._container)

    # -- HTTP -----------------------------------------------------------------------------

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        import aiohttp
        import anyio

        assert self._session is not None
        body = _Body(receive)
        passes = has_body(scope) and scope["method"] not in _WITHOUT_BODY
        dropped = _ANSWERED if passes else _ANSWERED | {b"content-length"}
        task: asyncio.Task[None] | None = None
        began = False
        try:
            # The client's leaving ends the connection to the server, which hears of it so.
            with anyio.CancelScope() as until_left:
                task = Real.create_task(body.watch(until_left, reads=not passes), context=Context())
                async with self._session.request(
                    scope["method"],
                    self._url(scope, "http"),
                    headers=_to_server(scope, dropped),
                    data=body.parts() if passes else None,
                    allow_redirects=False,
                ) as response:
                    await send(
                        {
                            "type": "http.response.start",
                            "status": response.status,
                            "headers": _from_server(response.raw_headers),
                        }
                    )
                    began = True
                    async for part in response.content.iter_any():
                        await send({"type": "http.response.body", "body": part, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
        except (aiohttp.ClientError, OSError) as error:
            if began:
                raise
            if isinstance(error, aiohttp.ClientConnectorError):
                self._refused(error)
            elif not body.is_broken:
                text = "the server of %s answered nothing to %s %s: %r"
                method, path = scope["method"], scope["path"]
                log(logger, logging.WARNING, text, self._name, method, path, error)
            await _bad_gateway(send)
        finally:
            if task is not None:
                task.cancel()

    # -- WebSockets -----------------------------------------------------------------------

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        import aiohttp

        assert self._session is not None
        await receive()  # websocket.connect
        try:
            socket = await self._session.ws_connect(
                self._url(scope, "ws"),
                headers=_to_server(scope, _OF_WEBSOCKET),
                protocols=scope.get("subprotocols") or (),
                max_msg_size=0,
                autoclose=False,
                compress=0,
            )
        except aiohttp.WSServerHandshakeError as error:
            given = (error.headers or {}).items()
            raw = [(name.encode("latin1"), value.encode("latin1")) for name, value in given]
            kept = [(name, value) for name, value in _from_server(raw) if name != b"content-length"]
            await _deny(scope, send, error.status, kept)
            return
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, aiohttp.ClientConnectorError):
                self._refused(error)
            await _deny(scope, send, 502, [])
            return
        try:
            await self._relay(socket, receive, send)
        finally:
            _abort(socket)

    async def _relay(self, socket: Any, receive: Receive, send: Send) -> None:
        import aiohttp

        await send({"type": "websocket.accept", "subprotocol": socket.protocol, "headers": []})
        up = Real.create_task(_to_upstream(socket, receive), context=Context())
        try:
            while True:
                message = await socket.receive()
                kind = message.type
                if kind == aiohttp.WSMsgType.TEXT:
                    await send({"type": "websocket.send", "text": message.data})
                elif kind == aiohttp.WSMsgType.BINARY:
                    await send({"type": "websocket.send", "bytes": bytes(message.data)})
                elif kind == aiohttp.WSMsgType.CLOSE:
                    await _answer_close(socket, message.data)
                    if not up.done():
                        code = message.data or 1000
                        reason = message.extra or ""
                        await send({"type": "websocket.close", "code": code, "reason": reason})
                    return
                else:  # CLOSING, CLOSED or ERROR
                    if not up.done():
                        await send({"type": "websocket.close", "code": 1011, "reason": ""})
                    return
        finally:
            up.cancel()
            await Real.wait([up])


async def _to_upstream(socket: Any, receive: Receive) -> None:
    """Pass on what the client of a WebSocket sends, and its close."""
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            code = message.get("code", _NO_CODE)
            if code == _ABNORMAL:
                _abort(socket)
            elif code == _NO_CODE:
                await _send_close(socket, b"")
            else:
                reason = (message.get("reason") or "").encode()
                await _send_close(socket, int(code).to_bytes(2, "big") + reason[:123])
            return
        text = message.get("text")
        try:
            if text is not None:
                await socket.send_str(text)
            else:
                await socket.send_bytes(message.get("bytes") or b"")
        except (ConnectionError, OSError):
            return  # the reader of the socket sees its end


async def _send_close(socket: Any, payload: bytes) -> None:
    """Send a close frame with this payload.  aiohttp's own `close` always has a code."""
    import aiohttp

    try:
        await socket.send_frame(payload, aiohttp.WSMsgType.CLOSE)
    except (ConnectionError, OSError):
        pass  # the connection is gone


async def _answer_close(socket: Any, code: int | None) -> None:
    await _send_close(socket, b"" if not code else int(code).to_bytes(2, "big"))


def _abort(socket: Any) -> None:
    """Close the TCP connection of a WebSocket."""
    socket._response.close()


class _Body:
    """The body of a request, and whether the client is still there."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._is_read: asyncio.Future[None] = Real.get_running_loop().create_future()
        self._has_left = False
        # The client left before it had sent the whole body.
        self.is_broken: bool = False

    async def parts(self) -> AsyncIterator[bytes]:
        """Give the parts of the body."""
        try:
            while True:
                message: Message = await self._receive()
                if message["type"] == "http.disconnect":
                    self.is_broken = self._has_left = True
                    raise ConnectionResetError("the client has left before it sent the whole body")
                if message.get("body"):
                    yield message["body"]
                if not message.get("more_body", False):
                    return
        finally:
            if not self._is_read.done():
                self._is_read.set_result(None)

    async def watch(self, until_left: Any, *, reads: bool) -> None:
        """Cancel `until_left` when the client leaves, once there is no more of the body to read.

        Args:
            reads: read the body here, and drop it.
        """
        if not reads:
            await self._is_read
        while not self._has_left:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._has_left = True
        until_left.cancel()


def _to_server(scope: Scope, dropped: Iterable[bytes]) -> Any:
    """Return the headers for the server: the client's, but for those of its connection."""
    import multidict

    left = _of_connection(scope["headers"]) | frozenset(dropped)
    headers: multidict.CIMultiDict[str] = multidict.CIMultiDict()
    forwarded: list[str] = []
    for name, value in scope["headers"]:
        if name == b"x-forwarded-for":
            forwarded.append(value.decode("latin1"))
        elif name not in left:
            headers.add(name.decode("latin1"), value.decode("latin1"))
    client = scope.get("client")
    if client:
        forwarded.insert(0, client[0])
    if forwarded:
        headers.add("x-forwarded-for", ", ".join(forwarded))
    return headers


def _from_server(raw: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    headers = [(name.lower(), value) for name, value in raw]
    left = _of_connection(headers)
    return [(name, value) for name, value in headers if name not in left]


def _of_connection(headers: Iterable[tuple[bytes, bytes]]) -> frozenset[bytes]:
    """Return the names of the headers that belong to one connection."""
    named: set[bytes] = set()
    for name, value in headers:
        if name.lower() == b"connection":
            named.update(one.strip().lower() for one in value.split(b","))
    return _HOP_BY_HOP | named


def _quoted(path: str) -> bytes:
    from urllib.parse import quote

    return quote(path, safe="/:@!$&'()*+,;=~").encode()


async def _bad_gateway(send: Send) -> None:
    body = b"Bad Gateway"
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
    ]
    await send({"type": "http.response.start", "status": 502, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _deny(scope: Scope, send: Send, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    """Refuse a WebSocket in its handshake."""
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1000, "reason": ""})
        return
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": b""})
