"""The users of the bridge, for the suite that runs over all of them (test_web_bridge.py).

Owns `USERS`: each is a way from an HTTP client to the pool of a web function.  A user gives an
``httpx.AsyncClient`` whose ``websocket`` is that of `moorage.testing.WebClient`, and runs the
test on an event loop.  A further user is one more class here.

Also `Signals`, by which a test and code in containers wait for each other, on any loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading

import httpx
import uvicorn
import websockets
from starlette.applications import Starlette
from starlette.routing import Mount

import moorage
from moorage.testing import VirtualClock, WebSocketClosed, WebSocketRefused, web_client

# No test here takes longer, unless something hangs.
TOO_LONG = 60


class Signals:
    """Names that are set once, from any thread, and that tasks of any loop wait for."""

    def __init__(self):
        self._lock = threading.Lock()
        self.seen = []
        self._waiters = []

    def set(self, name):
        with self._lock:
            self.seen.append(name)
            waiters = [w for w in self._waiters if w[0](self.seen)]
            self._waiters = [w for w in self._waiters if w not in waiters]
        for _, loop, future in waiters:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(lambda f=future: f.done() or f.set_result(None))

    async def until(self, condition):
        """Wait until `condition` of the list of all names is true."""
        with self._lock:
            if condition(self.seen):
                return
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            self._waiters.append((condition, loop, future))
        await asyncio.wait_for(future, TOO_LONG)

    async def wait(self, name, count=1):
        await self.until(lambda seen: seen.count(name) >= count)


class User:
    """What the suite asks of a user."""

    # The ports are closed when the run is left: a later client is refused by the system.
    listens_for_the_run = False

    def wait_in_thread(self, event):
        """Wait, in a thread that runs a sync handler, until `event` is set."""
        event.wait(TOO_LONG)

    async def rest(self):
        """Let everybody else go on for a while."""
        for _ in range(100):
            await asyncio.sleep(0)

    async def until(self, condition):
        """Wait until `condition`, of which nobody tells, is true."""
        while not condition():
            await self.rest()

    async def settled(self, measure):
        """Wait until `measure` is above 0, and does not change any more."""
        before = None
        while not before or before != measure():
            before = measure()
            for _ in range(3):
                await self.rest()


class Virtual(User):
    """`web_client`, in virtual time."""

    name = "web_client in virtual time"
    is_virtual = True
    over_sockets = False

    def run(self, app, function, test):
        self.clock = clock = VirtualClock()

        async def main():
            async with app.run(clock=clock), web_client(function) as client:
                await test(client)

        clock.run(main())

    def wait_in_thread(self, event):
        while not event.is_set():
            self.clock.sleep(1)

    async def rest(self):
        await self.clock.sleep.aio(0)


class Real(User):
    """`web_client`, in real time."""

    name = "web_client in real time"
    is_virtual = False
    over_sockets = False

    def run(self, app, function, test):
        async def main():
            async with app.run(), web_client(function) as client:
                await test(client)

        asyncio.run(asyncio.wait_for(main(), TOO_LONG))


class Mounted(User):
    """A pool mounted in a Starlette app that uvicorn serves on the loop of the test."""

    name = "mounted in a service"
    is_virtual = False
    over_sockets = True
    http = "auto"

    def run(self, app, function, test):
        async def main():
            service = Starlette(routes=[Mount("/mounted", moorage.web.asgi(function))])
            listening = socket.create_server(("127.0.0.1", 0))
            port = listening.getsockname()[1]
            config = uvicorn.Config(
                service,
                http=self.http,
                log_level="critical",
                lifespan="off",
                ws="websockets-sansio",
            )
            config.load()
            server = uvicorn.Server(config)
            server.install_signal_handlers = lambda: None
            async with app.run():
                serving = asyncio.create_task(server._serve(sockets=[listening]))
                try:
                    url = f"http://127.0.0.1:{port}/mounted"
                    async with SocketClient(base_url=url, timeout=TOO_LONG) as client:
                        await test(client)
                finally:
                    server.should_exit = server.force_exit = True
                    await serving
                    listening.close()

        asyncio.run(asyncio.wait_for(main(), TOO_LONG))


class HttpThread(User):
    """The HTTP thread: the URL of the function, over sockets of loopback."""

    name = "the HTTP thread"
    is_virtual = False
    over_sockets = True
    listens_for_the_run = True

    def run(self, app, function, test):
        async def main():
            async with app.run():
                url = await function.get_web_url.aio()
                async with SocketClient(base_url=url, timeout=TOO_LONG) as client:
                    await test(client)

        asyncio.run(asyncio.wait_for(main(), TOO_LONG))


class SocketClient(httpx.AsyncClient):
    """A client over sockets, with the WebSockets of `web_client`."""

    @contextlib.asynccontextmanager
    async def websocket(self, path, *, subprotocols=()):
        url = str(self.base_url).replace("http", "ws", 1).rstrip("/") + path
        try:
            connection = await websockets.connect(
                url, subprotocols=list(subprotocols) or None, compression=None, proxy=None
            )
        except websockets.InvalidStatus as error:
            response = httpx.Response(
                error.response.status_code,
                headers=list(error.response.headers.raw_items()),
                content=bytes(error.response.body or b""),
                request=httpx.Request("GET", url),
            )
            raise WebSocketRefused(response) from None
        try:
            yield SocketOverSocket(connection)
        finally:
            await connection.close()


class SocketOverSocket:
    def __init__(self, connection):
        self._connection = connection
        self.subprotocol = connection.subprotocol

    async def send_text(self, text):
        await self._do(self._connection.send(text))

    async def send_bytes(self, data):
        await self._do(self._connection.send(data))

    async def receive(self):
        return await self._do(self._connection.recv())

    receive_text = receive_bytes = receive

    async def close(self, code=1000, reason=""):
        await self._connection.close(code, reason)

    async def _do(self, step):
        try:
            return await step
        except websockets.ConnectionClosed as error:
            code = 1006 if error.rcvd is None else error.rcvd.code
            raise WebSocketClosed(code) from None


USERS = [Virtual(), Real(), Mounted(), HttpThread()]
