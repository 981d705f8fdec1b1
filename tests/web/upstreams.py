"""Servers for the tests of web servers: on a thread of the test, or as programs of their own."""

import asyncio
import contextlib
import gzip
import json
import sys
import textwrap
import threading

from aiohttp import WSMsgType, web

from free_ports import free_port


class Upstream:
    """A server on a thread, which the function under ``web_server`` starts."""

    def __init__(self, port, host="127.0.0.1"):
        self.port = port
        self.host = host
        self.seen = []  # what handlers noted
        self.connections = 0
        self.left = threading.Event()  # a client of a stream has left
        self.waits = threading.Event()  # a request of /slow is there
        self.go_on = threading.Event()  # it may end
        self._loop = None
        self._stop = None
        self._thread = None

    def start(self):
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main(ready)), daemon=True)
        self._thread.start()
        assert ready.wait(30)

    def stop(self):
        if self._thread is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(30)

    async def _main(self, ready):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=2**30)
        app.router.add_route("*", "/echo{tail:.*}", self.echo)
        app.router.add_get("/redirect", self.redirect)
        app.router.add_post("/redirect", self.redirect)
        app.router.add_get("/gzip", self.gzip)
        app.router.add_get("/events", self.events)
        app.router.add_get("/cookies", self.cookies)
        app.router.add_get("/breaks", self.breaks)
        app.router.add_get("/breaks-later", self.breaks_later)
        app.router.add_get("/nothing", self.nothing)
        app.router.add_get("/slow", self.slow)
        app.router.add_get("/ws", self.ws)
        app.router.add_get("/ws-denied", self.denied)
        runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.1, max_line_size=2**16, max_field_size=2**16
        )
        await runner.setup()
        site = web.TCPSite(runner, self.host, self.port)
        await site.start()
        ready.set()
        try:
            await self._stop.wait()
        finally:
            await runner.cleanup()

    async def echo(self, request):
        body = await request.read()
        found = {
            "method": request.method,
            "target": request.raw_path,
            "headers": [[k.decode().lower(), v.decode("latin1")] for k, v in request.raw_headers],
            "length": len(body),
            "peer": request.transport.get_extra_info("peername")[1],
        }
        self.seen.append(found)
        return web.json_response(found, headers={"x-of-server": "1", "keep-alive": "timeout=5"})

    async def redirect(self, request):
        return web.Response(status=303, headers={"location": "/elsewhere"})

    async def gzip(self, request):
        body = gzip.compress(b"packed" * 100)
        return web.Response(body=body, headers={"content-encoding": "gzip"})

    async def cookies(self, request):
        answer = web.Response(text="ok")
        answer.set_cookie("a", "1")
        answer.set_cookie("b", "2")
        return answer

    async def events(self, request):
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await answer.prepare(request)
        try:
            for n in range(10**6):
                await answer.write(b"data: %d\n\n" % n)
                await asyncio.sleep(0.005)
        except (ConnectionError, asyncio.CancelledError):
            self.left.set()
            raise
        return answer

    async def breaks(self, request):
        request.transport.abort()

    async def breaks_later(self, request):
        answer = web.StreamResponse(headers={"content-length": "100"})
        await answer.prepare(request)
        await answer.write(b"some")
        request.transport.close()
        return answer

    async def slow(self, request):
        self.waits.set()
        await asyncio.to_thread(self.go_on.wait, 30)
        return web.Response(text="slow")

    async def nothing(self, request):
        return web.Response(status=204)

    async def denied(self, request):
        return web.Response(status=403, text="no", headers={"x-why": "because"})

    async def ws(self, request):
        socket = web.WebSocketResponse(protocols=("chat", "other"), autoclose=False)
        await socket.prepare(request)
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                if message.data.startswith("close "):
                    await socket.close(code=int(message.data.split()[1]), message=b"as asked")
                    break
                if message.data == "headers":
                    await socket.send_str(json.dumps(dict(request.headers)))
                    continue
                await socket.send_str(f"echo {message.data}")
            elif message.type == WSMsgType.BINARY:
                await socket.send_bytes(message.data[::-1])
        self.seen.append(socket.close_code)
        self.left.set()
        return socket


@contextlib.contextmanager
def upstream(**more):
    made = Upstream(free_port(), **more)
    try:
        yield made
    finally:
        made.go_on.set()
        made.stop()


# A program that serves its own number, with a start as slow as it is told.
PROGRAM = textwrap.dedent(
    """
    import http.server, os, signal, sys, time
    port, pause = int(sys.argv[1]), float(sys.argv[2])
    if "stubborn" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = str(os.getpid()).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        def log_message(self, *args): pass
    time.sleep(pause)
    http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
    """
)


def program(port, pause=0.0, *more):
    """The command of a server of its own process."""
    return [sys.executable, "-c", PROGRAM, str(port), str(pause), *more]
