"""The test kit's web client: requests to web functions, without sockets.

Owns `web_client`, the two httpx clients that it gives, and their transports.  A request goes
through a `Bridge` to the pool of the function, so slots, queue, timeouts and ids are the real
ones.  httpx is imported in the functions of this file only; the extra ``testing`` installs it.

Begin at `web_client`, then `AsyncTransport`, then `SyncTransport`, whose requests run on a loop of
the calling thread for the length of each call.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, TypeVar, Unpack, cast

from ..cls import Cls
from ..exception import ExecutionError, InvalidError, InvalidUseError
from ..frames import hide_our_frames, without_our_frames
from ..functions import Function
from ..running.endpoints import ClassEndpoint, FunctionEndpoint, ServerEndpoint
from ..runtime.clocks.clock import Clock
from ..runtime.context import is_a_container
from ..runtime.real import Real
from ..web.exchange import Message
from ..web.mounted import endpoint_of
from .fake_container import FakeContainer
from .submitting import FakeMethod
from .web_requests import (
    AskedBody,
    AsyncBody,
    Served,
    ServedRequest,
    ServedSocket,
    WatchedBridge,
    scope_of,
)
from .web_sockets import AsyncWebSocket, SocketSession, WebSocket

if TYPE_CHECKING:
    import httpx
    from httpx._types import (
        AuthTypes,
        CookieTypes,
        HeaderTypes,
        QueryParamTypes,
        TimeoutTypes,
    )

    class _AsyncClient(httpx.AsyncClient): ...

    class _SyncClient(httpx.Client): ...

else:
    _AsyncClient = _SyncClient = object

T = TypeVar("T")
AnyEndpoint = FunctionEndpoint | ClassEndpoint | ServerEndpoint

# What a handshake of a WebSocket needs.  The key is the example of RFC 6455: no client checks the
# answer, and texts are the same in each run.
_HANDSHAKE = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-version": "13",
}


class WebClientOptions(TypedDict, total=False):
    """The options that `web_client` hands to httpx; each may be left out."""

    auth: AuthTypes | None
    cookies: CookieTypes | None
    default_encoding: str
    event_hooks: Mapping[str, list[Callable[..., Any]]] | None
    follow_redirects: bool
    headers: HeaderTypes | None
    max_redirects: int
    params: QueryParamTypes | None
    timeout: TimeoutTypes


@hide_our_frames
def web_client(
    function: object,
    *,
    base_url: str = "http://testserver",
    raise_app_exceptions: bool = False,
    **options: Unpack[WebClientOptions],
) -> WebClient:
    """Return an HTTP client whose requests run in the containers of a web function.

    ``async with web_client(f) as client:`` gives an ``httpx.AsyncClient``, on the test's event
    loop; ``with web_client(f) as client:`` gives an ``httpx.Client``, for a test without a loop.
    There is no socket and no server.  A request is an input of the function's pool, in the app's
    open run, as it is with a server.  Responses are streamed as the application sends them, and
    ``client.websocket(path)`` opens a WebSocket.  In virtual time, the client takes part in the
    clock.  Its requests have no time limit, unless `options` have a ``timeout``, of which
    the read limit counts.

    Args:
        function: a web function, a web method of an instance (``Model().generate``), such a
            function by its name, or a `FakeContainer` of one.
        base_url: the URL before the paths of requests.
        raise_app_exceptions: raise the error of the application in the client, when its input has
            ended.  Otherwise the client gets the status 500, as over a socket.
        options: further arguments of ``httpx.AsyncClient``, or ``httpx.Client``: see
            `WebClientOptions`.

    Raises:
        InvalidError: if `function` is no web function, or httpx is not installed.
    """
    unknown = options.keys() - WebClientOptions.__annotations__.keys()
    if is_a_container():
        raise InvalidError(
            "web_client(...) needs the pool of the web function, which a container does not have; "
            "call it in a test, or send requests to the URL of get_web_url()"
        )
    if unknown:
        raise InvalidError(
            f"web_client has no option {min(unknown)}; "
            f"write one that it has: {', '.join(WebClientOptions.__annotations__)}"
        )
    bridge = WatchedBridge(_endpoint_of(function), raises=raise_app_exceptions)
    every: dict[str, Any] = {
        "base_url": base_url,
        "timeout": None,
        "trust_env": False,
        **options,
    }
    client = _classes().client(transport=cast(Any, AsyncTransport(bridge)), **every)
    client._bridge, client._options = bridge, every
    return client


def _endpoint_of(function: Any) -> AnyEndpoint:
    if isinstance(function, FakeContainer):
        function = function._function()
    elif isinstance(function, FakeMethod):
        function = function._function
    elif isinstance(function, Function):
        # As behind its URL: the query gives the parameters of the class.
        place = function._with_place()._place
        if place is not None and place.make_for_client is not None:
            return place.make_for_client()
    elif isinstance(function, Cls):
        server = function._server_by_query()
        if server is not None:
            return server
    return cast(AnyEndpoint, endpoint_of(function, "web_client"))


class _Classes(Protocol):
    client: type[WebClient]
    sync_client: type[SyncWebClient]
    async_stream: type[Any]
    sync_stream: type[Any]
    httpx: Any


@functools.cache
def _classes() -> _Classes:
    """Return the classes that derive from those of httpx, which is imported here."""
    try:
        import httpx
    except ImportError:
        raise InvalidError(
            "moorage.testing.web_client needs httpx, which is not installed; "
            "write pip install 'moorage[testing]'"
        ) from None

    class Classes:
        client = type("WebClient", (WebClient, httpx.AsyncClient), {"__module__": __name__})
        sync_client = type("SyncWebClient", (SyncWebClient, httpx.Client), {"__module__": __name__})
        async_stream = type("AsyncStream", (AsyncStream, httpx.AsyncByteStream), {})
        sync_stream = type("SyncStream", (SyncStream, httpx.SyncByteStream), {})

    made: Any = Classes
    made.httpx = httpx
    return cast("_Classes", made)


class WebClient(_AsyncClient):
    """An ``httpx.AsyncClient`` that `web_client` has made.

    ``with`` gives a sync client for the same function: see `SyncWebClient`.
    """

    _bridge: WatchedBridge
    _options: dict[str, Any]
    _sync: SyncWebClient | None = None

    def __enter__(self) -> SyncWebClient:
        if Real._get_running_loop() is not None:
            raise without_our_frames(
                InvalidUseError(
                    "`with web_client(...)` is for a thread without an event loop, and one runs "
                    "in this thread; write `async with web_client(...) as client:`"
                )
            )
        if self._sync is not None:
            raise without_our_frames(
                ExecutionError("this web client is in use; write web_client(...) for another")
            )
        transport = SyncTransport(self._bridge)
        made = _classes().sync_client(transport=cast(Any, transport), **self._options)
        made._transport_of_ours = transport
        self._sync = made.__enter__()
        return self._sync

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        client, self._sync = self._sync, None
        if client is not None:
            client.__exit__(kind, error, traceback)

    def websocket(
        self, url: str, *, subprotocols: list[str] | tuple[str, ...] = (), **options: Any
    ) -> AbstractAsyncContextManager[AsyncWebSocket]:
        """Open a WebSocket: ``async with client.websocket("/ws") as socket:``.

        The end of the block closes it with code 1000.

        Args:
            url: the path, or a URL.
            subprotocols: what the client offers.
            options: further arguments of ``client.build_request``: headers, params, cookies.

        Raises:
            WebSocketRefused: on entering, if the handshake is not accepted.
        """
        return self._websocket(url, subprotocols, options)

    @asynccontextmanager
    async def _websocket(
        self, url: str, subprotocols: list[str] | tuple[str, ...], options: dict[str, Any]
    ) -> AsyncGenerator[AsyncWebSocket]:
        request = _handshake(self, url, subprotocols, options)
        transport = cast("AsyncTransport", self._transport)
        served = transport.serve_socket(request, subprotocols)
        session = SocketSession(served, functools.partial(_respond, request))
        await session.connect()
        _keep_cookies(self, session)
        try:
            yield AsyncWebSocket(session)
        finally:
            await session.close(1000, "")


class SyncWebClient(_SyncClient):
    """An ``httpx.Client`` that ``with web_client(f) as client:`` gives."""

    _transport_of_ours: SyncTransport

    def websocket(
        self, url: str, *, subprotocols: list[str] | tuple[str, ...] = (), **options: Any
    ) -> AbstractContextManager[WebSocket]:
        """Open a WebSocket: ``with client.websocket("/ws") as socket:``; see `WebClient`."""
        return self._websocket(url, subprotocols, options)

    @contextmanager
    def _websocket(
        self, url: str, subprotocols: list[str] | tuple[str, ...], options: dict[str, Any]
    ) -> Generator[WebSocket]:
        request = _handshake(self, url, subprotocols, options)
        front = self._transport_of_ours.front()
        served = front.serve_socket(request, subprotocols)
        session = SocketSession(served, functools.partial(_respond, request))
        front.run(session.connect())
        _keep_cookies(self, session)
        try:
            yield WebSocket(session, front.run)
        finally:
            front.run(session.close(1000, ""))


def _handshake(
    client: httpx.Client | httpx.AsyncClient,
    url: str,
    subprotocols: list[str] | tuple[str, ...],
    options: dict[str, Any],
) -> httpx.Request:
    request = client.build_request("GET", url, **options)
    for name, value in _HANDSHAKE.items():
        request.headers[name] = value
    if subprotocols:
        request.headers["sec-websocket-protocol"] = ", ".join(subprotocols)
    return request


def _respond(request: httpx.Request, status: int, start: Message, body: bytes) -> httpx.Response:
    made: httpx.Response = _classes().httpx.Response(
        status, headers=start.get("headers") or [], content=body, request=request
    )
    return made


def _keep_cookies(client: httpx.Client | httpx.AsyncClient, session: SocketSession) -> None:
    if session.response is not None:
        client.cookies.extract_cookies(session.response)


class Front:
    """The requests of one client on one event loop."""

    def __init__(self, bridge: WatchedBridge, loop: asyncio.AbstractEventLoop) -> None:
        self.loop: asyncio.AbstractEventLoop = loop
        self.bridge: WatchedBridge = bridge
        self._open: dict[Served, asyncio.Task[None]] = {}

    def serve(self, served: Served) -> None:
        """Have the bridge answer `served`, in a task of its own."""
        self._open[served] = task = self.loop.create_task(served.run())
        task.add_done_callback(lambda _: self._open.pop(served, None))

    def serve_socket(
        self, request: httpx.Request, subprotocols: list[str] | tuple[str, ...]
    ) -> ServedSocket:
        """Begin the handshake of a WebSocket."""
        scope = scope_of("websocket", "GET", request.url, request.headers.raw)
        scope["subprotocols"] = list(subprotocols)
        served = ServedSocket(self.bridge, scope, self.loop)
        self.serve(served)
        return served

    async def close(self) -> None:
        """Leave all requests that are not complete, and end their tasks."""
        for served, task in list(self._open.items()):
            served.leave()
            task.cancel()
        if self._open:
            await Real.wait(list(self._open.values()))


class AsyncTransport:
    """The transport of an async client.  See ``httpx.AsyncBaseTransport``."""

    def __init__(self, bridge: WatchedBridge) -> None:
        self._bridge = bridge
        self._front: Front | None = None

    def front(self) -> Front:
        loop = Real._get_running_loop()
        if loop is None:
            raise InvalidUseError(
                "an async web client runs on asyncio, and no event loop of asyncio runs in this "
                "thread; write `with web_client(...) as client:` for a sync client"
            )
        if self._front is None or self._front.loop is not loop:
            self._front = Front(self._bridge, loop)
        return self._front

    def serve_socket(
        self, request: httpx.Request, subprotocols: list[str] | tuple[str, ...]
    ) -> ServedSocket:
        return self.front().serve_socket(request, subprotocols)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        front = self.front()
        stream = cast("httpx.AsyncByteStream", request.stream)
        served = _served(front, request, AsyncBody(stream.__aiter__()))
        limit = _read_limit(request)
        start = await _next(served, request, limit)
        return _response(request, start, _classes().async_stream(served, request, limit))

    async def __aenter__(self) -> AsyncTransport:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        front, self._front = self._front, None
        if front is not None and front.loop is Real._get_running_loop():
            await front.close()


class AsyncStream:
    """The body of a response of an async client."""

    def __init__(self, served: ServedRequest, request: httpx.Request, limit: float | None) -> None:
        self._served = served
        self._request = request
        self._limit = limit

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        while True:
            message = await _next(self._served, self._request, self._limit)
            body: bytes = message.get("body", b"")
            if body:
                yield body
            if not message.get("more_body", False):
                return

    async def aclose(self) -> None:
        self._served.leave()


class SyncFront(Front):
    """The requests of a sync client in one thread.  The loop runs only during a call."""

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        """Run the loop until `step` has ended."""
        if Real._get_running_loop() is not None:
            step.close()
            raise InvalidUseError(
                "a sync web client would block the event loop of this thread; "
                "write `async with web_client(...) as client:`"
            )
        return self.loop.run_until_complete(step)


class SyncTransport:
    """The transport of a sync client.  See ``httpx.BaseTransport``."""

    def __init__(self, bridge: WatchedBridge) -> None:
        self._bridge = bridge
        # One front for each thread and clock.  Each thread uses its own entry only; `close` is
        # called when no other thread uses the client any more.
        self._fronts: dict[tuple[int, Clock], SyncFront] = {}

    def front(self) -> SyncFront:
        clock = cast("AnyEndpoint", self._bridge.endpoint).clock
        key = Real.get_ident(), clock
        found = self._fronts.get(key)
        if found is None:
            self._fronts[key] = found = SyncFront(self._bridge, clock.new_event_loop())
        return found

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        front = self.front()
        body = AskedBody(front.loop)
        served = _served(front, request, body)
        body.changes = served.changes
        parts = iter(cast("httpx.SyncByteStream", request.stream))
        stream = _classes().sync_stream(front, served, request, body, parts)
        return _response(request, stream.next(), stream)

    def __enter__(self) -> SyncTransport:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        fronts, self._fronts = list(self._fronts.values()), {}
        for front in fronts:
            try:
                front.run(front.close())
                front.run(front.loop.shutdown_asyncgens())
            finally:
                front.loop.close()


class SyncStream:
    """The body of a response of a sync client, and of its request."""

    def __init__(
        self,
        front: SyncFront,
        served: ServedRequest,
        request: httpx.Request,
        body: AskedBody,
        parts: Iterator[bytes],
    ) -> None:
        self._front = front
        self._served = served
        self._request = request
        self._body = body
        self._parts = parts
        self._limit = _read_limit(request)

    def next(self) -> Message:
        """Return the next message of the application.

        The parts of the request's body are taken from the user's iterator here, while the loop
        does not run: the iterator may wait as any code of the test may.
        """
        while True:
            message = self._front.run(self._step())
            if message is not None:
                return message
            try:
                part = next((part for part in self._parts if part), None)
            except BaseException:
                self._served.leave()
                raise
            self._body.give(part)

    async def _step(self) -> Message | None:
        """Return the next message; None if the application wants a part of the body first."""
        served, body = self._served, self._body
        with _leaves(served):
            async with _limited(self._limit, self._request):
                await served.changes.until(lambda: served.has_next or body.wants)
        if body.wants and not served.has_next:
            return None
        return await _next(served, self._request, self._limit)

    def __iter__(self) -> Iterator[bytes]:
        while True:
            message = self.next()
            body: bytes = message.get("body", b"")
            if body:
                yield body
            if not message.get("more_body", False):
                return

    def close(self) -> None:
        self._served.leave()


def _served(front: Front, request: httpx.Request, body: AsyncBody | AskedBody) -> ServedRequest:
    scope = scope_of("http", request.method, request.url, request.headers.raw)
    length = request.headers.get("content-length")
    served = ServedRequest(
        front.bridge, scope, front.loop, body, None if length is None else int(length)
    )
    front.serve(served)
    return served


def _read_limit(request: httpx.Request) -> float | None:
    limits: dict[str, float | None] = request.extensions.get("timeout") or {}
    return limits.get("read")


async def _next(served: ServedRequest, request: httpx.Request, limit: float | None) -> Message:
    """Return the next message of the application.

    Raises:
        httpx.RemoteProtocolError: if there is none: the connection was broken off.
        httpx.ReadTimeout: if none comes within `limit` seconds.
        BaseException: see `Served.next`.
    """
    with _leaves(served):
        async with _limited(limit, request):
            message = await served.next()
    if message is None:
        raise _classes().httpx.RemoteProtocolError(
            "the connection was closed before the response was complete", request=request
        )
    return message


@contextmanager
def _leaves(served: ServedRequest) -> Generator[None]:
    """Leave the request if the client does not go on."""
    try:
        yield
    except BaseException:
        served.leave()
        raise


@asynccontextmanager
async def _limited(limit: float | None, request: httpx.Request) -> AsyncGenerator[None]:
    scope = asyncio.timeout(limit)
    try:
        async with scope:
            yield
    except TimeoutError as error:
        if not scope.expired():
            raise  # the application's own
        raise _classes().httpx.ReadTimeout(
            f"nothing came within {limit:g} s", request=request
        ) from error


def _response(request: httpx.Request, start: Message, stream: Any) -> httpx.Response:
    made: httpx.Response = _classes().httpx.Response(
        start["status"],
        headers=start["headers"],
        stream=stream,
        request=request,
        extensions={"http_version": b"HTTP/1.1"},
    )
    return made
