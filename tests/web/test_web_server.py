"""Servers of the user's own: their start, their port, and the end of their processes."""

import asyncio
import logging
import os
import shlex
import socket
import subprocess
import sys
import textwrap
import threading
import time
import urllib.error
import urllib.request
from dataclasses import replace

import pytest

import moorage
from moorage.exception import InvalidError
from moorage.runtime.pools.pool import PoolState
from moorage.testing import web_client
from moorage.web.children import Brood
from onlooker import wait_until

from .apps_front import LIMIT, Client, run, until

pytest.importorskip("aiohttp")

from .test_http import until as until_counted
from .upstreams import free_port, program, upstream


def lives(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def exists(pid):
    return os.path.exists(f"/proc/{pid}")


def serve(start, port, *, startup_timeout=20, app=None, name="web", **options):
    app = app or moorage.App("web-server-tests")

    @app.function(serialized=True, name=name, **options)
    @moorage.concurrent(max_inputs=20)
    @moorage.web_server(port, startup_timeout=startup_timeout)
    def web():
        return start()

    return app, web


def errors(caplog):
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


async def pid_of(web):
    answer = await Client(web).get()
    assert answer.status == 200, answer.text
    return int(answer.text)


# -- processes ---------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["program", "shell", "background", "slow", "stubborn", "kept"])
def test_a_program_serves_and_ends_with_its_container(way):
    port = free_port()
    kept = []

    def start():
        if way == "shell":
            subprocess.Popen(f"{shlex.join(program(port))} ; true", shell=True)
        elif way == "background":
            subprocess.Popen(f"{shlex.join(program(port))} &", shell=True)
        elif way == "slow":
            subprocess.Popen(program(port, 0.5))
        elif way == "stubborn":
            subprocess.Popen(program(port, 0, "stubborn"))
        elif way == "kept":
            kept.append(subprocess.Popen(program(port)))
        else:
            subprocess.Popen(program(port))

    app, web = serve(start, port)

    async def main():
        pid = await pid_of(web)
        assert pid != os.getpid()
        assert await pid_of(web) == pid
        return pid

    pid = run(app, main, grace=10)
    assert not lives(pid)
    if way not in ("background", "shell"):
        assert not exists(pid)  # not even a zombie
    if kept:
        assert kept[0].returncode == -15  # its status is the user's


def test_exit_hooks_run_before_the_processes_end():
    port = free_port()
    found = []
    app = moorage.App("web-server-hooks")

    @app.cls(serialized=True)
    class Model:
        @moorage.enter()
        def load(self):
            self.beside = subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1)

        @moorage.web_server(port, startup_timeout=20)
        def web(self):
            self.server = subprocess.Popen(program(port))

        @moorage.method()
        def pid(self):
            return self.server.pid

        @moorage.exit()
        def leave(self):
            found.append(lives(self.server.pid))
            found.append(lives(self.beside.pid))
            self.beside.communicate(b"\n")

    async def main():
        pid = await pid_of(Model().web)
        assert await Model().pid.remote.aio() == pid
        return pid

    pid = run(app, main)
    assert found == [True, True]
    assert not lives(pid)


def test_a_neighbours_process_lives_on():
    port = free_port()
    inside, go_on = threading.Event(), threading.Event()

    def start():
        inside.set()
        assert go_on.wait(LIMIT)
        thread = threading.Thread(target=lambda: subprocess.Popen(program(port)))
        thread.start()
        thread.join()

    app, web = serve(start, port)

    async def main():
        asking = asyncio.create_task(pid_of(web))
        await until(inside.is_set)
        neighbour = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        go_on.set()
        return await asking, neighbour

    pid, neighbour = run(app, main)
    try:
        assert not lives(pid)
        assert neighbour.poll() is None
    finally:
        neighbour.communicate(b"\n")


def test_a_brood_knows_descendants_and_threads():
    code = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'input()']).wait()"
    brood = Brood()
    found = []
    may_end = threading.Event()
    old = threading.Thread(target=may_end.wait)
    old.start()
    with brood.watch():
        may_end.set()
        old.join()  # the next thread gets its ident
        thread = threading.Thread(
            target=lambda: found.append(
                subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
            )
        )
        thread.start()
        thread.join()
    late = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert brood.look() == (None, True)
    brood.end()
    assert found[0].returncode == -15
    found[0].stdin.close()
    assert brood.look() == (-15, False)
    assert late.poll() is None
    late.communicate(b"\n")


def test_processes_end_with_the_interpreter(tmp_path):
    port = free_port()
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import asyncio, subprocess, sys
            import moorage, httpx
            from moorage.web.mounted import asgi

            app = moorage.App("left-open")

            @app.function()
            @moorage.web_server({port}, startup_timeout=20)
            def web():
                subprocess.Popen({program(port)!r})

            async def main():
                transport = httpx.ASGITransport(app=asgi(web))
                async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
                    print((await client.get("/", timeout=30)).text, flush=True)

            asyncio.run(main())  # in an ambient run, which nobody leaves
            """
        )
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=True
    )
    pid = int(done.stdout)
    assert not lives(pid)


# -- the start ---------------------------------------------------------------------------


def failed(app, web, caplog):
    """The status and the log of a request whose container cannot start."""

    async def main():
        began = time.monotonic()
        answer = await Client(web).get()
        assert time.monotonic() - began < LIMIT
        assert "Traceback" not in answer.text
        return answer.status

    status = run(app, main)
    return status, caplog.text


def test_a_child_that_dies_fails_the_start_at_once(caplog):
    port = free_port()

    def start():
        subprocess.Popen([sys.executable, "-c", "import sys; sys.exit(3)"])

    app, web = serve(start, port, startup_timeout=600)
    status, text = failed(app, web, caplog)
    assert status == 500
    assert f"exit code 3 before it listened on port {port}" in text
    assert len(errors(caplog)) == 1


def test_a_child_that_ends_without_an_error(caplog):
    app, web = serve(
        lambda: subprocess.Popen([sys.executable, "-c", ""]) and None,
        free_port(),
        startup_timeout=600,
    )
    status, text = failed(app, web, caplog)
    assert status == 500
    assert "exit code 0" in text


def test_a_wrong_port_is_named(caplog):
    port, other = free_port(), free_port()
    app, web = serve(lambda: subprocess.Popen(program(other)) and None, port, startup_timeout=0.5)
    status, text = failed(app, web, caplog)
    assert status == 500
    assert f"waited 0.5 s for port {port} of web" in text
    assert "startup_timeout" in text


@pytest.mark.parametrize("way", ["process", "waits"])
def test_a_function_that_does_not_return(caplog, way):
    port = free_port()
    end = threading.Event()

    def start():
        if way == "process":
            subprocess.run(program(port), check=False)
        else:
            end.wait(LIMIT)

    app, web = serve(start, port, startup_timeout=0.5)

    async def main():
        answer = await Client(web).get()
        end.set()
        return answer.status

    assert run(app, main) == 500
    assert "return after starting it (subprocess.Popen, or a thread)" in caplog.text
    assert len(errors(caplog)) == 1


def test_a_function_that_raises(caplog):
    def start():
        raise ZeroDivisionError("of the user")

    app, web = serve(start, free_port())
    status, text = failed(app, web, caplog)
    assert status == 500
    assert text.count("ZeroDivisionError: of the user") == 1
    assert "in start" in text


def test_a_start_that_is_given_up_ends_its_wait():
    port = free_port()
    app, web = serve(lambda: None, port, startup_timeout=600, timeout=1)

    async def main():
        return (await Client(web).get()).status

    assert run(app, main) in (500, 504)


def test_a_server_on_ipv6_only():
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    with upstream(host="::1") as server:
        app, web = serve(server.start, server.port)

        async def main():
            return (await Client(web).get("/echo")).status

        assert run(app, main) == 200


def test_strict_warns_of_a_server_on_localhost(caplog, monkeypatch):
    monkeypatch.setattr(moorage.config, "strict", True)
    with upstream() as server:
        app, web = serve(server.start, server.port)

        async def main():
            return (await Client(web).get("/echo")).status

        assert run(app, main) == 200
    assert "0.0.0.0" in caplog.text


# -- ports -------------------------------------------------------------------------------


def test_one_container_whatever_is_asked_for():
    port = free_port()
    app, web = serve(
        lambda: subprocess.Popen(program(port)) and None,
        port,
        min_containers=2,
        max_containers=5,
        buffer_containers=1,
    )

    async def main():
        client = Client(web)
        found = await asyncio.gather(*(client.get() for _ in range(60)))
        assert {answer.status for answer in found} == {200}
        assert len({answer.text for answer in found}) == 1
        web.update_autoscaler(max_containers=3, min_containers=2)
        found = await asyncio.gather(*(client.get() for _ in range(60)))
        assert web.statistics().containers_started == 1
        assert web.statistics().peak_containers == 1

    run(app, main)


def test_a_port_that_another_process_has(caplog):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        app, web = serve(lambda: pytest.fail("called"), port)
        status, text = failed(app, web, caplog)
    assert status == 500
    assert f"web needs port {port}" in text
    assert "this process" in text


def test_a_port_that_an_idle_container_has_is_waited_for():
    port = free_port()
    app = moorage.App("two-servers")
    _, one = serve(lambda: subprocess.Popen(program(port)) and None, port, app=app, name="one")
    _, two = serve(lambda: subprocess.Popen(program(port)) and None, port, app=app, name="two")

    async def main():
        first = await pid_of(one)
        await until(lambda: one.statistics().running == 0)
        second = await pid_of(two)
        await until(lambda: two.statistics().running == 0)
        third = await pid_of(one)
        assert len({first, second, third}) == 3
        return first, second, third

    assert not any(map(lives, run(app, main)))


def test_a_port_that_a_busy_container_has(caplog):
    app = moorage.App("two-servers")
    with upstream() as server:
        _, one = serve(server.start, server.port, app=app, name="one")
        _, two = serve(lambda: pytest.fail("called"), server.port, app=app, name="two")

        async def main():
            request = Client(one).start("GET", "/events", body=b"")
            await request.begin()
            assert (await Client(two).get()).status == 500
            request.leave()
            await until(lambda: one.statistics().running == 0)

        run(app, main)
    assert "a container of one listens there" in caplog.text


def test_a_port_that_min_containers_holds(caplog):
    port = free_port()
    app = moorage.App("two-servers")
    _, one = serve(
        lambda: subprocess.Popen(program(port)) and None,
        port,
        app=app,
        name="one",
        min_containers=1,
    )
    _, two = serve(lambda: pytest.fail("called"), port, app=app, name="two")

    async def main():
        await pid_of(one)
        assert (await Client(two).get()).status == 500

    run(app, main)
    assert "a container of one listens there" in caplog.text


def test_parameter_sets_share_a_port_one_after_the_other():
    port = free_port()
    app = moorage.App("sets")

    @app.cls(serialized=True)
    class Model:
        size: str = moorage.parameter(default="s")

        @moorage.web_server(port, startup_timeout=20)
        def web(self):
            subprocess.Popen(program(port))

    async def main():
        one = await pid_of(Model(size="s").web)
        await until(lambda: Model(size="s").web.statistics().running == 0)
        assert await pid_of(Model(size="m").web) != one

    run(app, main)


# -- classes that start a server ----------------------------------------------------------


def server_class(app, server, **options):
    @app.server(port=server.port, **options)
    class Site:
        @moorage.enter()
        def start(self):
            server.start()

        @moorage.exit()
        def leave(self):
            server.seen.append("left")

    return Site


def test_a_server_class_is_asked_through_the_proxy():
    app = moorage.App("server-class")
    with upstream() as server:
        Site = server_class(app, server)

        async def main():
            client = Client(Site)
            answer = await client.post("/echo?x=1", body=b"body")
            assert (answer.status, answer.header("x-of-server")) == (200, "1")
            found = await asyncio.gather(*(client.get("/echo") for _ in range(30)))
            assert {one.status for one in found} == {200}
            statistics = app_pool(Site).statistics()
            await until(lambda: app_pool(Site).statistics().succeeded == 31)
            assert statistics.containers_started == 1

        run(app, main)
        assert server.seen[-1] == "left"


def app_pool(site):
    service = site._web_endpoint().service
    return service.current_run().pools[service.key]


def test_processes_of_enter_hooks_end_with_the_server():
    port = free_port()
    app = moorage.App("server-class")

    @app.server(port=port)
    class Site:
        @moorage.enter()
        def start(self):
            subprocess.Popen(program(port, 0.2))

    async def main():
        return await pid_of(Site)

    assert not lives(run(app, main))


def test_more_requests_than_max_concurrency():
    app = moorage.App("server-class")
    with upstream() as server:
        Site = server_class(app, server, max_concurrency=2)

        async def main():
            client = Client(Site)
            open_ones = [client.start("GET", "/events", body=b"") for _ in range(2)]
            for one in open_ones:
                await one.begin()
            answer = await client.get("/echo")
            assert (answer.status, answer.text) == (429, "Too Many Requests")
            assert answer.header("retry-after") == "1"
            open_ones[0].leave()
            await until(lambda: app_pool(Site).statistics().running == 1)
            assert (await client.get("/echo")).status == 200
            open_ones[1].leave()
            await until(lambda: app_pool(Site).statistics().running == 0)
            # Those that wait for the start count too.
            return

        run(app, main)


def test_a_server_class_whose_port_never_answers(caplog):
    app = moorage.App("server-class")
    ended = []

    @app.server(port=free_port(), startup_timeout=1)
    class Site:
        @moorage.enter()
        def start(self):
            pass

        @moorage.exit()
        def leave(self):
            ended.append(True)

    async def main():
        return (await Client(Site).get()).status

    assert run(app, main) == 500
    assert "waited 1 s for port" in caplog.text
    assert ended == [True]


@pytest.mark.parametrize(("grace", "status"), [(30, 200), (0, 503)])
def test_the_exit_grace_period(grace, status, in_threads):
    app = moorage.App("server-class")
    with upstream() as server:
        Site = server_class(app, server, exit_grace_period=grace)

        async def main():
            with app.run(grace=20):
                client = Client(Site)
                assert (await client.get("/echo")).status == 200
                request = client.start("GET", "/slow", body=b"")
                await until(server.waits.is_set)
                pool = app_pool(Site)

                def go_on():
                    wait_until(lambda: pool._state is not PoolState.OPEN)
                    if not grace:  # the server answers when nobody waits for it any more
                        wait_until(lambda: not pool.statistics().running)
                    server.go_on.set()

                leaving = in_threads(go_on)
            leaving.result()
            await request.whole()
            return request.status

        assert asyncio.run(main()) == status


def test_http_server_serves_beside_methods():
    app = moorage.App("http-server")
    with upstream() as server:

        @app.cls(serialized=True)
        @moorage.concurrent(max_inputs=4)
        @moorage.experimental.http_server(server.port, proxy_regions=["us-east"])
        class Site:
            @moorage.enter()
            def start(self):
                server.start()

            @moorage.method()
            def is_ready(self):
                return True

        async def main():
            assert await Site().is_ready.remote.aio()
            assert (await Client(Site).get("/echo")).status == 200
            assert Site().is_ready.statistics().containers_started == 1

        run(app, main)


def test_http_server_without_methods():
    app = moorage.App("http-server")
    with upstream() as server:

        @app.cls(serialized=True)
        @moorage.experimental.http_server(server.port, proxy_regions=["us-east"])
        class Site:
            @moorage.enter()
            def start(self):
                server.start()

        async def main():
            found = await asyncio.gather(*(Client(Site).get("/echo") for _ in range(10)))
            assert {one.status for one in found} == {200}

        run(app, main)


def test_http_server_may_have_a_target_alone():
    app = moorage.App("http-server")
    with upstream() as server:

        @app.cls(serialized=True)
        @moorage.experimental.http_server(server.port, proxy_regions=["us-east"])
        @moorage.concurrent(target_inputs=100)
        class Site:
            @moorage.enter()
            def start(self):
                server.start()

        async def main():
            found = await asyncio.gather(*(Client(Site).get("/echo") for _ in range(10)))
            assert {one.status for one in found} == {200}

        run(app, main)

    with pytest.raises(TypeError, match=r"needs max_inputs, got none; write"):

        @app.cls(serialized=True)
        @moorage.concurrent(target_inputs=100)
        class NoSite:
            pass


def test_a_class_without_a_server_has_no_endpoint():
    app = moorage.App("no-server")

    @app.cls(serialized=True)
    class Model:
        @moorage.method()
        def f(self):
            pass

    with pytest.raises(moorage.exception.InvalidError, match="without a server"):
        Client(Model)


# -- URLs ---------------------------------------------------------------------------------


def body_at(url, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    asked = urllib.request.Request(url, headers=named)
    with urllib.request.urlopen(asked, timeout=LIMIT) as answer:
        return answer.read()


def test_a_server_has_a_url():
    app = moorage.App("served")
    with upstream() as server:
        Site = server_class(app, server)
        with app.run():
            url = Site.get_url()
            assert url != f"http://127.0.0.1:{server.port}"
            assert Site.get_url() == url == asyncio.run(Site.get_url.aio())
            assert app_pool_of(Site) is None  # no container is started
            assert b"/echo?x=1" in body_at(f"{url}/echo?x=1")
            host = "served-site-dev.localhost"
            assert b"/echo" in body_at(f"{url}/echo", host=host)
        with pytest.raises(OSError, match=r"refused|reset"):
            body_at(url)


def app_pool_of(site):
    service = site._web_endpoint().service
    return service.current_run().pools.get(service.key)


def test_a_class_under_http_server_has_a_url():
    app = moorage.App("served")
    with upstream() as server:

        @app.cls(serialized=True)
        @moorage.experimental.http_server(server.port, proxy_regions=["us-east"])
        class Site:
            @moorage.enter()
            def start(self):
                server.start()

        @app.cls(serialized=True)
        class Plain:
            @moorage.method()
            def f(self):
                pass

        with app.run():
            (url,) = Site._experimental_get_flash_urls()
            assert b"/echo" in body_at(f"{url}/echo")
            assert Plain._experimental_get_flash_urls() is None


def test_the_query_gives_the_parameters_of_a_class_under_http_server():
    port, app = free_port(), moorage.App("served")

    @app.cls(serialized=True)
    @moorage.experimental.http_server(port, proxy_regions=["us-east"])
    class Site:
        name: str = moorage.parameter()

        @moorage.enter()
        def start(self):
            answer = f"I am {self.name}"
            code = (
                "import http.server as s\n"
                "class H(s.BaseHTTPRequestHandler):\n"
                "    def do_GET(self):\n"
                "        self.send_response(200); self.end_headers()\n"
                f"        self.wfile.write(b'{answer}: ' + self.path.encode())\n"
                "    def log_message(self, *_): pass\n"
                f"s.ThreadingHTTPServer(('127.0.0.1', {port}), H).serve_forever()\n"
            )
            subprocess.Popen([sys.executable, "-c", code])

    with app.run():
        (url,) = Site._experimental_get_flash_urls()
        assert body_at(f"{url}/x?name=one") == b"I am one: /x?name=one"
        assert body_at(f"{url}/?name=two") == b"I am two: /?name=two"
        with pytest.raises(urllib.error.HTTPError, match="400"):
            body_at(url)
        with web_client(Site) as client:
            assert client.get("/?name=two").text == "I am two: /?name=two"


def test_tokens_of_a_server(monkeypatch):
    monkeypatch.setattr(moorage.config, "proxy_tokens", {"wk-a": "ws-b"})
    app = moorage.App("served")
    with upstream() as server:
        Site = server_class(app, server)
        with app.run():
            url = Site.get_url()
            with pytest.raises(urllib.error.HTTPError, match="401"):
                body_at(f"{url}/echo")
            assert app_pool_of(Site) is None
            assert b"/echo" in body_at(f"{url}/echo", Modal_Key="wk-a", Modal_Secret="ws-b")
    with upstream() as server:
        Open = server_class(app, server, unauthenticated=True, name="open")
        with app.run():
            assert b"/echo" in body_at(f"{Open.get_url()}/echo")


def test_an_open_address_needs_tokens_for_a_server(monkeypatch):
    monkeypatch.setattr(moorage.config, "web_host", "0.0.0.0")
    app = moorage.App("served")
    with upstream() as server:
        Site = server_class(app, server)
        with app.run(), pytest.raises(InvalidError, match=r"no unauthenticated=True.*TOKENS"):
            Site.get_url()


def test_the_bounds_and_the_counts_of_a_server():
    app = moorage.App("served")
    with upstream() as server:
        Site = server_class(app, server, target_concurrency=1.5, scaledown_window=30)
        assert Site.statistics() is None
        with app.run():
            before = Site.autoscaler.settings()
            assert (before.target_concurrency, before.scaledown_window) == (1.5, 30)
            assert Site.statistics() is None
            with pytest.raises(InvalidError, match="target_concurrency must be"):
                Site.update_autoscaler(target_concurrency=-2)
            with pytest.raises(InvalidError, match="scaleup_window must be"):
                Site.autoscaler.update(scaleup_window=0)
            with pytest.raises(InvalidError, match="min_containers"):
                Site.update_autoscaler(min_containers=-3)
            assert Site.autoscaler.settings() == before
            # The first container starts at once.
            after = Site.update_autoscaler(min_containers=1, scaleup_window=5, target_concurrency=4)
            assert (after.min_containers, after.scaleup_window) == (1, 5)
            assert (after.target_concurrency, after.scaledown_window) == (4, 30)
            wait_until(lambda: Site.statistics() and Site.statistics().containers_started == 1)
            assert asyncio.run(Site.autoscaler.update.aio(target_concurrency=None)) == replace(
                after, target_concurrency=None
            )
            url = Site.get_url()
            body_at(f"{url}/echo")
            # The HTTP thread counts, when it has sent the response.
            until_counted(lambda: Site.statistics().web.count("2xx") == 1)
            assert Site.statistics().succeeded == 1
            assert Site.statistics().peak_containers == 1


def test_a_server_by_its_name():
    app = moorage.App("served-by-name")
    with upstream() as server:
        server_class(app, server)
        named = moorage.Server.from_name("served-by-name", "Site")
        with pytest.raises(moorage.exception.NotFoundError, match="served-by-name"):
            named.get_url()
        try:
            app.deploy()
            assert b"/echo" in body_at(f"{named.get_url()}/echo")
            with pytest.raises(moorage.exception.NotFoundError, match=r"no server 'Other'.*Site"):
                moorage.Server.from_name("served-by-name", "Other").get_url()
        finally:
            app.stop()
    with pytest.raises(InvalidError, match=r"write @app\.server"):
        moorage.Server.from_id("sv-1").get_url()
