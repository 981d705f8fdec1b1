"""A small front for tests: requests to a web function, by hand-written ASGI messages.

A response is read part by part, a request's body is sent part by part, and a client may leave.
"""

import asyncio
import time
from urllib.parse import urlsplit

from moorage.web.bridge import BrokenOff
from moorage.web.mounted import asgi

# Seconds after which a test that waits for a message fails.
LIMIT = 30


class Client:
    """Requests to one web function, on the running loop."""

    def __init__(self, function):
        self.bridge = asgi(function)

    def start(self, method="GET", url="/", *, headers=(), body=None):
        """Begin a request.  `body`: bytes, or None if the test sends the parts by `send`."""
        parts = urlsplit(url)
        headers = [(k.lower().encode(), v.encode()) for k, v in dict(headers).items()]
        if body is not None and body != b"":
            headers.append((b"content-length", b"%d" % len(body)))
        elif body is None:
            headers.append((b"transfer-encoding", b"chunked"))
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": parts.path,
            "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(),
            "root_path": "",
            "headers": [(b"host", b"127.0.0.1:80"), *headers],
            "client": ("127.0.0.1", 4567),
            "server": ("127.0.0.1", 80),
        }
        return Request(self.bridge, scope, body)

    async def ask(self, method="GET", url="/", *, headers=(), body=b""):
        """Make a whole request; return it when its response is complete."""
        request = self.start(method, url, headers=headers, body=body)
        await request.whole()
        return request

    async def get(self, url="/", **more):
        return await self.ask("GET", url, **more)

    async def post(self, url="/", **more):
        return await self.ask("POST", url, **more)

    def websocket(self, url="/", *, headers=(), subprotocols=()):
        parts = urlsplit(url)
        scope = {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "scheme": "ws",
            "path": parts.path,
            "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(),
            "root_path": "",
            "headers": [(k.lower().encode(), v.encode()) for k, v in dict(headers).items()],
            "client": ("127.0.0.1", 4567),
            "server": ("127.0.0.1", 80),
            "subprotocols": list(subprotocols),
            "extensions": {"websocket.http.response": {}},
        }
        return Socket(self.bridge, scope)


class _Exchange:
    def __init__(self, bridge, scope):
        self.inbox = asyncio.Queue()
        self.outbox = asyncio.Queue()
        self.flows = asyncio.Event()  # cleared: the client reads nothing
        self.flows.set()
        self.has_left = asyncio.Event()
        self.error = None
        self.task = asyncio.create_task(self._run(bridge, scope))

    async def _run(self, bridge, scope):
        try:
            await bridge(scope, self._receive, self._send)
        except BrokenOff as error:
            self.error = error
        finally:
            self.outbox.put_nowait(None)

    async def _receive(self):
        return await self.inbox.get()

    async def _send(self, message):
        await self.flows.wait()
        if self.has_left.is_set():
            raise OSError("the client has left")
        self.outbox.put_nowait(message)

    async def message(self):
        """The next message of the application; None at the end."""
        return await asyncio.wait_for(self.outbox.get(), LIMIT)

    async def end(self):
        """Wait until the request is over for the front."""
        await asyncio.wait_for(self.task, LIMIT)


class Request(_Exchange):
    """One HTTP request."""

    def __init__(self, bridge, scope, body):
        super().__init__(bridge, scope)
        self.status = None
        self.headers = []
        self.body = b""
        if body is not None:
            self.inbox.put_nowait({"type": "http.request", "body": body, "more_body": False})

    def send(self, part, *, more=True):
        self.inbox.put_nowait({"type": "http.request", "body": part, "more_body": more})

    async def begin(self):
        """Wait for the response's headers."""
        message = await self.message()
        if message is None:
            raise self.error or AssertionError("the bridge answered nothing")
        assert message["type"] == "http.response.start"
        self.status = message["status"]
        self.headers = [(k.decode().lower(), v.decode()) for k, v in message.get("headers", ())]
        return self

    def header(self, name):
        return next((value for key, value in self.headers if key == name), None)

    async def part(self):
        """The next part of the response's body; None at its end."""
        message = await self.message()
        if message is None:
            if self.error is not None:
                raise self.error
            return None
        assert message["type"] == "http.response.body"
        self.body += message.get("body", b"")
        if not message.get("more_body", False):
            return message.get("body") or None
        return message.get("body", b"")

    async def whole(self):
        await self.begin()
        while await self.part() is not None:
            pass
        await self.end()
        return self

    @property
    def text(self):
        return self.body.decode()

    def leave(self):
        """Close the connection."""
        self.has_left.set()
        self.flows.set()
        self.inbox.put_nowait({"type": "http.disconnect"})


class Socket(_Exchange):
    """One WebSocket."""

    async def connect(self):
        self.inbox.put_nowait({"type": "websocket.connect"})
        return await self.message()

    def send(self, text=None, data=None):
        self.inbox.put_nowait({"type": "websocket.receive", "text": text, "bytes": data})

    def leave(self, code=1006, reason=""):
        self.inbox.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.has_left.set()


async def until(condition, what="it never came"):
    """Wait until `condition()` is true, of counts, threads, processes and sockets alike."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.001)


def run(app, main, **options):
    """Run ``main()`` on a loop, inside ``app.run()``."""
    with app.run(**options):
        return asyncio.run(main())
