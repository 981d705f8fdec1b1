"""``modal.forward``: the port of a container, under the address at which it can be reached."""

from __future__ import annotations

import socket
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

import moorage as modal
from moorage.exception import DeprecationError, InvalidError
from moorage.tunnel import _tunnels


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    assert not _tunnels


@pytest.fixture
def call():
    """``call(f)`` runs ``f`` in a container."""
    app = modal.App()

    @app.function(serialized=True, max_containers=1)
    @modal.concurrent(max_inputs=4)
    def run(function):
        return function()

    with app.run():
        yield run.remote


def forwarded(*arguments, **options):
    with modal.forward(*arguments, **options) as tunnel:
        return tunnel


def test_a_server_of_a_function_is_reached(call):
    class Hello(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *_):
            pass

    def serve():
        with HTTPServer(("127.0.0.1", 0), Hello) as server:
            thread = threading.Thread(target=server.handle_request)
            thread.start()
            with (
                modal.forward(server.server_port) as tunnel,
                urllib.request.urlopen(tunnel.url, timeout=60) as answer,
            ):
                text = answer.read()
            thread.join()
        return text

    assert call(serve) == b"hello"


def test_a_tcp_socket(call):
    def serve():
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            with (
                modal.forward(port, unencrypted=True) as tunnel,
                socket.create_connection(tunnel.tcp_socket, timeout=60) as client,
            ):
                server.accept()[0].close()
                return client.recv(1)

    assert call(serve) == b""


def test_the_addresses(call):
    tunnel = call(lambda: forwarded(8000))
    assert type(tunnel) is modal.Tunnel
    assert (tunnel.host, tunnel.port, tunnel.unencrypted_host) == ("127.0.0.1", 8000, "")
    assert tunnel.url == "http://127.0.0.1:8000"
    assert tunnel.tls_socket == ("127.0.0.1", 8000)
    with pytest.raises(InvalidError, match="unencrypted=True"):
        tunnel.tcp_socket
    assert call(lambda: forwarded(443, h2_enabled=True)).url == "http://127.0.0.1:443"
    plain = call(lambda: forwarded(22, unencrypted=True))
    assert plain.tcp_socket == ("127.0.0.1", 22)
    with pytest.warns(DeprecationError):
        assert plain.url == "http://127.0.0.1:22"


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (("8000",), {}),
        ((8000.0,), {}),
        ((None,), {}),
        ((0,), {}),
        ((-1,), {}),
        ((65536,), {}),
        ((8000,), {"unencrypted": True, "h2_enabled": True}),
    ],
)
def test_wrong_arguments_are_found_on_entering(arguments, options, call):
    modal.forward(*arguments, **options)
    with pytest.raises(InvalidError, match="write forward"):
        call(lambda: forwarded(*arguments, **options))
    with pytest.raises(InvalidError, match="write forward"):
        forwarded(*arguments, **options)
    with pytest.raises(TypeError):
        modal.forward()


def test_outside_of_a_container_the_error_names_the_address():
    with pytest.raises(InvalidError, match=r"only inside a container.*http://127\.0\.0\.1:8000"):
        forwarded(8000)
    app = modal.App()

    @app.function(serialized=True)
    def local():
        return forwarded(8000)

    with pytest.raises(InvalidError, match="only inside a container"):
        local.local()


def test_a_container_forwards_a_port_once_at_a_time(call):
    def twice():
        with modal.forward(8000), modal.forward(8001):
            forwarded(8000)

    with pytest.raises(InvalidError, match="8000 of this container is already forwarded"):
        call(twice)
    assert call(lambda: [forwarded(8000).port for _ in range(2)]) == [8000, 8000]


def test_async_hooks_and_two_containers():
    app, both = modal.App(), threading.Barrier(2, timeout=60)

    @app.cls(serialized=True, max_containers=2)
    class Notebook:
        @modal.enter()
        async def open(self):
            self.context = modal.forward(8888)
            self.tunnel = await self.context.__aenter__()

        @modal.method()
        async def address(self):
            async with modal.forward(8889) as tunnel, modal.forward.aio(8890):
                return self.tunnel.url, tunnel.url

        @modal.method()
        def meet(self):
            both.wait()
            return self.tunnel.port

        @modal.exit()
        async def close(self):
            await self.context.__aexit__(None, None, None)

    with app.run():
        assert Notebook().address.remote() == ("http://127.0.0.1:8888", "http://127.0.0.1:8889")
        assert list(Notebook().meet.map([])) == []
        calls = [Notebook().meet.spawn() for _ in range(2)]
        assert [call.get() for call in calls] == [8888, 8888]
