"""Many keep-alive clients over sockets: exact slots, no container too many, nothing lost."""

from __future__ import annotations

import asyncio
import threading
from typing import Any
from urllib.parse import urlsplit

import pytest

from .sockets import PATIENCE, Client, get, served
from .test_http import App, until


class Counted:
    """Counts how many requests are inside of one container."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.peaks: list[int] = []

    def make(self) -> Any:
        """The application of one container, whose loop alone counts."""
        inside = 0
        number = len(self.peaks)
        self.peaks.append(0)

        async def application(scope: Any, receive: Any, send: Any) -> None:
            nonlocal inside
            if scope["type"] == "lifespan":
                return
            inside += 1
            self.peaks[number] = max(self.peaks[number], inside)
            await asyncio.sleep(0)  # other requests begin meanwhile
            text = scope["query_string"]
            start = [(b"content-length", b"%d" % len(text))]
            await send({"type": "http.response.start", "status": 200, "headers": start})
            inside -= 1
            await send({"type": "http.response.body", "body": text})

        return application


async def ask_many(url: str, clients: int, requests: int) -> int:
    """Ask over keep-alive connections; return how many answers were the right ones."""
    parts = urlsplit(url)

    async def client(number: int) -> int:
        right = 0
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        for turn in range(requests):
            asked = f"{number}.{turn}".encode()
            writer.write(b"GET /?" + asked + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            size = int(head.partition(b"content-length: ")[2].partition(b"\r")[0])
            answer = await reader.readexactly(size)
            right += head.startswith(b"HTTP/1.1 200 ") and answer == asked
        writer.close()
        await writer.wait_closed()
        return right

    return sum(await asyncio.gather(*(client(number) for number in range(clients))))


def test_as_many_clients_as_slots_start_one_container() -> None:
    counted = Counted()
    with served(counted.make, max_inputs=64) as (function, url):
        assert asyncio.run(ask_many(url, 64, 157)) == 64 * 157  # some 10,000
        until(lambda: function.statistics().running == 0)
        seen = function.statistics()
    assert seen.containers_started == 1
    assert counted.peaks[0] <= 64
    assert seen.succeeded == 64 * 157


def test_200_connections_on_two_containers() -> None:
    counted = Counted()
    with served(counted.make, max_inputs=100, min_containers=2, max_containers=2) as (
        function,
        url,
    ):
        assert asyncio.run(ask_many(url, 200, 20)) == 4000
        until(lambda: function.statistics().running == 0)
        seen = function.statistics()
    assert seen.succeeded == seen.accepted == 4000
    assert seen.refused == 0
    assert seen.peak_containers == 2
    assert max(counted.peaks) <= 100


def test_overload_is_exactly_what_is_beyond_the_bound() -> None:
    app = App()
    options: dict[str, Any] = {"max_inputs": 2, "max_containers": 1, "max_backlog": 5}
    with served(lambda: app, **options) as (function, url):
        running = [Client(url) for _ in range(2)]
        for client in running:
            client.ask("/waits")
        until(lambda: function.statistics() and function.statistics().running == 2)
        queued = [Client(url) for _ in range(5)]
        for client in queued:
            client.ask("/")
        until(lambda: function.statistics().queued == 5)
        for _ in range(10):
            status, headers, _ = get(url)
            assert (status, headers["retry-after"]) == (503, "1")
        with Client(url) as client:  # the connection stays good, unless a body is on its way
            client.ask("/")
            assert client.answer()[1].get("connection") is None
            client.ask("/", "Content-Length: 5", method="POST")
            assert client.answer()[1]["connection"] == "close"
            assert client.rest() == b""
        assert function.statistics().refused == 12
        app.goes_on.set()
        assert [client.answer()[0] for client in running + queued] == [200] * 7
        for client in running + queued:
            client.socket.close()
    assert len(app.paths) == 7


def test_an_upload_to_a_full_pool_is_not_read() -> None:
    app = App()
    with served(lambda: app, max_inputs=1, max_containers=1) as (function, url):
        (site,) = function._service.current_run().sites._by_key.values()
        with Client(url) as running, Client(url) as upload:
            running.ask("/waits")
            assert app.began.wait(PATIENCE)
            body = b"x" * 20_000_000
            upload.ask("/echo", f"Content-Length: {len(body)}", method="POST")
            upload.socket.setblocking(False)
            sent = 0

            def held() -> int:
                return max(
                    len(connection.cycle.body)
                    for connection in site.connections._connections
                    if connection.cycle is not None
                )

            def is_stuck() -> bool:
                """Whether the system takes no more, and the server has paused."""
                nonlocal sent
                try:
                    sent += upload.socket.send(body[sent : sent + 1_000_000])
                except BlockingIOError:
                    return held() > 0
                return False

            until(is_stuck)
            assert held() <= 512 * 1024
            assert sent < len(body)
            upload.socket.settimeout(PATIENCE)
            app.goes_on.set()
            answers: list[bytes] = []
            reader = threading.Thread(target=lambda: answers.append(upload.answer()[2]))
            reader.start()
            upload.send(body[sent:])
            reader.join(PATIENCE)
            assert running.answer()[0] == 200
            assert answers == [body]


def test_a_request_that_waited_too_long_gets_503() -> None:
    app = App()
    options: dict[str, Any] = {"max_inputs": 1, "max_containers": 1, "queue_timeout": 2}
    with served(lambda: app, **options) as (_, url), Client(url) as running:
        running.ask("/waits")
        assert app.began.wait(PATIENCE)
        status, headers, body = get(url)
        assert (status, headers["retry-after"]) == (503, "1")
        assert body == b"Service Unavailable"
        app.goes_on.set()
        assert running.answer()[0] == 200


def test_overload_refuses_the_handshake_of_a_websocket() -> None:
    from websockets.exceptions import InvalidStatus

    from .test_http import connect

    app = App()
    options: dict[str, Any] = {"max_inputs": 1, "max_containers": 1, "max_backlog": 1}
    with served(lambda: app, **options) as (function, url), Client(url) as running:
        running.ask("/waits")
        assert app.began.wait(PATIENCE)
        queued = Client(url)
        queued.ask("/")
        until(lambda: function.statistics().queued == 1)
        with pytest.raises(InvalidStatus) as caught:
            connect(url, "/ws").__enter__()
        assert caught.value.response.status_code == 503
        app.goes_on.set()
        assert running.answer()[0] == queued.answer()[0] == 200
        queued.socket.close()


def test_a_handler_that_blocks_its_container_blocks_no_other_and_no_refusal() -> None:
    goes_on = threading.Event()
    began = threading.Event()

    async def blocking(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            began.set()
            goes_on.wait(PATIENCE)
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

    options: dict[str, Any] = {"max_inputs": 1, "max_containers": 1, "max_backlog": 1}
    with (
        served(App) as (_, other),
        served(lambda: blocking, **options) as (function, url),
        Client(url) as client,
        Client(url) as queued,
    ):
        client.ask("/")
        assert began.wait(PATIENCE)
        queued.ask("/")
        until(lambda: function.statistics().queued == 1)
        assert get(url)[0] == 503
        assert get(other)[0] == 200
        goes_on.set()
        assert client.answer()[0] == queued.answer()[0] == 204
