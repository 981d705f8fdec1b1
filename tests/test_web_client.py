"""`moorage.testing.web_client`: its two forms, what it takes, and virtual time."""

import asyncio
import gc
import io
import threading

import anyio
import fastapi
import httpx
import pytest
from fastapi.responses import StreamingResponse

import moorage
from moorage.exception import InvalidError
from moorage.runtime.outcome import Value
from moorage.testing import (
    FakeContainer,
    VirtualClock,
    WebSocketClosed,
    WebSocketRefused,
    web_client,
)
from moorage.web.bridge import WebCall
from moorage.web.exchange import Exchange

app = moorage.App("testing the web client")


@app.function(serialized=True, max_containers=1, timeout=100)
@moorage.concurrent(max_inputs=10)
@moorage.asgi_app()
def site():
    site = fastapi.FastAPI()

    @site.get("/hello")
    async def hello(request: fastapi.Request):
        return {"host": request.client.host, "url": str(request.url)}

    @site.get("/sync")
    def sync():
        return moorage.current_input_id()

    @site.get("/nap")
    async def nap(seconds: float):
        await asyncio.sleep(seconds)
        return "rested"

    @site.get("/nap_of_a_thread")
    def nap_of_a_thread(seconds: float):
        current.sleep(seconds)
        return "rested"

    @site.get("/fails")
    async def fails():
        raise KeyError("mine")

    @site.get("/events")
    async def events():
        async def ticks():
            for number in range(3):
                yield f"data: {number}\n\n"
                await asyncio.sleep(10)

        return StreamingResponse(ticks(), media_type="text/event-stream")

    @site.post("/length")
    async def length(request: fastapi.Request):
        return len(await request.body())

    @site.get("/login")
    async def login():
        response = fastapi.Response(status_code=303, headers={"location": "/whoami"})
        response.set_cookie("name", "ada")
        return response

    @site.get("/whoami")
    async def whoami(request: fastapi.Request):
        return request.cookies.get("name")

    @site.websocket("/echo")
    async def echo(socket: fastapi.WebSocket):
        await socket.accept()
        async for message in socket.iter_json():
            await socket.send_json([message])

    @site.websocket("/counts")
    async def counts(socket: fastapi.WebSocket):
        await socket.accept()
        for number in range(3):
            await socket.send_text(str(number))
        await socket.close(4000, "counted")

    @site.websocket("/closed")
    async def closed(socket: fastapi.WebSocket):
        await socket.close()

    return site


@app.cls(serialized=True)
class Greeter:
    greeting: str = moorage.parameter(default="hello")

    @moorage.enter()
    def begin(self):
        self.seen = 0

    @moorage.fastapi_endpoint()
    def greet(self, name: str):
        self.seen += 1
        return f"{self.greeting} {name} {self.seen}"

    @moorage.method()
    def count(self):
        return self.seen


current = None


@pytest.fixture
def clock():
    global current
    current = VirtualClock()
    yield current
    current = None


def test_sync_in_virtual_time(clock):
    with app.run(clock=clock), web_client(site) as client:
        assert isinstance(client, httpx.Client)
        got = client.get("/hello").json()
        assert got == {"host": "127.0.0.1", "url": "http://testserver/hello"}
        assert client.get("/nap?seconds=50").json() == "rested"
        assert clock.now() == 50
        assert client.get("/sync").json().startswith("in-")
        assert client.get("/nap_of_a_thread?seconds=20").json() == "rested"
        assert clock.now() == 70
        assert client.get("/nap?seconds=5000").status_code == 504
        assert clock.now() == 170


def test_async_in_virtual_time(clock):
    async def main():
        async with app.run(clock=clock), web_client(site) as client:
            assert isinstance(client, httpx.AsyncClient)
            naps = [client.get(f"/nap?seconds={n}") for n in range(1, 21)]
            assert {r.json() for r in await asyncio.gather(*naps)} == {"rested"}
            assert clock.now() == 30  # the second half waits for the slots of the first
            threads = [client.get("/nap_of_a_thread?seconds=5") for _ in range(10)]
            await asyncio.gather(*threads)
            assert clock.now() == 35

    clock.run(main())


def test_events_are_streamed(clock):
    with app.run(clock=clock), web_client(site) as client:
        with client.stream("GET", "/events") as response:
            got = [(line, clock.now()) for line in response.iter_lines() if line]
        assert got == [("data: 0", 0), ("data: 1", 10), ("data: 2", 20)]


def test_a_stream_that_a_sync_client_leaves_ends(clock):
    with app.run(clock=clock), web_client(site) as client:
        with client.stream("GET", "/events") as response:
            assert next(response.iter_lines()) == "data: 0"
        clock.sleep(2)  # the loop of the client does not run meanwhile
        assert site.statistics().running == 0


def test_bodies_are_streamed(clock):
    def parts():
        for _ in range(4):
            clock.sleep(1)
            yield b"x" * 100_000

    with app.run(clock=clock), web_client(site) as client:
        assert client.post("/length", content=parts()).json() == 400_000
        assert clock.now() == 4

        def fails():
            yield b"x"
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            client.post("/length", content=fails())


def test_cookies_and_redirects():
    with app.run(), web_client(site, follow_redirects=True, base_url="http://my.test") as client:
        assert client.get("/login").json() == "ada"
        assert client.cookies["name"] == "ada"


def test_errors_of_the_application():
    with app.run():
        with web_client(site) as client:
            response = client.get("/fails")
            assert (response.status_code, response.text) == (500, "Internal Server Error")
        with (
            web_client(site, raise_app_exceptions=True) as client,
            pytest.raises(KeyError, match="mine"),
        ):
            client.get("/fails")


def test_websockets(clock):
    with app.run(clock=clock), web_client(site) as client:
        with client.websocket("/echo") as socket:
            socket.send_json({"a": 1})
            assert socket.receive_json() == [{"a": 1}]
        with pytest.raises(WebSocketClosed):
            socket.send_text("late")
        with client.websocket("/counts") as socket:
            assert list(socket) == ["0", "1", "2"]
            with pytest.raises(WebSocketClosed, match="4000: counted") as caught:
                socket.receive()
        assert (caught.value.code, caught.value.reason) == (4000, "counted")
        with pytest.raises(WebSocketRefused, match="403") as refused, client.websocket("/closed"):
            pass
        assert refused.value.status_code == 403


def test_a_message_of_the_other_kind(clock):
    with (
        app.run(clock=clock),
        web_client(site) as client,
        client.websocket("/counts") as socket,
        pytest.raises(InvalidError, match="receive_text"),
    ):
        socket.receive_bytes()


def test_methods_and_parameters():
    with app.run(), web_client(Greeter(greeting="ahoy").greet) as client:
        assert client.get("/?name=ada").json() == "ahoy ada 1"
        assert client.get("/?name=bob").json() == "ahoy bob 2"
        assert Greeter(greeting="ahoy").count.remote() == 2


def test_functions_by_name():
    named = moorage.App("by-name")

    @named.function(serialized=True)
    @moorage.fastapi_endpoint()
    def page():
        return "found"

    named.deploy()
    try:
        with web_client(moorage.Function.from_name("by-name", "page")) as client:
            assert client.get("/").json() == "found"
    finally:
        named.stop()


def test_fake_containers(clock):
    with FakeContainer(site, clock=clock, max_inputs=1) as container:
        with web_client(container) as client:
            assert client.get("/nap?seconds=3").json() == "rested"
        assert container.statistics().finished == 1
    with (
        FakeContainer(Greeter(greeting="hey")) as container,
        web_client(container.method("greet")) as client,
    ):
        assert client.get("/?name=ada").json() == "hey ada 1"


def test_many_threads_with_one_client():
    with app.run(), web_client(site) as client:
        got = []
        threads = [
            threading.Thread(target=lambda: got.append(client.get("/hello").status_code))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert got == [200] * 8


def test_a_limit_of_time_of_the_client(clock):
    with app.run(clock=clock), web_client(site, timeout=7) as client:
        with pytest.raises(httpx.ReadTimeout):
            client.get("/nap?seconds=50")
        assert clock.now() == 7


def test_a_timeout_of_the_application_is_not_one_of_the_client(clock):
    with app.run(clock=clock), web_client(site, raise_app_exceptions=True) as client:
        assert client.get("/nap?seconds=500").status_code == 504


def test_what_it_refuses():
    async def on_a_loop():
        with web_client(site):
            pass

    with pytest.raises(InvalidError, match="async with"):
        asyncio.run(on_a_loop())

    async def on_trio():
        async with web_client(site) as client:
            await client.get("/")

    with pytest.raises(InvalidError, match="asyncio"):
        anyio.run(on_trio, backend="trio")
    with pytest.raises(InvalidError, match="takes a web function, got print"):
        web_client(print)
    with pytest.raises(InvalidError, match="is no web function"):
        web_client(Greeter().count)
    with pytest.raises(InvalidError, match="no option transport"):
        web_client(site, transport=None)


def test_a_loop_in_real_time_and_a_run_in_virtual_time(clock):
    async def main():
        async with web_client(site) as client:
            await client.get("/hello")

    with app.run(clock=clock):
        errors = []

        def elsewhere():
            try:
                asyncio.run(main())
            except InvalidError as error:
                errors.append(str(error))

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert "does not take part in this clock" in errors[0]


def test_with_the_fixture_run_app(run_app, virtual_clock):
    run_app(app)
    with web_client(site) as client:
        assert client.get("/nap?seconds=9").json() == "rested"
    assert virtual_clock.now() == 9


def test_each_run_is_the_same():
    def one():
        clock = VirtualClock()
        events = []

        async def main():
            async with app.run(clock=clock), web_client(site) as client:

                async def visit(number):
                    await client.get(f"/nap?seconds={number % 3}")
                    await client.get("/sync")
                    events.append((number, clock.now()))

                await asyncio.gather(*(visit(number) for number in range(20)))

        clock.run(main())
        return events

    assert one() == one() == one()


def test_an_input_that_ends_while_the_front_looks_is_not_missed():
    """The front resets its mark first, and then reads how the input has ended."""

    async def main():
        scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        exchange = Exchange("web", scope)
        exchange._posted = True  # the front is about to look at a message

        class Lock:
            def __init__(self, inner):
                self._inner = inner

            def __enter__(self):
                if exchange._lock is self:
                    exchange._lock = self._inner
                    exchange.outcome = Value(None)
                    exchange.settled()
                self._inner.acquire()

            def __exit__(self, *error):
                self._inner.release()

        exchange._lock = Lock(exchange._lock)

        async def never(*args):
            raise AssertionError

        assert type(await asyncio.wait_for(exchange.relay(never, never), 10)) is Value

    asyncio.run(main())


def test_statistics_and_description(clock):
    async def main():
        async with app.run(clock=clock), web_client(site) as client:
            assert site.statistics() is None
            assert (await client.post("/length", content=b"abc")).json() == 3
            await client.get("/fails")
            await client.get("/nothing")
            async with client.websocket("/echo") as socket:
                await socket.send_text('"x"')
                await socket.receive_text()
                nap = asyncio.create_task(client.get("/nap?seconds=10"))
                await asyncio.sleep(2)
                assert site.statistics().web.open_websockets == 1
                text = described()
                assert "site(GET /nap) from 127.0.0.1:50000 in-" in text
                assert "for 2 s" in text
                nap.cancel()
                await asyncio.wait([nap])
            await asyncio.sleep(5)
            web = site.statistics().web
            assert web.requests == (("1xx", 1), ("2xx", 1), ("4xx", 1), ("5xx", 1))
            assert (web.left, web.open_websockets, web.total) == (1, 0, 5)
            assert web.bytes_in == 3 + len('"x"')
            assert web.count("2xx") == 1
            assert web.count("3xx") == 0

            async with web_client(Greeter().greet) as greeter:
                await greeter.get("/?name=ada")
            assert Greeter.statistics().web.requests == (("2xx", 1),)

    def described():
        file = io.StringIO()
        moorage.describe(file)
        return file.getvalue()

    clock.run(main())


def test_a_queued_request_is_described(clock):
    async def main():
        async with app.run(clock=clock), web_client(site) as client:
            tasks = [asyncio.create_task(client.get("/nap?seconds=9")) for _ in range(10)]
            await asyncio.sleep(1)
            tasks.append(asyncio.create_task(client.get("/hello%0aforged")))
            await asyncio.sleep(3)
            file = io.StringIO()
            moorage.describe(file)
            assert (
                "1 queued, the first site(GET /hello\\nforged) from 127.0.0.1:50000 for 3 s"
                in file.getvalue()
            )
            await asyncio.gather(*tasks)

    clock.run(main())


def test_a_pool_without_a_web_function_has_no_web_statistics():
    plain = moorage.App("plain")

    @plain.function(serialized=True)
    def f():
        return 1

    with plain.run():
        f.remote()
        assert f.statistics().web is None


def test_requests_in_a_timeline(clock):
    with FakeContainer(site, clock=clock) as container:
        with web_client(container) as client:
            client.get("/nap?seconds=3")
        assert "site(GET /nap)" in str(container.timeline())


def exchanges():
    return [each for each in gc.get_objects() if type(each) in (Exchange, WebCall)]


def test_a_request_leaves_no_cycle():
    async def main():
        async with app.run(), web_client(site) as client:
            await client.get("/hello")
            gc.collect()
            before = {id(each) for each in exchanges()}
            gc.disable()
            try:
                for _ in range(5):
                    await client.get("/hello")
                    async with client.websocket("/counts") as socket:
                        async for _ in socket:
                            pass
                    await asyncio.sleep(0)
                until = asyncio.get_running_loop().time() + 30
                while left := [each for each in exchanges() if id(each) not in before]:
                    assert asyncio.get_running_loop().time() < until, left
                    del left
                    await asyncio.sleep(0)  # the container's thread may be on its way out
            finally:
                gc.enable()

    asyncio.run(main())
