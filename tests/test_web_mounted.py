"""`moorage.web.asgi`: a pool in an app of somebody's own."""

import asyncio
import contextlib

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route

import moorage
import moorage.web
from moorage.exception import InvalidError
from moorage.runtime.clocks.clock import system_clock
from web_users import Mounted


def inner(seen):
    app = moorage.App("mounted")

    @app.function(serialized=True, max_containers=1)
    @moorage.asgi_app()
    def site():
        async def begin(scope, receive, send):
            if scope["type"] == "lifespan":
                await receive()
                scope["state"]["mine"] = 1
                await send({"type": "lifespan.startup.complete"})
                await receive()
                await send({"type": "lifespan.shutdown.complete"})
                return
            seen.append(dict(scope))
            scope["path"] = "changed"
            await application(scope, receive, send)

        return begin

    async def application(scope, receive, send):
        await PlainTextResponse("ok")(scope, receive, send)

    return app, site


def ask(service, *paths):
    async def main():
        async with (
            service.router.lifespan_context(service),
            httpx.AsyncClient(
                transport=httpx.ASGITransport(service), base_url="http://s"
            ) as client,
        ):
            return [await client.get(path) for path in paths]

    return asyncio.run(main())


def test_a_prefix_is_the_root_path():
    seen = []
    app, site = inner(seen)
    service = Starlette(routes=[Mount("/deep", routes=[Mount("/er", moorage.web.asgi(site))])])
    with app.run():
        assert [r.status_code for r in ask(service, "/deep/er/a%20b?q=1", "/elsewhere")] == [
            200,
            404,
        ]
    (scope,) = seen
    assert (scope["root_path"], scope["path"]) == ("/deep/er", "/deep/er/a b")
    assert scope["query_string"] == b"q=1"


@pytest.mark.parametrize("framework", [Starlette, FastAPI])
def test_an_application_finds_its_own_routes(framework):
    app = moorage.App("inner")

    @app.function(serialized=True)
    @moorage.asgi_app()
    def site():
        def links(request: Request):
            found = [str(request.url_for("links", word="b")), str(request.base_url)]
            return JSONResponse([*found, request.path_params, request.app is made])

        made = framework()
        made.router.add_route("/links/{word}", links, name="links")
        return made

    service = FastAPI()
    service.mount("/of/{user}", moorage.web.asgi(site))
    with app.run():
        (response,) = ask(service, "/of/me/links/a")
    url, base, parameters, is_its_own = response.json()
    assert base.endswith("/of/me/")
    assert url == f"{base}links/b"
    assert parameters == {"user": "me", "word": "a"}
    assert is_its_own


def test_the_service_and_the_application_share_no_state():
    seen, paths = [], []
    app, site = inner(seen)

    @contextlib.asynccontextmanager
    async def lifespan(service):
        async with app.run():
            yield {"theirs": 1}

    mounted = moorage.web.asgi(site)

    async def around(scope, receive, send):
        await mounted(scope, receive, send)
        paths.append(scope["path"])

    service = Starlette(routes=[Mount("/m", around)], lifespan=lifespan)
    assert [r.text for r in ask(service, "/m/x")] == ["ok"]
    assert seen[0]["state"] == {"mine": 1}
    assert paths == ["/m/x"]
    assert app._runs.run is None


def test_a_pool_beside_other_routes_and_outside_of_a_run():
    seen = []
    app, site = inner(seen)

    async def plain(request):
        return PlainTextResponse(str(site.statistics().web.total))

    service = Starlette(routes=[Route("/plain", plain), Mount("/m", moorage.web.asgi(site))])
    try:
        assert [r.text for r in ask(service, "/m/", "/plain")] == ["ok", "1"]
    finally:
        app._runs.run.close()  # the ambient run


def test_a_server_may_serve_it_alone():
    app, site = inner([])
    bridge = moorage.web.asgi(site)
    sent = []

    async def main():
        messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

        async def receive():
            return messages.pop(0)

        async def send(message):
            sent.append(message["type"])

        await bridge({"type": "lifespan", "asgi": {}}, receive, send)

    with app.run():
        asyncio.run(main())
        assert site.statistics() is None
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_the_cancel_of_a_client_that_left_outlives_the_loop_of_the_service():
    app = moorage.App("slow")
    ended = []

    @app.function(serialized=True, max_containers=1)
    @moorage.asgi_app()
    def slow():
        async def application(scope, receive, send):
            if scope["type"] == "lifespan":
                return
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(1)

        return application

    begun = None

    async def main():
        nonlocal begun
        loop, here = asyncio.get_running_loop(), asyncio.Event()

        class Begun:
            def set(self):
                loop.call_soon_threadsafe(here.set)

        begun = Begun()
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(moorage.web.asgi(slow)), base_url="http://s"
        ) as client:
            task = asyncio.create_task(client.get("/"))
            await here.wait()
            task.cancel()
            await asyncio.wait([task])

    with app.run():
        asyncio.run(main())
        waiter = system_clock.make_waiter()
        pool = next(iter(app._runs.run.pools.values()))
        pool.drain()
        if pool.accepted_if_settled(waiter.wake) is None:
            assert system_clock.wait(waiter, 30)
        assert ended == [1]


def test_a_server_that_refuses_a_message_breaks_the_connection_off(caplog):
    app = moorage.App("too short")

    @app.function(serialized=True, max_containers=1)
    @moorage.asgi_app()
    def short():
        async def application(scope, receive, send):
            if scope["type"] == "http":
                headers = [(b"content-length", b"3")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": b"12"})

        return application

    async def test(client):
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/")

    user = Mounted()
    user.http = "h11"  # believes that the response is complete
    user.run(app, short, test)
    assert "GET /mounted/ of short sent a response that the server refused" in caplog.text


def test_what_it_refuses():
    app = moorage.App("refused")

    @app.function(serialized=True)
    def f():
        return 1

    with pytest.raises(InvalidError, match="is no web function"):
        moorage.web.asgi(f)
    with pytest.raises(InvalidError, match="takes a web function, got print"):
        moorage.web.asgi(print)
