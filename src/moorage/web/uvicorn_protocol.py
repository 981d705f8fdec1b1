"""Uvicorn's protocols: HTTP and WebSockets on the connections of a port.

Owns `protocol_factory`.  It is the only file that knows uvicorn: its `Config`, and the protocol
classes that a loaded `Config` names.  The subclasses here add what uvicorn leaves open: a list of
unfinished requests, which learn that their client has left; bounds for the head of a request (the
request line and the headers) in bytes and in time; and a bound for the connections of a port.
Uvicorn's loggers stay silent: an error is logged once, by the bridge.

`NEEDED` lists the names of uvicorn that this file uses.  Used on the HTTP loop only, except
`protocol_factory`.

Begin at `protocol_factory`, then `HttpProtocol.data_received` and `.on_headers_complete`.
"""

# Which classes uvicorn has is known at run time only.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import functools
import logging
import os
from collections import deque
from collections.abc import Callable
from email.utils import formatdate
from typing import Any, Final

from .. import config
from ..exception import InvalidError
from ..runtime.clocks.clock import wall_seconds
from ..runtime.real import Real
from .bridge import CONNECTION
from .driven import Driven
from .exchange import Application, Message, Receive, Scope, Send
from .mailbox import mailbox_here
from .ports import Port

# The most bytes of the head of a request.
HEAD_BYTES: Final = 64 * 1024

# Seconds from the first byte of a request until its head is complete.
HEAD_SECONDS: Final = 10.0

# Seconds that an idle connection is kept, as uvicorn does.
KEEP_ALIVE: Final = 5

# Seconds that an idle connection is kept while its port winds down: the client may have sent a
# request already, and should see no close while the client sends the next one.
LINGERS: Final = 0.25

# The most requests of one connection that have no response yet.
MOST_PIPELINED: Final = 1000

# The most bytes of one message of a WebSocket: in strict mode as in Modal, else as uvicorn.
MESSAGE_BYTES: Final = 16 * 1024 * 1024
MESSAGE_BYTES_STRICT: Final = 2 * 1024 * 1024

# The most bytes of a body that are copied in order to be sent with the head of the response.
JOINED_BYTES: Final = 64 * 1024

# What this file uses of uvicorn, beside `Config`: for each class, its attributes.
NEEDED: Final = {
    "Config": ("load", "http_protocol_class", "ws_protocol_class", "encoded_headers"),
    "ServerState": ("connections", "tasks", "default_headers", "total_requests"),
    "http_protocol_class": (
        *("connection_made", "connection_lost", "data_received", "handle_websocket_upgrade"),
        *("on_message_begin", "on_headers_complete", "on_body", "on_message_complete"),
        *("on_response_complete", "send_400_response", "timeout_keep_alive_handler"),
        *("_unset_keepalive_if_required", "_start_asgi_task"),
    ),
    "ws_protocol_class": ("connection_made", "connection_lost", "run_asgi", "shutdown"),
}


def missing_names(found: dict[str, Any]) -> list[str]:
    """Return the names of `NEEDED` that the objects in `found` do not have."""
    return [
        f"{owner}.{name}"
        for owner, names in NEEDED.items()
        for name in names
        if not hasattr(found.get(owner), name)
    ]


class _SilentLogger(logging.Logger):
    """The logger of uvicorn's protocols.  It writes nothing, and knows no handler."""

    def __init__(self) -> None:
        super().__init__("moorage.silent", logging.CRITICAL + 1)
        self.disabled = True


_SILENT: Final = _SilentLogger()


async def _no_app(scope: Scope, receive: Receive, send: Send) -> None:
    """What uvicorn's `Config` gets; the protocols get their application from us."""


class _Request(Driven):
    """One unfinished request of a connection: the bridge's `Connection`, and uvicorn's way out.

    It runs what is the request's task in uvicorn.

    Uvicorn writes the head as soon as the response starts.  Each write is a system call, in which
    this thread lets go of the interpreter, and a container's thread may take it.  So the head
    waits for the next write, or until the request waits.
    """

    __slots__ = ("_began", "_callback", "_head", "_is_lost", "_runs", "_transport", "cycle")

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self.cycle: Any = None  # uvicorn's object for the request
        self._callback: Callable[..., object] | None = None
        self._is_lost = False
        self._transport = transport
        self._runs = False  # within `resume`
        self._began = False
        self._head = b""

    def resume(self, _: object = None, *, error: BaseException | None = None) -> None:
        self._runs = True
        Driven.resume(self, error=error)
        self._runs = False
        if self._head:
            self.flush()

    def when_lost(self, callback: Callable[..., object], /) -> None:
        self._callback = callback
        if self._is_lost:
            self.lost()

    def lost(self) -> None:
        self._is_lost = True
        callback = self._callback
        self.end()
        if callback is not None:
            callback()

    def end(self) -> None:
        """Forget the request, which is over.

        This object and uvicorn's refer to each other.  Left to the garbage collector, the objects
        of many requests would live until a full collection, which takes a multiple of its time.
        """
        self.cycle = self._callback = None

    # -- what uvicorn's object for the request calls ------------------------------------

    def write(self, data: bytes) -> None:
        if not self._began and self._runs:  # else it is the 100 of "Expect: 100-continue"
            self._began, self._head = True, data
            return
        if self._head:
            if len(data) > JOINED_BYTES:
                self.flush()
            else:
                data, self._head = self._head + data, b""
        self._transport.write(data)

    def flush(self) -> None:
        """Send what waits for the next write."""
        head, self._head = self._head, b""
        if head and not self._transport.is_closing():
            self._transport.write(head)

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()


class _Inbox(asyncio.Queue[Message]):
    """The messages of one WebSocket that nobody has received."""

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self.disconnect: Message | None = None  # the first one
        self.unread = 0  # other messages

    def _put(self, item: Message) -> None:
        super()._put(item)
        if item["type"] != "websocket.disconnect":
            self.unread += 1
        elif self.disconnect is None:
            self.disconnect = item

    def _get(self) -> Message:
        item = super()._get()
        if item["type"] != "websocket.disconnect":
            self.unread -= 1
        return item


def _refusal(status: int, text: str, headers: list[tuple[bytes, bytes]]) -> bytes:
    """Return a whole response that closes the connection."""
    lines = [b"HTTP/1.1 %d %s" % (status, text.encode())]
    lines += [name + b": " + value for name, value in headers]
    lines += [
        b"content-type: text/plain; charset=utf-8",
        b"content-length: %d" % len(text),
        b"connection: close",
    ]
    if status == 503:
        lines.append(b"retry-after: 1")
    return b"\r\n".join([*lines, b"", text.encode()])


_REFUSALS: Final = {
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


def protocol_factory(application: Application, port: Port) -> Callable[[], asyncio.Protocol]:
    """Return what makes the protocol of each connection of `port`.

    Raises:
        InvalidError: if uvicorn or one of its parts is not installed, or lacks a name of `NEEDED`.
    """
    try:
        from uvicorn.config import Config
        from uvicorn.server import ServerState

        loaded = Config(
            _no_app,
            interface="asgi3",
            http="httptools",
            ws="websockets-sansio",
            ws_max_size=MESSAGE_BYTES_STRICT if config.strict else MESSAGE_BYTES,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,  # uvicorn's loggers are left as they are, and are not used
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE,
            workers=1,
        )
        loaded.load()
    except ImportError as error:
        raise InvalidError(
            f"web functions are served with uvicorn, and {error.name or 'a part of it'} is not "
            "installed; write: pip install 'moorage[web]'"
        ) from error
    found = {
        "Config": loaded,
        "ServerState": ServerState(),
        "http_protocol_class": loaded.http_protocol_class,
        "ws_protocol_class": loaded.ws_protocol_class,
    }
    missing = missing_names(found)
    if missing:
        raise InvalidError(
            f"this version of uvicorn has no {', '.join(missing)}, which moorage uses; "
            "write: pip install 'uvicorn>=0.54,<0.60'"
        )
    bases: tuple[Any, Any] = loaded.http_protocol_class, loaded.ws_protocol_class
    http, websocket = _subclasses(*bases)
    state = _make_state(ServerState, loaded.encoded_headers, port)
    upgraded = functools.partial(websocket, port=port, application=application)

    def make() -> asyncio.Protocol:
        protocol: asyncio.Protocol = http(loaded, state, port, application, upgraded)
        return protocol

    return make


def _make_state(base: Any, headers: list[tuple[bytes, bytes]], port: Port) -> Any:
    """Return the state that the connections of a port share, with its `date` header."""

    class State(base):  # type: ignore[misc]
        """Makes the `date` header when a response needs one, once a second at most."""

        def __init__(self) -> None:
            self._made_at = -1
            self._headers: list[tuple[bytes, bytes]] = []
            super().__init__()
            self.tasks = port.tasks

        @property
        def default_headers(self) -> list[tuple[bytes, bytes]]:
            now = wall_seconds()
            if now != self._made_at:
                self._made_at = now
                self._headers = [(b"date", formatdate(now, usegmt=True).encode()), *headers]
            return self._headers

        @default_headers.setter
        def default_headers(self, value: object) -> None:
            """Uvicorn's own start sets it."""

    return State()


@functools.cache
def _subclasses(http_base: Any, websocket_base: Any) -> tuple[Any, Any]:
    """Return the protocol classes for HTTP and for WebSockets."""

    class HttpProtocol(http_base):  # type: ignore[misc]
        """One connection that speaks HTTP."""

        def __init__(
            self, loaded: Any, state: Any, port: Port, application: Application, upgraded: Any
        ) -> None:
            super().__init__(loaded, state, {}, _loop=Real.get_running_loop())
            self.app = application
            self.logger = _SILENT
            self.access_log = False
            self.ws_protocol_class = upgraded
            self._port = port
            self._mailbox = mailbox_here()
            # The requests whose response is not complete, in their order.  The first one runs.
            self._unfinished: deque[_Request] = deque()
            # Where the parser is.
            self._in_head = self._in_body = False
            self._began = False  # a head began in the present bytes
            self._moved = False  # there was a part of a body in them
            # Bytes of the present head, or bytes within a body that were no part of it (such as
            # trailers), which the parser may keep.
            self._kept = 0
            self._checks = False  # the present bytes may complete a head that is too large
            self._is_too_large = False
            self._head_timer: asyncio.TimerHandle | None = None

        # -- the connection ----------------------------------------------------------------

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            if not self._port.admit(self):
                if self._port.is_closed:
                    self.transport.abort()
                else:
                    self._refuse(503)
                return
            if self._port.is_winding_down:
                self.timeout_keep_alive = LINGERS
            self._wait_idle()  # until the client sends something

        def _wait_idle(self) -> None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

        def connection_lost(self, exc: Exception | None) -> None:
            self._port.remove(self)
            self._stop_head_timer()
            self._unset_keepalive_if_required()
            unfinished, self._unfinished = self._unfinished, deque()
            for request in unfinished:
                # Uvicorn does this for the last request only.
                request.cycle.disconnected = True
                request.cycle.message_event.set()
            self.pipeline.clear()
            super().connection_lost(exc)
            for request in unfinished:
                request.lost()

        def retire(self) -> None:
            for request in self._unfinished:
                request.cycle.keep_alive = False
            if not self._unfinished:
                self.transport.close()

        def wind_down(self) -> None:
            for request in self._unfinished:
                # The head of a response that has begun has promised to keep the connection.
                if not request.cycle.response_started:
                    request.cycle.keep_alive = False
            self.timeout_keep_alive = LINGERS
            if self.timeout_keep_alive_task is not None:  # nothing of a request has come
                self._unset_keepalive_if_required()
                self._wait_idle()
                self._hand_over()

        def _hand_over(self) -> None:
            """Give the connection to another process, if it is idle and there is one.

            What the client sends from now on is in the system, for the other process.
            """
            hand_over = self._port.hand_over
            if hand_over is None or self._unfinished or self._in_head or self._in_body:
                return
            if self.cycle is not None:
                self.cycle.transport.flush()
            if self.transport.is_closing() or self.transport.get_write_buffer_size():
                return
            self.transport.pause_reading()
            try:
                descriptor = os.dup(self.transport.get_extra_info("socket").fileno())
            except OSError:  # no more descriptors
                self.transport.resume_reading()
                return
            self._unset_keepalive_if_required()
            self.transport.abort()  # this process's copy: the client sees nothing
            hand_over(descriptor)

        def abort(self) -> None:
            self.transport.abort()

        def _refuse(self, status: int) -> None:
            """Answer in place of the application, and close the connection."""
            # Within the response of another request the text would be a part of that response.
            if not self._unfinished and not self.transport.is_closing():
                headers: list[tuple[bytes, bytes]] = self.server_state.default_headers
                self.transport.write(_refusal(status, _REFUSALS[status], headers))
            self._stop_head_timer()
            self.transport.close()

        def send_400_response(self, msg: str) -> None:
            if self._is_too_large:
                self._refuse(431)
            elif self._unfinished:
                self.transport.close()
            else:
                super().send_400_response(msg)

        # -- the bytes ---------------------------------------------------------------------

        def data_received(self, data: bytes) -> None:
            size = len(data)
            between = not self._in_head and not self._in_body
            self._began = self._moved = False
            self._checks = size + self._kept > HEAD_BYTES
            super().data_received(data)
            if self._in_head:
                if not self._began:
                    self._kept += size
                else:
                    # If the end of another request came in the same bytes, count what is parsed.
                    self._kept = size if between else self._parsed()
                self._bound_head()
            elif self._in_body and not self._moved:
                self._kept += size
                if self._kept > HEAD_BYTES:
                    self._refuse(431)
            else:
                self._kept = 0
                if (
                    not self._unfinished
                    and self.timeout_keep_alive_task is None
                    and self.transport.get_protocol() is self
                ):
                    # Bytes that are no request, such as empty lines, or the unread rest of a body.
                    self._wait_idle()

        def _bound_head(self) -> None:
            if self.transport.is_closing():
                return
            if self._kept > HEAD_BYTES:
                self._refuse(431)
            else:
                self._start_head_timer()

        def _parsed(self) -> int:
            """Return the bytes of the present head that the parser has taken."""
            return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

        def _start_head_timer(self) -> None:
            if self._head_timer is None and not self.transport.is_closing():
                self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)

        def _stop_head_timer(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

        def _head_is_late(self) -> None:
            self._head_timer = None
            if self._unfinished:
                self._start_head_timer()  # the response before it comes first
            else:
                self._refuse(408)

        # -- what the parser calls -----------------------------------------------------------

        def on_message_begin(self) -> None:
            super().on_message_begin()
            del self.scope["state"]  # each container has its own
            self._in_head = self._began = True

        def on_headers_complete(self) -> None:
            self._in_head, self._in_body = False, True
            if self._head_timer is not None:
                self._stop_head_timer()
            if self._checks and self._parsed() > HEAD_BYTES:
                self._is_too_large = True
                raise ValueError("the head of a request is too large")  # ends the parsing
            unfinished, cycle = self._unfinished, self.cycle
            if len(unfinished) >= MOST_PIPELINED:
                raise ValueError("too many requests in a row")
            request = _Request(self.transport)
            self.scope[CONNECTION] = request
            super().on_headers_complete()
            if self.cycle is cycle:
                return  # the handshake of a WebSocket: see `handle_websocket_upgrade`
            request.cycle = self.cycle
            if self._port.is_winding_down:
                self.cycle.keep_alive = False
            self.cycle.transport = request
            unfinished.append(request)
            self._port.busy(self)
            if not self.parser.should_upgrade():
                # Trailers come after a body as headers do; the request has its headers.
                self.headers: list[tuple[bytes, bytes]] = []

        def _start_asgi_task(self, cycle: Any, app: Application) -> None:
            request: _Request = cycle.scope[CONNECTION]
            self._port.run(request, cycle.run_asgi(app))
            # Not at once: the parser is in the middle of the request.
            self._mailbox.soon(request.resume)

        def on_body(self, body: bytes) -> None:
            self._moved = True
            self._kept = 0
            super().on_body(body)

        def on_message_complete(self) -> None:
            self._in_body = False
            super().on_message_complete()

        def on_response_complete(self) -> None:
            if self._unfinished:
                self._unfinished.popleft().end()
                if not self._unfinished:
                    self._port.idle(self)
            super().on_response_complete()
            if self._port.is_closed:
                self.retire()
            elif self._port.is_winding_down:
                self._hand_over()

        def handle_websocket_upgrade(self) -> None:
            if self._unfinished:  # a pipelined handshake: nobody sends one
                self.transport.close()
                return
            self._unset_keepalive_if_required()
            super().handle_websocket_upgrade()

    class WebSocketProtocol(websocket_base):  # type: ignore[misc]
        """One connection that is a WebSocket.  It is the `Connection` of its request."""

        def __init__(
            self,
            config: Any,
            server_state: Any,
            app_state: Any,
            _loop: asyncio.AbstractEventLoop | None = None,
            *,
            port: Port,
            application: Application,
        ) -> None:
            super().__init__(config, server_state, app_state, _loop or Real.get_running_loop())
            self.app = application
            self.logger = self.conn.logger = _SILENT
            self.conn.debug = False
            self.queue = _Inbox()
            self._port = port
            self._callback: Callable[..., object] | None = None
            self._is_lost = False

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            before: Any = self.transport.get_protocol()
            self._port.replace(before, self)

        def connection_lost(self, exc: Exception | None) -> None:
            self._port.remove(self)
            super().connection_lost(exc)
            self._is_lost = True
            self._tell()

        async def run_asgi(self) -> None:
            del self.scope["state"]
            self.scope[CONNECTION] = self
            try:
                await super().run_asgi()
            finally:
                self._callback = None

        def when_lost(self, callback: Callable[..., object], /) -> None:
            self._callback = callback
            if self._is_lost:
                self._tell()

        def _tell(self) -> None:
            # Messages that came before are received first, and then the disconnect.
            if self._callback is not None and not self.queue.unread:
                callback, self._callback = self._callback, None
                callback(message=self.queue.disconnect)

        def retire(self) -> None:
            """The end of its input closes it, with a code."""

        wind_down = retire

        def abort(self) -> None:
            self.transport.abort()

    return HttpProtocol, WebSocketProtocol
