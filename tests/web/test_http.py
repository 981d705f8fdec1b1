"""Web functions over real sockets: HTTP as uvicorn speaks it, disconnects, and bounds of a head."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from typing import Any

import pytest

import moorage
from moorage.web import ports, uvicorn_protocol
from moorage.web.http_loop import process_http

from .sockets import PATIENCE, Client, bare_uvicorn, get, served, without_date


class App:
    """A bare ASGI application, with events for what happens inside."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.goes_on = threading.Event()
        self.ended = threading.Event()
        self.seen: list[str] = []
        self.paths: list[str] = []

    async def wait(self) -> None:
        await asyncio.to_thread(self.goes_on.wait, PATIENCE)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        path = scope["path"]
        self.paths.append(path)
        if scope["type"] == "websocket":
            await self.websocket(path, receive, send)
            return

        async def start(status: int = 200, *headers: tuple[bytes, bytes]) -> None:
            await send({"type": "http.response.start", "status": status, "headers": headers})

        async def body(data: bytes = b"", *, more: bool = False) -> None:
            await send({"type": "http.response.body", "body": data, "more_body": more})

        if path == "/echo":
            await start(200, (b"X-Method", scope["method"].encode()))
            while True:
                message = await receive()
                await body(message.get("body", b""), more=message.get("more_body", False))
                if not message.get("more_body", False):
                    return
        elif path == "/scope":
            text = repr({k: scope.get(k) for k in ("http_version", "path", "raw_path", "state")})
            await start(200, (b"content-length", b"%d" % len(text)))
            await body(text.encode())
        elif path == "/headers":
            text = b"|".join(name + b"=" + value for name, value in scope["headers"])
            while (await receive()).get("more_body", False):
                pass
            after = b"|".join(name + b"=" + value for name, value in scope["headers"])
            await start(
                200, (b"content-length", b"%d" % len(text)), (b"x-same", b"%d" % (text == after))
            )
            await body(text)
        elif path.startswith("/status/"):
            await start(int(path.rpartition("/")[2]))
            await body()
        elif path == "/stream":
            await start(200, (b"content-type", b"text/event-stream"))
            await body(b"one", more=True)
            self.began.set()
            await self.wait()
            await body(b"two", more=True)
            await body()
        elif path == "/breaks":
            await start()
            await body(b"part", more=True)
            raise ZeroDivisionError("secret")
        elif path == "/fails":
            raise ZeroDivisionError("secret")
        elif path == "/silent":
            return
        elif path == "/waits":
            self.began.set()
            await self.wait()
            await start(200, (b"content-length", b"2"))
            await body(b"ok")
        elif path == "/hangs":
            self.began.set()
            try:
                self.seen.append((await receive())["type"])
                self.seen.append((await receive())["type"])
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.seen.append("cancelled")
                raise
            finally:
                self.ended.set()
        elif path == "/background":
            await start(200, (b"content-length", b"2"))
            await body(b"ok")
            try:
                await self.wait()
                self.seen.append("done")
            except asyncio.CancelledError:
                self.seen.append("cancelled")
                raise
            finally:
                self.ended.set()
        else:
            await start(200, (b"content-length", b"2"))
            await body(b"ok")

    async def websocket(self, path: str, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        if path == "/refused":
            await send({"type": "websocket.close"})
            return
        if path == "/raises-at-once":
            raise ZeroDivisionError("secret")
        await send({"type": "websocket.accept"})
        if path == "/raises":
            raise ZeroDivisionError("secret")
        if path == "/late":  # reads only after all has come
            self.began.set()
            await self.wait()
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                self.seen.append(f"disconnect {message['code']}")
                self.ended.set()
                return
            self.seen.append(message.get("text") or "bytes")
            if path == "/closes":
                await send({"type": "websocket.close", "code": 4001, "reason": "bye"})
                return
            if path != "/late":
                await send({"type": "websocket.send", "text": message.get("text") or ""})


# -- the same bytes as uvicorn -------------------------------------------------------------------

CONVERSATIONS = {
    "keep-alive": b"GET /a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 2,
    "HTTP/1.0": b"GET /a HTTP/1.0\r\n\r\n",
    "HEAD": b"HEAD /a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "204": b"GET /status/204 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "304": b"GET /status/304 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "chunked": b"POST /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    "scope": b"GET /scope HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "no HTTP": b"nonsense\r\n\r\n",
    "fails": b"GET /fails HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "silent": b"GET /silent HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "breaks": b"GET /breaks HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "duplicates": b"GET /headers HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: 1\r\nx-a: 2\r\n\r\n",
}
LAST = b"GET /last HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


def spoken(url: str, data: bytes) -> bytes:
    with Client(url) as client:
        client.send(data)
        if b"1.0" not in data and b"nonsense" not in data:
            client.send(LAST)
        return without_date(client.rest())


def test_the_same_bytes_as_behind_uvicorn(caplog: pytest.LogCaptureFixture) -> None:
    with bare_uvicorn(App()) as bare:
        wanted = {name: spoken(bare, data) for name, data in CONVERSATIONS.items()}
    with served(App) as (_, url):
        found = {name: spoken(url, data) for name, data in CONVERSATIONS.items()}
    for name in CONVERSATIONS:
        if name in ("scope", "fails", "silent"):
            continue
        assert found[name] == wanted[name], name
    # Containers have a state; uvicorn has none with lifespan="off".
    assert b"'state': {}" in found["scope"]
    # Uvicorn closes after such a response; here the connection is good for the next request.
    for name in ("fails", "silent"):
        assert found[name].startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
        assert b"secret" not in found[name]
        assert found[name].count(b"HTTP/1.1 200 OK") == 1


def test_the_date_and_the_server_headers() -> None:
    with served(App) as (_, url):
        _, headers, _ = get(url)
    assert headers["server"] == "uvicorn"
    assert headers["date"].endswith(" GMT")


def test_pipelined_requests_are_answered_in_their_order() -> None:
    with served(App) as (_, url), Client(url) as client:
        for number in range(50):
            client.ask("/echo", "Content-Length: 2", method="POST", body=b"%02d" % number)
        for number in range(50):
            assert client.answer()[2] == b"%02d" % number


def test_a_continue_is_sent_when_the_application_reads() -> None:
    app = App()
    with served(lambda: app) as (_, url), Client(url) as client:
        client.ask("/waits", "Content-Length: 4", "Expect: 100-continue", method="POST")
        assert app.began.wait(PATIENCE)
        app.goes_on.set()
        # The application never reads, so no continue comes before its response.
        status, _, _ = client.answer()
        assert status == 200
    with served(App) as (_, url), Client(url) as client:
        client.ask("/headers", "Content-Length: 4", "Expect: 100-continue", method="POST")
        assert client.answer()[0] == 100
        client.send(b"body")
        assert client.answer()[0] == 200


def test_each_part_of_a_stream_comes_at_once() -> None:
    app = App()
    with served(lambda: app) as (_, url), Client(url) as client:
        client.ask("/stream")
        client.until(b"one\r\n")
        app.goes_on.set()
        assert client.until(b"0\r\n\r\n") == b"3\r\ntwo\r\n0\r\n\r\n"


def test_a_response_that_breaks_off_has_no_clean_end() -> None:
    with served(App) as (_, url), Client(url) as client:
        client.ask("/breaks")
        rest = client.rest()
    assert b"part" in rest
    assert not rest.endswith(b"0\r\n\r\n")
    assert b"secret" not in rest


def test_an_error_is_logged_once_and_uvicorn_says_nothing(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG), served(App) as (_, url):
        assert get(url, "/fails")[0] == 500
        with Client(url) as client:
            client.ask("/breaks")
            client.rest()
        with Client(url) as client:
            client.send(b"nonsense\r\n\r\n")
            client.rest()
        get(url)
    errors = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.name for record in errors] == ["moorage", "moorage"]
    assert not [record for record in caplog.records if "uvicorn" in record.name]
    assert "uvicorn" not in capfd.readouterr().err


def test_accepted_connections_have_no_delay() -> None:
    with served(App) as (function, url), Client(url) as client:
        client.ask("/")
        client.answer()
        (site,) = function._service.current_run().sites._by_key.values()
        (connection,) = site.connections._connections
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert threading.current_thread().name != "moorage-http"


def test_one_thread_serves_everything() -> None:
    with served(App) as (_, url), served(App) as (_, other):
        assert get(url)[0] == get(other)[0] == 200
        names = [thread.name for thread in threading.enumerate()]
        assert names.count("moorage-http") == 1


# -- clients that leave --------------------------------------------------------------------------


def test_a_client_that_leaves_a_running_request() -> None:
    app = App()
    with served(lambda: app) as (function, url):
        with Client(url) as client:
            client.ask("/hangs")
            assert app.began.wait(PATIENCE)
        assert app.ended.wait(PATIENCE)
        assert app.seen == ["http.request", "http.disconnect", "cancelled"]
        assert get(url)[0] == 200
        until(lambda: function.statistics().cancelled == 1)


def test_a_half_closed_client_has_left() -> None:
    app = App()
    with served(lambda: app) as (_, url), Client(url) as client:
        client.ask("/hangs")
        assert app.began.wait(PATIENCE)
        client.socket.shutdown(socket.SHUT_WR)
        assert app.ended.wait(PATIENCE)
        assert app.seen[:2] == ["http.request", "http.disconnect"]


def test_a_client_that_leaves_the_queue_never_reaches_the_application(onlooker: Any) -> None:
    app = App()
    with served(lambda: app, max_inputs=1, max_containers=1) as (function, url):
        with Client(url) as first:
            first.ask("/waits")
            assert app.began.wait(PATIENCE)
            with Client(url) as second:
                second.ask("/queued")
                until(lambda: function.statistics().queued == 1)
            until(lambda: function.statistics().queued == 0)
            app.goes_on.set()
            assert first.answer()[2] == b"ok"
        assert app.paths == ["/waits"]
        until(lambda: function.statistics().cancelled == 1)


def test_a_client_that_leaves_with_pipelined_requests_is_noticed_at_the_next_write() -> None:
    # Reading is paused then, as uvicorn does.
    app = App()
    with served(lambda: app) as (function, url):
        with Client(url) as client:
            client.ask("/stream")
            client.ask("/second")
            client.until(b"one\r\n")
        app.goes_on.set()
        (site,) = function._service.current_run().sites._by_key.values()
        until(lambda: site.connections.connections == 0)
        until(lambda: function.statistics().running == 0)
    assert app.paths == ["/stream"]


def test_after_the_whole_response_a_disconnect_is_none() -> None:
    app = App()
    with served(lambda: app) as (_, url):
        with Client(url) as client:
            client.ask("/background")
            assert client.answer()[2] == b"ok"
        assert get(url)[0] == 200
        app.goes_on.set()
        assert app.ended.wait(PATIENCE)
    assert app.seen == ["done"]


def until(holds: Any) -> None:
    """Wait until something that other threads count is so."""
    turns = threading.Event()
    for _ in range(int(PATIENCE * 100)):
        if holds():
            return
        turns.wait(0.01)
    raise AssertionError("it never became so")


# -- heads that are too long, or too slow --------------------------------------------------------


def test_a_head_of_64_kib_passes_and_a_longer_one_does_not() -> None:
    with served(App) as (_, url):
        line = "X-Long: " + "x" * (uvicorn_protocol.HEAD_BYTES - 100)
        assert get(url, "/", line)[0] == 200
        for long in ("X-Long: " + "x" * (uvicorn_protocol.HEAD_BYTES + 100),):
            status, headers, _ = get(url, "/", long)
            assert (status, headers["connection"]) == (431, "close")
        with Client(url) as client:
            client.send(b"GET /" + b"x" * (uvicorn_protocol.HEAD_BYTES + 100))  # never ends
            assert client.answer()[0] == 431
        with Client(url) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            with pytest.raises(OSError):  # noqa: PT012 - the server closes somewhere
                for _ in range(10_000):
                    client.send(b"X-Another: one\r\n" * 100)
            assert not client.buffer


def test_a_long_body_is_no_long_head() -> None:
    body = b"x" * (uvicorn_protocol.HEAD_BYTES * 5)
    with served(App) as (_, url), Client(url) as client:
        for _ in range(2):  # one after the other in the same bytes
            client.ask("/echo", f"Content-Length: {len(body)}", method="POST", body=body)
        for _ in range(2):
            assert client.answer()[2] == body


def test_trailers_are_bounded_and_do_not_become_headers() -> None:
    head = ("Transfer-Encoding: chunked", "X-Mine: 1")
    with served(App) as (_, url):
        with Client(url) as client:
            client.ask("/headers", *head, method="POST")
            client.send(b"1\r\na\r\n0\r\nModal-Key: forged\r\n\r\n")
            _, headers, body = client.answer()
            assert b"forged" not in body
            assert headers["x-same"] == "1"
        with Client(url) as client:
            client.ask("/headers", *head, method="POST")
            client.send(b"1\r\na\r\n0\r\n")
            with pytest.raises(OSError):  # noqa: PT012
                for _ in range(10_000):
                    client.send(b"X-Another: one\r\n" * 100)


def test_a_slow_head_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uvicorn_protocol, "HEAD_SECONDS", 0.05)
    with served(App) as (_, url):
        with Client(url) as client:
            client.send(b"GET / HT")
            status, headers, _ = client.answer()
            assert (status, headers["connection"]) == (408, "close")
            assert client.rest() == b""
        assert get(url)[0] == 200


def test_a_slow_head_waits_for_the_response_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uvicorn_protocol, "HEAD_SECONDS", 0.05)
    app = App()
    with served(lambda: app) as (_, url), Client(url) as client:
        client.ask("/stream")
        client.until(b"one\r\n")
        client.send(b"GET / HT")
        monkeypatch.setattr(uvicorn_protocol, "HEAD_SECONDS", 0.01)
        app.goes_on.set()
        assert client.until(b"0\r\n\r\n") == b"3\r\ntwo\r\n0\r\n\r\n"
        assert client.answer()[0] == 408


def test_a_connection_that_sends_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uvicorn_protocol, "KEEP_ALIVE", 0.05)
    with served(App) as (_, url), Client(url) as client:
        assert client.rest() == b""
    monkeypatch.setattr(uvicorn_protocol, "KEEP_ALIVE", 2)  # the request itself may be late
    with served(App) as (_, url), Client(url) as client:
        client.ask("/")  # what is no request does not keep the connection
        client.answer()
        client.send(b"\r\n")
        assert client.rest() == b""


def test_the_oldest_idle_connection_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "MOST_CONNECTIONS", 3)
    app = App()
    with served(lambda: app) as (_, url):
        busy, first, second = Client(url), Client(url), Client(url)
        busy.ask("/waits")
        assert app.began.wait(PATIENCE)
        for client in (first, second, first):
            client.ask("/")
            client.answer()
        with Client(url) as third:
            third.ask("/")
            assert third.answer()[0] == 200
            assert second.rest() == b""  # it was idle longest
            first.ask("/waits")
            third.ask("/waits")
            until(lambda: len(app.paths) == 7)
            with Client(url) as fourth:  # nobody is idle
                status, headers, _ = fourth.answer()
                assert (status, headers["retry-after"]) == (503, "1")
            app.goes_on.set()
            for client in (busy, first, third):
                assert client.answer()[2] == b"ok"
        for client in (busy, first, second):
            client.socket.close()


# -- WebSockets ----------------------------------------------------------------------------------


def connect(url: str, path: str, **options: Any) -> Any:
    from websockets.sync.client import connect

    return connect(url.replace("http", "ws", 1) + path, open_timeout=PATIENCE, **options)


def test_websocket_messages_and_the_clients_code() -> None:
    app = App()
    with served(lambda: app) as (_, url):
        with connect(url, "/ws") as client:
            client.send("hello")
            assert client.recv(PATIENCE) == "hello"
            client.close(4321)
        assert app.ended.wait(PATIENCE)
    assert app.seen == ["hello", "disconnect 4321"]


def test_the_applications_code_reaches_the_client() -> None:
    with served(App) as (_, url), connect(url, "/closes") as client:
        client.send("x")
        closed = closing(client)
    assert (closed.code, closed.reason) == (4001, "bye")


def closing(client: Any) -> Any:
    from websockets.exceptions import ConnectionClosed

    with pytest.raises(ConnectionClosed) as caught:  # noqa: PT012 - after its messages
        while True:
            client.recv(PATIENCE)
    return caught.value.rcvd


def test_a_websocket_that_is_lost() -> None:
    app = App()
    with served(lambda: app) as (_, url), connect(url, "/ws") as client:
        client.send("hello")
        client.recv(PATIENCE)
        client.socket.shutdown(socket.SHUT_RDWR)
        assert app.ended.wait(PATIENCE)
    assert app.seen[-1] in ("disconnect 1005", "disconnect 1006")


def test_messages_before_a_close_are_received_before_it() -> None:
    app = App()
    with served(lambda: app) as (_, url):
        with connect(url, "/late") as client:
            assert app.began.wait(PATIENCE)
            for number in range(100):
                client.send(f"{number}")
            client.close(4002)
        app.goes_on.set()
        assert app.ended.wait(PATIENCE)
    assert app.seen == [*(f"{number}" for number in range(100)), "disconnect 4002"]


@pytest.mark.parametrize("path", ["/refused", "/raises-at-once"])
def test_a_handshake_that_is_refused(path: str) -> None:
    from websockets.exceptions import InvalidStatus

    with served(App) as (_, url), pytest.raises(InvalidStatus) as caught:
        connect(url, path)
    assert caught.value.response.status_code == (403 if path == "/refused" else 500)


def test_an_application_that_fails_closes_the_websocket() -> None:
    with served(App) as (_, url), connect(url, "/raises") as client:
        assert closing(client).code == 1011


def test_a_message_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uvicorn_protocol, "MESSAGE_BYTES", 1000)
    app = App()
    with served(lambda: app) as (_, url), connect(url, "/ws") as client:
        client.send("x" * 1001)
        assert closing(client).code == 1009


def test_strict_mode_takes_smaller_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    assert uvicorn_protocol.MESSAGE_BYTES == 16 * 1024 * 1024
    assert uvicorn_protocol.MESSAGE_BYTES_STRICT == 2 * 1024 * 1024
    monkeypatch.setattr(uvicorn_protocol, "MESSAGE_BYTES_STRICT", 1000)
    monkeypatch.setattr(moorage.config, "strict", True)
    with served(App) as (_, url), connect(url, "/ws") as client:
        client.send("x" * 1001)
        assert closing(client).code == 1009


def test_no_compression_is_agreed() -> None:
    with served(App) as (_, url), connect(url, "/ws") as client:
        assert not client.protocol.extensions


# -- what is used of uvicorn ---------------------------------------------------------------------


def test_the_names_of_uvicorn_that_are_used_are_there() -> None:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    loaded = Config(app, http="httptools", ws="websockets-sansio", log_config=None)
    loaded.load()
    found = {
        "Config": loaded,
        "ServerState": ServerState(),
        "http_protocol_class": loaded.http_protocol_class,
        "ws_protocol_class": loaded.ws_protocol_class,
    }
    gone = uvicorn_protocol.missing_names(found)
    assert not gone, (
        f"uvicorn no longer has {', '.join(gone)}: mend web/uvicorn_protocol.py, and the bounds "
        "of uvicorn in pyproject.toml"
    )


def test_a_uvicorn_without_a_name_is_refused_clearly(monkeypatch: pytest.MonkeyPatch) -> None:
    from uvicorn.config import Config

    monkeypatch.setattr(
        uvicorn_protocol, "NEEDED", {**uvicorn_protocol.NEEDED, "Config": ("no_such_name",)}
    )
    assert not hasattr(Config, "no_such_name")
    text = r"Config\.no_such_name.*pip install"
    with pytest.raises(moorage.exception.InvalidError, match=text), served(App):
        pass


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "httptools", None)
    monkeypatch.delitem(sys.modules, "uvicorn.protocols.http.httptools_impl", raising=False)
    text = r"pip install 'moorage\[web\]'"
    with pytest.raises(moorage.exception.InvalidError, match=text), served(App):
        pass
    assert not process_http.is_here
