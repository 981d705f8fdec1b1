"""The proxy in front of a user's server: what passes, what does not, and who hears of an end."""

import gzip
import json

import pytest

import moorage

from .apps_front import Client, run, until

pytest.importorskip("aiohttp")

from .upstreams import upstream


@pytest.fixture
def server():
    with upstream() as made:
        yield made


def serve(server, **options):
    app = moorage.App("proxy-tests")

    @app.function(serialized=True, **options)
    @moorage.concurrent(max_inputs=20)
    @moorage.web_server(server.port, startup_timeout=20)
    def web():
        server.start()

    return app, web


def echoed(answer):
    return json.loads(answer.body)


def header(found, name):
    return [value for key, value in found["headers"] if key == name]


def test_the_request_passes_as_it_is(server):
    app, web = serve(server)

    async def main():
        return await Client(web).post(
            "/echo/a%2Fb?x=%20y&z=1",
            body=b"x" * 2_000_000,
            headers={
                "X-Thing": "1",
                "Connection": "close, x-mine",
                "X-Mine": "of this connection",
                "TE": "trailers",
                "Keep-Alive": "5",
                "Proxy-Authorization": "secret",
                "X-Forwarded-For": "10.0.0.1",
                "User-Agent": "tests",
                "Expect": "100-continue",
            },
        )

    answer = run(app, main)
    found = echoed(answer)
    assert answer.status == 200
    assert (found["method"], found["target"]) == ("POST", "/echo/a%2Fb?x=%20y&z=1")
    assert found["length"] == 2_000_000
    assert header(found, "content-length") == ["2000000"]
    assert header(found, "x-thing") == ["1"]
    assert header(found, "host") == ["127.0.0.1:80"]  # the client's
    assert header(found, "user-agent") == ["tests"]
    assert header(found, "x-forwarded-for") == ["127.0.0.1, 10.0.0.1"]
    for name in ("x-mine", "te", "keep-alive", "proxy-authorization", "expect", "accept"):
        assert header(found, name) == [], name
    assert answer.header("x-of-server") == "1"
    assert answer.header("keep-alive") is None
    assert answer.header("content-type").startswith("application/json")


def test_a_body_without_a_length_streams(server):
    app, web = serve(server)

    async def main():
        request = Client(web).start("PUT", "/echo")
        request.send(b"one")
        request.send(b"two", more=False)
        await request.whole()
        found = echoed(request)
        assert (found["method"], found["length"]) == ("PUT", 6)

    run(app, main)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_body_where_none_belongs_is_dropped(server, method):
    app, web = serve(server)

    async def main():
        answer = await Client(web).ask(method, "/echo", body=b"body")
        assert answer.status == 200
        (found,) = server.seen
        assert (found["method"], found["length"]) == (method, 0)
        assert header(found, "content-length") in ([], ["0"])

    run(app, main)


def test_each_request_has_a_connection_of_its_own(server):
    app, web = serve(server)

    async def main():
        client = Client(web)
        return [echoed(await client.get("/echo"))["peer"] for _ in range(3)]

    assert len(set(run(app, main))) == 3


def test_redirects_and_contents_and_cookies_are_the_clients(server):
    app, web = serve(server)

    async def main():
        client = Client(web)
        answer = await client.post("/redirect", body=b"x")
        assert (answer.status, answer.header("location")) == (303, "/elsewhere")
        answer = await client.get("/gzip")
        assert answer.header("content-encoding") == "gzip"
        assert gzip.decompress(answer.body) == b"packed" * 100
        answer = await client.get("/cookies")
        assert [v for k, v in answer.headers if k == "set-cookie"] == ["a=1; Path=/", "b=2; Path=/"]
        # No cookie is kept for the next client.
        assert header(echoed(await client.get("/echo")), "cookie") == []
        assert (await client.get("/nothing")).status == 204
        assert (await client.get("/none")).status == 404

    run(app, main)


def test_a_long_header_line(server):
    app, web = serve(server)

    async def main():
        return await Client(web).get("/echo", headers={"x-long": "x" * 40_000})

    assert len(header(echoed(run(app, main)), "x-long")[0]) == 40_000


def test_events_arrive_one_by_one_and_the_server_hears_that_the_client_left(server):
    app, web = serve(server)

    async def main():
        request = Client(web).start("GET", "/events", body=b"")
        await request.begin()
        assert request.header("content-type") == "text/event-stream"
        assert (await request.part()).startswith(b"data: 0\n\n")
        await request.part()
        request.leave()
        await until(server.left.is_set)
        await until(lambda: web.statistics().running == 0)

    run(app, main)


def test_a_client_that_leaves_its_upload(server):
    app, web = serve(server)

    async def main():
        request = Client(web).start("POST", "/echo")
        request.send(b"part")
        await until(lambda: web.statistics() and web.statistics().running == 1)
        request.leave()
        await until(lambda: web.statistics().running == 0)
        assert server.seen == []

    run(app, main)


def test_a_server_that_breaks_off(server):
    app, web = serve(server)

    async def main():
        client = Client(web)
        answer = await client.get("/breaks")
        assert (answer.status, answer.text) == (502, "Bad Gateway")
        request = client.start("GET", "/breaks-later", body=b"")
        await request.begin()
        assert await request.part() == b"some"
        assert await request.message() is None
        assert request.error is not None
        assert (await client.get("/echo")).status == 200  # the server is still there
        assert web.statistics().containers_started == 1

    run(app, main)


def test_a_server_that_is_gone_is_replaced(server):
    app, web = serve(server)

    async def main():
        client = Client(web)
        assert (await client.get("/echo")).status == 200
        server.stop()
        assert (await client.get("/echo")).status == 502
        # The container takes nothing more: the next request starts the server anew.
        assert (await client.get("/echo")).status == 200
        assert web.statistics().containers_started == 2

    run(app, main)


# -- WebSockets --------------------------------------------------------------------------


def test_a_websocket_with_its_subprotocol(server):
    app, web = serve(server)

    async def main():
        socket = Client(web).websocket(
            "/ws?x=1", subprotocols=["nothing", "chat"], headers={"x-mine": "1", "origin": "o"}
        )
        accept = await socket.connect()
        assert (accept["type"], accept["subprotocol"]) == ("websocket.accept", "chat")
        socket.send("text")
        assert (await socket.message())["text"] == "echo text"
        socket.send(data=b"\x00\x01\xff")
        assert (await socket.message())["bytes"] == b"\xff\x01\x00"
        socket.send("x" * 300_000)
        assert len((await socket.message())["text"]) == 300_005
        socket.send("headers")
        found = json.loads((await socket.message())["text"])
        headers = {name.lower(): value for name, value in found.items()}
        assert headers["x-mine"] == "1"
        assert headers["origin"] == "o"
        assert headers["x-forwarded-for"] == "127.0.0.1"
        assert "sec-websocket-extensions" not in headers
        socket.leave(4001)
        await socket.end()
        await until(server.left.is_set)
        assert server.seen == [4001]

    run(app, main)


@pytest.mark.parametrize(("code", "seen"), [(1000, 1000), (1005, 0), (1006, 1006), (3999, 3999)])
def test_the_clients_close_code_reaches_the_server(server, code, seen):
    app, web = serve(server)

    async def main():
        socket = Client(web).websocket("/ws")
        await socket.connect()
        socket.send("hello")
        await socket.message()
        socket.leave(code)
        await until(server.left.is_set)
        await until(lambda: web.statistics().running == 0)

    run(app, main)
    assert server.seen == [seen]  # aiohttp's server shows 0 for a close without a code


def test_the_servers_close_code_reaches_the_client(server):
    app, web = serve(server)

    async def main():
        socket = Client(web).websocket("/ws")
        assert (await socket.connect())["subprotocol"] is None
        socket.send("close 4001")
        message = await socket.message()
        assert message == {"type": "websocket.close", "code": 4001, "reason": "as asked"}
        await socket.end()
        await until(lambda: web.statistics().running == 0)

    run(app, main)


def test_a_websocket_that_the_server_refuses(server):
    app, web = serve(server)

    async def main():
        socket = Client(web).websocket("/ws-denied")
        message = await socket.connect()
        assert message["type"] == "websocket.http.response.start"
        assert message["status"] == 403
        assert (b"x-why", b"because") in message["headers"]
        await socket.end()
        server.stop()
        socket = Client(web).websocket("/ws")
        assert (await socket.connect())["status"] == 502
        await socket.end()

    run(app, main)
