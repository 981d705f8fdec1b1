"""Web functions of both placements: containers that are threads, and that are processes."""

from __future__ import annotations

import asyncio
import json
import logging
import marshal
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from free_ports import free_port
from moorage.web.bridge import BrokenOff
from moorage.web.crossing import packed_message, packed_request
from moorage.web.exchange import Exchange
from placing.outside import Program, Watched

os.environ.setdefault("MOORAGE_TEST_PORT", str(free_port()))  # read by the module, also in children

from . import crossing_apps as apps
from . import sockets
from .apps_front import LIMIT, Client, until
from .sockets import Client as RawClient
from .sockets import get

PROCESS = pytest.param(
    "process",
    marks=pytest.mark.skipif(sys.platform != "linux", reason="of the zygote, which is Linux's"),
)


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """The first response comes when the container's process, and its server's, have started."""
    monkeypatch.setattr(sockets, "PATIENCE", 60.0)


@pytest.fixture(params=["thread", PROCESS])
def placement(request):
    return request.param


def run(main, placement, **options):
    """Run ``main()`` on a loop, in a run of the app."""
    with apps.app.run(placement=placement, **options):
        return asyncio.run(main())


def lines(path):
    return path.read_text().split("\n")[:-1] if path.exists() else []


def test_requests_and_responses_cross(placement):
    async def main():
        first = await Client(apps.echo).post(body=b"x" * 10)
        chunked = Client(apps.echo).start("POST")
        for count in range(40):
            chunked.send(b"y" * 50_000, more=count < 39)
        await chunked.whole()
        large = await Client(apps.asgi).get("/large")
        state = await Client(apps.asgi).get("/state")
        wsgi = await Client(apps.wsgi).post(body=b"z" * 300_000)
        return first, chunked, large, state, wsgi

    first, chunked, large, state, wsgi = run(main, placement)
    seen = json.loads(first.text)
    assert first.status == 200
    assert (seen["size"], seen["is_local"], seen["client"]) == (10, False, "127.0.0.1")
    assert seen["input"].startswith("in-")
    assert (seen["pid"] == os.getpid()) is (placement == "thread")
    assert json.loads(chunked.text)["size"] == 2_000_000
    assert large.body == b"".join(bytes([65 + n]) * 1_000_000 for n in range(4))
    assert large.header("x-a") == "b"
    assert state.text == "True"
    assert wsgi.text == "wsgi 300000"


def test_classes_with_web_methods(placement):
    async def main():
        model = apps.Model(size=7)
        web = await Client(model.web).get()
        other = await Client(model.other).get()
        return web, other, await model.call.remote.aio()

    web, other, pid = run(main, placement)
    seen = json.loads(web.text)
    assert seen == {"size": 7, "steps": ["zero", "load", "lifespan"], "pid": pid}
    assert json.loads(other.text) == ["zero", "load", "lifespan"]


def test_over_real_sockets(placement):
    with apps.app.run(placement=placement):
        url = apps.asgi.get_web_url()
        status, headers, body = get(url, "/large")
        assert (status, len(body), headers["x-a"]) == (200, 4_000_000, "b")
        with RawClient(url) as client:
            for _ in range(3):  # on one connection
                client.ask("/state")
                assert client.answer()[2] == b"True"
            client.ask("/fails")
            assert client.answer()[0] == 500
        assert get(url, "/nothing")[0] == 500
        assert json.loads(get(apps.Model().web.get_web_url(), "/?size=5")[2])["size"] == 5


def test_failures_of_an_application(placement, caplog):
    async def main():
        client = Client(apps.asgi)
        statuses = [(await client.get(path)).status for path in ("/fails", "/wrong", "/nothing")]
        broken = client.start(url="/breaks", body=b"")
        await broken.begin()
        assert await broken.part() == b"part"
        with pytest.raises(BrokenOff):
            await broken.part()
        return statuses

    with caplog.at_level(logging.ERROR, logger="moorage"):
        assert run(main, placement) == [500, 500, 500]
    said = caplog.text
    assert said.count("ValueError: in the application") == 1
    assert said.count("SendError: 'http.response.body' may not come now") == 1
    assert said.count("GET /nothing of asgi returned without a complete response") == 1
    assert said.count("ValueError: in the middle") == 1
    assert 'crossing_apps.py", line' in said  # the user's line


def test_what_is_no_plain_data_is_refused_in_send(caplog):
    async def main():
        return (await Client(apps.asgi).get("/object")).status

    with caplog.at_level(logging.ERROR, logger="moorage"):
        assert run(main, "process") == 500
    assert (
        "'http.response.start' has an object of the type object, and the server is" in caplog.text
    )


def test_a_client_that_leaves(placement, tmp_path):
    path = tmp_path / "notes"

    async def main():
        client = Client(apps.asgi)
        request = client.start(url=f"/waits?{path}", body=b"")
        await until(lambda: lines(path) == ["began"])
        request.leave()
        await until(lambda: lines(path) == ["began", "left", "cancelled"])
        await request.end()
        return await client.get("/state")

    assert run(main, placement).status == 200


def test_a_timeout_ends_the_application(placement, tmp_path):
    path = tmp_path / "notes"

    async def main():
        answer = await Client(apps.timely).get(f"/waits?{path}")
        await until(lambda: lines(path)[-1:] == ["cancelled"])
        return answer.status

    assert run(main, placement) == 504


def test_a_reader_that_stops_stops_the_application(placement, tmp_path):
    path = tmp_path / "notes"

    async def main():
        request = Client(apps.asgi).start(url=f"/floods?{path}", body=b"")
        await request.begin()
        request.flows.clear()
        seen = -1
        while seen < 3 or seen != len(lines(path)):  # as long as it still moves
            seen = len(lines(path))
            await asyncio.sleep(0.3)
        assert 3 <= seen <= 16, seen
        request.flows.set()
        while await request.part() is not None:
            pass
        await until(lambda: len(lines(path)) == 40)
        return len(request.body)

    assert run(main, placement) == 40 * 65536


def test_a_body_that_nobody_reads_stays_with_the_server(placement, tmp_path):
    path = tmp_path / "notes"

    async def main():
        request = Client(apps.asgi).start("POST", f"/floods?{path}")
        for _ in range(100):
            request.send(b"x" * 10_000)
        await request.begin()
        assert request.inbox.qsize() == 100  # the application never asked
        while await request.part() is not None:
            pass
        await request.end()

    run(main, placement)


def test_a_response_goes_out_though_the_loop_is_blocked(placement, tmp_path):
    path = tmp_path / "notes"

    async def main():
        request = Client(apps.asgi).start(url=f"/blocks?{path}", body=b"")
        await request.begin()
        assert await request.part() == b"whole"
        assert await request.part() is None
        path.write_text("go on")
        await request.end()

    run(main, placement)


def test_websockets(placement, tmp_path):
    path = tmp_path / "notes"

    async def main():
        client = Client(apps.asgi)
        one = client.websocket(f"/?{path}")
        assert (await one.connect())["type"] == "websocket.accept"
        for count in range(50):  # more than any window
            one.send(text=str(count))
            one.send(data=b"x" * 40_000)
        for count in range(50):
            assert (await one.message())["text"] == str(count)
            assert (await one.message())["bytes"] == b"x" * 40_000
        one.send(text="close")
        closed = await one.message()
        assert (closed["code"], closed["reason"]) == (4001, "as asked")
        other = client.websocket(f"/?{path}")
        await other.connect()
        other.leave(1001)
        await until(lambda: lines(path) == ["left 1001"])
        refused = client.websocket("/refused")
        assert (await refused.connect())["type"] == "websocket.close"

    run(main, placement)


def test_leaving_the_run_ends_what_has_no_end(placement, tmp_path):
    path = tmp_path / "notes"

    async def main():
        one = Client(apps.asgi).websocket(f"/?{path}")
        await one.connect()
        return one

    async def around():
        async with apps.app.run(placement=placement, drain=True, grace=5):
            one = await main()
        await one.end()

    asyncio.run(around())
    assert lines(path) == ["left 1012"]


# -- containers that die ----------------------------------------------------------------------


def dying(when, tmp_path, **options):
    path = tmp_path / "pids"

    async def main():
        client = Client(apps.asgi)
        url = f"/dies?{when}:{path}"
        if options.get("method") == "POST":
            request = client.start("POST", url, body=b"body")
        else:
            request = client.start(url=url, body=b"")
        try:
            await request.begin()
            if when == "response":
                assert await request.part() == b"part"
                path.with_name("pids.go").write_text("")
            while await request.part() is not None:
                pass
            return request.status
        except BrokenOff:
            return "broken"
        finally:
            await request.end()
            assert (await client.get("/state")).text == "True"  # another container serves

    return run(main, "process"), len(lines(path))


linux = pytest.mark.skipif(sys.platform != "linux", reason="of the zygote, which is Linux's")


@linux
def test_a_request_whose_response_has_begun_is_broken_off(tmp_path):
    assert dying("response", tmp_path) == ("broken", 1)


@linux
def test_a_request_of_which_nothing_has_passed_runs_again(tmp_path):
    assert dying("once", tmp_path) == (200, 2)


@linux
def test_a_request_whose_body_was_asked_for_fails(tmp_path):
    assert dying("once-body", tmp_path, method="POST") == (500, 1)


@linux
def test_a_request_that_always_ends_its_container_fails(tmp_path):
    status, times = dying("always", tmp_path)
    assert status == 500
    assert times <= 3


@linux
def test_the_stream_of_a_container_that_is_killed_is_cut_on_its_connection(tmp_path):
    path = tmp_path / "pids"
    with apps.app.run(placement="process"):
        with RawClient(apps.asgi.get_web_url()) as client:
            client.ask(f"/dies?response:{path}")
            client.until(b"part")
            os.kill(int(lines(path)[0]), signal.SIGKILL)
            assert b"0\r\n\r\n" not in client.rest()  # no regular end of a chunked body
        assert get(apps.asgi.get_web_url(), "/state")[2] == b"True"


@linux
def test_a_websocket_ends_with_its_container():
    async def main():
        one = Client(apps.asgi).websocket("/dies")
        await one.connect()
        one.send(text="now")
        return (await one.message())["code"]

    assert run(main, "process") == 1011


# -- servers behind a port ----------------------------------------------------------------------


def test_a_web_server(placement):
    with apps.app.run(placement=placement):
        status, _, body = get(apps.server.get_web_url(), "/a?b=c")
        assert status == 200
        pid, _, path = body.decode().split()
        assert path == "/a?b=c"
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


def test_a_server_class(placement):
    with apps.app.run(placement=placement):
        assert get(apps.Served.get_url(), "/x")[2].endswith(b"/x")


def test_an_idle_container_gives_its_port_to_another_function(placement):
    with apps.app.run(placement=placement):
        first = get(apps.server.get_web_url())[2]
        second = get(apps.neighbour.get_web_url())[2]
        assert first.split()[0] != second.split()[0]


@linux
def test_a_server_whose_container_is_killed_is_started_again():
    with apps.app.run(placement="process"):
        url = apps.server.get_web_url()
        _, group, _ = get(url)[2].split()
        os.kill(int(group), signal.SIGKILL)  # the container, the leader of the group

        async def again():
            end = asyncio.get_running_loop().time() + LIMIT
            while True:
                assert asyncio.get_running_loop().time() < end
                status, _, body = await asyncio.to_thread(get, url)
                if status == 200 and body.split()[1] != group:
                    return

        asyncio.run(again())


DRIVER = """
import sys
sys.path.insert(0, {tests!r})
from web import crossing_apps as apps
from web import sockets

if __name__ == "__main__":
    with apps.app.run(placement="process"):
        sockets.PATIENCE = 60.0
        status, _, body = sockets.get(apps.server.get_web_url())
        assert status == 200
        print(body.decode().split()[0], flush=True)
        sys.stdin.read()
"""


@linux
def test_the_port_of_a_server_is_free_soon_after_the_driver_was_killed(tmp_path):
    port = free_port()
    source = DRIVER.format(tests=str(Path(__file__).parent.parent))
    environ = {"MOORAGE_TEST_PORT": str(port)}
    with (
        Program(tmp_path, source, env=environ) as program,
        Watched(int(program.said())) as server,
    ):
        program.kill()
        assert server.is_gone()
    with socket.socket() as mine:
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        mine.bind(("0.0.0.0", port))


# -- what crosses ---------------------------------------------------------------------------------


def test_of_a_scope_what_is_no_plain_data_stays():
    class Text(str):
        __slots__ = ()

    async def made():
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "headers": [(b"a", bytearray(b"b"))],
            "user": object(),
            "session": {"name": Text("x"), "its": object()},
            "state": {"of": "the server"},
        }
        return packed_request(Exchange("web", scope))

    _, scope = marshal.loads(asyncio.run(made())[0])
    assert scope["headers"] == [(b"a", b"b")]
    assert scope["session"] == {"name": "x"}
    assert type(scope["session"]["name"]) is str
    assert "user" not in scope
    assert "state" not in scope


def test_a_large_body_is_not_copied():
    body = b"x" * 100_000
    _, _, (rest, sent) = packed_message({"type": "http.response.body", "body": body})
    assert sent is body
    assert len(rest) < 200
