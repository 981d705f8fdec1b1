"""What does not pass the gate: foreign hosts, foreign pages, and requests without a token."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import moorage
from moorage.exception import InvalidError
from moorage.web.gate import proxy_tokens

from .sockets import Client, get, served
from .test_http import App, connect
from .test_urls import app_with_endpoint, plain


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:1", 200),
        ("LOCALHOST:8000", 200),
        ("localhost.", 200),
        ("[::1]:8000", 200),
        ("evil.com", 421),
        ("localhost.evil.com", 421),
        ("127.0.0.1.evil.com", 421),
        ("evillocalhost", 421),
        ("127.0.0.1@evil.com", 421),
        ("127.0.0.2", 421),
        ("0.0.0.0", 421),
        ("", 421),
        ("nobody.localhost", 404),
        ("a.b.localhost", 404),
    ],
)
def test_hosts(host: str, status: int) -> None:
    with served(lambda: plain) as (function, url):
        found, _, body = get(url, "/", f"Host: {host}")
        assert found == status, body
        assert (function.statistics() is None) is (status != 200)


def test_a_request_without_a_host() -> None:
    with served(lambda: plain) as (_, url):
        with Client(url) as client:
            client.send(b"GET / HTTP/1.1\r\n\r\n")
            assert client.answer()[0] == 421
        with Client(url) as client:
            client.send(b"GET / HTTP/1.0\r\n\r\n")
            assert client.answer()[0] == 200
        with Client(url) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.com\r\n\r\n")
            assert client.answer()[0] == 400


def test_allowed_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = ["box.lan", "named.lan:8000", "*.mine.org", "tenant.localhost"]
    monkeypatch.setattr(moorage.config, "allowed_hosts", allowed)
    with served(lambda: plain) as (_, url):
        for host, status in {
            "BOX.lan:99": 200,
            "named.lan:8000": 200,
            "named.lan": 421,
            "a.mine.org": 200,
            "mine.org": 421,
            "evilmine.org": 421,
            "tenant.localhost:1": 200,
        }.items():
            assert get(url, "/", f"Host: {host}")[0] == status, host
        assert get(url, "/", "Origin: https://box.lan")[0] == 200
        assert get(url, "/", "Origin: https://named.lan")[0] == 403


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:3000", 200),
        ("http://127.0.0.1", 200),
        ("http://[::1]:5", 200),
        ("https://app.localhost", 200),
        ("https://evil.com", 403),
        ("http://localhost.evil.com", 403),
        ("http://evil.com#localhost", 403),
        ("http://localhost@evil.com", 403),
        ("null", 403),
        ("file://", 403),
        ("localhost", 403),
        ("http://[", 403),
        ("", 403),
    ],
)
def test_origins(origin: str, status: int) -> None:
    with served(lambda: plain) as (function, url):
        for method in ("GET", "OPTIONS", "POST"):
            with Client(url) as client:
                client.ask("/", f"Origin: {origin}", method=method)
                found, headers, _ = client.answer()
            assert found == status
            assert "access-control-allow-origin" not in headers
        assert (function.statistics() is None) is (status != 200)


def test_pages_that_send_no_origin() -> None:
    cross = "Sec-Fetch-Site: cross-site"
    with served(lambda: plain) as (_, url):
        image = (cross, "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image")
        frame = (cross, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe")
        link = (cross, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")
        assert get(url, "/", *image)[0] == 403
        assert get(url, "/", *image, "Referer: https://evil.com/localhost")[0] == 403
        assert get(url, "/", *image, "Referer: http://localhost:3000/page")[0] == 200
        assert get(url, "/", *frame)[0] == 403
        assert get(url, "/", *link)[0] == 200
        assert get(url, "/", "Sec-Fetch-Site: same-origin")[0] == 200
        assert get(url, "/", "Sec-Fetch-Site: none")[0] == 200


def test_open_cors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moorage.config, "open_cors", True)
    with served(lambda: plain) as (_, url):
        assert get(url, "/", "Origin: https://evil.com")[0] == 200
        assert get(url, "/", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors")[0] == 200
        assert get(url, "/", "Host: evil.com")[0] == 421


def test_websockets_pass_the_same_gate() -> None:
    from websockets.exceptions import InvalidStatus

    def status(**options: Any) -> int:
        with pytest.raises(InvalidStatus) as caught:
            connect(url, "/ws", **options).__enter__()
        return int(caught.value.response.status_code)

    with served(App) as (function, url):
        assert status(origin="https://evil.com") == 403
        assert status(additional_headers={"Host": "evil.com"}) in (400, 421)
        assert function.statistics() is None
        with connect(url, "/ws", origin="http://localhost:3000") as client:
            client.send("x")
            assert client.recv(10) == "x"


def test_a_refused_upload_closes_the_connection() -> None:
    with served(lambda: plain) as (_, url), Client(url) as client:
        client.ask("/", "Origin: https://evil.com", "Content-Length: 100", method="POST")
        status, headers, _ = client.answer()
        assert (status, headers["connection"]) == (403, "close")
        assert client.rest() == b""


# -- tokens --------------------------------------------------------------------------------------


def test_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    from websockets.exceptions import InvalidStatus

    monkeypatch.setenv("MOORAGE_PROXY_TOKENS", "wk-1:ws-1, wk-2:ws:2")
    app, function = app_with_endpoint(requires_proxy_auth=True)
    with app.run():
        url = function.get_web_url()
        for headers in (
            (),
            ("Modal-Key: wk-1",),
            ("Modal-Secret: ws-1",),
            ("Modal-Key: wk-1", "Modal-Secret: ws:2"),
            ("Modal-Key: wk-1", "Modal-Secret: WS-1"),
            ("Modal-Key: wk-1:ws-1", "Modal-Secret: "),
            ("Modal-Key: wk-2:ws", "Modal-Secret: 2"),
            ("Modal-Key: \xff", "Modal-Secret: \xff"),
        ):
            status, _, body = get(url, "/", *headers)
            assert status == 401, headers
            assert b"ws-1" not in body
        with pytest.raises(InvalidStatus) as caught:
            connect(url, "/").__enter__()
        assert caught.value.response.status_code == 401
        assert function.statistics() is None
        for key, secret in (("wk-1", "ws-1"), ("wk-2", "ws:2")):
            assert get(url, "/", f"modal-key: {key}", f"modal-secret: {secret}")[0] == 200
        monkeypatch.setattr(moorage.config, "proxy_tokens", {"other": "one"})
        assert get(url, "/", "Modal-Key: wk-1", "Modal-Secret: ws-1")[0] == 401
        assert get(url, "/", "Modal-Key: other", "Modal-Secret: one")[0] == 200


def test_the_token_of_an_endpoint_is_asked_on_every_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moorage.config, "proxy_tokens", {"k": "s"})
    app, function = app_with_endpoint(requires_proxy_auth=True, label="closed")

    @app.function()
    @moorage.asgi_app(label="open")
    def second() -> Any:
        return plain

    with app.run():
        function.get_web_url()
        url = second.get_web_url()
        assert get(url)[0] == 200
        assert get(url, "/", "Host: closed.localhost")[0] == 401


def test_without_tokens_one_warning_says_so(caplog: pytest.LogCaptureFixture) -> None:
    app, function = app_with_endpoint(requires_proxy_auth=True)
    with app.run(), caplog.at_level(logging.WARNING):
        assert get(function.get_web_url())[0] == 200
        assert get(function.get_web_url())[0] == 200
    # On a busy machine a second container may start, which serves the same application.
    records = [one for one in caplog.records if "same application" not in one.getMessage()]
    (record,) = records
    assert "MOORAGE_PROXY_TOKENS" in record.getMessage()


@pytest.mark.parametrize("text", ["word", "word:", ":word", "a:b,word"])
def test_malformed_tokens_are_named_and_not_shown(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOORAGE_PROXY_TOKENS", text)
    with pytest.raises(InvalidError, match="MOORAGE_PROXY_TOKENS must be") as caught:
        proxy_tokens()
    assert "word" not in str(caught.value)


# -- other addresses -----------------------------------------------------------------------------


def test_other_addresses_need_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moorage.config, "web_host", "0.0.0.0")
    app, function = app_with_endpoint(requires_proxy_auth=True)
    with app.run():
        with pytest.raises(InvalidError, match="MOORAGE_PROXY_TOKENS"):
            function.get_web_url()
        monkeypatch.setattr(moorage.config, "proxy_tokens", {"k": "s"})
        url = function.get_web_url()
        assert url.startswith("http://127.0.0.1:")
        assert get(url, "/", "Modal-Key: k", "Modal-Secret: s")[0] == 200
        monkeypatch.setattr(moorage.config, "proxy_tokens", {})
        assert get(url)[0] == 401  # nobody, rather than everybody


def test_other_addresses_take_any_name_and_no_foreign_page(monkeypatch: pytest.MonkeyPatch) -> None:
    app, function = app_with_endpoint(label="inside")

    @app.function()
    @moorage.asgi_app(label="outside")
    def second() -> Any:
        return plain

    with app.run():
        function.get_web_url()
        monkeypatch.setattr(moorage.config, "web_host", "0.0.0.0")
        url = second.get_web_url()
        assert get(url, "/", "Host: my-laptop.lan")[0] == 200
        assert get(url, "/", "Host: my-laptop.lan", "Origin: http://my-laptop.lan")[0] == 200
        assert get(url, "/", "Host: my-laptop.lan", "Origin: http://evil.com")[0] == 403
        # What listens on loopback alone is not reached through the other port.
        assert get(url, "/", "Host: inside.localhost")[0] == 404
        monkeypatch.setattr(moorage.config, "allowed_hosts", ("box.lan",))
        assert get(url, "/", "Host: my-laptop.lan")[0] == 421


def test_forwarded_headers_are_not_trusted() -> None:
    seen: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            seen.append((scope["client"][0], scope["scheme"]))
            await plain(scope, receive, send)

    with served(lambda: application) as (_, url):
        get(url, "/", "X-Forwarded-For: 9.9.9.9", "X-Forwarded-Proto: https")
    assert seen == [("127.0.0.1", "http")]
