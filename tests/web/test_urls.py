"""URLs of web functions: where there is one, and what happens to it when its run is left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import textwrap
import threading
from typing import Any

import pytest

import moorage
from moorage.exception import ConflictError, ExecutionError, InvalidError
from moorage.runtime.clocks.clock import system_clock
from moorage.testing import VirtualClock, web_client
from moorage.web.http_loop import process_http
from moorage.web.labels import check_label, label_of
from moorage.web.sites import Site

from .sockets import PATIENCE, Client, get, refuses, served
from .test_http import App, closing, connect, until


async def plain(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the id of its input and the query."""
    if scope["type"] == "lifespan":
        return
    text = scope["query_string"]
    start = [(b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": 200, "headers": start})
    await send({"type": "http.response.body", "body": text})


def app_with_endpoint(name: str | None = "shop", **options: Any) -> tuple[moorage.App, Any]:
    app = moorage.App(name)

    def api() -> Any:
        return plain

    return app, app.function()(moorage.asgi_app(**options)(api))


def test_a_url_before_any_request_starts_no_container() -> None:
    with served(lambda: plain) as (function, url):
        assert url.startswith("http://127.0.0.1:")
        assert function.get_web_url() == url == asyncio.run(function.get_web_url.aio())
        assert function.statistics() is None
        assert get(url)[0] == 200
        assert function.statistics().containers_started == 1


def test_functions_that_are_none_have_none() -> None:
    app = moorage.App()

    @app.function()
    def f() -> None: ...

    @app.cls()
    class C:
        @moorage.method()
        def m(self) -> None: ...

    with app.run():
        assert f.get_web_url() is None
        assert C().m.get_web_url() is None


def test_urls_inside_containers_and_in_other_functions() -> None:
    app = moorage.App()

    @app.function()
    @moorage.fastapi_endpoint()
    async def mine() -> str:
        url: str = await mine.get_web_url.aio()
        return url

    @app.function()
    def other() -> str:
        url: str = mine.get_web_url()
        return url

    with app.run():
        url = other.remote()
        assert get(url)[2].decode() == f'"{url}"' == f'"{mine.get_web_url()}"'


def test_urls_by_name() -> None:
    app, function = app_with_endpoint()

    @app.cls()
    class C:
        name: str = moorage.parameter(default="d")

        @moorage.asgi_app()
        def api(self) -> Any:
            return plain

    try:
        app.deploy()
        by_name = moorage.Function.from_name("shop", "api")
        url = by_name.get_web_url()
        assert url is not None
        assert url == function.get_web_url()
        assert asyncio.run(by_name.get_web_url.aio()) == url
        method = moorage.Cls.from_name("shop", "C")(name="x").api
        assert method.get_web_url() == C(name="x").api.get_web_url()
        assert get(url)[0] == 200
    finally:
        app.stop()
    assert refuses(url)


def test_a_web_function_has_no_other_way() -> None:
    app, function = app_with_endpoint()

    @app.cls()
    class C:
        name: str = moorage.parameter(default="d")

        @moorage.asgi_app()
        def api(self) -> Any:
            return plain

    def refused(way: Any, *arguments: Any) -> str:
        with pytest.raises(InvalidError) as caught:
            asyncio.run(way.aio(*arguments))
        with pytest.raises(InvalidError) as caught:
            way(*arguments)
        return str(caught.value)

    assert "its URL, api.get_web_url(); write api.local(...)" in refused(function.remote)
    try:
        app.deploy()
        for found in (function, moorage.Function.from_name("shop", "api")):
            # The URL is not made only to be shown.
            assert "has no .remote(): it is reached by its URL, http" not in refused(found.remote)
        url = function.get_web_url()
        for found in (function, moorage.Function.from_name("shop", "api")):
            assert f"has no .remote(): it is reached by its URL, {url}; " in refused(found.remote)
            assert "has no .spawn()" in refused(found.spawn)
            assert "has no .spawn_map()" in refused(found.spawn_map, [1])
        for method in (C().api, moorage.Cls.from_name("shop", "C")(name="x").api):
            assert "C.api is a web endpoint and has no .remote()" in refused(method.remote)
        assert function.statistics() is None
    finally:
        app.stop()


def test_an_ambient_run_serves() -> None:
    app, function = app_with_endpoint()
    url = function.get_web_url()
    assert get(url)[0] == 200
    with app.run():
        assert refuses(url)  # the ambient run has ended
        assert get(function.get_web_url())[0] == 200


def test_strict_mode_needs_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    _, function = app_with_endpoint()
    monkeypatch.setattr(moorage.config, "strict", True)
    with pytest.raises(ExecutionError, match="does not run"):
        function.get_web_url()


def test_each_method_and_each_function_has_one_port() -> None:
    app = moorage.App()

    @app.cls()
    class C:
        @moorage.asgi_app()
        def a(self) -> Any:
            return plain

        @moorage.asgi_app()
        def b(self) -> Any:
            return plain

    with app.run():
        assert C().a.get_web_url() == C().a.get_web_url() != C().b.get_web_url()
        assert get(C().b.get_web_url())[0] == 200


def test_a_variant_has_its_own_port_and_leaves_the_label() -> None:
    app, function = app_with_endpoint(label="one")
    variant = function.with_concurrency(max_inputs=7)
    with app.run():
        url, other = function.get_web_url(), variant.get_web_url()
        assert url != other
        assert get(other, "/", "Host: one.localhost")[0] == 200
        assert variant.statistics() is None
        until(lambda: function.statistics().succeeded == 1)


def test_a_virtual_clock_has_no_urls() -> None:
    app, function = app_with_endpoint()
    with (
        app.run(clock=VirtualClock()),
        pytest.raises(InvalidError, match=r"moorage\.testing\.web_client\(api\)"),
    ):
        function.get_web_url()


def test_the_old_spelling() -> None:
    app, function = app_with_endpoint()
    with app.run(), pytest.warns(moorage.exception.DeprecationError):
        assert function.web_url == function.get_web_url()


# -- labels --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("package", "decorator", "says"),
    [
        ("fastapi", moorage.fastapi_endpoint(), "a fastapi_endpoint, and FastAPI is not"),
        ("a2wsgi", moorage.wsgi_app(), "a wsgi_app, and a2wsgi is not"),
        ("aiohttp", moorage.web_server(18439), "a web server, and aiohttp is not"),
    ],
)
def test_a_package_that_is_missing_is_named_at_once(
    package: str, decorator: Any, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, served = app_with_endpoint()

    @app.function(serialized=True)
    @decorator
    def page() -> None: ...

    @app.server(port=18440, serialized=True)
    class Site:
        @moorage.enter()
        def start(self) -> None: ...

    monkeypatch.setitem(sys.modules, package, None)
    with app.run():
        with pytest.raises(InvalidError, match=rf"page is {says} .*'moorage\[web\]'"):
            page.get_web_url()
        if package == "aiohttp":
            with pytest.raises(InvalidError, match=rf"Site is {says}"):
                Site.get_url()
        assert get(served.get_web_url())[0] == 200  # other functions do not need the package


@pytest.mark.parametrize(
    ("app", "name", "label"),
    [
        ("shop", "api", "shop-api"),
        ("My App", "C.run_it", "my-app-c-run-it"),
        (None, "api", "api"),
        ("a" * 50, "b" * 30, None),
    ],
)
def test_computed_labels(app: str | None, name: str, label: str | None) -> None:
    found = label_of(app, name)
    assert len(found) <= 63
    assert found == check_label(found)
    if label is not None:
        assert found == label
    else:
        assert found[:57] == f"{app}-{name}"[:56] + "-"
        assert len(found) == 63
        assert found != label_of(app, name + "c")


@pytest.mark.parametrize("label", ["", "My", "a_b", "-a", "a-", "123", "a" * 64, "a.b", "ä"])
def test_labels_that_no_host_can_have(label: str) -> None:
    with pytest.raises(InvalidError, match=r'label must be .*write label="'):
        app_with_endpoint(label=label)
    with pytest.raises(InvalidError, match="label must be"):
        check_label(label)


def test_strict_mode_refuses_a_label_when_it_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moorage.config, "strict", True)
    app = moorage.App()
    function: Any = app.function(serialized=True)(
        moorage.asgi_app(label="My")(lambda: plain)  # type: ignore[arg-type]
    )
    with app.run(), pytest.raises(InvalidError, match="label must be"):
        function.get_web_url()


def test_hosts_name_the_endpoint_on_every_port(monkeypatch: pytest.MonkeyPatch) -> None:
    app, function = app_with_endpoint()

    @app.function()
    @moorage.asgi_app(label="other")
    def second() -> Any:
        return plain

    with app.run():
        url, other = function.get_web_url(), second.get_web_url()
        port = url.rpartition(":")[2]
        for host in ("shop-api-dev.localhost", f"SHOP-api-dev.localhost:{port}"):
            assert get(other, "/", f"Host: {host}")[0] == 200
        until(lambda: function.statistics().succeeded == 2)
        assert get(url, "/", "Host: other.localhost")[0] == 200
        until(lambda: second.statistics().succeeded == 1)
        status, _, body = get(url, "/", "Host: nobody.localhost")
        assert status == 404
        assert b"labels: other, shop-api-dev" in body
    monkeypatch.setenv("MODAL_DEV_SUFFIX", "mine")
    with app.run():
        function.get_web_url()
        assert (
            b"labels: other, shop-api-mine"
            in get(function.get_web_url(), "/", "Host: nobody.localhost")[2]
        )


def test_a_host_names_functions_whose_url_nobody_has_asked_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app, function = app_with_endpoint()
    other = moorage.App("other")

    @other.function(serialized=True)
    @moorage.asgi_app()
    def included() -> Any:
        return plain

    @app.cls(serialized=True)
    class Model:
        size: int = moorage.parameter()

        @moorage.fastapi_endpoint()
        def page(self) -> int:
            return self.size

    @app.function(serialized=True)
    @moorage.web_server(1, label="server")
    def server() -> None: ...

    app.include(other)
    labels = b"labels: server, shop-api-dev, shop-included-dev, shop-model-page-dev\n"
    with app.run():
        url = function.get_web_url()
        status, _, body = get(url, "/", "Host: nobody.localhost")
        assert (status, body.partition(b"; ")[2]) == (404, labels)
        assert get(url, "/", "Host: shop-included-dev.localhost")[0] == 200
        found = get(url, "/?size=3", "Host: shop-model-page-dev.localhost")
        assert (found[0], found[2]) == (200, b"3")
        # The function has one port, also for a program that asks later.
        assert included.get_web_url() != url
        assert included.get_web_url() == included.get_web_url()
        assert function.statistics() is None  # no container of the own function
    assert not [record for record in caplog.records if record.levelname != "INFO"]


def test_a_host_opens_no_function_that_needs_a_token_on_an_open_address(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app, function = app_with_endpoint()

    @app.function(serialized=True)
    @moorage.asgi_app(requires_proxy_auth=True)
    def closed() -> Any:
        return plain

    monkeypatch.setattr(moorage.config, "web_host", "0.0.0.0")
    with app.run():
        port = function.get_web_url().rpartition(":")[2]
        host = "Host: shop-closed-dev.localhost"
        assert get(f"http://127.0.0.1:{port}", "/", host)[0] == 404
    assert "closed is not served: closed has requires_proxy_auth=True" in caplog.text


def test_a_deployed_app_has_no_suffix_and_a_second_app_takes_the_label() -> None:
    app, function = app_with_endpoint()
    _, other = app_with_endpoint()
    try:
        app.deploy()
        assert get(function.get_web_url(), "/", "Host: shop-api.localhost")[0] == 200
        with other.app.run():
            url = other.get_web_url()
            assert get(url, "/", "Host: shop-api.localhost")[0] == 200
            third_app, third = app_with_endpoint()
            with third_app.run():
                third.get_web_url()
                assert get(url, "/", "Host: shop-api-dev.localhost")[0] == 200
                until(lambda: third.statistics().succeeded == 1)
                assert other.statistics() is None
    finally:
        app.stop()


def test_one_label_for_two_functions_of_a_run_is_refused() -> None:
    app, function = app_with_endpoint(label="same")

    @app.function()
    @moorage.asgi_app(label="same")
    def second() -> Any:
        return plain

    with app.run():
        function.get_web_url()
        with pytest.raises(InvalidError, match='label "same" of second belongs to another'):
            second.get_web_url()


# -- the port ------------------------------------------------------------------------------------


class Endpoint:
    name = resident = "f"
    target: Any = None

    def submit(self, inputs: Any, scope: Any) -> Any:
        raise NotImplementedError


def test_a_port_that_is_taken_is_named_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConflictError, match=rf"port {port} of 127\.0\.0\.1.*taken"):
            Site(Endpoint(), "f", False, "127.0.0.1", port)


@pytest.mark.parametrize(("host", "port"), [("203.0.113.1", 0), ("127.0.0.1", 70_000)])
def test_an_address_that_cannot_be_bound(host: str, port: int) -> None:
    with pytest.raises(InvalidError, match=r"cannot be served on port .*write"):
        Site(Endpoint(), "f", False, host, port)


def test_the_port_of_a_run_that_was_left_is_free_again() -> None:
    with served(lambda: plain) as (_, url):
        get(url)
    port = int(url.rpartition(":")[2])
    site = Site(Endpoint(), "f", False, "127.0.0.1", port)
    assert site.url == url
    site._socket.close()


def test_a_connection_that_is_accepted_as_its_port_closes_is_closed() -> None:
    site = Site(Endpoint(), "f", False, "127.0.0.1")
    site.begin()
    until(lambda: site._server is not None and site._server.done())
    at_it, go_on = threading.Event(), threading.Event()

    def busy() -> None:
        at_it.set()
        go_on.wait(PATIENCE)

    refused: list[asyncio.Task[None]] = []
    process_http.post(busy)
    assert at_it.wait(PATIENCE)
    # The loop finds both at once: it accepts, and then it closes the port.
    with Client(site.url) as client:
        process_http.post(lambda: refused.append(asyncio.ensure_future(site.refuse())))
        go_on.set()
        assert client.rest() == b""
    until(lambda: refuses(site.url))
    process_http.run(site.end, PATIENCE)


# -- leaving -------------------------------------------------------------------------------------


def test_leaving_refuses_cancels_and_closes() -> None:
    app = App()
    clients: list[Client] = []
    with served(lambda: app, max_inputs=2, max_containers=1) as (function, url):
        for path in ("/hangs", "/stream", "/queued"):
            clients.append(client := Client(url))
            client.ask(path)
            if path == "/stream":
                client.until(b"one\r\n")
        clients.append(idle := Client(url))
        assert app.began.wait(PATIENCE)
        until(lambda: function.statistics().queued == 1)
    assert refuses(url)
    running, begun, queued, _ = clients
    for client in (running, queued):
        status, headers, _ = client.answer()
        assert (status, headers["connection"], headers["retry-after"]) == (503, "close", "1")
        assert client.rest() == b""
    assert not begun.rest().endswith(b"0\r\n\r\n")
    assert idle.rest() == b""
    assert app.paths == ["/hangs", "/stream"]
    for client in clients:
        client.socket.close()
    app.goes_on.set()


def test_draining_finishes_what_was_accepted(until_draining: Any) -> None:
    app = App()
    answers: list[int] = []
    left = threading.Event()

    def leave() -> None:
        with served(lambda: app, drain=True, max_inputs=1, max_containers=1) as (function, url):
            urls.append((function._service.current_run(), function, url))
            ready.set()
            left.wait(PATIENCE)

    urls: list[Any] = []
    ready = threading.Event()
    thread = threading.Thread(target=leave)
    thread.start()
    assert ready.wait(PATIENCE)
    run, function, url = urls[0]
    with Client(url) as running, Client(url) as queued:
        running.ask("/waits")
        assert app.began.wait(PATIENCE)
        queued.ask("/queued")
        until(lambda: function.statistics().queued == 1)
        left.set()
        until(lambda: run.draining)
        status, headers, _ = get(url)
        assert (status, headers["retry-after"]) == (503, "1")
        app.goes_on.set()
        answers += [running.answer()[0], queued.answer()[0]]
    thread.join(PATIENCE)
    assert answers == [200, 200]
    assert refuses(url)


class Endless:
    """A stream of events, or a WebSocket, that goes on until it is told to stop."""

    def __init__(self, *, listens: bool = True) -> None:
        self.began = threading.Event()
        self.seen: list[str] = []
        self.listens = listens

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
        else:
            headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
            await receive()
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        self.began.set()
        try:
            while self.listens:
                message = await receive()
                self.seen.append(message["type"])
                if message["type"].endswith("disconnect"):
                    return
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.seen.append("cancelled")
            raise


@pytest.mark.parametrize("listens", [True, False])
def test_draining_ends_a_stream_of_events(listens: bool) -> None:
    app = Endless(listens=listens)
    with served(lambda: app, drain=True, grace=PATIENCE if listens else 0.2) as (_, url):
        client = Client(url)
        client.ask("/")
        client.until(b"data: 1\n\n")
        assert app.began.wait(PATIENCE)
    assert app.seen == (["http.disconnect"] if listens else ["cancelled"])
    assert not client.rest().endswith(b"0\r\n\r\n")
    client.socket.close()


@pytest.mark.parametrize("listens", [True, False])
def test_draining_ends_a_websocket(listens: bool) -> None:
    app = Endless(listens=listens)
    with contextlib.ExitStack() as clients:
        with served(lambda: app, drain=True, grace=PATIENCE if listens else 0.2) as (_, url):
            client = clients.enter_context(connect(url, "/"))
            assert app.began.wait(PATIENCE)
        assert app.seen == (["websocket.disconnect"] if listens else ["cancelled"])
        assert closing(client).code == 1012


def test_leaving_closes_a_websocket_with_a_code() -> None:
    app = Endless()
    with contextlib.ExitStack() as clients:
        with served(lambda: app) as (_, url):
            client = clients.enter_context(connect(url, "/"))
            assert app.began.wait(PATIENCE)
        assert closing(client).code == 1012


def test_no_url_while_a_run_ends() -> None:
    app, function = app_with_endpoint()
    errors: list[Exception] = []

    @app.cls()
    class C:
        @moorage.enter()
        def begin(self) -> None: ...

        @moorage.exit()
        def end(self) -> None:
            try:
                function.get_web_url()
            except Exception as error:
                errors.append(error)

        @moorage.method()
        def m(self) -> None: ...

    with app.run():
        C().m.remote()
    assert [type(error) for error in errors] == [ExecutionError]


def test_a_forked_child_has_none_of_it() -> None:
    with served(lambda: plain) as (function, url), Client(url) as client:
        client.ask("/")
        client.answer()
        read, write = os.pipe()
        child = os.fork()
        if child == 0:  # pragma: no cover - another process
            code = 1
            try:
                names = [thread.name for thread in threading.enumerate()]
                mine = function.get_web_url()  # in a run of the child
                if "moorage-http" not in names and mine != url and get(mine)[0] == 200:
                    code = 0
                os.write(write, b"x")
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        os.close(read)
        os.close(write)
        client.ask("/")
        assert client.answer()[0] == 200


def test_a_child_that_lives_on_holds_no_port_and_no_connection() -> None:
    mine, childs = socket.socketpair()
    with served(lambda: plain) as (_, url):
        client = Client(url)
        client.ask("/")
        client.answer()
        child = os.fork()
        if child == 0:  # pragma: no cover - another process
            mine.close()
            childs.send(b"x")
            childs.recv(1)
            os._exit(0)
        childs.close()
        mine.recv(1)
    try:
        assert refuses(url)
        assert client.rest() == b""
    finally:
        mine.close()
        os.waitpid(child, 0)
        client.socket.close()


def test_a_program_ends_while_it_serves() -> None:
    program = """
    import moorage, urllib.request
    app = moorage.App()

    async def plain(scope, receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"hello"})

    @app.function()
    @moorage.asgi_app()
    def api():
        return plain

    print(urllib.request.urlopen(api.get_web_url()).read())
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "b'hello'\n", "")
    assert system_clock.participants is None


def test_a_request_has_one_attempt_whatever_the_class_says() -> None:
    app, calls = moorage.App(), []

    @app.cls(serialized=True, retries=moorage.Retries(max_retries=3, initial_delay=0.0))
    class Site:
        @moorage.asgi_app()
        def page(self) -> Any:
            async def application(scope: Any, receive: Any, send: Any) -> None:
                if scope["type"] == "lifespan":
                    return
                calls.append(scope["path"])
                if scope["path"] == "/slow":
                    await asyncio.sleep(100)
                raise ValueError

            return application

        @moorage.method()
        def method(self) -> int:
            calls.append("method")
            if calls.count("method") < 3:
                raise ValueError
            return 3

    clock = VirtualClock()

    async def main() -> None:
        async with app.run(clock=clock), web_client(Site().page) as client:
            assert (await client.get("/fails")).status_code == 500
            await asyncio.sleep(100)
            assert calls == ["/fails"]
            assert await Site().method.remote.aio() == 3  # methods are tried again
            seen = Site().page.statistics()
            assert (seen.failed, seen.retries) == (1, 2)
        async with (
            app.run(clock=clock),
            web_client(Site.with_options(timeout=5)().page) as client,
        ):
            assert (await client.get("/slow")).status_code == 504
            await asyncio.sleep(100)
            assert calls.count("/slow") == 1

    clock.run(main())


@pytest.mark.parametrize("strict", [False, True])
def test_variants_that_do_not_go_with_a_web_function(
    strict: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, function = app_with_endpoint()

    @app.cls(serialized=True)
    class Site:
        @moorage.asgi_app()
        def page(self) -> Any:
            return plain

    monkeypatch.setattr(moorage.config, "strict", strict)
    with app.run():
        with pytest.raises(InvalidError, match=r"retries=.* web function api"):
            function.with_options(retries=3)
        with pytest.raises(InvalidError, match=r"with_batching.* web function api"):
            function.with_batching(max_batch_size=2, wait_ms=10)
        with pytest.raises(InvalidError, match=r"with_batching.* web function Site\.page"):
            Site.with_batching(max_batch_size=2, wait_ms=10)().page.get_web_url()
        assert get(function.with_options(timeout=60).get_web_url())[0] == 200
