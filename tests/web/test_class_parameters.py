"""Parameters of a class as query parameters of the URLs of its web methods."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

import moorage
import moorage.web
from moorage.testing import web_client

from .sockets import get
from .test_http import connect, until


class Model:
    """What each test decorates."""

    name: str = moorage.parameter()
    size: int = moorage.parameter(default=1)
    fast: bool = moorage.parameter(default=False)
    raw: bytes = moorage.parameter(default=b"")

    @moorage.asgi_app()
    def show(self) -> Any:
        async def application(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "lifespan":
                return
            seen = [self.name, self.size, self.fast, self.raw.hex(), id(self)]
            seen.append(scope["query_string"].decode())
            text = json.dumps(seen)
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.accept"})
                await send({"type": "websocket.send", "text": text})
                await send({"type": "websocket.close"})
                return
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": text.encode()})

        return application

    @moorage.method()
    def me(self) -> int:
        return id(self)


def model() -> tuple[moorage.App, Any]:
    app = moorage.App()
    return app, app.cls(max_containers=1)(Model)  # a late slot must not start a second one


def shown(url: str, query: str = "") -> Any:
    status, _, body = get(url, f"/{query}")
    assert status == 200, body
    return json.loads(body)


def test_a_client_in_a_test_gives_parameters_as_behind_the_url() -> None:
    app, cls = model()
    with app.run():
        with web_client(cls(name="a", size=3).show) as client:
            assert client.get("/").json()[:2] == ["a", 3]
            mine, other = client.get("/?mine=1").json(), client.get("/?name=b&fast=yes").json()
            assert mine[4] == cls(name="a", size=3).me.remote()
            assert other[:3] == ["b", 3, True]
            assert other[4] == cls(name="b", size=3, fast=True).me.remote() != mine[4]
            refused = client.get("/?size=large")
            assert (refused.status_code, "size" in refused.text) == (400, True)
            with client.websocket("/?name=c") as socket:
                assert socket.receive_json()[:2] == ["c", 3]
        shared = moorage.web.asgi(cls(name="a").show)

    async def ask() -> Any:
        async with app.run():
            transport = httpx.ASGITransport(shared)
            async with httpx.AsyncClient(transport=transport, base_url="http://s") as client:
                return (await client.get("/?name=b")).json()

    # A service that mounts one instance does not let its clients choose another.
    assert asyncio.run(ask())[:2] == ["a", 1]


def test_each_set_of_values_has_its_own_instance() -> None:
    app, cls = model()
    with app.run():
        url = cls(name="a").show.get_web_url().partition("/?")[0]
        assert cls(name="b", size=2).show.get_web_url().startswith(url)  # one port
        first, second = shown(url, "?name=a"), shown(url, "?name=b")
        assert first[:4] == ["a", 1, False, ""]
        assert first[4] != second[4]
        assert shown(url, "?name=a&size=1&mine=3")[4] == first[4] == cls(name="a").me.remote()
        assert shown(url, "?name=a&size=2")[4] != first[4]
        until(lambda: cls.statistics().succeeded == 5)


@pytest.mark.parametrize(
    ("query", "seen"),
    [
        ("name=a+b%2Bc%26&size=-7", ["a b+c&", -7, False, ""]),
        ("name=%C3%A4&fast=true", ["ä", 1, True, ""]),
        ("name=&fast=1", ["", 1, True, ""]),
        ("name=x&fast=No", ["x", 1, False, ""]),
        ("name=x&raw=%2B%2F8%3D", ["x", 1, False, "fbff"]),
        ("name=x&raw=-_8", ["x", 1, False, "fbff"]),
        ("name=x&raw=+/8=", ["x", 1, False, "fbff"]),
        ("n%61me=x", ["x", 1, False, ""]),
        ("name=x&name=y", ["y", 1, False, ""]),
        ("name=x&&=&other", ["x", 1, False, ""]),
    ],
)
def test_how_values_are_read(query: str, seen: list[object]) -> None:
    app, cls = model()
    with app.run():
        url = cls(name="a").show.get_web_url().partition("/?")[0]
        found = shown(url, f"?{query}")
    assert found[:4] == seen
    assert found[5] == query  # the application sees all of it


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("", "The parameter name is missing"),
        ("size=1", "The parameter name is missing"),
        ("name=x&size=one", "The parameter size must be a whole number"),
        ("name=x&size=", "The parameter size must be a whole number"),
        ("name=x&size=" + "9" * 5000, "The parameter size must be a whole number"),
        ("name=x&fast=maybe", "The parameter fast must be true or false"),
        ("name=x&raw=*", "The parameter raw must be bytes in base64"),
        ("name=%FF", "The parameter name must be text in UTF-8"),
    ],
)
def test_wrong_values_are_the_clients_fault(
    query: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    app, cls = model()
    with app.run(), caplog.at_level(logging.WARNING):
        url = cls(name="a").show.get_web_url().partition("/?")[0]
        status, _, body = get(url, f"/?{query}")
        assert (status, says in body.decode()) == (400, True)
        assert cls.statistics().containers_started == 0
    assert not caplog.records


def test_the_url_of_an_instance_is_ready_to_use() -> None:
    app, cls = model()
    with app.run():
        for values in (
            {"name": "a b&c=+ä", "size": 3, "fast": True, "raw": b"\xfb\xff"},
            {"name": "d"},
        ):
            url = cls(**values).show.get_web_url()
            parts = urlsplit(url)
            found = shown(f"http://{parts.netloc}", f"?{parts.query}")
            instance = cls(**values)
            assert found[4] == instance.me.remote()
            assert found[0] == values["name"]


def test_the_url_without_parameters_has_no_query() -> None:
    app = moorage.App()

    @app.cls()
    class C:
        size: int = moorage.parameter(default=4)

        @moorage.fastapi_endpoint()
        def get(self, times: int = 1) -> int:
            return self.size * times

    with app.run():
        url = C().get.get_web_url()
        assert "?" not in url
        assert get(url)[2] == b"4"
        assert get(url, "/?size=5&times=2")[2] == b"10"
        assert get(C(size=6).get.get_web_url(), "/?size=6")[2] == b"6"


def test_a_websocket_has_parameters_too() -> None:
    from websockets.exceptions import InvalidStatus

    app, cls = model()
    with app.run():
        url = cls(name="a").show.get_web_url().partition("/?")[0]
        with connect(url, "/?name=w&size=3") as client:
            assert json.loads(client.recv(10))[:2] == ["w", 3]
        with pytest.raises(InvalidStatus) as caught:
            connect(url, "/?size=3").__enter__()
    assert caught.value.response.status_code == 400


def test_no_other_error_reaches_a_client(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from moorage.exception import InvalidError
    from moorage.running.services import AppService

    def fails(self: Any, run: Any) -> Any:
        raise InvalidError("a secret")

    app, cls = model()
    with app.run():
        url = cls(name="a").show.get_web_url().partition("/?")[0]
        monkeypatch.setattr(AppService, "maker", fails)
        status, _, body = get(url, "/?name=x")
        monkeypatch.undo()
    assert (status, body) == (500, b"Internal Server Error")
    assert [record.exc_info[1].args for record in caplog.records] == [("a secret",)]  # type: ignore[index,union-attr]


def test_a_class_with_a_constructor_of_its_own() -> None:
    app = moorage.App()
    with pytest.warns(moorage.exception.DeprecationError):

        @app.cls()
        class C:
            def __init__(self, name: str) -> None:
                self.name = name

            @moorage.fastapi_endpoint()
            def get(self) -> str:
                return self.name

    with app.run():
        one, two = C("one").get.get_web_url(), C("two").get.get_web_url()
        assert get(one)[2] == b'"one"'
        assert get(two)[2] == b'"two"'


def test_the_requests_of_each_set_of_values_are_counted() -> None:
    app, made = model()
    with app.run():
        url = made(name="a").show.get_web_url().partition("?")[0]
        for name in ("a", "b", "b"):
            shown(url, f"?name={name}")
        assert get(url)[0] == 400  # of no pool: the name is missing
        until(lambda: made.statistics().web.total == 3)
        assert made.statistics().web.requests == (("2xx", 3),)


@pytest.mark.parametrize("strict", [False, True])
def test_a_url_needs_no_parameters(strict: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moorage.config, "strict", strict)
    app = moorage.App("parametrized")
    cls = app.cls(serialized=True)(Model)
    missing = pytest.raises(TypeError, match="missing a required argument: 'name'")
    with app.run():
        url = cls().show.get_web_url()
        assert url == cls(name="a").show.get_web_url().partition("/?")[0]
        assert shown(url, "?name=b")[0] == "b"
        assert get(url)[0] == 400
        assert repr(cls().show) == "Method(Model.show)"
        with web_client(cls().show) as client:
            assert client.get("/?name=c").json()[0] == "c"
            assert client.get("/").status_code == 400
        # What needs the values says that they are missing.
        with missing:
            moorage.web.asgi(cls().show)
        with missing:
            cls().me.remote()
        with missing:
            cls().show.update_autoscaler(min_containers=1)
    app.deploy()
    try:
        named = moorage.Cls.from_name("parametrized", "Model")
        url = named().show.get_web_url()
        assert named(name="d").show.get_web_url() == f"{url}/?name=d"
        assert shown(url, "?name=d")[0] == "d"
        with web_client(named().show) as client:
            assert client.get("/?name=e").json()[0] == "e"
        with missing:
            named().me.remote()
    finally:
        app.stop()


def test_a_method_of_the_class_names_the_way_that_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    _, cls = model()
    monkeypatch.setattr(moorage.config, "strict", True)
    with pytest.raises(AttributeError, match=r"write Model\(\)\.show\.get_web_url\(\)"):
        cls.show.get_web_url()
    with pytest.raises(AttributeError, match=r"write Model\(\)\.me\.remote\(\.\.\.\)"):
        cls.me.get_web_url()
