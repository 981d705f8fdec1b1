"""Factories of web applications: when and where they run, and what may come out of them."""

import asyncio
import logging
import threading

import pytest

import moorage
from moorage.exception import InvalidError

from .apps_front import LIMIT, Client, run, until

pytest.importorskip("starlette")

from starlette.responses import PlainTextResponse


async def ok(scope, receive, send):
    if scope["type"] == "http":
        await PlainTextResponse("ok")(scope, receive, send)


def errors(caplog):
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_factory_has_no_running_loop_and_thread_t():
    seen = []
    app = moorage.App("factories")

    @app.cls(serialized=True)
    class Site:
        @moorage.enter()
        def load(self):
            seen.append(threading.get_ident())

        @moorage.asgi_app()
        def web(self):
            with pytest.raises(RuntimeError):
                asyncio.get_running_loop()
            seen.append(asyncio.run(self.nothing()))
            seen.append(threading.get_ident())
            seen.append((moorage.current_input_id(), moorage.is_local()))
            return ok

        async def nothing(self):
            return "ran"

        @moorage.exit()
        def leave(self):
            seen.append(threading.get_ident())

    async def main():
        assert (await Client(Site().web).get()).text == "ok"

    run(app, main)
    assert seen[1] == "ran"
    assert seen[0] == seen[2] == seen[4]
    assert seen[3] == (None, False)


def test_a_factory_runs_once_in_each_container():
    made = []
    barrier = threading.Barrier(3)
    app = moorage.App("factories")

    @app.function(serialized=True, max_containers=3)
    @moorage.asgi_app()
    def web():
        made.append(True)

        async def application(scope, receive, send):
            if scope["type"] == "http":
                await asyncio.to_thread(barrier.wait, LIMIT)
                await ok(scope, receive, send)

        return application

    async def main():
        client = Client(web)
        for _ in range(2):
            found = await asyncio.gather(*(client.get() for _ in range(3)))
            assert [one.text for one in found] == ["ok"] * 3

    run(app, main)
    assert len(made) == 3


def test_a_factory_that_raises(caplog):
    app = moorage.App("factories")
    calls = []
    all_wait = threading.Event()

    @app.function(serialized=True)
    @moorage.concurrent(max_inputs=10)
    @moorage.asgi_app()
    def web():
        calls.append(True)
        all_wait.wait(LIMIT)
        raise ZeroDivisionError("secret of the user")

    async def main():
        client = Client(web)
        asked = [asyncio.ensure_future(client.get()) for _ in range(5)]
        await until(lambda: (seen := web.statistics()) and seen.queued == 5)
        all_wait.set()
        found = await asyncio.gather(*asked)
        assert {one.status for one in found} == {500}
        assert {one.text for one in found} == {"Internal Server Error"}
        await until(lambda: errors(caplog))

    run(app, main)
    (record,) = errors(caplog)
    assert "failed to start" in record.getMessage()
    assert caplog.text.count("ZeroDivisionError: secret") == 1
    assert "in web" in caplog.text
    assert "moorage/src" not in caplog.text
    assert "lifecycle.py" not in caplog.text
    assert calls == [True]


def test_repeated_failures_say_when_to_come_again():
    app = moorage.App("factories")

    @app.function(serialized=True)
    @moorage.asgi_app()
    def web():
        raise ZeroDivisionError

    async def main():
        client = Client(web)
        found = [await client.get() for _ in range(3)]
        assert [one.status for one in found] == [500] * 3
        waits = [int(one.header("retry-after") or 0) for one in found]
        assert all(seconds >= 1 for seconds in waits[1:])

    run(app, main)


def test_exit_hooks_run_if_a_factory_fails():
    notes = []
    app = moorage.App("factories")

    @app.cls(serialized=True)
    class Site:
        @moorage.enter()
        def load(self):
            notes.append("enter")

        @moorage.asgi_app()
        def web(self):
            raise ZeroDivisionError

        @moorage.exit()
        def leave(self):
            notes.append("exit")

    async def main():
        assert (await Client(Site().web).get()).status == 500

    run(app, main)
    assert notes == ["enter", "exit"]


def test_a_method_gets_the_error_of_a_factory():
    app = moorage.App("factories")

    @app.cls(serialized=True)
    class Site:
        @moorage.asgi_app()
        def web(self):
            raise ZeroDivisionError("of the factory")

        @moorage.method()
        def m(self):
            return 1

    with app.run(), pytest.raises(ZeroDivisionError, match="of the factory"):
        Site().m.remote()


class Asgi2:
    def __init__(self, scope):
        self.scope = scope

    async def __call__(self, receive, send):
        raise AssertionError("never called")


def asgi2(scope):
    return None


def wsgi(environ, start_response):
    return []


@pytest.mark.parametrize(
    ("kind", "given", "text"),
    [
        ("asgi_app", None, "must return an ASGI application, got None"),
        ("asgi_app", "text", "must return an ASGI application, got 'text'"),
        ("wsgi_app", 3, "must return a WSGI application, got 3"),
        ("asgi_app", Asgi2, "guarantee_single_callable"),
        ("asgi_app", asgi2, "guarantee_single_callable"),
        ("asgi_app", wsgi, r"write @moorage.wsgi_app() above web"),
        ("wsgi_app", ok, r"write @moorage.asgi_app() above web"),
    ],
)
def test_what_is_no_application_is_refused(kind, given, text, caplog):
    app = moorage.App("factories")

    @app.function(serialized=True)
    @getattr(moorage, kind)()
    def web():
        return given

    async def main():
        assert (await Client(web).get()).status == 500

    run(app, main)
    assert text in caplog.text
    assert "InvalidError" in caplog.text


def test_a_coroutine_is_refused_and_none_is_left(caplog):
    app = moorage.App("factories")

    async def make():
        return ok

    @app.function(serialized=True)
    @moorage.asgi_app()
    def web():
        return make()

    async def main():
        assert (await Client(web).get()).status == 500

    run(app, main)
    assert "must return an ASGI application" in caplog.text


def test_applications_that_hide_what_they_take():
    app = moorage.App("factories")

    @app.function(serialized=True)
    @moorage.asgi_app()
    def web():
        return lambda *args: ok(*args)

    async def main():
        assert (await Client(web).get()).text == "ok"

    run(app, main)


def two_containers(app, web, barrier):
    async def main():
        for _ in range(2):
            found = await asyncio.gather(Client(web).get(), Client(web).get())
            assert [one.text for one in found] == ["ok", "ok"]

    run(app, main)


@pytest.mark.parametrize("of_class", [False, True])
def test_one_warning_if_two_containers_share_an_application(of_class, caplog):
    barrier = threading.Barrier(2)

    async def application(scope, receive, send):
        if scope["type"] == "http":
            await asyncio.to_thread(barrier.wait, LIMIT)
            await ok(scope, receive, send)

    app = moorage.App("factories")
    if of_class:

        @app.cls(serialized=True, max_containers=2)
        class Site:
            @moorage.asgi_app()
            def web(self):
                return application

        web = Site().web
    else:

        @app.function(serialized=True, max_containers=2)
        @moorage.asgi_app()
        def web():
            return application

    two_containers(app, web, barrier)
    assert caplog.text.count("serve the same application object") == 1
    assert "max_containers=1" in caplog.text


def test_no_warning_for_containers_one_after_the_other(caplog):
    app = moorage.App("factories")

    @app.function(serialized=True)
    @moorage.asgi_app()
    def web():
        return ok

    async def main():
        assert (await Client(web).get()).text == "ok"

    run(app, main)
    run(app, main)
    assert "same application" not in caplog.text


def test_local_calls_the_factory_itself():
    app = moorage.App("factories")

    @app.function(serialized=True)
    @moorage.asgi_app()
    def web():
        return ok

    assert web.local() is ok
    with pytest.raises(InvalidError):
        web.remote()
