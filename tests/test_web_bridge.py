"""One suite over all users of the bridge: see web_users.py."""

import asyncio
import io
import threading

import anyio.to_thread
import httpx
import pytest

import moorage
from moorage.runtime.waiting.async_waiters import run_in_thread
from moorage.testing import WebSocketClosed, WebSocketRefused
from web_users import TOO_LONG, USERS, Signals


@pytest.fixture(params=USERS, ids=lambda user: user.name)
def user(request):
    return request.param


def served(routes, *, max_inputs=1, **options):
    """An app with one web function, a bare ASGI application: path -> coroutine function."""
    app = moorage.App("web")
    options = {"max_containers": 1, "timeout": 300, **options}

    @app.function(serialized=True, **options)
    @moorage.concurrent(max_inputs=max_inputs)
    @moorage.asgi_app()
    def web():
        async def application(scope, receive, send):
            if scope["type"] == "lifespan":
                return
            path = scope["path"].removeprefix(scope["root_path"])
            await routes[path](scope, receive, send)

        return application

    return app, web


async def respond(send, body=b"", status=200, headers=()):
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


async def body_of(receive):
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


# -- requests and slots ---------------------------------------------------------------


def test_a_request_and_its_body(user):
    async def echo(scope, receive, send):
        body = await body_of(receive)
        await respond(send, body, 201, [(b"x-method", scope["method"].encode())])

    async def test(client):
        response = await client.post("/echo", content=b"abc" * 100_000)
        assert response.status_code == 201
        assert response.headers["x-method"] == "POST"
        assert response.content == b"abc" * 100_000

    user.run(*served({"/echo": echo}), test)


def test_a_large_response_in_one_message_gives_its_slot_back(user):
    signals = Signals()

    async def large(scope, receive, send):
        await respond(send, b"x" * 1_000_000)
        signals.set("sent")

    async def test(client):
        assert len((await client.get("/large")).content) == 1_000_000
        await signals.wait("sent")
        await user.until(lambda: not web.statistics().running)

    app, web = served({"/large": large})
    user.run(app, web, test)


def test_a_body_that_is_streamed(user):
    signals = Signals()

    async def echo(scope, receive, send):
        got = 0
        while True:
            message = await receive()
            got += len(message["body"])
            signals.set("part" if message["body"] else "end")
            if not message["more_body"]:
                break
        await respond(send, str(got).encode())

    async def test(client):
        async def parts():
            for number in range(1, 4):
                yield b"x" * number
                await signals.wait("part", number)

        assert (await client.post("/echo", content=parts())).text == "6"

    user.run(*served({"/echo": echo}), test)


def test_never_more_than_max_inputs_and_first_in_first_out(user):
    running, most, order = 0, 0, []

    async def work(scope, receive, send):
        nonlocal running, most
        running += 1
        most = max(most, running)
        order.append(int(scope["query_string"]))
        for _ in range(3):
            await asyncio.sleep(0)
        running -= 1
        await respond(send, b"done")

    async def test(client):
        async def one(number):
            response = await client.get(f"/work?{number}")
            assert response.text == "done"

        if user.over_sockets:
            await asyncio.gather(*(one(number) for number in range(60)))
            assert sorted(order) == list(range(60))
        else:
            await asyncio.gather(*[asyncio.create_task(one(number)) for number in range(60)])
            assert order == list(range(60))
        assert most == 3
        assert web.statistics().peak_inputs == 3
        await user.until(lambda: web.statistics().succeeded == 60)

    app, web = served({"/work": work}, max_inputs=3)
    user.run(app, web, test)


def test_ids_in_tasks_threads_and_background(user):
    ids = []

    async def work(scope, receive, send):
        first = moorage.current_input_id()
        in_thread = await anyio.to_thread.run_sync(moorage.current_input_id)
        await respond(send, b"ok")
        await asyncio.sleep(0)
        ids.append((first, in_thread, moorage.current_input_id()))
        assert moorage.current_function_call_id() is not None
        assert not moorage.is_local()

    async def test(client):
        for _ in range(3):
            await client.get("/work")

    user.run(*served({"/work": work}), test)
    assert all(a == b == c for a, b, c in ids)
    assert len({a for a, _, _ in ids}) == 3


def test_after_the_response_the_slot_is_held_and_there_is_no_disconnect(user):
    signals = Signals()

    async def work(scope, receive, send):
        await respond(send, b"ok")
        if scope["query_string"] == b"first":
            await signals.wait("go on")
        signals.set("ended")

    async def test(client):
        assert (await client.get("/work?first")).text == "ok"
        second = asyncio.create_task(client.get("/work"))
        await asyncio.sleep(0)
        assert web.statistics().running == 1
        assert signals.seen == []
        signals.set("go on")
        assert (await second).text == "ok"
        await signals.wait("ended", 2)

    app, web = served({"/work": work})
    user.run(app, web, test)


# -- disconnects ------------------------------------------------------------------------


def test_a_client_that_leaves_a_running_request(user):
    signals = Signals()

    async def work(scope, receive, send):
        signals.set("begun")
        try:
            message = await receive()
            while message["type"] == "http.request":
                message = await receive()
            signals.set(message["type"])
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            signals.set("cancelled")
            raise

    async def test(client):
        task = asyncio.create_task(client.get("/work"))
        await signals.wait("begun")
        task.cancel()
        await asyncio.wait([task])
        await signals.wait("cancelled")
        assert signals.seen == ["begun", "http.disconnect", "cancelled"]
        assert (await client.get("/quick")).text == "ok"

    async def quick(scope, receive, send):
        await respond(send, b"ok")

    app, web = served({"/work": work, "/quick": quick})
    user.run(app, web, test)


def test_a_client_that_leaves_a_queued_request(user):
    signals = Signals()

    async def work(scope, receive, send):
        signals.set(scope["query_string"].decode())
        await signals.wait("go on")
        await respond(send, b"ok")

    async def test(client):
        first = asyncio.create_task(client.get("/work?first"))
        await signals.wait("first")
        second = asyncio.create_task(client.get("/work?second"))
        await user.until(lambda: web.statistics().queued)
        second.cancel()
        await asyncio.wait([second])
        await user.until(lambda: not web.statistics().queued)
        signals.set("go on")
        assert (await first).text == "ok"
        assert web.statistics().cancelled == 1
        assert signals.seen == ["first", "go on"]

    app, web = served({"/work": work})
    user.run(app, web, test)


def test_a_client_that_leaves_a_queued_websocket(user):
    signals = Signals()

    async def work(scope, receive, send):
        signals.set(scope["type"])
        await signals.wait("go on")
        await respond(send, b"ok")

    async def test(client):
        async def connect():
            async with client.websocket("/work"):
                pass

        first = asyncio.create_task(client.get("/work"))
        await signals.wait("http")
        second = asyncio.create_task(connect())
        await user.until(lambda: web.statistics().queued)
        second.cancel()
        await asyncio.wait([second])
        await user.until(lambda: not web.statistics().queued)
        signals.set("go on")
        assert (await first).text == "ok"
        assert signals.seen == ["http", "go on"]

    app, web = served({"/work": work})
    user.run(app, web, test)


def test_shield_defers_the_cancel_of_a_client_that_left(user):
    signals = Signals()

    async def work(scope, receive, send):
        try:
            with moorage.shield():
                signals.set("begun")
                await receive()
                await asyncio.sleep(1.5)  # longer than a client that left is waited for
                signals.set("shielded")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            signals.set("cancelled")
            raise

    async def test(client):
        task = asyncio.create_task(client.get("/work"))
        await signals.wait("begun")
        task.cancel()
        await signals.wait("cancelled")
        assert signals.seen == ["begun", "shielded", "cancelled"]

    user.run(*served({"/work": work}), test)


def test_a_stream_that_is_closed_early_ends(user):
    signals = Signals()

    async def stream(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first\n", "more_body": True})
        await body_of(receive)
        assert (await receive())["type"] == "http.disconnect"
        signals.set("left")

    async def test(client):
        async with client.stream("GET", "/stream") as response:
            async for line in response.aiter_lines():
                assert line == "first"
                break
        await signals.wait("left")

    user.run(*served({"/stream": stream}), test)


def test_several_tasks_wait_in_receive(user):
    signals = Signals()

    async def work(scope, receive, send):
        await receive()

        async def wait():
            signals.set((await receive())["type"])

        async with asyncio.TaskGroup() as group:
            group.create_task(wait())
            group.create_task(wait())
            signals.set("begun")

    async def test(client):
        task = asyncio.create_task(client.get("/work"))
        await signals.wait("begun")
        task.cancel()
        await signals.wait("http.disconnect", 2)

    user.run(*served({"/work": work}), test)


def test_a_sync_handler_holds_its_slot_until_its_thread_is_out(user):
    signals = Signals()
    go_on = threading.Event()

    def in_thread():
        signals.set("begun")
        user.wait_in_thread(go_on)
        signals.set("out")

    async def work(scope, receive, send):
        if scope["query_string"] == b"first":
            await anyio.to_thread.run_sync(in_thread)
        else:
            signals.set("second")
        await respond(send, b"ok")

    async def test(client):
        first = asyncio.create_task(client.get("/work?first"))
        await signals.wait("begun")
        first.cancel()
        await asyncio.wait([first])
        second = asyncio.create_task(client.get("/work"))
        await user.until(lambda: web.statistics().queued)
        assert web.statistics().running == 1
        go_on.set()
        assert (await second).text == "ok"
        assert signals.seen == ["begun", "out", "second"]

    app, web = served({"/work": work})
    user.run(app, web, test)


# -- limits of time and of the queue ------------------------------------------------------


def test_a_timeout_before_the_response_is_504(user):
    async def slow(scope, receive, send):
        await asyncio.Event().wait()

    async def test(client):
        response = await client.get("/slow")
        assert response.status_code == 504
        assert response.text == "Gateway Timeout"

    user.run(*served({"/slow": slow}, timeout=1), test)


def test_a_timeout_in_a_response_breaks_it_off(user):
    async def slow(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await asyncio.Event().wait()

    async def test(client):
        async with client.stream("GET", "/slow") as response:
            assert response.status_code == 200
            parts = response.aiter_raw()
            assert await anext(parts) == b"first"
            with pytest.raises(httpx.RemoteProtocolError):
                await anext(parts)

    user.run(*served({"/slow": slow}, timeout=1), test)


def test_a_response_to_a_timeout_is_none(user):
    async def late(scope, receive, send):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await respond(send, b"as if nothing had happened")

    async def test(client):
        response = await client.get("/late")
        assert response.status_code == 504
        assert response.text == "Gateway Timeout"
        assert web.statistics().failed == 1

    app, web = served({"/late": late}, timeout=1)
    user.run(app, web, test)


def test_a_stream_that_catches_its_timeout_has_no_regular_end(user):
    async def late(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def test(client):
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/late")

    user.run(*served({"/late": late}, timeout=1), test)


def test_a_websocket_may_be_closed_at_its_timeout(user):
    async def late(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await send({"type": "websocket.close", "code": 4008, "reason": "late"})
            raise

    async def never(scope, receive, send):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await send({"type": "websocket.accept"})

    async def test(client):
        async with client.websocket("/late") as socket:
            with pytest.raises(WebSocketClosed) as closed:
                await socket.receive_text()
        assert closed.value.code == 4008
        with pytest.raises(WebSocketRefused) as refused:
            await client.websocket("/never").__aenter__()
        assert refused.value.response.status_code == 504

    user.run(*served({"/late": late, "/never": never}, timeout=1), test)


@pytest.mark.parametrize("bound", ["max_backlog", "queue_timeout"])
def test_a_request_without_room_is_503(user, bound):
    signals = Signals()

    async def work(scope, receive, send):
        signals.set("begun")
        await signals.wait("go on")
        await respond(send, b"ok")

    async def test(client):
        first = asyncio.create_task(client.get("/work"))
        await signals.wait("begun")
        tasks = [first]
        if bound == "max_backlog":
            tasks.append(asyncio.create_task(client.get("/work")))
            await user.until(lambda: web.statistics().queued)
        refused = await client.post("/work", content=b"a body that nobody reads")
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        with pytest.raises(WebSocketRefused) as caught:
            async with client.websocket("/work"):
                pass
        assert caught.value.status_code == 503
        assert caught.value.response.headers["retry-after"] == "1"
        signals.set("go on")
        assert {response.text for response in await asyncio.gather(*tasks)} == {"ok"}

    app, web = served({"/work": work}, **{bound: 1})
    user.run(app, web, test)


# -- errors --------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_errors_before_the_response_are_500_and_tell_nothing(user, caplog):
    async def fails(scope, receive, send):
        raise ValueError("a secret")

    async def returns(scope, receive, send):
        return

    async def wrong(scope, receive, send):
        await send({"type": "http.response.body", "body": b"too early"})

    async def test(client):
        for path in ("/fails", "/returns", "/wrong"):
            response = await client.get(path)
            assert response.status_code == 500
            assert response.text == "Internal Server Error"
            assert response.headers["content-type"] == "text/plain; charset=utf-8"

    user.run(*served({"/fails": fails, "/returns": returns, "/wrong": wrong}), test)


def test_an_error_in_a_response_breaks_it_off(user):
    async def fails(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        raise ValueError

    async def returns(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})

    async def test(client):
        for path in ("/fails", "/returns"):
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(path)

    user.run(*served({"/fails": fails, "/returns": returns}), test)


def test_messages_out_of_order_raise_in_send(user):
    raised = []

    async def work(scope, receive, send):
        for early in ({"type": "http.response.body"}, {"type": "websocket.send", "text": ""}):
            try:
                await send(early)
            except RuntimeError as error:
                raised.append(str(error))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        except RuntimeError as error:
            raised.append(str(error))
        await send({"type": "http.response.body", "body": b"ok"})
        try:
            await send({"type": "http.response.body", "body": b"more"})
        except RuntimeError as error:
            raised.append(str(error))

    async def test(client):
        assert (await client.get("/work")).text == "ok"

    user.run(*served({"/work": work}), test)
    assert len(raised) == 4


def test_a_response_longer_or_shorter_than_it_says(user):
    async def longer(scope, receive, send):
        await respond(send, b"12345", headers=[(b"content-length", b"3")])

    async def shorter(scope, receive, send):
        await respond(send, b"12", headers=[(b"content-length", b"3")])

    async def quick(scope, receive, send):
        await respond(send, b"ok")

    async def test(client):
        for path in ("/longer", "/shorter"):
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(path)
        assert (await client.get("/quick")).text == "ok"

    user.run(*served({"/longer": longer, "/shorter": shorter, "/quick": quick}), test)


@pytest.mark.parametrize(
    ("status", "header"),
    [
        (200, ("x-text", "no bytes")),
        (200, (b"x-split", b"1\r\nx-more: 2")),
        (200, (b"x split", b"1")),
        (999, (b"x-right", b"1")),
    ],
    ids=["text", "line end", "space", "status"],
)
def test_a_start_that_servers_refuse(user, status, header):
    async def wrong(scope, receive, send):
        await respond(send, b"never seen", status, [header])

    async def quick(scope, receive, send):
        await respond(send, b"ok")

    async def test(client):
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/wrong")
        assert (await client.get("/quick")).text == "ok"

    user.run(*served({"/wrong": wrong, "/quick": quick}), test)


@pytest.mark.parametrize("status", [204, 304])
def test_a_body_where_none_belongs_is_not_seen(user, status):
    async def wrong(scope, receive, send):
        await respond(send, b"never seen", status)

    async def test(client):
        response = await client.get("/wrong")
        assert (response.status_code, response.content) == (status, b"")

    user.run(*served({"/wrong": wrong}), test)


def test_what_is_sent_may_be_used_again(user):
    async def work(scope, receive, send):
        headers = [(b"x-kept", b"1")]
        start = {"type": "http.response.start", "status": 200, "headers": headers}
        await send(start)
        headers.clear()
        start["status"] = 500
        buffer = bytearray(b"first ")
        part = {"type": "http.response.body", "body": buffer, "more_body": True}
        await send(part)
        buffer[:] = b"other "
        part["body"] = memoryview(b"second")
        part["more_body"] = False
        await send(part)
        part["body"] = b"changed"

    async def test(client):
        response = await client.get("/work")
        assert (response.status_code, response.text) == (200, "first second")
        assert response.headers["x-kept"] == "1"

    user.run(*served({"/work": work}), test)


# -- streams and windows ----------------------------------------------------------------------


def test_each_part_is_delivered_at_once(user):
    signals = Signals()

    async def stream(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await signals.wait("started")
        for number in range(3):
            part = {"type": "http.response.body", "body": b"%d\n" % number, "more_body": True}
            await send(part)
            await signals.wait(f"got {number}")
        await send({"type": "http.response.body"})

    async def test(client):
        async with client.stream("GET", "/stream") as response:
            signals.set("started")
            async for line in response.aiter_lines():
                signals.set(f"got {line}")

    # A server keeps the start of a response for the first part of its body.
    if user.over_sockets:
        signals.set("started")
    user.run(*served({"/stream": stream}), test)


def test_a_slow_reader_holds_up_the_application(user):
    sent = []

    async def stream(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(400):
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            sent.append(1)
        await send({"type": "http.response.body"})

    async def test(client):
        async with client.stream("GET", "/stream") as response:
            parts = response.aiter_raw()
            await anext(parts)
            await user.settled(lambda: len(sent))
            assert len(sent) < (400 if user.over_sockets else 10)
            got = 65536 if not user.over_sockets else None
            total = 0
            async for part in parts:
                total += len(part)
            if got is not None:
                assert total + got == 400 * 65536
        assert len(sent) == 400

    user.run(*served({"/stream": stream}), test)


def test_no_more_of_a_body_is_read_than_the_application_wants(user):
    signals = Signals()
    taken = []

    async def work(scope, receive, send):
        first = (await receive())["body"]  # as much as the server has read
        await signals.wait("go on")
        body = await body_of(receive)
        await respond(send, str(len(first + body)).encode())

    async def test(client):
        async def parts():
            for _ in range(640):
                taken.append(1)
                yield b"x" * 4096

        task = asyncio.create_task(client.post("/work", content=parts()))
        await user.settled(lambda: len(taken))
        if not user.over_sockets:  # a kernel has buffers of its own
            assert len(taken) <= 18
        signals.set("go on")
        assert int((await task).text) == 640 * 4096

    user.run(*served({"/work": work}), test)


def test_a_body_that_nobody_reads(user):
    async def work(scope, receive, send):
        await respond(send, b"ok")

    async def test(client):
        assert (await client.post("/work", content=b"x" * 30_000)).text == "ok"
        assert (await client.get("/work")).text == "ok"

    user.run(*served({"/work": work}), test)


def test_head(user):
    async def work(scope, receive, send):
        await respond(send, b"body", headers=[(b"content-length", b"4")])

    async def test(client):
        response = await client.head("/work")
        assert (response.status_code, response.content) == (200, b"")
        assert response.headers["content-length"] == "4"

    user.run(*served({"/work": work}), test)


# -- WebSockets ---------------------------------------------------------------------------------


async def accept(receive, send, **more):
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept", **more})


def test_a_websocket(user):
    signals = Signals()

    async def ws(scope, receive, send):
        await accept(receive, send, subprotocol=scope["subprotocols"][1])
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                signals.set(message["code"])
                return
            if message.get("text") is not None:
                await send({"type": "websocket.send", "text": message["text"] + "!"})
            else:
                await send({"type": "websocket.send", "bytes": message["bytes"] + b"!"})

    async def test(client):
        async with client.websocket("/ws", subprotocols=["a", "b"]) as socket:
            assert socket.subprotocol == "b"
            await socket.send_text("one")
            assert await socket.receive_text() == "one!"
            await socket.send_bytes(b"two")
            assert await socket.receive_bytes() == b"two!"
            await socket.close(4001)
        await signals.wait(4001)
        assert web.statistics().running in (0, 1)

    app, web = served({"/ws": ws})
    user.run(app, web, test)


def test_websockets_end(user):
    async def closes(scope, receive, send):
        await accept(receive, send)
        await send({"type": "websocket.close", "code": 4002, "reason": "enough"})

    async def returns(scope, receive, send):
        await accept(receive, send)

    async def fails(scope, receive, send):
        await accept(receive, send)
        raise ValueError

    async def hangs(scope, receive, send):
        await accept(receive, send)
        await asyncio.Event().wait()

    async def test(client):
        for path, code in (
            ("/closes", 4002),
            ("/returns", 1000),
            ("/fails", 1011),
            ("/hangs", 1011),
        ):
            async with client.websocket(path) as socket:
                with pytest.raises(WebSocketClosed) as caught:
                    await socket.receive()
                assert (path, caught.value.code) == (path, code)

    routes = {"/closes": closes, "/returns": returns, "/fails": fails, "/hangs": hangs}
    user.run(*served(routes, timeout=1), test)


def test_websockets_refused(user):
    async def closes(scope, receive, send):
        await receive()
        await send({"type": "websocket.close"})

    async def denies(scope, receive, send):
        await receive()
        start = {"type": "websocket.http.response.start", "status": 418, "headers": []}
        await send({**start, "headers": [(b"content-length", b"3")]})
        await send({"type": "websocket.http.response.body", "body": b"tea"})

    async def fails(scope, receive, send):
        raise ValueError("a secret")

    async def returns(scope, receive, send):
        return

    async def test(client):
        for path, status in (
            ("/closes", 403),
            ("/denies", 418),
            ("/fails", 500),
            ("/returns", 500),
        ):
            with pytest.raises(WebSocketRefused) as caught:
                async with client.websocket(path):
                    pass
            assert (path, caught.value.status_code) == (path, status)
            if path == "/denies":
                assert caught.value.response.text == "tea"

    routes = {"/closes": closes, "/denies": denies, "/fails": fails, "/returns": returns}
    user.run(*served(routes), test)


def test_a_websocket_whose_client_leaves(user):
    signals = Signals()

    async def sends(scope, receive, send):
        await accept(receive, send)
        await send({"type": "websocket.send", "text": "tick"})
        await signals.wait("closed")
        try:
            while True:
                await send({"type": "websocket.send", "text": "tick"})
                await asyncio.sleep(0)
        except OSError:
            signals.set("told")

    async def waits(scope, receive, send):
        await accept(receive, send)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            signals.set("cancelled")
            raise

    async def test(client):
        async with client.websocket("/sends") as socket:
            assert await socket.receive_text() == "tick"
        signals.set("closed")
        await signals.wait("told")
        async with client.websocket("/waits"):
            pass
        await signals.wait("cancelled")

    user.run(*served({"/sends": sends, "/waits": waits}), test)


def test_websocket_messages_out_of_order_raise_in_send(user):
    raised = []

    async def ws(scope, receive, send):
        await receive()
        for message in (
            {"type": "websocket.send", "text": "early"},
            {"type": "http.response.start", "status": 200, "headers": []},
        ):
            try:
                await send(message)
            except RuntimeError:
                raised.append(message["type"])
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})
        try:
            await send({"type": "websocket.send", "text": "late"})
        except RuntimeError:
            raised.append("late")

    async def test(client):
        async with client.websocket("/ws") as socket:
            with pytest.raises(WebSocketClosed):
                await socket.receive()

    user.run(*served({"/ws": ws}), test)
    assert raised == ["websocket.send", "http.response.start", "late"]


def test_a_slow_reader_of_a_websocket_holds_up_the_application(user):
    sent, signals = [], Signals()

    async def ws(scope, receive, send):
        await accept(receive, send)
        for number in range(2000):
            await send({"type": "websocket.send", "bytes": b"%04d" % number + b"x" * 30_000})
            sent.append(number)
        signals.set("all sent")
        await receive()

    async def test(client):
        async with client.websocket("/ws") as socket:
            await user.settled(lambda: len(sent))
            assert len(sent) < (2000 if user.over_sockets else 40)
            for number in range(2000):
                assert (await socket.receive_bytes())[:4] == b"%04d" % number
            await signals.wait("all sent")

    user.run(*served({"/ws": ws}), test)


def test_an_application_that_does_not_receive_holds_up_a_websocket(user):
    sent, signals = [], Signals()

    async def ws(scope, receive, send):
        await accept(receive, send)
        await signals.wait("go on")
        for number in range(200):
            assert (await receive())["text"] == str(number)
        await send({"type": "websocket.close"})

    async def test(client):
        async with client.websocket("/ws") as socket:

            async def send():
                for number in range(200):
                    await socket.send_text(str(number))
                    sent.append(number)

            sending = asyncio.create_task(send())
            await user.settled(lambda: len(sent))
            if not user.over_sockets:
                assert len(sent) <= 36
            signals.set("go on")
            await sending
            with pytest.raises(WebSocketClosed):
                await socket.receive()

    user.run(*served({"/ws": ws}), test)


# -- what can be seen -------------------------------------------------------------------------


def test_requests_are_counted_and_described(user):
    signals = Signals()

    async def work(scope, receive, send):
        await respond(send, await body_of(receive), int(scope["query_string"]))

    async def ws(scope, receive, send):
        await accept(receive, send)
        signals.set("open")
        while (await receive())["type"] != "websocket.disconnect":
            pass

    async def waits(scope, receive, send):
        signals.set("waits")
        while (await receive())["type"] != "http.disconnect":
            pass

    def described():
        file = io.StringIO()
        moorage.describe(file)
        return file.getvalue()

    async def test(client):
        for status in (200, 201, 404):
            await client.post(f"/work?{status}", content=b"abcd")
        async with client.websocket("/ws") as socket:
            await socket.send_text("xy")
            await signals.wait("open")
            await user.until(lambda: web.statistics().web.open_websockets == 1)
            assert "web(WEBSOCKET /" in described()
            assert "/ws) from 127.0.0.1:" in described()
        leaves = asyncio.create_task(client.get("/waits"))
        await signals.wait("waits")
        leaves.cancel()
        await asyncio.wait([leaves])
        await user.until(lambda: web.statistics().web.total == 5)
        seen = web.statistics().web
        assert seen.requests == (("1xx", 1), ("2xx", 2), ("4xx", 1))
        assert (seen.left, seen.open_websockets) == (1, 0)
        assert (seen.bytes_in, seen.bytes_out) == (3 * 4 + 2, 3 * 4)

    app, web = served({"/work": work, "/ws": ws, "/waits": waits}, max_inputs=2)
    user.run(app, web, test)


# -- runs -------------------------------------------------------------------------------------


def test_a_run_that_is_left(user):
    signals = Signals()
    answers = []

    async def work(scope, receive, send):
        signals.set("begun")
        await asyncio.Event().wait()

    async def test(client):
        running = asyncio.create_task(client.get("/work"))
        await signals.wait("begun")
        queued = asyncio.create_task(client.get("/work"))
        await user.until(lambda: web.statistics().queued)
        await run_in_thread(app._runs.run.close)
        answers.extend(response.status_code for response in await asyncio.gather(running, queued))
        if user.listens_for_the_run:
            with pytest.raises(httpx.ConnectError):
                await client.get("/work")
        else:
            assert (await client.get("/work")).status_code == 503

    app, web = served({"/work": work})
    user.run(app, web, test)
    assert answers == [503, 503]


def test_a_handler_that_calls_another_function(user):
    app = moorage.App("web")

    @app.function(serialized=True)
    async def inner(x):
        return x + 1

    @app.function(serialized=True, max_containers=1)
    @moorage.asgi_app()
    def web():
        async def application(scope, receive, send):
            if scope["type"] == "http":
                await respond(send, str(await inner.remote.aio(1)).encode())

        return application

    async def test(client):
        assert (await client.get("/")).text == "2"

    user.run(app, web, test)


def test_a_handler_that_blocks_its_loop_holds_up_its_own_container_only(user):
    signals, go_on = Signals(), threading.Event()
    app = moorage.App("web")

    def make(name, blocks):
        @app.function(serialized=True, name=name, max_containers=1)
        @moorage.asgi_app()
        def web():
            async def application(scope, receive, send):
                if scope["type"] != "http":
                    return
                if blocks:
                    signals.set("blocks")
                    go_on.wait(TOO_LONG)
                await respond(send, name.encode())

            return application

        return web

    one, other = make("one", True), make("other", False)

    async def test(client):
        blocked = asyncio.create_task(client.get("/"))
        await signals.wait("blocks")
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(moorage.web.asgi(other)), base_url="http://t"
        ) as second:
            assert (await second.get("/")).text == "other"
        assert not blocked.done()
        go_on.set()
        assert (await blocked).text == "one"

    user.run(app, one, test)


def test_a_serializing_run(user):
    app, web = served({"/work": _plain})

    async def test(client):
        assert (await client.get("/work")).text == "ok"

    run = app.run
    app.run = lambda **options: run(serialize=True, **options)
    user.run(app, web, test)


async def _plain(scope, receive, send):
    await respond(send, b"ok")
