"""WSGI applications: on threads of their container, with their slots, and always out again."""

import asyncio
import io
import logging
import sys
import threading
import time

import pytest

import moorage
from moorage.exception import DeadlockError, InputCancellation
from moorage.runtime.guards.cells import current_cell
from moorage.web.wsgi import ClientLeft

from .apps_front import LIMIT, Client, run, until

pytest.importorskip("a2wsgi")


def serve(application, *, max_inputs=4, **options):
    """An app whose web function returns `application`."""
    app = moorage.App("wsgi-tests")

    @app.function(serialized=True, max_containers=1, **options)
    @moorage.concurrent(max_inputs=max_inputs)
    @moorage.wsgi_app()
    def web():
        return application

    return app, web


def ok(start_response, *headers):
    start_response("200 OK", [("content-type", "text/plain"), *headers])


def test_the_environ_is_that_of_the_request():
    seen = {}

    def application(environ, start_response):
        seen.update(environ)
        seen["body"] = environ["wsgi.input"].read()
        seen["thread"] = threading.current_thread()
        ok(start_response)
        return [b"he", b"llo"]

    app, web = serve(application)

    async def main():
        return await Client(web).post(
            "/a/b?x=1&y=%C3%A9", body=b"the body", headers={"X-Thing": "1", "Content-Type": "a/b"}
        )

    answer = run(app, main)
    assert (answer.status, answer.text) == (200, "hello")
    assert answer.header("content-type") == "text/plain"
    expected = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a/b",
        "QUERY_STRING": "x=1&y=%C3%A9",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_LENGTH": "8",
        "CONTENT_TYPE": "a/b",
        "HTTP_X_THING": "1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": "http",
        "wsgi.version": (1, 0),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.errors": sys.stdout,
        "body": b"the body",
    }
    assert {name: seen[name] for name in expected} == expected
    assert seen["asgi.scope"]["path"] == "/a/b"
    assert seen["thread"].daemon


def test_a_query_that_is_not_ascii():
    def application(environ, start_response):
        ok(start_response)
        return [environ["QUERY_STRING"].encode("latin1")]

    app, web = serve(application)

    async def main():
        return await Client(web).get("/?q=é")

    assert run(app, main).body == "q=é".encode()


def test_ids_contexts_and_a_whole_flask_application():
    pytest.importorskip("flask")
    app = moorage.App("flask-tests")

    @app.function(serialized=True)
    @moorage.concurrent(max_inputs=10)
    @moorage.wsgi_app()
    def web():
        from flask import Flask, jsonify, request

        flask = Flask("flask-tests")

        @flask.get("/ids")
        def ids():
            return jsonify(
                input=moorage.current_input_id(),
                call=moorage.current_function_call_id(),
                local=moorage.is_local(),
            )

        @flask.post("/echo")
        def echo():
            return request.get_data()

        @flask.get("/fails")
        def fails():
            raise ZeroDivisionError("of the user")

        return flask

    async def main():
        client = Client(web)
        ids = [json_of(await client.get("/ids")) for _ in range(3)]
        assert len({found["input"] for found in ids}) == 3
        assert all(found["input"].startswith("in-") for found in ids)
        assert all(found["call"].startswith("fc-") for found in ids)
        assert not any(found["local"] for found in ids)
        body = bytes(range(256)) * 4000
        assert (await client.post("/echo", body=body)).body == body
        assert (await client.get("/none")).status == 404
        assert (await client.get("/fails")).status == 500
        assert (await client.start("HEAD", "/ids", body=b"").whole()).status == 200

    run(app, main)


def json_of(answer):
    import json

    return json.loads(answer.body)


def test_as_many_threads_as_slots():
    barrier = threading.Barrier(50)

    def application(environ, start_response):
        barrier.wait(LIMIT)  # all are inside at once
        ok(start_response)
        return [b"met"]

    app, web = serve(application, max_inputs=50)

    async def main():
        client = Client(web)
        found = await asyncio.gather(*(client.get() for _ in range(50)))
        assert {answer.text for answer in found} == {"met"}
        assert web.statistics().peak_inputs == 50

    run(app, main)


def test_a_method_beside_methods_of_the_same_class():
    app = moorage.App("wsgi-class")

    @app.cls(serialized=True)
    @moorage.concurrent(max_inputs=2)
    class Model:
        @moorage.enter()
        def load(self):
            self.weights = "w"

        @moorage.method()
        def predict(self, x):
            return self.weights + x

        @moorage.wsgi_app()
        def web(self):
            def application(environ, start_response):
                ok(start_response)
                return [self.weights.encode()]

            return application

    async def main():
        assert (await Client(Model().web).get()).text == "w"
        assert await Model().predict.remote.aio("x") == "wx"
        assert Model.statistics().containers_started == 1

    run(app, main)


def test_a_large_body_is_read_lazily_and_in_parts():
    asked = threading.Event()

    def application(environ, start_response):
        body = environ["wsgi.input"]
        first = body.readline()
        asked.set()
        rest = b"".join(iter(lambda: body.read(70_000), b""))
        ok(start_response)
        return [b"%d %d" % (len(first), len(rest))]

    app, web = serve(application)

    async def main():
        request = Client(web).start("POST")
        for _ in range(8):
            request.send(b"x" * 50_000)
        request.send(b"\n" + b"y" * 10)
        await until(asked.is_set, "the first line was not read")
        request.send(b"z" * 1_000_000, more=False)
        await request.whole()
        assert request.text == f"400001 {1_000_010}"

    run(app, main)


def test_readline_with_a_limit_waits_for_its_line():
    def application(environ, start_response):
        lines = list(iter(lambda: environ["wsgi.input"].readline(1000), b""))
        ok(start_response)
        return [repr(lines).encode()]

    app, web = serve(application)

    async def main():
        request = Client(web).start("POST")
        request.send(b"on")
        request.send(b"e\ntw")
        request.send(b"o", more=False)
        await request.whole()
        assert request.text == repr([b"one\n", b"two"])

    run(app, main)


def test_a_body_that_nobody_reads_costs_nothing():
    def application(environ, start_response):
        ok(start_response)
        return [b"no"]

    app, web = serve(application)

    async def main():
        request = Client(web).start("POST")
        request.send(b"x" * 100)
        await request.whole()
        assert request.text == "no"
        assert not request.inbox.empty()

    run(app, main)


def test_parts_arrive_as_they_are_yielded_and_close_comes_at_the_end():
    go_on = threading.Event()
    closed = []

    class Parts:
        def __iter__(self):
            yield b"one"
            assert go_on.wait(LIMIT)
            yield b"two"

        def close(self):
            closed.append(True)

    def application(environ, start_response):
        ok(start_response)
        return Parts()

    app, web = serve(application)

    async def main():
        request = Client(web).start(body=b"")
        await request.begin()
        assert await request.part() == b"one"
        assert not closed
        go_on.set()
        while await request.part() is not None:
            pass
        await request.end()
        assert request.body == b"onetwo"
        await until(lambda: closed == [True])

    run(app, main)


def test_write_of_start_response():
    def application(environ, start_response):
        write = start_response("200 OK", [])
        write(b"written ")
        return [b"and returned"]

    app, web = serve(application)

    async def main():
        return (await Client(web).get()).text

    assert run(app, main) == "written and returned"


def test_an_exception_is_a_500_and_one_traceback(caplog):
    def application(environ, start_response):
        raise ZeroDivisionError("secret of the user")

    app, web = serve(application)

    async def main():
        answer = await Client(web).get("/x")
        assert (answer.status, answer.text) == (500, "Internal Server Error")
        await until(lambda: web.statistics().failed == 1, "not failed")
        await until(lambda: records(caplog), "nothing was logged")

    run(app, main)
    (record,) = records(caplog)
    assert "GET /x" in record.getMessage()
    shown = caplog.text
    assert shown.count("ZeroDivisionError: secret") == 1
    assert "in application" in shown


def records(caplog):
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_an_exception_after_the_start_breaks_the_response_off(caplog):
    closed = threading.Event()

    def application(environ, start_response):
        ok(start_response)

        def parts():
            try:
                yield b"one"
                raise ValueError("in the middle")
            finally:
                closed.set()

        return parts()

    app, web = serve(application)

    async def main():
        request = Client(web).start(body=b"")
        await request.begin()
        assert await request.part() == b"one"
        assert await request.message() is None
        assert request.error is not None

    run(app, main)
    assert closed.is_set()


def test_start_response_with_exc_info_once():
    def application(environ, start_response):
        try:
            raise ValueError("of the user")
        except ValueError:
            start_response("503 Busy", [("x", "y")], sys.exc_info())
        return [b"sorry"]

    app, web = serve(application)

    async def main():
        answer = await Client(web).get()
        assert (answer.status, answer.text, answer.header("x")) == (503, "sorry", "y")
        await until(lambda: web.statistics().failed == 1, "the error is the input's")

    run(app, main)


def test_start_response_with_exc_info_when_the_status_is_out(caplog):
    def application(environ, start_response):
        ok(start_response)
        try:
            raise ValueError("of the user")
        except ValueError:
            start_response("500 Oh", [], sys.exc_info())
        return [b"sorry"]

    app, web = serve(application)

    async def main():
        answer = await Client(web).get()
        assert (answer.status, answer.text) == (200, "sorry")
        await until(lambda: records(caplog), "the error is logged")

    run(app, main)
    assert caplog.text.count("ValueError: of the user") == 1


def test_no_start_response_is_a_500():
    app, web = serve(lambda environ, start_response: [b"body"])

    async def main():
        return (await Client(web).get()).status

    assert run(app, main) == 500


def test_a_websocket_is_closed_with_1000():
    app, web = serve(lambda environ, start_response: [])

    async def main():
        socket = Client(web).websocket()
        message = await socket.connect()
        assert (message["type"], message["code"]) == ("websocket.close", 1000)
        await socket.end()
        await until(lambda: web.statistics().running == 0, "the slot is back")

    run(app, main)


# -- out again ---------------------------------------------------------------------------


async def slot_is_back(web):
    await until(lambda: web.statistics().running == 0, f"{web.statistics()}")
    assert (await Client(web).get("/quick")).text == "quick"


def careful(work):
    """An application that notes how `work` ends, with ``/quick`` beside it."""
    noted = {"begun": threading.Event(), "ended": threading.Event(), "error": None}

    def application(environ, start_response):
        if environ["PATH_INFO"] == "/quick":
            ok(start_response)
            return [b"quick"]
        return work_of(environ, start_response)

    def work_of(environ, start_response):
        def parts():
            try:
                yield from work(environ, noted["begun"])
            except BaseException as error:
                noted["error"] = error
                raise
            finally:
                noted["ended"].set()

        ok(start_response)
        return parts()

    return application, noted


def test_a_client_that_leaves_a_slow_upload():
    def work(environ, begun):
        begun.set()
        yield environ["wsgi.input"].read()

    application, noted = careful(work)
    app, web = serve(application, max_inputs=1)

    async def main():
        request = Client(web).start("POST")
        request.send(b"part")
        await until(noted["begun"].is_set, "not begun")
        request.leave()
        await slot_is_back(web)

    run(app, main)
    assert isinstance(noted["error"], ClientLeft)
    assert isinstance(noted["error"], OSError)


def test_a_client_that_leaves_a_stream():
    def work(environ, begun):
        while True:
            yield b"x" * 1000
            begun.set()

    application, noted = careful(work)
    app, web = serve(application, max_inputs=1)

    async def main():
        request = Client(web).start(body=b"")
        await request.begin()
        await request.part()
        request.leave()
        await slot_is_back(web)

    run(app, main)
    assert noted["ended"].is_set()
    assert isinstance(noted["error"], GeneratorExit)


def test_a_client_that_leaves_without_reading():
    # The thread waits for room, all windows are full.
    produced = []

    def work(environ, begun):
        begun.set()
        while True:
            produced.append(True)
            yield b"x" * 100_000

    application, noted = careful(work)
    app, web = serve(application, max_inputs=1)

    async def main():
        request = Client(web).start(body=b"")
        request.flows.clear()
        await until(noted["begun"].is_set, "not begun")
        await until(lambda: len(produced) >= 4)
        request.leave()
        await slot_is_back(web)
        assert len(produced) < 20  # bounded

    run(app, main)
    assert isinstance(noted["error"], GeneratorExit)


def test_a_client_that_leaves_code_that_looks():
    def work(environ, begun):
        begun.set()
        while True:
            moorage.check_cancelled()
            time.sleep(0)
        yield

    application, noted = careful(work)
    app, web = serve(application, max_inputs=1)

    async def main():
        request = Client(web).start(body=b"")
        await until(noted["begun"].is_set, "not begun")
        request.leave()
        await slot_is_back(web)

    run(app, main)
    assert isinstance(noted["error"], InputCancellation)


@pytest.mark.parametrize("kind", ["upload", "reader", "computes", "waits"])
def test_time_that_is_over(kind):
    @moorage.App("inner").function(serialized=True)
    def never():
        ended.wait(LIMIT)

    ended = threading.Event()

    def work(environ, begun):
        begun.set()
        if kind == "upload":
            environ["wsgi.input"].read()
        elif kind == "reader":
            while True:
                yield b"x" * 100_000
        elif kind == "waits":
            never.remote()
        else:
            while True:
                time.sleep(0)

    application, noted = careful(work)
    app, web = serve(application, max_inputs=1, timeout=1)

    async def main():
        request = Client(web).start("POST")
        request.send(b"part")
        if kind == "reader":
            request.flows.clear()
        await until(noted["begun"].is_set, "not begun")
        await until(noted["ended"].is_set, "the thread is not out")
        request.flows.set()
        await request.begin()
        ended.set()
        await slot_is_back(web)
        await request.end()
        return request

    request = run(app, main)
    if kind == "reader":
        assert isinstance(noted["error"], GeneratorExit)
    else:
        assert isinstance(noted["error"], InputCancellation)
        # The status was out: nothing tells the client but the end of its connection.
        assert request.status == 200
        assert request.error is not None


def test_leaving_the_run_ends_the_threads():
    begun = threading.Event()

    def application(environ, start_response):
        begun.set()
        environ["wsgi.input"].read()

    app, web = serve(application)

    async def main():
        with app.run():
            request = Client(web).start("POST")
            await until(begun.is_set, "not begun")
            await asyncio.to_thread(lambda: None)
        await request.whole()
        assert request.status == 503

    asyncio.run(main())


def test_a_shield_defers_the_end():
    begun, go_on = threading.Event(), threading.Event()
    done, cells = [], []

    def application(environ, start_response):
        with moorage.shield():
            cells.append(current_cell())
            begun.set()
            assert go_on.wait(LIMIT)
            done.append(True)
        done.append("too far")

    app, web = serve(application, max_inputs=1, timeout=1)

    async def main():
        request = Client(web).start(body=b"")
        await until(begun.is_set, "not begun")
        await request.begin()
        assert request.status == 504
        assert web.statistics().running == 1  # the slot is held
        # The answer does not wait for the container's loop, which cancels the thread: the strike
        # comes later, and waits for the end of the shield.
        await until(lambda: cells[0]._due, "the strike is due")
        go_on.set()
        await until(lambda: web.statistics().running == 0, "the slot is back")

    run(app, main)
    assert done == [True]


def test_a_wsgi_application_that_waits_for_its_own_pool():
    app = moorage.App("wsgi-own-pool")

    @app.cls(serialized=True, max_containers=1)
    class Model:
        @moorage.method()
        def other(self):
            return "other"

        @moorage.wsgi_app()
        def web(self):
            def application(environ, start_response):
                ok(start_response)
                try:
                    return [self.other.remote().encode()]
                except DeadlockError as error:
                    return [str(error).encode()]

            return application

    async def main():
        return (await Client(Model().web).get()).text

    text = run(app, main)
    assert "wait for one another" in text or "waits for" in text, text
    assert "Model.web" in text


def test_in_virtual_time():
    def application(environ, start_response):
        body = environ["wsgi.input"].read()
        slow.remote()
        ok(start_response)
        return [body]

    app, web = serve(application, max_inputs=2)

    @app.function(serialized=True)
    async def slow():
        await asyncio.sleep(10)

    async def main():
        client = Client(web)
        found = await asyncio.gather(*(client.post("/", body=b"b") for _ in range(2)))
        assert {one.text for one in found} == {"b"}

    from moorage.testing import VirtualClock

    clock = VirtualClock()
    with app.run(clock=clock):
        began = clock.now()
        clock.run(main())
        assert 10 <= clock.now() - began < 11


def test_the_body_is_a_buffered_reader():
    found = []

    def application(environ, start_response):
        body = environ["wsgi.input"]
        found.append(isinstance(body, io.BufferedReader))
        found.append(list(body))
        found.append(body.read())
        ok(start_response)
        return []

    app, web = serve(application)

    async def main():
        return await Client(web).post(body=b"a\nb\n\nc")

    run(app, main)
    assert found == [True, [b"a\n", b"b\n", b"\n", b"c"], b""]
