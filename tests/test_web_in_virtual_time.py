"""Web apps in virtual time: TestClient, httpx's ASGITransport, `def` endpoints and dependencies."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import anyio
import anyio.from_thread
import httpx
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import moorage
from moorage.exception import ClockStuckError, InvalidError
from moorage.testing import VirtualClock, replay

app = moorage.App("shop")
log = []


@app.function(max_containers=2)
async def work(seconds=10, who=""):
    log.append(("works", who))
    await asyncio.sleep(seconds)
    return seconds


@app.function(max_containers=3)
def work_of_sync(seconds, who):
    log.append(("works sync", who))
    return work.remote(seconds, who)


@contextlib.asynccontextmanager
async def lifespan(_):
    await work.remote.aio(3)
    await asyncio.sleep(2)
    yield
    await asyncio.sleep(4)


def dependency(n: int = 0):
    log.append(("dependency", n))
    yield work.remote(1, n)
    log.append(("end of dependency", n))
    work.remote(2, n)


def make_api(**options):
    api = FastAPI(**options)

    @api.get("/plain")
    def plain() -> int:
        return work.remote()

    @api.get("/coroutine")
    async def coroutine() -> int:
        return await work.remote.aio()

    @api.get("/depends")
    def depends(_: int = Depends(dependency)) -> int:
        return work.remote()

    @api.get("/both/{n}")
    def both(n: int, _: int = Depends(dependency)) -> int:
        anyio.from_thread.run(anyio.sleep, n % 3)
        log.append(("slept", n))
        return work_of_sync.remote(n % 2 + 1, n)

    @api.get("/stream")
    def stream() -> StreamingResponse:
        def lines():
            for i in range(3):
                work.remote(1)
                yield f"{i}\n"

        return StreamingResponse(lines())

    @api.get("/background")
    def background(tasks: BackgroundTasks) -> int:
        tasks.add_task(work.remote, 7)
        return 1

    @api.get("/from_thread")
    def from_thread() -> int:
        anyio.from_thread.run(anyio.sleep, 5)
        return anyio.from_thread.run_sync(lambda: 3)

    @api.get("/fails")
    def fails() -> int:
        work.remote(1)
        raise LookupError("no such cup")

    @api.websocket("/socket")
    async def socket(it: WebSocket) -> None:
        await it.accept()
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                await it.send_json(await work.remote.aio(await it.receive_json()))

    return api


@pytest.fixture
def client(run_app, virtual_clock):
    run_app(app)
    return TestClient(make_api())


# -- TestClient ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "seconds", "body"),
    [
        ("/plain", 10, "10"),
        ("/coroutine", 10, "10"),
        ("/depends", 13, "10"),
        ("/stream", 3, "0\n1\n2\n"),
        ("/background", 7, "1"),
        ("/from_thread", 5, "3"),
    ],
)
@pytest.mark.parametrize("entered", [False, True])
def test_a_request_takes_virtual_time(path, seconds, body, entered, client, virtual_clock):
    with client if entered else contextlib.nullcontext():
        for _ in range(3):
            began = virtual_clock.now()
            assert client.get(path).text == body
            assert virtual_clock.now() - began == seconds


def test_a_lifespan_takes_virtual_time(run_app, virtual_clock):
    run_app(app)
    with TestClient(make_api(lifespan=lifespan)) as client:
        assert virtual_clock.now() == 5
        assert client.get("/plain").json() == 10
        assert virtual_clock.now() == 15
    assert virtual_clock.now() == 19


def test_a_stream_comes_as_time_goes_on(client, virtual_clock):
    with client.stream("GET", "/stream") as response:
        times = [(line, virtual_clock.now()) for line in response.iter_lines()]
    assert [line for line, _ in times] == ["0", "1", "2"]
    assert times[-1][1] == 3


def test_a_web_socket_works_while_the_test_sleeps(client, virtual_clock):
    with client.websocket_connect("/socket") as socket:
        socket.send_json(3)
        assert socket.receive_json() == 3
        assert virtual_clock.now() == 3
        socket.send_json(4)
        virtual_clock.sleep(10)
        assert socket.receive_json() == 4
        assert virtual_clock.now() == 13


def test_an_error_of_an_endpoint_comes_through(client, virtual_clock):
    with pytest.raises(LookupError, match="no such cup"):
        client.get("/fails")
    assert virtual_clock.now() == 1


def test_starlette_alone(run_app, virtual_clock):
    run_app(app)

    def plain(_):
        return PlainTextResponse(str(work.remote(20)))

    async def coroutine(_):
        return PlainTextResponse(str(await work.remote.aio(30)))

    with TestClient(Starlette(routes=[Route("/a", plain), Route("/b", coroutine)])) as client:
        assert client.get("/a").text == "20"
        assert client.get("/b").text == "30"
    assert virtual_clock.now() == 50


@pytest.mark.asyncio
async def test_a_client_in_an_async_test(client, virtual_clock):
    with client:
        assert client.get("/depends").json() == 10
    assert virtual_clock.now() == 13


def test_a_client_in_a_sync_input(client, fake_container, virtual_clock):
    def asks() -> int:
        with client:
            return client.get("/plain").json()

    assert fake_container(asks).call() == 10
    assert virtual_clock.now() == 10


def test_a_client_that_is_left_after_the_clock(run_app):
    with contextlib.ExitStack() as stack:
        with VirtualClock() as clock, app.run():
            client = stack.enter_context(TestClient(make_api(lifespan=lifespan)))
            assert clock.now() == 5
            thread = clock._thread
        assert thread.is_alive()  # the portal keeps the clock open
        assert client.get("/openapi.json").status_code == 200
    assert clock.now() == 9
    assert clock._thread is None


def test_in_real_time_nothing_changes():
    @contextlib.asynccontextmanager
    async def own_lifespan(_):
        loops.append(asyncio.get_running_loop())
        yield

    loops = []
    with app.run(), TestClient(make_api(lifespan=own_lifespan)) as client:
        assert client.get("/openapi.json").status_code == 200
    assert not hasattr(loops[0], "clock")


# -- ASGITransport ---------------------------------------------------------------


def transport(api):
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=api), base_url="http://test")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("path", "seconds"), [("/plain", 10), ("/coroutine", 10), ("/depends", 13)]
)
async def test_ten_requests_take_their_time_each(path, seconds, run_app, virtual_clock):
    run_app(app)
    async with transport(make_api()) as client:
        for _ in range(10):
            began = virtual_clock.now()
            assert (await client.get(path)).json() == 10
            assert virtual_clock.now() - began == seconds


async def many_requests():
    anyio.to_thread.current_default_thread_limiter().total_tokens = 4
    async with transport(make_api()) as client, asyncio.TaskGroup() as group:
        for n in range(8):
            group.create_task(client.get(f"/both/{n}" if n % 3 else "/stream"))


def story(seed=None):
    log.clear()
    with VirtualClock(seed=seed) as clock, app.run():
        asyncio.run(many_requests())
        with TestClient(make_api()) as client:
            client.get("/both/1")
        return tuple(log), clock.now()


def test_many_requests_at_once_are_the_same_on_every_run():
    stories = {story() for _ in range(30)}
    assert len(stories) == 1
    assert len(stories.pop()[0]) > 40


def test_a_seed_chooses_among_requests():
    assert len({story(seed) for seed in range(5)}) > 1
    assert story(3) == story(3)


def test_a_test_with_a_client_is_replayed():
    def test():
        with app.run(), TestClient(make_api()) as client:
            assert client.get("/plain").json() == 10

    replay(test, seed=7)


# -- what is refused, or told ------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"backend": "trio"}, "backend='trio'"),
        ({"backend_options": {"use_uvloop": True}}, "'use_uvloop': True"),
        (
            {"backend_options": {"loop_factory": asyncio.SelectorEventLoop}},
            "backend_options={'loop_factory'",
        ),
    ],
)
@pytest.mark.parametrize("entered", [False, True])
def test_a_client_on_a_loop_of_another_kind_is_refused(options, named, entered, virtual_clock):
    client = TestClient(make_api(), **options)
    use = client.__enter__ if entered else partial(client.get, "/plain")
    with pytest.raises(InvalidError, match=r"leave backend(_options)? out") as caught:
        use()
    assert named in str(caught.value)


@pytest.mark.parametrize("path", ["/coroutine", "/plain", "/depends"])
def test_a_client_that_was_entered_before_the_clock_is_told(path):
    with TestClient(make_api()) as client, VirtualClock(stuck_after=0.6), app.run():
        told = pytest.raises(ClockStuckError, match="TestClient")
        with told as caught:
            client.get(path)
    assert "virtual_clock before client" in str(caught.value)


def test_an_endpoint_that_waits_for_ever_is_told(run_app):
    api = FastAPI()

    @api.get("/")
    async def endpoint() -> None:
        await asyncio.Event().wait()

    with VirtualClock(stuck_after=0.6), TestClient(api) as client:
        told = pytest.raises(ClockStuckError, match="nobody was busy")
        with told as caught:
            client.get("/")
    assert "endpoint (" in str(caught.value)


def test_an_endpoint_that_blocks_is_named():
    api = FastAPI()
    let_go = threading.Event()

    @api.get("/")
    def endpoint() -> None:
        let_go.wait()

    async def main():
        async with transport(api) as client:
            await asyncio.gather(client.get("/"), asyncio.sleep(1))

    with VirtualClock(stuck_after=0.6), asyncio.Runner() as runner:
        task = runner.get_loop().create_task(main())
        with pytest.raises(ClockStuckError, match=r"a thread of anyio\.to_thread") as caught:
            runner.get_loop().run_until_complete(task)
        let_go.set()
        runner.get_loop().run_until_complete(task)
    assert "in endpoint (tests/" in str(caught.value)


def test_threads_that_share_a_client_are_told():
    with VirtualClock(stuck_after=0.6), app.run(), TestClient(make_api()) as client:
        asks = partial(client.get, "/coroutine")
        with ThreadPoolExecutor(3) as pool:
            told = pytest.raises(ClockStuckError, match="outside of the clock, ThreadPool")
            with told as caught:
                [future.result() for future in [pool.submit(asks) for _ in range(3)]]
    assert "write `with clock:` in that thread" in str(caught.value)
