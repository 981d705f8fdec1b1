"""``python -m tests.load.server``: the server that is loaded, in a process of its own.

Owns the applications: a bulk one that takes and gives bodies of any length, through as many
slots as its class has, and a quiet neighbour.  It prints its URLs as JSON, and ends when its
stdin ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any
from urllib.parse import parse_qs

import moorage

app = moorage.App("load")

PART = bytes(64 * 1024)


async def bulk(scope: Any, receive: Any, send: Any) -> None:
    """``/up`` counts a body, ``/down?bytes=N`` sends one; ``rate=R`` reads at R bytes a second."""
    if scope["type"] == "lifespan":
        return
    query = parse_qs(scope["query_string"].decode())
    if scope["path"] == "/up":
        rate = float(query.get("rate", ["0"])[0])
        counted = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            part = len(message.get("body", b""))
            counted += part
            if rate:
                await asyncio.sleep(part / rate)
            if not message.get("more_body"):
                break
        await _answer(send, str(counted).encode())
        return
    left = int(query["bytes"][0])
    headers = [(b"content-length", str(left).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while left > 0:
        part = PART[:left]
        left -= len(part)
        await send({"type": "http.response.body", "body": part, "more_body": left > 0})


async def _answer(send: Any, body: bytes) -> None:
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@app.function(max_containers=1)
@moorage.concurrent(max_inputs=1)
@moorage.asgi_app()
def single() -> Any:
    return bulk


@app.function(max_containers=1, timeout=3600)
@moorage.concurrent(max_inputs=100)
@moorage.asgi_app()
def crowd() -> Any:
    return bulk


@app.function(max_containers=1)
@moorage.concurrent(max_inputs=8)
@moorage.asgi_app()
def quiet() -> Any:
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await _answer(send, b"quiet")

    return answer


if __name__ == "__main__":
    with app.run():
        functions = {"single": single, "crowd": crowd, "quiet": quiet}
        print(json.dumps({n: f.get_web_url() for n, f in functions.items()}), flush=True)
        sys.stdin.read()
