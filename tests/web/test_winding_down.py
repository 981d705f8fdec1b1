"""Sites that are handed on: sockets that were given, and ends that lose no request."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import moorage
from moorage.exception import ConflictError, DeprecationError, InvalidError
from moorage.running.runs import drain_runs, open_runs
from moorage.running.urls import Listening
from moorage.web.sites import listen

from .sockets import PATIENCE, Client, get, refuses
from .test_http import until


class Held:
    """An application whose requests to ``/held`` wait for the test, before or in the response."""

    def __init__(self) -> None:
        self.came = threading.Semaphore(0)
        self.may_begin = threading.Event()
        self.may_end = threading.Event()

    def let_go(self) -> None:
        self.may_begin.set()
        self.may_end.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        import asyncio

        loop = asyncio.get_running_loop()
        if scope["path"] == "/held":
            self.came.release()
            await loop.run_in_executor(None, self.may_begin.wait, PATIENCE)
        length = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": b"o", "more_body": True})
        if scope["path"] == "/begun":
            self.came.release()
            await loop.run_in_executor(None, self.may_end.wait, PATIENCE)
        await send({"type": "http.response.body", "body": b"k"})


def make(application: Any, name: str = "shop") -> tuple[moorage.App, Any]:
    app = moorage.App(name)

    def api() -> Any:
        return application

    concurrent = moorage.concurrent(max_inputs=10)
    return app, app.function(serialized=True)(concurrent(moorage.asgi_app()(api)))


@contextlib.contextmanager
def serving(application: Any, listening: socket.socket | None = None) -> Iterator[tuple[Any, str]]:
    """A run whose web function is served at a socket; and the URL."""
    app, _ = make(application)
    (function,) = app._web_functions()
    if listening is None:
        listening = listen("api", "127.0.0.1", 0)
    with app.run():
        url = function.open(Listening("127.0.0.1", listening))
        try:
            yield app, url
        finally:
            if isinstance(application, Held):
                application.let_go()


@contextlib.contextmanager
def draining(seconds: float = PATIENCE) -> Iterator[list[bool]]:
    """Drain the open runs while the block goes on; what it returned is in the list then."""
    (run,) = open_runs()
    returned: list[bool] = []
    thread = threading.Thread(target=lambda: returned.append(drain_runs([run], seconds)))
    thread.start()
    (site,) = run.sites._by_key.values()
    until(lambda: site.connections.is_winding_down)
    yield returned
    thread.join()


def test_a_given_socket_is_served_at_its_port() -> None:
    listening = listen("api", "127.0.0.1", 0)
    port = listening.getsockname()[1]
    with serving(Held(), listening) as (app, url):
        assert url == f"http://127.0.0.1:{port}"
        assert get(url)[2] == b"ok"
        (function,) = app._functions.values()
        assert function.get_web_url() == url
    assert refuses(url)


def test_accepted_connections_of_a_descriptor_send_at_once() -> None:
    made = listen("api", "127.0.0.1", 0)
    given = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, made.detach())
    with serving(Held(), given) as (_, url), Client(url) as client:
        client.ask("/")
        client.answer()
        (run,) = open_runs()
        (site,) = run.sites._by_key.values()
        (descriptor,) = site.connections.descriptors
        accepted = socket.socket(fileno=descriptor)
        try:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        finally:
            accepted.detach()


def test_a_client_that_keeps_its_connection_learns_of_the_end_and_loses_nothing() -> None:
    with serving(Held()) as (_, url), Client(url) as client:
        client.ask("/")
        assert "connection" not in client.answer()[1]
        with draining() as returned:
            client.ask("/")
            status, headers, body = client.answer()
            assert (status, headers["connection"], body) == (200, "close", b"ok")
            assert client.rest() == b""
        assert returned == [True]


def test_a_request_that_has_come_in_part_is_answered() -> None:
    with serving(Held()) as (_, url), Client(url) as client:
        client.ask("/")
        client.answer()
        client.send(b"GET / HTTP/1.1\r\n")
        with draining() as returned:
            client.send(b"Host: 127.0.0.1\r\n\r\n")
            assert client.answer()[1]["connection"] == "close"
        assert returned == [True]


def test_requests_that_run_or_wait_are_finished() -> None:
    held = Held()
    with serving(held) as (_, url), contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(url)) for _ in range(15)]  # ten of them run
        for client in clients:
            client.ask("/held")
        for _ in range(10):
            assert held.came.acquire(timeout=PATIENCE)
        with draining() as returned:
            held.may_begin.set()
            for client in clients:
                status, headers, body = client.answer()
                assert (status, headers["connection"], body) == (200, "close", b"ok")
        assert returned == [True]


def test_a_response_that_has_begun_keeps_the_promise_of_its_head() -> None:
    held = Held()
    with serving(held) as (_, url), Client(url) as client:
        client.ask("/begun")
        assert held.came.acquire(timeout=PATIENCE)
        with draining() as returned:
            held.may_end.set()
            assert "connection" not in client.answer()[1]
            client.ask("/")
            assert client.answer()[1]["connection"] == "close"
        assert returned == [True]


def test_an_idle_connection_does_not_hold_up_the_end() -> None:
    with serving(Held()) as (_, url), Client(url) as client:
        client.ask("/")
        client.answer()
        with draining() as returned:
            assert client.rest() == b""
        assert returned == [True]


def test_a_drain_ends_at_its_bound() -> None:
    held = Held()
    with serving(held) as (_, url), Client(url) as client:
        client.ask("/held")
        assert held.came.acquire(timeout=PATIENCE)
        assert drain_runs(open_runs(), 0.05) is False


def test_a_stream_of_events_is_ended_by_a_drain() -> None:
    left = threading.Event()

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        await receive()
        start = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": start})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        assert (await receive())["type"] == "http.disconnect"
        left.set()

    with serving(stream) as (_, url), Client(url) as client:
        client.ask("/")
        client.until(b"data: 1\n\n")
        with draining() as returned:
            assert left.wait(PATIENCE)
        assert returned == [True]


def test_calls_go_on_while_a_drain_waits_for_their_callers() -> None:
    other = moorage.App("other")

    @other.function(serialized=True)
    def double(x: int) -> int:
        return 2 * x

    app = moorage.App("caller")
    began, may_call = threading.Event(), threading.Event()

    @app.function(serialized=True)
    def quadruple(x: int) -> int:
        began.set()
        may_call.wait(PATIENCE)
        return double.remote(double.remote(x))

    with other.run(), app.run():
        call = quadruple.spawn(1)
        assert began.wait(PATIENCE)
        returned: list[bool] = []
        runs = open_runs()
        thread = threading.Thread(target=lambda: returned.append(drain_runs(runs, PATIENCE)))
        thread.start()
        may_call.set()
        assert call.get(timeout=PATIENCE) == 4
        thread.join()
        assert returned == [True]


def test_connections_wait_in_a_socket_that_somebody_keeps_until_the_next_one_serves() -> None:
    kept = listen("api", "127.0.0.1", 0)
    second = moorage.App("second")

    def api() -> Any:
        return Held()

    second.function(serialized=True)(moorage.asgi_app()(api))
    (function,) = second._web_functions()
    with kept, serving(Held(), kept.dup()) as (_, url), draining(), Client(url) as before:
        before.ask("/")  # nobody accepts now
        with second.run():
            function.open(Listening("127.0.0.1", kept.dup()))
            assert before.answer()[2] == b"ok"


def test_a_port_that_is_taken_is_named() -> None:
    with listen("api", "127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConflictError, match=f"api .* on port {port} .* is taken"):
            listen("api", "127.0.0.1", port)


# -- which web functions an app has ------------------------------------------------------------


def test_all_web_functions_in_the_order_of_definition() -> None:
    app, other = moorage.App("shop"), moorage.App("other")

    @app.function(serialized=True)
    @moorage.fastapi_endpoint()
    def z() -> None: ...

    @app.cls(serialized=True)
    class Model:
        name: str = moorage.parameter()

        @moorage.fastapi_endpoint()
        def y(self) -> None: ...

        @moorage.asgi_app(label="own", requires_proxy_auth=True)
        def b(self) -> None: ...

    @app.server(port=8000, unauthenticated=True)
    class Server:
        @moorage.enter()
        def start(self) -> None: ...

    @app.function(serialized=True)
    def plain() -> None: ...

    @app.function(serialized=True)
    @moorage.web_server(9000)
    def a() -> None: ...

    @other.function(serialized=True)
    @moorage.wsgi_app()
    def included() -> None: ...

    app.include(other)
    found = [
        (one.name, one.label, one.own_port, one.required, one.needs_token)
        for one in app._web_functions()
    ]
    assert found == [
        ("z", "shop-z-dev", None, (), False),
        ("Model.y", "shop-model-y-dev", None, ("name",), False),
        ("Model.b", "own", None, ("name",), True),
        ("Server", "shop-server-dev", 8000, (), False),
        ("a", "shop-a-dev", 9000, (), False),
        ("included", "other-included-dev", None, (), False),
    ]


def test_a_name_that_is_defined_again_is_served_once() -> None:
    app = moorage.App("shop")
    for _ in range(2):

        @app.function(serialized=True, name="api")
        @moorage.fastapi_endpoint()
        def api() -> None: ...

    @app.function(serialized=True, name="gone")
    @moorage.fastapi_endpoint()
    def gone() -> None: ...

    @app.function(serialized=True, name="gone")
    def no_web_function() -> None: ...

    assert [one.name for one in app._web_functions()] == ["api"]


def test_a_class_whose_constructor_needs_arguments_has_no_url() -> None:
    app = moorage.App("shop")

    class Model:
        def __init__(self, name: str) -> None: ...

        @moorage.fastapi_endpoint()
        def y(self) -> None: ...

    with pytest.warns(DeprecationError):
        app.cls(serialized=True)(Model)
    with pytest.raises(InvalidError, match=r"Model has web methods.* needs name"):
        app._web_functions()


# -- connections that are handed over -----------------------------------------------------------


def test_idle_connections_are_handed_over_and_others_when_they_are_idle() -> None:
    held = Held()
    handed: list[tuple[str, int]] = []
    came = threading.Semaphore(0)

    def hand_over(label: str, descriptor: int) -> None:
        handed.append((label, descriptor))
        came.release()

    with serving(held) as (_, url), Client(url) as idle, Client(url) as begun, Client(url) as new:
        idle.ask("/")
        idle.answer()
        begun.ask("/begun")
        assert held.came.acquire(timeout=PATIENCE)
        (run,) = open_runs()
        (site,) = run.sites._by_key.values()
        until(lambda: site.connections.connections == 3)
        returned: list[bool] = []
        thread = threading.Thread(
            target=lambda: returned.append(drain_runs([run], PATIENCE, hand_over))
        )
        thread.start()
        for _ in range(2):
            assert came.acquire(timeout=PATIENCE)
        held.may_end.set()
        assert "connection" not in begun.answer()[1]
        assert came.acquire(timeout=PATIENCE)
        thread.join()
        assert returned == [True]
        # What they ask now waits for whoever goes on with them.
        for client in (idle, begun, new):
            client.ask("/next")
        app, _ = make(Held(), "second")
        (function,) = app._web_functions()
        with app.run():
            function.open(Listening("127.0.0.1", listen("api", "127.0.0.1", 0)))
            for label, descriptor in handed:
                assert label == "shop-api-dev"
                function.adopt(
                    socket.socket(
                        socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, descriptor
                    )
                )
            for client in (idle, begun, new):
                assert client.answer()[2] == b"ok"
