"""Random clients, in many orders: each request ends once, and each slot comes back."""

import asyncio
import random
from collections import Counter

import anyio.to_thread
import httpx
import pytest

import moorage
from moorage.testing import WebSocketClosed, WebSocketRefused, explore, web_client

app = moorage.App("random clients")
_clock = None


async def application(scope, receive, send):
    """Do what the path says: a plan of steps, such as ``/nap/start/part/end``."""
    if scope["type"] == "lifespan":
        return
    is_socket = scope["type"] == "websocket"
    if is_socket:
        await receive()
    for step in scope["path"].strip("/").split("/"):
        match step:
            case "nap":
                await asyncio.sleep(1)
            case "thread":
                await anyio.to_thread.run_sync(lambda: None)
            case "shield":
                with moorage.shield():
                    await asyncio.sleep(2)
            case "start" if is_socket:
                await send({"type": "websocket.accept"})
            case "start":
                await send({"type": "http.response.start", "status": 200, "headers": []})
            case "part" if is_socket:
                await send({"type": "websocket.send", "bytes": b"x" * 40_000})
            case "part":
                part = {"type": "http.response.body", "body": b"x" * 100_000, "more_body": True}
                await send(part)
            case "end" if is_socket:
                await send({"type": "websocket.close"})
            case "end":
                await send({"type": "http.response.body", "body": b"end"})
            case "receive":
                await receive()
            case "fail":
                raise ValueError("planned")


@app.function(
    serialized=True, max_containers=2, timeout=5, max_backlog=6, queue_timeout=3, scaledown_window=2
)
@moorage.concurrent(max_inputs=2)
@moorage.asgi_app()
def web():
    return application


STEPS = ["nap", "nap", "thread", "shield", "receive", "fail", "part"]


def plan(chance):
    before = chance.choices(STEPS[:-1], k=chance.randrange(3))
    inside = chance.choices(STEPS, k=chance.randrange(4))
    after = chance.choices(["nap", "fail", "shield", "receive"], k=chance.randrange(2))
    return "/" + "/".join([*before, "start", *inside, "end", *after])


def test_random_clients():
    total = Counter()

    async def once():
        clock = asyncio.get_running_loop().clock
        chance = random.Random(clock.seed)
        ends = Counter()

        async def visit(client):
            await asyncio.sleep(chance.randrange(4))
            path = plan(chance)
            if chance.random() < 0.3:
                try:
                    async with client.websocket(path) as socket:
                        if chance.random() < 0.5:
                            await socket.send_text("x")
                        async for _ in socket:
                            if chance.random() < 0.3:
                                break
                except WebSocketRefused as refused:
                    return f"socket {refused.status_code}"
                except WebSocketClosed:
                    return "socket closed"
                return "socket"
            body = [b"", b"x" * 200_000, parts(chance)][chance.randrange(3)]
            try:
                response = await client.post(path, content=body)
            except httpx.RemoteProtocolError:
                return "broken off"
            return str(response.status_code)

        async def one(client):
            task = asyncio.create_task(visit(client))
            if chance.random() < 0.4:
                await asyncio.sleep(chance.random() * 6)
                task.cancel()
            try:
                ends[await task] += 1
            except asyncio.CancelledError:
                ends["left"] += 1

        async with app.run(clock=clock):
            async with web_client(web) as client:
                await asyncio.gather(*(one(client) for _ in range(40)))
                await asyncio.sleep(10)
                seen = web.statistics()
                assert (seen.running, seen.queued, seen.abandoned, seen.outside) == (0, 0, 0, 0)
                assert seen.peak_inputs <= 2
                assert seen.accepted == seen.succeeded + seen.failed + seen.cancelled
                assert ends.total() == 40
                response = await client.get("/start/end")
                assert response.text == "end"
            left = [
                task
                for task in asyncio.all_tasks()
                if task is not asyncio.current_task() and "Served" in repr(task.get_coro())
            ]
            assert left == []
        total.update(ends)

    explore(once, runs=40)
    for end in ("200", "500", "503", "504", "left", "socket", "socket 503", "broken off"):
        assert total[end], total


async def parts(chance):
    for _ in range(chance.randrange(8)):
        await asyncio.sleep(chance.random())
        yield b"x" * 30_000


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level("CRITICAL", logger="moorage")
