"""Lifespans of applications in containers: when they run, what they may do, how they end."""

import asyncio
import contextlib
import logging
import threading

import pytest

import moorage
from moorage.exception import ExecutionError

from .apps_front import LIMIT, Client, run, until

OK = {"type": "http.response.start", "status": 200, "headers": []}


async def answer(send, body=b"ok"):
    await send(OK)
    await send({"type": "http.response.body", "body": body})


def application(lifespan, http=None):
    """An ASGI application of two functions."""

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await lifespan(scope, receive, send)
        elif http is not None:
            await http(scope, receive, send)
        else:
            await answer(send)

    return app


def noting(notes, name):
    """An application that notes its start, its requests and its end."""

    async def lifespan(scope, receive, send):
        assert (await receive())["type"] == "lifespan.startup"
        notes.append(f"enter{name}")
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        notes.append(f"exit{name}")
        await send({"type": "lifespan.shutdown.complete"})

    async def http(scope, receive, send):
        notes.append(f"request{name}")
        await answer(send)

    return application(lifespan, http)


def serve(app_object, **options):
    app = moorage.App("lifespan-tests")

    @app.function(serialized=True, **options)
    @moorage.concurrent(max_inputs=10)
    @moorage.asgi_app()
    def web():
        return app_object

    return app, web


def errors(caplog):
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


async def status_of(web):
    return (await Client(web).get()).status


def test_the_order_of_hooks_factories_lifespans_and_requests():
    notes = []
    app = moorage.App("order")

    class Base:
        @moorage.enter(snap=True)
        def first(self):
            notes.append("snap")

        @moorage.asgi_app()
        def zero(self):
            notes.append("make0")
            return noting(notes, 0)

    @app.cls(serialized=True, enable_memory_snapshot=True)
    class Site(Base):
        @moorage.asgi_app()
        def one(self):
            assert self.ready
            notes.append("make1")
            return noting(notes, 1)

        @moorage.enter()
        def second(self):
            self.ready = True
            notes.append("enter")

        @moorage.asgi_app()
        def two(self):
            notes.append("make2")
            return noting(notes, 2)

        @moorage.exit()
        def leave(self):
            notes.append("exit hook")

    async def main():
        assert await status_of(Site().two) == 200

    run(app, main)
    assert notes == [
        *("snap", "enter", "make0", "make1", "make2"),
        *("enter0", "enter1", "enter2", "request2", "exit0", "exit1", "exit2", "exit hook"),
    ]


def test_all_web_methods_live_also_if_a_method_starts_the_container():
    notes = []
    app = moorage.App("by-method")

    @app.cls(serialized=True)
    class Site:
        @moorage.asgi_app()
        def web(self):
            return noting(notes, "")

        @moorage.method()
        def m(self):
            return list(notes)

    async def main():
        assert await Site().m.remote.aio() == ["enter"]
        assert await status_of(Site().web) == 200

    run(app, main)
    assert notes == ["enter", "request", "exit"]


def test_the_scope_and_the_context_of_a_lifespan():
    seen = []

    async def lifespan(scope, receive, send):
        seen.append(dict(scope))
        await receive()
        seen.append((moorage.current_input_id(), moorage.is_local()))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    app, web = serve(application(lifespan))

    async def main():
        assert await status_of(web) == 200

    run(app, main)
    assert seen[0]["type"] == "lifespan"
    assert seen[0]["asgi"] == {"version": "3.0", "spec_version": "2.0"}
    assert seen[0]["state"] == {}
    assert seen[1] == (None, False)


def test_each_request_has_a_copy_of_the_state():
    async def lifespan(scope, receive, send):
        await receive()
        scope["state"].update(count=0, shared=[])
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def http(scope, receive, send):
        state = scope["state"]
        state["count"] += 1
        state["shared"].append(1)
        await answer(send, f"{state['count']} {len(state['shared'])} {'mine' in state}".encode())
        state["mine"] = True

    app, web = serve(application(lifespan, http))

    async def main():
        client = Client(web)
        return [(await client.get()).text for _ in range(3)]

    assert run(app, main) == ["1 1 False", "1 2 False", "1 3 False"]


def test_the_state_of_another_server_is_not_the_applications():
    async def http(scope, receive, send):
        await answer(send, repr(scope["state"]).encode())

    app, web = serve(application(ignores, http))

    async def main():
        request = Client(web)
        scope = {"type": "http", "state": {"of": "the outer app"}}
        plain = request.start(body=b"")
        await plain.whole()
        assert plain.text == "{}"
        outer = dict(plain_scope(), **scope)
        got = []
        messages = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive():
            while not messages:
                await asyncio.get_running_loop().create_future()
            return messages.pop()

        async def send(message):
            got.append(message)

        await request.bridge(outer, receive, send)
        assert got[-1]["body"] == b"{}" or got[0]["status"] == 200
        assert outer["state"] == {"of": "the outer app"}

    run(app, main)


def plain_scope():
    return {
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": [],
        "client": None,
        "server": None,
    }


async def ignores(scope, receive, send):
    return


# -- rule 1: no lifespan -------------------------------------------------------------------


async def raises_first(scope, receive, send):
    raise NotImplementedError(scope["type"])


@pytest.mark.parametrize("lifespan", [ignores, raises_first])
def test_an_application_without_a_lifespan(lifespan, caplog):
    caplog.set_level(logging.INFO, "moorage")
    app, web = serve(application(lifespan))

    async def main():
        assert await status_of(web) == 200
        assert await status_of(web) == 200

    run(app, main)
    assert caplog.text.count("has no lifespan") == 1
    assert not errors(caplog)


def test_a_plain_function_that_raises_at_once():
    def app_object(scope, receive, send):
        assert scope["type"] == "http"
        return answer(send)

    app, web = serve(app_object)

    async def main():
        assert await status_of(web) == 200

    run(app, main)


# -- rule 2: the start fails -----------------------------------------------------------------


async def says_failed(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})
    await receive()


async def raises_later(scope, receive, send):
    await receive()
    raise ZeroDivisionError("no database")


async def returns_later(scope, receive, send):
    await receive()


@pytest.mark.parametrize(
    ("lifespan", "text"),
    [
        (says_failed, "failed to start: no database"),
        (raises_later, "ZeroDivisionError: no database"),
        (returns_later, "ended in its startup"),
    ],
)
def test_a_start_that_fails(lifespan, text, caplog):
    all_wait = threading.Event()

    async def fails_when_all_wait(scope, receive, send):
        await asyncio.to_thread(all_wait.wait, LIMIT)
        await lifespan(scope, receive, send)

    app, web = serve(application(fails_when_all_wait))

    async def main():
        asked = [asyncio.create_task(Client(web).get()) for _ in range(5)]
        await until(lambda: web.statistics() is not None and web.statistics().accepted == 5)
        all_wait.set()
        found = await asyncio.gather(*asked)
        assert {one.status for one in found} == {500}
        assert {one.text for one in found} == {"Internal Server Error"}

    run(app, main)
    assert text in caplog.text
    assert len(errors(caplog)) == 1


def test_only_what_has_started_is_shut_down(caplog):
    notes = []
    app = moorage.App("second-fails")

    @app.cls(serialized=True)
    class Site:
        @moorage.asgi_app()
        def one(self):
            return noting(notes, 1)

        @moorage.asgi_app()
        def two(self):
            return application(says_failed)

        @moorage.asgi_app()
        def three(self):
            return noting(notes, 3)

        @moorage.exit()
        def leave(self):
            notes.append("exit hook")

    async def main():
        assert await status_of(Site().one) == 500

    run(app, main)
    assert notes == ["enter1", "exit1", "exit hook"]


# -- rules 3 to 5: the end ---------------------------------------------------------------------


@pytest.mark.parametrize("way", ["failed", "raises"])
def test_a_shut_down_that_fails_is_logged_and_exit_hooks_run(way, caplog):
    notes = []
    app = moorage.App("shut-down")

    async def lifespan(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if way == "raises":
            raise ZeroDivisionError("lost connection")
        await send({"type": "lifespan.shutdown.failed", "message": "lost connection"})

    @app.cls(serialized=True)
    class Site:
        @moorage.asgi_app()
        def web(self):
            return application(lifespan)

        @moorage.exit()
        def leave(self):
            notes.append("exit hook")

    async def main():
        assert await status_of(Site().web) == 200

    run(app, main)
    assert notes == ["exit hook"]
    assert len(errors(caplog)) == 1
    assert "lost connection" in caplog.text


def test_any_other_message_is_an_error_in_send():
    found = []

    async def lifespan(scope, receive, send):
        await receive()
        for kind in ("lifespan.shutdown.complete", "http.response.start", "nonsense"):
            try:
                await send({"type": kind})
            except ExecutionError as error:
                found.append(str(error))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    app, web = serve(application(lifespan))

    async def main():
        assert await status_of(web) == 200

    run(app, main)
    assert len(found) == 3
    assert "lifespan.startup.complete" in found[0]


def test_a_lifespan_that_goes_on_after_its_end_is_cancelled():
    ended = []

    async def lifespan(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    app, web = serve(application(lifespan))

    async def main():
        assert await status_of(web) == 200

    run(app, main)
    assert ended == ["cancelled"]


def test_a_shut_down_that_hangs_is_cancelled_within_the_grace(caplog):
    notes = []
    app = moorage.App("hangs")

    async def lifespan(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        try:
            await asyncio.Event().wait()
        finally:
            notes.append("cancelled")

    @app.cls(serialized=True)
    class Site:
        @moorage.asgi_app()
        def web(self):
            return application(lifespan)

        @moorage.exit()
        def leave(self):
            notes.append("exit hook")

    async def main():
        assert await status_of(Site().web) == 200

    run(app, main, grace=4)
    assert notes == ["cancelled", "exit hook"]
    assert "did not shut down within 2 s" in caplog.text


def test_a_start_that_hangs_is_cancelled_at_the_startup_timeout(caplog):
    notes = []

    async def lifespan(scope, receive, send):
        await receive()
        try:
            await asyncio.Event().wait()
        finally:
            notes.append("cancelled")

    app, web = serve(application(lifespan), startup_timeout=1)

    async def main():
        assert await status_of(web) == 500

    run(app, main)
    assert notes == ["cancelled"]
    assert len(errors(caplog)) == 1
    assert "startup_timeout of 1 s" in caplog.text


def test_a_lifespan_of_a_framework():
    pytest.importorskip("starlette")
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    notes = []
    app = moorage.App("starlette")

    @app.function(serialized=True)
    @moorage.asgi_app()
    def web():
        @contextlib.asynccontextmanager
        async def lifespan(app):
            notes.append("start")
            yield {"value": 7}
            notes.append("end")

        async def home(request):
            return PlainTextResponse(str(request.state.value))

        return Starlette(routes=[Route("/", home)], lifespan=lifespan)

    async def main():
        assert (await Client(web).get()).text == "7"
        assert notes == ["start"]

    run(app, main)
    assert notes == ["start", "end"]


def test_each_container_has_a_lifespan_of_its_own():
    started, ended = [], []
    both = threading.Barrier(2)
    app = moorage.App("two")

    @app.function(serialized=True, max_containers=2)
    @moorage.asgi_app()
    def web():
        async def lifespan(scope, receive, send):
            await receive()
            started.append(threading.get_ident())
            await send({"type": "lifespan.startup.complete"})
            await receive()
            ended.append(threading.get_ident())
            await send({"type": "lifespan.shutdown.complete"})

        async def http(scope, receive, send):
            await asyncio.to_thread(both.wait, LIMIT)
            await answer(send)

        return application(lifespan, http)

    async def main():
        found = await asyncio.gather(status_of(web), status_of(web))
        assert found == [200, 200]
        await until(lambda: web.statistics().running == 0)

    run(app, main)
    assert len(set(started)) == 2
    assert sorted(started) == sorted(ended)
