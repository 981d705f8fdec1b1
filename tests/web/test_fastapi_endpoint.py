"""``fastapi_endpoint``: the user's function is the handler, and FastAPI sees it as it is."""

import asyncio
import builtins
import json
import sys
import textwrap
import threading

import pytest

import moorage
from moorage.web import bridge

from .apps_front import LIMIT, Client, run, until

fastapi = pytest.importorskip("fastapi")

from typing import Annotated  # noqa: E402

from fastapi import (  # noqa: E402
    BackgroundTasks,
    Body,
    Cookie,
    Depends,
    Form,
    Header,
    HTTPException,
    Request,
    Response,
    UploadFile,
)
from fastapi.responses import HTMLResponse, StreamingResponse  # noqa: E402
from pydantic import BaseModel  # noqa: E402


def endpoint(function, *, app=None, max_inputs=10, options=None, **more):
    app = app or moorage.App("fastapi-tests")
    marked = moorage.fastapi_endpoint(**more)(function)
    marked = moorage.concurrent(max_inputs=max_inputs)(marked)
    return app, app.function(serialized=True, **(options or {}))(marked)


JSON = {"content-type": "application/json"}


def ask(function, method="GET", url="/", *, body=b"", headers=JSON, declared=None):
    """The answer of an endpoint to one request."""
    app, web = endpoint(function, method=declared or method)

    async def main():
        return await Client(web).ask(method, url, body=body, headers=headers)

    return run(app, main)


def loaded(answer):
    return json.loads(answer.body)


class Item(BaseModel):
    name: str
    price: float = 1.0


class Made(BaseModel):
    name: str


# -- parameters --------------------------------------------------------------------------


def typed(x: int, y: float = 0.5, flag: bool = False, name: str | None = None):
    return {"x": x, "y": y, "flag": flag, "name": name}


def test_types_of_query_parameters():
    answer = ask(typed, url="/?x=3&flag=true&name=a%20b")
    assert answer.status == 200
    assert loaded(answer) == {"x": 3, "y": 0.5, "flag": True, "name": "a b"}
    assert answer.header("content-type") == "application/json"


@pytest.mark.parametrize("url", ["/?x=three", "/", "/?x=1&y=z"])
def test_wrong_query_parameters_are_422(url):
    answer = ask(typed, url=url)
    assert answer.status == 422
    assert loaded(answer)["detail"][0]["loc"][0] == "query"


def test_the_body_as_a_dict_and_as_a_model():
    def takes_dict(item: dict):
        return item

    def takes_model(item: Item):
        return item.name * 2

    def takes_two(a: Annotated[int, Body()], b: Annotated[int, Body()]):
        return a + b

    body = b'{"name": "n", "price": 2}'
    assert loaded(ask(takes_dict, "POST", body=body)) == {"name": "n", "price": 2}
    assert loaded(ask(takes_model, "POST", body=body)) == "nn"
    assert ask(takes_model, "POST", body=b'{"price": 2}').status == 422
    assert ask(takes_model, "POST", body=b"not json").status == 422
    assert loaded(ask(takes_two, "PUT", body=b'{"a": 1, "b": 2}')) == 3


def test_request_and_response():
    async def handler(request: Request, response: Response):
        response.headers["x-mine"] = request.headers["x-yours"]
        response.status_code = 201
        return {"host": request.client.host, "body": (await request.body()).decode()}

    answer = ask(handler, "POST", body=b"raw", headers={"X-Yours": "1"})
    assert (answer.status, answer.header("x-mine")) == (201, "1")
    assert loaded(answer) == {"host": "127.0.0.1", "body": "raw"}


def multipart(fields, content, kind="application/octet-stream"):
    lines = []
    for name, value in fields.items():
        lines.append(f'--B\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n')
    head = (
        "".join(lines) + '--B\r\ncontent-disposition: form-data; name="file"; filename="f.bin"\r\n'
        f"content-type: {kind}\r\n\r\n"
    )
    return head.encode() + content + b"\r\n--B--\r\n"


def test_an_upload_of_20_mb_and_a_form():
    pytest.importorskip("python_multipart")

    async def handler(file: UploadFile, note: Annotated[str, Form()]):
        size = 0
        while part := await file.read(1 << 20):
            size += len(part)
        return {"name": file.filename, "size": size, "note": note}

    app, web = endpoint(handler, method="POST")
    content = b"x" * 20_000_000
    body = multipart({"note": "hello"}, content)

    async def main():
        request = Client(web).start(
            "POST", headers={"content-type": "multipart/form-data; boundary=B"}
        )
        for start in range(0, len(body), 100_000):
            request.send(body[start : start + 100_000])
        request.send(b"", more=False)
        await request.whole()
        return request

    answer = run(app, main)
    assert loaded(answer) == {"name": "f.bin", "size": 20_000_000, "note": "hello"}


def test_headers_and_cookies():
    def handler(
        user_agent: Annotated[str, Header()],
        session: Annotated[str | None, Cookie()] = None,
    ):
        return [user_agent, session]

    assert loaded(ask(handler, headers={"user-agent": "a", "cookie": "session=s"})) == ["a", "s"]
    assert loaded(ask(handler, headers={"user-agent": "a"})) == ["a", None]
    assert ask(handler).status == 422


def test_a_dependency_that_yields_closes_after_the_response():
    order = []

    def resource():
        order.append("open")
        yield "value"
        order.append("close")

    async def handler(found: Annotated[str, Depends(resource)]):
        order.append(found)

        async def parts():
            order.append("part")
            yield b"part"

        return StreamingResponse(parts())

    app, web = endpoint(handler)

    async def main():
        assert (await Client(web).get("/")).text == "part"
        # The client may have its whole response before the dependency closes.
        await until(lambda: len(order) == 4)

    run(app, main)
    assert order[:2] == ["open", "value"]
    assert sorted(order[2:]) == ["close", "part"]


def test_a_dependency_closes_also_after_an_error():
    closed = []

    def resource():
        try:
            yield 1
        finally:
            closed.append(True)

    def handler(found: Annotated[int, Depends(resource)]):
        raise HTTPException(418, "short and stout", headers={"x-tea": "1"})

    answer = ask(handler)
    assert (answer.status, answer.header("x-tea")) == (418, "1")
    assert loaded(answer) == {"detail": "short and stout"}
    assert closed == [True]


def test_background_tasks_hold_the_slot():
    go_on, begun = threading.Event(), threading.Event()
    ids = []

    def later():
        begun.set()
        assert go_on.wait(LIMIT)
        ids.append(moorage.current_input_id())

    def handler(tasks: BackgroundTasks):
        tasks.add_task(later)
        return moorage.current_input_id()

    app, web = endpoint(handler, max_inputs=1)

    async def main():
        answer = await Client(web).start(body=b"").begin()
        await answer.part()
        await until(begun.is_set)
        assert web.statistics().running == 1
        go_on.set()
        await answer.end()
        await until(lambda: web.statistics().running == 0)
        assert ids == [loaded(answer)]

    run(app, main)


# -- answers -----------------------------------------------------------------------------


def test_the_return_annotation_is_the_response_model():
    def handler() -> Made:
        return Item(name="n", price=5)

    assert loaded(ask(handler)) == {"name": "n"}


def test_responses_of_other_kinds():
    def html():
        return HTMLResponse("<b>bold</b>")

    def nothing():
        return Response(status_code=204)

    answer = ask(html)
    assert (answer.text, answer.header("content-type")) == (
        "<b>bold</b>",
        "text/html; charset=utf-8",
    )
    assert ask(nothing).status == 204


@pytest.mark.parametrize("is_async", [True, False])
def test_a_stream_arrives_part_by_part(is_async):
    go_on = threading.Event()

    async def parts():
        yield b"one"
        await asyncio.to_thread(go_on.wait, LIMIT)
        yield b"two"

    def sync_parts():
        yield b"one"
        go_on.wait(LIMIT)
        yield b"two"

    def handler():
        return StreamingResponse(parts() if is_async else sync_parts(), media_type="text/plain")

    app, web = endpoint(handler)

    async def main():
        request = Client(web).start(body=b"")
        await request.begin()
        assert await request.part() == b"one"
        go_on.set()
        assert await request.part() == b"two"
        await request.end()

    run(app, main)


def test_sync_handlers_run_on_threads_and_async_ones_on_the_loop():
    def sync():
        return [threading.current_thread().name, moorage.current_input_id()]

    async def asynchronous():
        asyncio.get_running_loop()
        return [threading.current_thread().name, moorage.current_input_id()]

    on_thread, on_loop = loaded(ask(sync)), loaded(ask(asynchronous))
    assert "moorage" not in on_thread[0]
    assert on_loop[0].startswith("moorage-")
    assert on_thread[1].startswith("in-")
    assert on_loop[1].startswith("in-")


def test_sixty_sync_handlers_meet():
    barrier = threading.Barrier(60)

    def handler():
        barrier.wait(LIMIT)
        return 1

    app, web = endpoint(handler, max_inputs=100)

    async def main():
        client = Client(web)
        found = await asyncio.gather(*(client.get() for _ in range(60)))
        assert {one.status for one in found} == {200}

    run(app, main)


def test_an_error_is_a_plain_500_and_one_traceback(caplog):
    def handler():
        raise ZeroDivisionError("secret of the user")

    app, web = endpoint(handler)

    async def main():
        answer = await Client(web).get(headers={"origin": "http://localhost"})
        assert (answer.status, answer.text) == (500, "Internal Server Error")
        assert answer.header("access-control-allow-origin") is None
        await until(lambda: web.statistics().failed == 1)

    run(app, main)
    assert caplog.text.count("ZeroDivisionError: secret of the user") == 1


# -- the shape of the application ------------------------------------------------------------


def test_other_paths_and_methods():
    app, web = endpoint(lambda: "ok")

    async def main():
        client = Client(web)
        assert (await client.get()).status == 200
        other = await client.get("/other")
        assert (other.status, loaded(other)) == (404, {"detail": "Not Found"})
        for method in ("POST", "HEAD", "OPTIONS", "DELETE"):
            answer = await client.ask(method)
            assert answer.status == 405, method
            assert answer.header("allow") == "GET"
        assert loaded(await client.post()) == {"detail": "Method Not Allowed"}
        for path in ("/docs", "/redoc", "/openapi.json"):
            assert (await client.get(path)).status == 404

    run(app, main)


def test_documentation_if_it_is_asked_for():
    app, web = endpoint(typed, docs=True)

    async def main():
        client = Client(web)
        for path in ("/docs", "/redoc", "/openapi.json"):
            assert (await client.get(path)).status == 200
        schema = loaded(await client.get("/openapi.json"))
        names = [one["name"] for one in schema["paths"]["/"]["get"]["parameters"]]
        assert names == ["x", "y", "flag", "name"]

    run(app, main)


def test_a_method_in_lower_case():
    assert loaded(ask(lambda: "ok", "POST", declared="post")) == "ok"
    assert ask(lambda: "ok", "GET", declared="post").status == 405


def test_cors():
    app, web = endpoint(lambda: "ok", method="POST")
    origin = {"origin": "http://localhost:3000"}

    async def main():
        client = Client(web)
        answer = await client.ask(
            "OPTIONS", headers=origin | {"access-control-request-method": "POST"}
        )
        assert (answer.status, answer.text) == (200, "OK")
        assert answer.header("access-control-allow-origin") == origin["origin"]
        assert answer.header("access-control-max-age") == "600"
        answer = await client.post(headers=origin)
        assert answer.header("access-control-allow-origin") in (origin["origin"], "*")
        assert answer.header("access-control-allow-credentials") == "true"

    run(app, main)


# -- methods, modules, packages --------------------------------------------------------------


def test_methods_have_the_state_of_enter():
    app = moorage.App("fastapi-class")

    @app.cls(serialized=True)
    @moorage.concurrent(max_inputs=4)
    class Model:
        @moorage.enter()
        def load(self):
            self.weight = 7

        @moorage.fastapi_endpoint()
        def get(self, q: int = 1):
            return self.weight * q

        @moorage.fastapi_endpoint(method="POST")
        async def post(self, item: Item):
            return [item.name, self.weight]

        @moorage.method()
        def m(self, x):
            return self.weight + x

    async def main():
        assert loaded(await Client(Model().get).get("/?q=3")) == 21
        assert (await Client(Model().get).get("/?q=x")).status == 422
        assert loaded(await Client(Model().post).post(body=b'{"name": "n"}', headers=JSON)) == [
            "n",
            7,
        ]
        assert (await Client(Model().post).get()).status == 405
        assert await Model().m.remote.aio(1) == 8
        assert Model().m.statistics().containers_started == 1

    run(app, main)


def test_annotations_of_the_future(tmp_path, monkeypatch):
    (tmp_path / "future_web.py").write_text(
        textwrap.dedent(
            """
            from __future__ import annotations
            import moorage
            from fastapi import Request
            from pydantic import BaseModel

            app = moorage.App("future")

            class Item(BaseModel):
                name: str

            @app.function()
            @moorage.fastapi_endpoint(method="POST")
            def web(item: Item, request: Request, q: int = 1) -> Item:
                return Item(name=item.name * q)

            @app.cls()
            class Model:
                @moorage.fastapi_endpoint(method="POST")
                def web(self, item: Item, q: int = 1) -> Item:
                    return Item(name=item.name * q)
            """
        )
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import future_web

    async def main():
        for function in (future_web.web, future_web.Model().web):
            answer = await Client(function).post("/?q=2", body=b'{"name": "n"}', headers=JSON)
            assert loaded(answer) == {"name": "nn"}
            assert (
                await Client(function).post("/?q=z", body=b'{"name": "n"}', headers=JSON)
            ).status == 422

    try:
        run(future_web.app, main)
    finally:
        del sys.modules["future_web"]


def test_without_fastapi_the_start_says_what_to_install(monkeypatch, caplog):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.split(".")[0] == "fastapi" and threading.current_thread().name.startswith(
            "moorage-"
        ):
            raise ImportError("no fastapi")
        return real(name, *args, **kwargs)

    app, web = endpoint(lambda: 1)

    async def main():
        monkeypatch.setattr(builtins, "__import__", refuse)
        try:
            return (await Client(web).get()).status
        finally:
            monkeypatch.setattr(builtins, "__import__", real)

    assert run(app, main) == 500
    assert "pip install 'moorage[web]'" in caplog.text
    assert "InvalidError" in caplog.text


def test_a_client_that_leaves_a_sync_handler_keeps_the_slot():
    begun, go_on = threading.Event(), threading.Event()

    def handler():
        begun.set()
        assert go_on.wait(LIMIT)

    app, web = endpoint(handler, max_inputs=1, options={"timeout": 1, "max_containers": 1})

    async def main():
        request = Client(web).start(body=b"")
        await until(begun.is_set)
        await request.begin()
        assert request.status == 504
        assert web.statistics().running == 1
        go_on.set()
        await until(lambda: web.statistics().running == 0)

    run(app, main)


def test_a_client_that_left_a_sync_handler_does_not_cost_the_container(monkeypatch):
    monkeypatch.setattr(bridge, "LEAVES_AFTER", 0.0)
    begun, go_on = threading.Event(), threading.Event()

    def handler(first: bool = False):
        if first:
            begun.set()
            assert go_on.wait(LIMIT)

    app, web = endpoint(handler, max_inputs=1, options={"max_containers": 1})

    async def main():
        client = Client(web)
        request = client.start(url="/?first=1", body=b"")
        await until(begun.is_set)
        request.leave()
        await until(lambda: web.statistics().abandoned == 1)
        endings, (container,) = inside(web)
        (since,) = endings.abandoned.values()
        # The input holds all slots, and a container that is given up after 1 s would be replaced.
        assert endings.give_up_at(container, 30.0) == since + 30.0
        waiting = client.start(url="/", body=b"")
        await until(lambda: web.statistics().queued == 1)
        go_on.set()
        assert (await waiting.whole()).status == 200
        assert web.statistics().containers_started == 1

    run(app, main)


def inside(function):
    service = function._service
    pool = service.current_run().pools[service.key]
    return pool.endings, list(pool.fleet.containers)
