"""``python -m benchmarks.web_server KIND``: one server for the groups in ``web.py``, in a process.

Owns the applications that are served, by bare uvicorn and by moorage alike, and the small
protocol with which the parent asks: each line on stdin gets one line of JSON on stdout.

    ready    (unasked)  {"port": 40123}
    cpu                 {"seconds": 1.25}: user and system time of this process so far
    check               {"no_delay": 200, "delay": 0, ...}: options of the connections that are
                        open now, and what moorage's pool has counted when it holds no input

The server ends when its stdin ends, so it never outlives its parent.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import moorage

NAP: Final = 0.005
"""Seconds that the JSON route awaits."""

LIMIT: Final = 200
"""Inputs at once, of all containers together."""

PATIENCE: Final = 10.0
"""Seconds that inputs may take to end after the last response."""


def make_starlette() -> Any:
    """Return an app with a JSON route that awaits a while, and a WebSocket that echoes."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route, WebSocketRoute
    from starlette.websockets import WebSocket, WebSocketDisconnect

    async def number(request: Request) -> JSONResponse:
        await asyncio.sleep(NAP)
        return JSONResponse({"n": int(request.query_params["n"])})

    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            while True:
                await websocket.send_text(await websocket.receive_text())
        except WebSocketDisconnect:
            pass

    return Starlette(routes=[Route("/", number), WebSocketRoute("/ws", echo)])


def wsgi_number(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answer as the JSON route does, without a nap: under WSGI the threads are what costs."""
    body = json.dumps({"n": int(environ["QUERY_STRING"].removeprefix("n="))}).encode()
    start_response(
        "200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    )
    return [body]


def main(kind: str) -> None:
    if kind.startswith("bare"):
        _serve_bare(_wsgi_alone() if kind == "bare-wsgi" else make_starlette())
    else:
        _serve_moorage(kind)


def _wsgi_alone() -> Any:
    middleware: Any = importlib.import_module("a2wsgi").WSGIMiddleware
    return middleware(wsgi_number, workers=LIMIT)


def _serve_bare(app: Any) -> None:
    uvicorn: Any = importlib.import_module("uvicorn")
    # asyncio sets TCP_NODELAY on the connections of a listener that names its protocol.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)  # before anybody knows the port
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="auto",
        loop="asyncio",
        log_level="error",
        access_log=False,
        backlog=1024,
    )
    server = uvicorn.Server(config)

    def answer() -> None:
        _answer(listener.getsockname()[1], dict)
        server.should_exit = True

    threading.Thread(target=answer, daemon=True).start()
    asyncio.run(server.serve(sockets=[listener]))


def _serve_moorage(kind: str) -> None:
    app = moorage.App("benchmarks")
    containers = 2 if kind.endswith("-2") else 1

    if kind == "moorage-wsgi":

        @app.function(name="served", max_containers=1, min_containers=1)
        @moorage.concurrent(max_inputs=LIMIT)
        @moorage.wsgi_app()
        def served() -> Any:
            return wsgi_number

    else:

        @app.function(
            name="served", max_containers=containers, min_containers=0 if "cold" in kind else None
        )
        @moorage.concurrent(max_inputs=LIMIT // containers)
        @moorage.asgi_app()
        def served() -> Any:
            return make_starlette()

    with app.run():
        url = served.get_web_url()
        assert url is not None
        port = urlsplit(url).port
        assert port is not None

        def counts() -> dict[str, Any]:
            # An input ends a moment after its last byte is sent, when the application returns.
            last_look = time.monotonic() + PATIENCE
            while (now := served.statistics()) is not None:
                if now.running + now.queued + now.abandoned == 0 or time.monotonic() > last_look:
                    break
                time.sleep(0.001)
            if now is None:
                return {}
            return {
                "accepted": now.accepted,
                "succeeded": now.succeeded,
                "held": now.running + now.queued + now.abandoned,
                "peak": now.peak_inputs,
                "containers": len(now.containers),
            }

        _answer(port, counts)


def _answer(port: int, counts: Callable[[], dict[str, Any]]) -> None:
    """Speak with the parent until it ends this process's stdin."""
    _say({"port": port})
    for line in sys.stdin:
        if line.strip() == "cpu":
            _say({"seconds": time.process_time()})
        else:
            _say({**_options_of_connections(port), **counts()})


def _options_of_connections(port: int) -> dict[str, int]:
    """Return how many accepted connections have TCP_NODELAY, and how many have not."""
    found = {"no_delay": 0, "delay": 0}
    for name in os.listdir("/proc/self/fd"):
        try:
            descriptor = os.dup(int(name))
        except OSError:
            continue  # the one that lists the folder, or a connection that has just been closed
        try:
            connection = socket.socket(fileno=descriptor)
        except OSError:
            os.close(descriptor)
            continue  # no socket
        with connection:
            try:
                if connection.getsockname()[1] != port:
                    continue
                connection.getpeername()
                on = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            except (OSError, IndexError, TypeError):
                continue  # not a connection
        found["no_delay" if on else "delay"] += 1
    return found


def _say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
