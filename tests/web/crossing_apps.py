"""Web functions whose containers are threads or processes: imported anew in each process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import fastapi

import moorage

app = moorage.App("crossing")

# A port that nobody has, chosen by the test: each process of it has the same environment.
PORT = int(os.environ.get("MOORAGE_TEST_PORT", "18734"))


def note(query: bytes, what: str) -> None:
    """Append a line to the file that the query names."""
    with open(query.decode(), "a") as file:
        file.write(f"{what}\n")


@app.function()
@moorage.concurrent(max_inputs=20)
@moorage.fastapi_endpoint(method="POST")
async def echo(request: fastapi.Request) -> dict[str, Any]:
    body = await request.body()
    return {
        "size": len(body),
        "pid": os.getpid(),
        "is_local": moorage.is_local(),
        "input": moorage.current_input_id(),
        "client": request.client.host if request.client else None,
    }


async def respond(send: Any, *parts: bytes, status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [[b"x-a", b"b"]]})
    for part in parts:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """What a path of the application does."""
    if scope["type"] == "lifespan":
        await receive()
        scope["state"]["pid"] = os.getpid()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["type"] == "websocket":
        await socket(scope, receive, send)
        return
    path, query = scope["path"], scope["query_string"]
    if path == "/state":
        await respond(send, str(scope["state"]["pid"] == os.getpid()).encode())
    elif path == "/large":
        await respond(send, *[bytes([65 + n]) * 1_000_000 for n in range(4)])
    elif path == "/fails":
        raise ValueError("in the application")
    elif path == "/wrong":
        await send({"type": "http.response.body", "body": b""})
    elif path == "/object":
        await send({"type": "http.response.start", "status": 200, "headers": [], "x": object()})
    elif path == "/nothing":
        return
    elif path == "/breaks":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"part", "more_body": True})
        raise ValueError("in the middle")
    elif path == "/waits":
        note(query, "began")
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
            note(query, "left")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            note(query, "cancelled")
            raise
    elif path == "/floods":  # more than any window; the file says how far it came
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for count in range(40):
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            note(query, str(count))
        await send({"type": "http.response.body", "body": b""})
    elif path == "/reads":  # part by part, as the file allows
        total = 0
        while True:
            message = await receive()
            total += len(message.get("body", b""))
            if not message.get("more_body", False):
                break
        await respond(send, str(total).encode())
    elif path == "/blocks":  # the response goes out though the loop is blocked
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"whole"})
        while not Path(query.decode()).exists():
            time.sleep(0.005)
    elif path == "/dies":
        await dies(query, receive, send)


async def dies(query: bytes, receive: Any, send: Any) -> None:
    """End the process: before anything, when the body was asked for, or within the response."""
    when, _, file = query.decode().partition(":")
    note(file.encode(), str(os.getpid()))
    lives = len(set(Path(file).read_text().split())) > 1
    if when == "body" or when == "once-body":
        await receive()
    if when == "response":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"part", "more_body": True})
        while not Path(file + ".go").exists():
            await asyncio.sleep(0.005)
    if not lives or when in ("body", "always"):
        os.kill(os.getpid(), signal.SIGKILL)
    await respond(send, b"lives")


async def socket(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    if scope["path"] == "/refused":
        await send({"type": "websocket.close", "code": 1000})
        return
    await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
    if scope["path"] == "/dies":
        await receive()
        os.kill(os.getpid(), signal.SIGKILL)
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            note(scope["query_string"], f"left {message['code']}")
            return
        if message.get("text") == "close":
            await send({"type": "websocket.close", "code": 4001, "reason": "as asked"})
            return
        data = message.get("bytes")
        kind = "text" if data is None else "bytes"
        await send({"type": "websocket.send", kind: message["text"] if data is None else data})


@app.function(max_containers=1)
@moorage.concurrent(max_inputs=20)
@moorage.asgi_app()
def asgi() -> Any:
    return bare


@app.function(timeout=1, startup_timeout=60, max_containers=1)
@moorage.concurrent(max_inputs=5)
@moorage.asgi_app()
def timely() -> Any:
    return bare


@app.function()
@moorage.concurrent(max_inputs=5)
@moorage.wsgi_app()
def wsgi() -> Any:
    def application(environ: Any, start: Any) -> Any:
        body = environ["wsgi.input"].read()
        start("200 OK", [("x-threads", str(threading.active_count()))])
        yield b"wsgi "
        yield str(len(body)).encode()

    return application


@app.cls()
@moorage.concurrent(max_inputs=5)
class Model:
    size: int = moorage.parameter(default=3)

    @moorage.enter()
    def zero(self) -> None:
        self.steps = ["zero"]

    @moorage.enter()
    def load(self) -> None:
        self.steps.append("load")

    @moorage.fastapi_endpoint()
    def web(self) -> dict[str, Any]:
        return {"size": self.size, "steps": self.steps, "pid": os.getpid()}

    @moorage.asgi_app()
    def other(self) -> Any:
        @asynccontextmanager
        async def lifespan(api: Any) -> Any:
            self.steps.append("lifespan")
            yield

        api = fastapi.FastAPI(lifespan=lifespan)

        @api.get("/")
        def root() -> Any:
            return self.steps

        return api

    @moorage.method()
    def call(self) -> int:
        return os.getpid()


SERVER = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{os.getpid()} {os.getpgid(0)} {self.path}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
http.server.HTTPServer.allow_reuse_address = True
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@app.function()
@moorage.concurrent(max_inputs=5)
@moorage.web_server(PORT, startup_timeout=60)
def server() -> None:
    subprocess.Popen([sys.executable, "-c", SERVER, str(PORT)])


@app.function()
@moorage.web_server(PORT, startup_timeout=60)
def neighbour() -> None:
    subprocess.Popen([sys.executable, "-c", SERVER, str(PORT)])


@app.server(port=PORT, routing_region="here", startup_timeout=60, unauthenticated=True)
class Served:
    @moorage.enter()
    def start(self) -> None:
        # Imported, as each module that can be, and not sent by value.
        assert vars(sys.modules[__name__]) is globals()
        self.process = subprocess.Popen([sys.executable, "-c", SERVER, str(PORT)])
