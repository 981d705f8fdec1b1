"""Each row of docs/differences.md is shown: by a test here, or by programs that were recorded."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import io
import json
import logging
import os
import pickle
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import pytest

import moorage as modal
from cli.shells import shell_in
from differential import harness
from free_ports import free_port
from moorage import config
from moorage.exception import (
    DeprecationError,
    ExecutionError,
    FunctionTimeoutError,
    InputCancelledError,
    InvalidError,
    NotFoundError,
    OutputExpiredError,
    QueueTimeoutError,
    RemoteError,
    ResourceExhaustedError,
    SerializationError,
    UnimplementedError,
)
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.testing import web_client
from onlooker import wait_until

PAGE = Path(__file__).parents[1] / "docs" / "differences.md"


@dataclass(frozen=True)
class Row:
    name: str
    shown_by: tuple[str, ...]


def rows_of(page: str) -> list[Row]:
    found = []
    for line in page.splitlines():
        if not line.startswith("| ") or line.startswith("| row "):
            continue
        columns = [part.strip() for part in re.split(r"(?<!\\)\|", line)[1:-1]]
        shown_by = tuple(part.strip().strip("`") for part in columns[-1].split(","))
        found.append(Row(columns[0], shown_by))
    return found


ROWS = rows_of(PAGE.read_text())
CELLS = {cell.id: cell for cell in harness.all_cells()}
SHOWN: dict[str, Callable[[], None]] = {}


def shows(name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def register(function: Callable[[], None]) -> Callable[[], None]:
        assert name not in SHOWN
        SHOWN[name] = function
        return function

    return register


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_row(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    assert row.shown_by != ("",), "a row needs a test, or a cell that shows it"
    for name in row.shown_by:
        if name != "test":
            assert name in CELLS, f"{name} is no cell of tests/differential"
            assert CELLS[name].differs, f"{name} does not differ"
    if "test" in row.shown_by:
        assert row.name in SHOWN, f'write a test here, with @shows("{row.name}")'
        monkeypatch.setattr(config, "strict", False)
        SHOWN[row.name]()


def test_rows_are_many_and_have_names_of_their_own():
    names = [row.name for row in ROWS]
    assert len(names) > 40
    assert len(set(names)) == len(names)
    assert SHOWN.keys() == {row.name for row in ROWS if "test" in row.shown_by}


def test_every_fault_that_was_recorded_has_a_row():
    named = {name for row in ROWS for name in row.shown_by}
    assert [
        cell.id
        for cell in CELLS.values()
        if cell.differs.keys() & {"fault", "other", "by-reference"} and cell.id not in named
    ] == []


# -- one process instead of a cloud ---------------------------------------------------


@shows("by-reference")
def by_reference() -> None:
    app = modal.App()

    @app.function()
    def add(items: list[int]) -> list[int]:
        items.append(1)
        return items

    mine: list[int] = []
    with app.run():
        assert add.remote(mine) is mine
    assert mine == [1]
    lock: Any = threading.Lock()
    with app.run(serialize=True):
        assert add.remote(mine) == [1, 1]
        with pytest.raises(SerializationError, match=r"it is a _thread\.lock; make it"):
            add.remote(lock)
    assert mine == [1]


@shows("shared-process")
def shared_process() -> None:
    app = modal.App()
    together = threading.Barrier(2)
    seen: list[int] = []

    @app.cls(max_containers=2)
    class Counter:
        @modal.method()
        def count(self, number: int) -> int:
            together.wait(10)  # in two containers
            seen.append(number)
            os.environ["MOORAGE_TEST_DIFFERENCES"] = "set"
            return id(self)

    with app.run():
        instances = set(Counter().count.map([1, 2]))
    assert len(instances) == 2
    assert sorted(seen) == [1, 2]
    assert os.environ.pop("MOORAGE_TEST_DIFFERENCES") == "set"


@shows("cloud-arguments")
def cloud_arguments() -> None:
    app = modal.App()
    image = modal.Image.debian_slim().pip_install("no-such-package-anywhere")

    @app.function(
        image=image,
        gpu="A100",
        cpu=64.0,
        memory=1_000_000,
        region="eu",
    )
    def here() -> int:
        return os.getpid()

    with app.run():
        assert here.remote() == os.getpid()


@shows("environment")
def environment() -> None:
    app = modal.App()
    name = "MOORAGE_TEST_VARIABLE"

    @app.function(env={name: "one"})
    def one() -> str | None:
        return os.environ.get(name)

    @app.function(env={name: "two"})
    def two() -> str | None:
        return os.environ.get("MODAL_TASK_ID")

    with app.run():
        assert one.remote() == os.environ[name] == "one"
        assert two.remote() is None
        assert one.remote() == "two"
    assert name not in os.environ


@shows("secrets")
def secrets() -> None:
    app = modal.App()
    modal.Secret.objects.create("differences", {"MOORAGE_TEST_SECRET": "x"})
    named, missing = (modal.Secret.from_name(name) for name in ("differences", "nowhere"))
    assert named.info().created_by is named.info().last_used is None

    @app.function(secrets=[named, missing])
    def read() -> str | None:
        return os.environ.get("MOORAGE_TEST_SECRET")

    with app.run():
        assert read.remote() == "x"
    modal.Secret.objects.delete("differences")


@shows("imports")
def imports() -> None:
    app = modal.App()
    image, other = modal.Image.debian_slim(), modal.Image.debian_slim()
    with image.imports():
        import no_such_module_anywhere  # noqa: F401

    @app.function(image=image)
    def fails() -> None: ...

    @app.function(image=other)
    def works() -> int:
        return 1

    with app.run():
        with pytest.raises(ImportError):
            fails.remote()
        assert works.remote() == 1


@shows("volumes-not-mounted")
def volumes_not_mounted() -> None:
    app = modal.App()
    volume = modal.Volume.from_name("models", create_if_missing=True)

    @app.function(volumes={"/no-such-directory-here": volume})
    def look() -> bool:
        return os.path.exists("/no-such-directory-here")

    with app.run(), pytest.raises(InvalidError, match="local_path"):
        look.remote()
    with pytest.warns(UserWarning, match="volumes"):
        assert look.local() is False


@shows("volumes")
def volumes() -> None:
    with modal.Volume.ephemeral() as volume:
        assert volume.commit() is volume.reload() is None
        (volume.local_path / "file").write_bytes(b"123")
        assert [entry.path for entry in volume.listdir("/")] == ["file"]
        assert volume.info().created_by is None
        (volume.local_path / "link").symlink_to("/")
        with pytest.raises(InvalidError, match="leads out"):
            volume.listdir("link/tmp")


@shows("placeholders")
def placeholders() -> None:
    for use in (lambda: modal.Sandbox.create("echo", app=modal.App()),):
        with pytest.raises(UnimplementedError, match="use"):
            use()


@shows("stored")
def stored() -> None:
    with modal.Dict.ephemeral() as d, modal.Queue.ephemeral() as q:
        d["key"] = bytes(2**20)
        q.put(bytes(2**20))
        assert d["key"] == q.get()
        assert d.info().created_by is q.info().created_by is None


@shows("schedules")
def schedules() -> None:
    app = modal.App()
    times: list[float] = []
    clock = VirtualClock()

    @app.function(schedule=modal.Period(hours=1))
    def hourly() -> None:
        times.append(clock.now())

    with app.run(clock=clock):
        clock.sleep(7201)
    assert times == [3600, 7200]


@shows("terminal")
def terminal() -> None:
    app = modal.App()

    @app.function()
    def ask() -> None:
        modal.interact()

    with modal.enable_output(), app.run():
        ask.remote()
        with pytest.raises(InvalidError):
            modal.interact()


@shows("deploy")
def deploy() -> None:
    app = modal.App("differences")

    @app.function()
    def process() -> int:
        return os.getpid()

    assert app.deploy() is app
    assert process.remote() == os.getpid()
    assert modal.App.lookup("differences") is app
    app.stop()
    with pytest.raises(NotFoundError):
        modal.App.lookup("differences")


@shows("from-name")
def from_name() -> None:
    app = modal.App("differences")

    @app.function()
    def one() -> int:
        return 1

    found = modal.Function.from_name("differences", "one")
    with pytest.raises(NotFoundError):
        found.remote()
    app.deploy()
    assert found.remote() == 1
    app.stop()
    with pytest.raises(NotFoundError):
        found.remote()


@shows("environments")
def environments() -> None:
    with modal.App("differences").run(environment_name="never-created"):
        found = modal.App.lookup("differences", environment_name="never-created")
        assert found.name == "differences"
    assert modal.Environment.from_name("never-created").name == "never-created"
    with pytest.raises(UnimplementedError):
        modal.Environment.objects.list()


@shows("forward")
def forward() -> None:
    app = modal.App()

    @app.function()
    def address() -> str:
        with modal.forward(8000) as tunnel:
            return tunnel.url

    with app.run():
        assert address.remote() == "http://127.0.0.1:8000"


@shows("secrets-pickled")
def secrets_pickled() -> None:
    secret = modal.Secret.from_dict({"NAME": "hunter2"})
    data = pickle.dumps(secret)
    assert b"hunter2" not in data
    assert pickle.loads(data) is secret


@shows("from-id")
def from_id() -> None:
    assert (config.findable_seconds, config.findable_calls) == (600, 10_000)
    app = modal.App()

    @app.function()
    def one() -> int:
        return 1

    with app.run():
        call = one.spawn()
        assert modal.FunctionCall.from_id(call.object_id).get() == 1
        config.findable_seconds = 0
        try:
            one.spawn().get()
            with pytest.raises(OutputExpiredError):
                modal.FunctionCall.from_id(call.object_id).get()
        finally:
            config.findable_seconds = 600
    with pytest.raises(NotFoundError):
        modal.FunctionCall.from_id("fc-of-another-process").get()


@shows("call-graph")
def call_graph() -> None:
    app = modal.App()

    @app.function()
    def inner(x: int) -> int:
        return x

    calls: list[modal.FunctionCall[int]] = []

    @app.function()
    def outer() -> int:
        first = inner.remote(1)
        calls.append(inner.spawn(2))
        return first + calls[-1].get() + inner.remote(3)

    with app.run():
        call = outer.spawn()
        assert call.get() == 6
        (graph,) = call.get_call_graph()
        assert [child.function_name for child in graph.children] == ["inner"] * 3
        assert outer.remote() == 6
        (graph,) = calls[-1].get_call_graph()
        assert graph.function_name == "outer"
        assert len(graph.children) == 2, "without the one before the spawn"


@shows("unread-errors")
def unread_errors() -> None:
    app = modal.App()
    records: list[logging.LogRecord] = []

    @app.function()
    def fail() -> None:
        raise ValueError("lost")

    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logging.getLogger("moorage").addHandler(handler)
    try:
        with app.run(drain=True):
            with pytest.raises(ValueError, match="lost"):
                fail.spawn().get()
            fail.spawn()
    finally:
        logging.getLogger("moorage").removeHandler(handler)
    (record,) = records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None


@shows("client-config")
def client_config() -> None:
    os.environ["MODAL_TOKEN_SECRET"], os.environ["MODAL_ENVIRONMENT"] = "as-hidden", "main"
    try:
        assert config.config["environment"] == "main"
        assert config.config.get("token_secret") == "as-hidden"
        assert "hidden" not in repr(config.config)
    finally:
        del os.environ["MODAL_TOKEN_SECRET"], os.environ["MODAL_ENVIRONMENT"]


def serve_on(port: int) -> ThreadingHTTPServer:
    """Start a server on a thread.  It answers 501, because its handler has no methods."""
    server = ThreadingHTTPServer(("127.0.0.1", port), BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@shows("one-server")
def one_server() -> None:
    app = modal.App()
    port = free_port()

    @app.server(port=port, target_concurrency=1)
    class Site:
        @modal.enter()
        def start(self) -> None:
            self.server = serve_on(port)

        @modal.exit()
        def stop(self) -> None:
            self.server.shutdown()
            self.server.server_close()

    with app.run():
        assert Site.update_autoscaler(max_containers=4).max_containers == 4
        url = Site.get_url()
        assert url is not None
        with ThreadPoolExecutor(5) as clients:
            statuses = list(clients.map(lambda _: status_of(url, {}), range(5)))
        assert statuses == [501] * 5  # of the server: it has no GET
        seen = Site.statistics()
        assert seen is not None
        assert (seen.peak_containers, seen.accepted) == (1, 5)
        with pytest.raises(AttributeError, match="no sessions"):
            _ = Site.sessions  # type: ignore[attr-defined]


@shows("without-instance")
def without_instance() -> None:
    app = modal.App()

    @app.cls(serialized=True)
    class Model:
        @modal.method()
        def double(self, x: int) -> int:
            return 2 * x

    found: Any = Model
    with app.run():
        with pytest.warns(DeprecationError, match=r"write Model\(\)\.double\.remote"):
            assert found.double.remote(2) == 4
        config.strict = True
        with pytest.raises(AttributeError, match=r"write Model\(\)\.double\.remote"):
            found.double.remote(2)


@shows("timeouts")
def timeouts() -> None:
    app = modal.App()

    @app.function(timeout=0.05)
    async def long() -> None:
        await asyncio.Event().wait()

    with app.run(), pytest.raises(FunctionTimeoutError):
        long.remote()
    config.strict = True
    with pytest.raises(TypeError, match="timeout"), app.run():
        pass


# -- the command line ---------------------------------------------------------------------------


@shows("command-exits")
def command_exits() -> None:
    program = """
        import modal
        app = modal.App()

        @app.local_entrypoint()
        def main():
            raise KeyboardInterrupt
    """
    with TemporaryDirectory() as folder, shell_in(Path(folder)) as shell:
        shell.write("prog.py", program)
        assert shell("run", "prog.py").code == 130
        code, out, err = shell("run", "prgo.py")
        assert (code, out) == (1, "")
        assert err == "Error: There is no file 'prgo.py'.\n\nDid you mean:\n    prog.py\n"


@shows("command-help")
def command_help() -> None:
    program = """
        import modal
        app = modal.App()

        @app.function()
        def first(a: int, b: int = 3):
            "Say something."

        @app.function()
        def second():
            pass
    """
    with TemporaryDirectory() as folder, shell_in(Path(folder)) as shell:
        shell.write("prog.py", program)
        shown = shell("run", "prog.py::first", "--help").out
        assert "Say something." in shown
        assert "[default: 3]" in shown
        assert shown.index("--a INTEGER") < shown.index("--b INTEGER")
        code, out, _ = shell("run", "prog.py", "--help")
        assert code == 0
        assert "first   Say something.\n  second\n" in out


@shows("command-parameters")
def command_parameters() -> None:
    program = """
        import modal
        app = modal.App()

        @app.local_entrypoint()
        def main(a: int, /):
            print(a)

        @app.local_entrypoint()
        def items():
            yield 1
    """
    with TemporaryDirectory() as folder, shell_in(Path(folder)) as shell:
        shell.write("prog.py", program)
        assert shell("run", "prog.py::main", "--a", "3").out == "3\n"
        code, _, err = shell("run", "prog.py::items")
        assert code == 1
        assert "not supported for generator functions" in err


@shows("command-output")
def command_output() -> None:
    program = """
        import modal
        app = modal.App()

        @app.local_entrypoint()
        def main():
            print("mine")
    """
    with TemporaryDirectory() as folder, shell_in(Path(folder)) as shell:
        shell.write("prog.py", program)
        _, out, err = shell("run", "prog.py")
        assert out == "mine\n"
        assert err.startswith("run prog: main\n")


@shows("command-serve")
def command_serve() -> None:
    # The order of two versions: tests/cli/test_serve.py.
    program = """
        import modal
        app = modal.App()

        @app.function()
        @modal.asgi_app()
        def api(): ...
    """
    options = ("--no-reload", "--no-mounts", "--port", "0", "--timeout", "0.01")
    with TemporaryDirectory() as folder, shell_in(Path(folder)) as shell:
        shell.write("prog.py", program)
        code, _, err = shell("serve", *options, "prog.py")
        assert code == 0
        assert re.match(r"  api  http://127.0.0.1:\d+\n", err)


@shows("command-deploy")
def command_deploy() -> None:
    program = """
        import os, signal, modal
        app = modal.App("shop")
        sent = []

        @app.function(schedule=modal.Period(seconds=0.01), max_containers=1)
        def stop():
            if not sent:
                sent.append(os.kill(os.getpid(), signal.SIGTERM))
    """
    with TemporaryDirectory() as folder, shell_in(Path(folder)) as shell:
        shell.write("prog.py", program)
        shell.write("other.py", "import modal\napp = modal.App('other')\n")
        # Its function ends the process that it runs in.
        threads = "--placement", "thread"
        code, _, err = shell("deploy", "--no-mounts", *threads, "other.py", "prog.py")
        assert code == 0
        assert err.startswith("Deployed here, until this process ends (pid ")


@shows("command-detach")
def command_detach() -> None:
    with TemporaryDirectory() as folder, shell_in(Path(folder)) as shell:
        shell.write("prog.py", "import modal\napp = modal.App()\n@app.function()\ndef f(): ...\n")
        code, _, err = shell("run", "--detach", "prog.py")
        assert code == 0
        assert "nothing outlives this process" in err


@shows("command-secrets")
def command_secrets() -> None:
    with (
        TemporaryDirectory() as folder,
        shell_in(Path(folder)) as shell,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("MOORAGE_HOME", folder)
        assert shell("secret", "create", "s", "KEY=-", input="hidden\n").code == 0
        assert (Path(folder) / "main/secrets/s.env").read_text() == 'KEY="hidden"\n'


@shows("command-types")
def command_types() -> None:
    program = """
        import modal
        app = modal.App()

        @app.local_entrypoint()
        def main(xs: list[int]):
            print(xs)

        @app.local_entrypoint()
        def anything(**kwargs):
            print(kwargs)
    """
    with TemporaryDirectory() as folder, shell_in(Path(folder)) as shell:
        shell.write("prog.py", program)
        assert shell("run", "prog.py::main", "--xs", "1", "--xs", "2").out == "[1, 2]\n"
        assert shell("run", "prog.py::anything").code == 1
        config.strict = True
        try:
            assert shell("run", "prog.py::main", "--xs", "1").code == 1
            done = shell("run", "prog.py::anything", "--kwargs", "1")
            assert done.out == "{'kwargs': '1'}\n"
        finally:
            config.strict = False


# -- cancelling -------------------------------------------------------------------------


@shows("sync-cancel")
def sync_cancel() -> None:
    app = modal.App()
    inside, leave = threading.Semaphore(0), threading.Event()

    @app.function(max_containers=1)
    @modal.concurrent(max_inputs=2)
    def hold(name: str) -> str:
        inside.release()
        assert leave.wait(10)
        return name

    with app.run():
        unlucky, neighbour = hold.spawn("a"), hold.spawn("b")
        assert inside.acquire(timeout=10)
        assert inside.acquire(timeout=10)
        unlucky.cancel()
        with pytest.raises(InputCancelledError):
            unlucky.get(timeout=10)
        seen = hold.statistics()
        assert seen is not None
        assert (seen.running, seen.abandoned) == (2, 1)
        leave.set()
        assert neighbour.get(timeout=10) == "b"
        assert hold.remote("c") == "c"
        seen = hold.statistics()
        assert seen is not None
        assert seen.containers_started == 1


@shows("terminate-containers")
def terminate_containers() -> None:
    app = modal.App()
    inside, leave = threading.Semaphore(0), threading.Event()

    @app.function(max_containers=1)
    @modal.concurrent(max_inputs=2)
    async def hold(name: str) -> str:
        inside.release()
        await asyncio.to_thread(leave.wait, 10)
        return name

    with app.run():
        unlucky, neighbour = hold.spawn("a"), hold.spawn("b")
        assert inside.acquire(timeout=10)
        assert inside.acquire(timeout=10)
        unlucky.cancel(terminate_containers=True)
        with pytest.raises(InputCancelledError):
            unlucky.get(timeout=10)
        leave.set()
        assert neighbour.get(timeout=10) == "b"


@shows("retried-timeouts")
def retried_timeouts() -> None:
    app = modal.App()
    attempts: list[str] = []

    @app.function(retries=1, timeout=3)
    def sync(clock: VirtualClock) -> None:
        attempts.append("sync")
        clock.sleep(10.0)

    @app.function(retries=1, timeout=3)
    async def awaited() -> None:
        attempts.append("async")
        await asyncio.sleep(10.0)

    with VirtualClock() as clock, app.run(clock=clock):
        with pytest.raises(modal.exception.FunctionTimeoutError):
            sync.remote(clock)
        with pytest.raises(modal.exception.FunctionTimeoutError):
            awaited.remote()
        clock.sleep(30.0)
    assert attempts == ["sync", "async", "async"]


@shows("cancelled-error")
def cancelled_error() -> None:
    app = modal.App()

    @app.function()
    async def forever() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        async with app.run():
            call = await forever.spawn.aio()
            await call.cancel.aio()
            with pytest.raises(InputCancelledError):
                await call.get.aio()

    asyncio.run(main())
    assert issubclass(InputCancelledError, RemoteError)


# -- lenient mode -----------------------------------------------------------------------


@shows("strict")
def strict() -> None:
    app = modal.App()

    @app.function()
    def one() -> int:
        return 1

    assert one.remote() == 1
    app.stop()
    config.strict = True
    with pytest.raises(ExecutionError):
        one.remote()
    with pytest.raises(DeprecationError):
        app.function(keep_warm=1)
    with pytest.raises(InvalidError):
        app.function()(lambda: None)
    with pytest.raises(InvalidError):
        app.function(timeout=None)
    with pytest.raises(DeprecationError):
        modal.web_endpoint()


@shows("ambient-run")
def ambient_run() -> None:
    app = modal.App()

    @app.function()
    def one() -> int:
        return 1

    assert app.app_id is None
    assert one.remote() == 1
    assert app.app_id is not None
    app.stop()


@shows("counts-outside-a-run")
def counts_outside_a_run() -> None:
    app = modal.App()

    @app.function()
    def one() -> int:
        return 1

    assert one.get_current_stats().num_total_runners == 0
    assert one.update_autoscaler(min_containers=1).min_containers == 1
    assert one.hydrate() is one
    assert one.get_web_url() is None
    assert app.app_id is None
    with app.run():
        seen = one.statistics()
        assert seen is not None
        assert len(seen.containers) == 1


@shows("old-names")
def old_names() -> None:
    app = modal.App()
    with pytest.warns(DeprecationError) as warned:

        @app.function(
            keep_warm=1, concurrency_limit=2, container_idle_timeout=30, allow_concurrent_inputs=4
        )
        def one() -> int:
            return 1

    shown = " ".join(str(warning.message) for warning in warned)
    for new in ("min_containers=1", "max_containers=2", "scaledown_window=30", "max_inputs=4"):
        assert new in shown
    settings = one.autoscaler.settings()
    assert (settings.min_containers, settings.max_containers) == (1, 2)
    assert settings.scaledown_window == 30


@shows("web-endpoint")
def web_endpoint() -> None:
    app = modal.App()
    with pytest.warns(DeprecationError, match="fastapi_endpoint"):
        decorate = modal.web_endpoint()

    def hello() -> str:
        return "hello"

    assert app.function()(decorate(hello)).local() == "hello"


@shows("custom-init")
def custom_init() -> None:
    app = modal.App()
    made: list[int] = []
    with pytest.warns(DeprecationError, match="__init__"):

        @app.cls()
        class Scale:
            def __init__(self, factor: int) -> None:
                made.append(factor)
                self.factor = factor

            @modal.method()
            def of(self, x: int) -> int:
                return x * self.factor

    with app.run():
        assert [Scale(2).of.remote(5), Scale(2).of.remote(6), Scale(3).of.remote(5)] == [10, 12, 15]
    assert made == [2, 3]


@shows("nonsense-at-once")
def nonsense_at_once() -> None:
    for nonsense in (0, -3, 2.5, "4", True):
        with pytest.raises(InvalidError, match="max_inputs"):
            modal.concurrent(max_inputs=nonsense)  # type: ignore[call-overload]
    app = modal.App()
    config.strict = True
    app.function()(modal.concurrent(max_inputs=-3)(len))
    with pytest.raises(ValueError, match="max_inputs"), app.run():
        pass


@shows("parameter-types")
def parameter_types() -> None:
    app = modal.App()

    @app.cls(serialized=True)
    class Sized:
        size: int = modal.parameter()

        @modal.method()
        def get(self) -> int:
            return self.size

    with pytest.raises(TypeError, match="size"):
        Sized(size="large")  # type: ignore[arg-type]
    config.strict = True
    with app.run():
        obj = Sized(size="large")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="size"):
            obj.get.remote()


@shows("registered")
def registered() -> None:
    app = modal.App()
    assert app.registered_functions == {}
    config.strict = True
    with pytest.warns(DeprecationError):
        assert app.registered_functions == {}


@shows("retry-floor")
def retry_floor() -> None:
    policy = modal.Retries(max_retries=3, initial_delay=0.01)
    assert policy.delay(1) == 0.01
    config.strict = True
    assert policy.delay(1) == 1


@shows("deadlock")
def deadlock() -> None:
    app = modal.App()

    @app.function(max_containers=1)
    def f(n: int) -> int:
        return n and 1 + f.remote(n - 1)

    with app.run(), pytest.raises(modal.exception.DeadlockError):
        f.remote(1)


@shows("names-of-ours")
def names_of_ours() -> None:
    config.strict = True
    app = modal.App()

    @app.function(serialized=True)
    @modal.cooperative
    def one() -> int:
        with modal.shield():
            modal.check_cancelled()
        return 1

    with app.run(drain=True, grace=5):
        assert one.remote() == 1
        text = io.StringIO()
        modal.describe(text)
        assert "one" in text.getvalue()
    names = {"shield", "check_cancelled", "cooperative", "describe", "describe_on_signal", "config"}
    names.add("current_input_ids")
    recorded = json.loads((harness.RECORDED / "_package.json").read_text())
    assert names.isdisjoint(recorded["all"])


@shows("bounds")
def bounds() -> None:
    app = modal.App()

    @app.function(max_containers=1, queue_timeout=1, max_backlog=1, on_full="raise")
    async def work(waits: bool) -> None:
        if waits:
            await asyncio.Event().wait()

    with app.run():
        work.remote(False)
        running, waiting = work.spawn(True), work.spawn(True)
        with pytest.raises(ResourceExhaustedError):
            work.spawn(True)
        with pytest.raises(QueueTimeoutError):
            waiting.get()
        running.cancel()


@shows("other-loops")
def other_loops() -> None:
    app = modal.App()

    @app.function()
    async def work(future: asyncio.Future[None]) -> None:
        await future

    async def main() -> None:
        async with app.run():
            future = asyncio.get_running_loop().create_future()
            with pytest.raises(RuntimeError, match="different loop") as caught:
                await work.remote.aio(future)
            assert "event loop of its container" in caught.value.__notes__[0]

    asyncio.run(main())


@shows("window")
def window() -> None:
    app = modal.App()
    begun: list[int] = []

    @app.function()
    async def work(value: int) -> int:
        begun.append(value)
        return value

    with app.run():
        results = work.map([1, 2, 3], window=1)
        assert next(results) == 1
        assert begun == [1]
        assert list(results) == [2, 3]


# -- scaling and batching ---------------------------------------------------------------


@shows("errors-are-whole")
def errors_are_whole() -> None:
    app = modal.App()

    class ApiError(Exception):
        def __init__(self, code: int) -> None:
            super().__init__(f"API error {code}")

    @app.function(serialized=True)
    def ask(code: int) -> None:
        try:
            [][code]
        except IndexError as error:
            raise ApiError(code) from error

    with app.run(), pytest.raises(ApiError, match=r"^API error 404$") as caught:
        ask.remote(404)
    assert isinstance(caught.value.__cause__, IndexError)
    assert caught.value.__context__ is caught.value.__cause__


@shows("batch-exceptions")
def batch_exceptions() -> None:
    app = modal.App()

    @app.function(max_containers=1)
    @modal.batched(max_batch_size=3, wait_ms=1000)
    def halves(xs: list[int]) -> list[Any]:
        return [(x / 2, ValueError(x)) if x > 1 else ValueError(x) for x in xs]

    with app.run():
        first, second, third = halves.map([1, 2, 3], return_exceptions=True)
        assert isinstance(first, ValueError)
        assert [type(value) for value in (*second, *third)] == [float, ValueError] * 2


@shows("batch-arguments")
def batch_arguments() -> None:
    app = modal.App()

    @app.function(max_containers=1)
    @modal.batched(max_batch_size=2, wait_ms=1000)
    def sizes(xs: list[int]) -> list[int]:
        return [len(xs) for _ in xs]

    with app.run():
        wrong, right = sizes.spawn(1, 2), sizes.spawn(1)
        assert right.get() == 1
        with pytest.raises(InvalidError, match="takes 1 positional"):
            wrong.get()


@shows("scaledown-chosen")
def scaledown_chosen() -> None:
    app = modal.App()

    @app.function()
    async def nap() -> None:
        await asyncio.sleep(1)

    assert nap.autoscaler.settings().scaledown_window is None
    with VirtualClock() as clock, app.run(clock=clock):
        for call in [nap.spawn() for _ in range(3)]:
            call.get()
        clock.sleep(59)
        seen = nap.statistics()
        assert seen is not None
        assert len(seen.containers) == 1
        clock.sleep(2)
        assert nap.statistics().containers == ()


@shows("local-limit")
def local_limit() -> None:
    app = modal.App()

    @app.function(max_containers=1)
    @modal.concurrent(max_inputs=8, target_inputs=2)
    async def limit() -> None:
        modal.experimental.set_local_input_concurrency(5)

    with app.run():
        limit.remote()
        seen = limit.statistics()
        assert seen is not None
        (container,) = seen.containers
        assert (container.limit, container.target) == (5, 5)


# -- not yet ----------------------------------------------------------------------------


def serve_hello(app: modal.App) -> Any:
    @app.function()
    @modal.fastapi_endpoint(label="hello")
    def hello() -> str:
        return "hello"

    return hello


@shows("web-urls")
def web_urls() -> None:
    app = modal.App()
    hello = serve_hello(app)
    with app.run():
        url = hello.get_web_url()
        assert url.startswith("http://127.0.0.1:")
        assert status_of(url, {}) == status_of(url, {"Host": "hello.localhost"}) == 200
        assert status_of(url, {"Host": "nobody.localhost"}) == 404


@shows("web-pages")
def web_pages() -> None:
    app = modal.App()
    hello = serve_hello(app)
    with app.run():
        url = hello.get_web_url()
        assert status_of(url, {"Origin": "https://example.com"}) == 403
        assert status_of(url, {"Host": "example.com"}) == 421
        with patch.object(config, "open_cors", True):
            assert status_of(url, {"Origin": "https://example.com"}) == 200


@shows("web-tokens")
def web_tokens() -> None:
    app = modal.App()

    @app.function()
    @modal.fastapi_endpoint(requires_proxy_auth=True)
    def closed() -> str:
        return "hello"

    with app.run():
        url = closed.get_web_url()
        assert status_of(url, {}) == 200
        with patch.object(config, "proxy_tokens", {"wk-1": "ws-1"}):
            assert status_of(url, {}) == 401
            assert status_of(url, {"Modal-Key": "wk-1", "Modal-Secret": "ws-1"}) == 200


@shows("web-shared-app")
def web_shared_app() -> None:
    app = modal.App()
    served = plain_application(b"shared")

    @app.function(max_containers=2, min_containers=2)
    @modal.asgi_app()
    def shared() -> Any:
        return served

    with logged() as texts, app.run():
        wait_until(lambda: any("serve the same application object" in text for text in texts))


@shows("web-threads")
def web_threads() -> None:
    app = modal.App()
    meet = threading.Barrier(50)

    @app.function(max_containers=1)
    @modal.concurrent(max_inputs=50)
    @modal.fastapi_endpoint()
    def hello() -> int:
        return meet.wait(30)

    with app.run(), ThreadPoolExecutor(50) as clients:
        url = hello.get_web_url()
        assert list(clients.map(lambda _: status_of(url, {}), range(50))) == [200] * 50


@shows("web-waits")
def web_waits() -> None:
    app = modal.App()
    clock = VirtualClock()

    @app.function(timeout=600)
    @modal.concurrent(max_inputs=2)
    @modal.fastapi_endpoint()
    async def slow(seconds: int) -> int:
        await asyncio.sleep(seconds)
        return seconds

    async def main() -> None:
        async with app.run(clock=clock), web_client(slow) as client:
            answer = await client.get("/?seconds=500")
            assert (answer.status_code, clock.now()) == (200, 500)
            assert (await client.get("/?seconds=601")).status_code == 504

    clock.run(main())


@shows("web-errors")
def web_errors() -> None:
    app = modal.App()

    @app.function()
    @modal.asgi_app()
    def broken() -> Any:
        raise ValueError("a secret")

    @app.function(max_containers=1, queue_timeout=1)
    @modal.fastapi_endpoint()
    async def slow() -> None:
        await asyncio.sleep(2)

    async def main() -> None:
        async with app.run(clock=clock):
            async with web_client(broken) as client:
                answer = await client.get("/")
                assert (answer.status_code, answer.text) == (500, "Internal Server Error")
            async with web_client(slow) as client:
                first, second = await asyncio.gather(client.get("/"), client.get("/"))
                assert (first.status_code, second.status_code) == (200, 503)
                assert second.headers["retry-after"] == "1"

    clock = VirtualClock()
    with logged():
        clock.run(main())


@shows("web-server-alone")
def web_server_alone() -> None:
    app, port = modal.App(), free_port()
    servers: list[ThreadingHTTPServer] = []

    @app.function(max_containers=4, min_containers=2)
    @modal.web_server(port)
    def site() -> None:
        servers.append(serve_on(port))

    try:
        with app.run(), ThreadPoolExecutor(5) as clients:
            url = site.get_web_url()
            assert list(clients.map(lambda _: status_of(url, {}), range(5))) == [501] * 5
            assert site.statistics().peak_containers == 1
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
    assert len(servers) == 1


@shows("web-messages")
def web_messages() -> None:
    from websockets.sync.client import connect

    app = modal.App()

    @app.function()
    @modal.asgi_app()
    def sizes() -> Any:
        async def application(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "websocket":
                return
            await receive()
            await send({"type": "websocket.accept"})
            message = await receive()
            await send({"type": "websocket.send", "text": str(len(message["bytes"]))})
            await send({"type": "websocket.close"})

        return application

    with app.run():
        url = sizes.get_web_url().replace("http", "ws")
        with connect(url) as client:
            client.send(bytes(3 * 2**20))
            assert client.recv() == str(3 * 2**20)


def plain_application(text: bytes) -> Any:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": text})

    return application


@contextlib.contextmanager
def logged() -> Iterator[list[str]]:
    """Gather the texts of the logger ``moorage``."""
    texts: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: texts.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("moorage")
    logger.addHandler(handler)
    try:
        yield texts
    finally:
        logger.removeHandler(handler)


@shows("web-labels")
def web_labels() -> None:
    with pytest.raises(InvalidError, match="label must be"):
        modal.asgi_app(label="My label")


def status_of(url: str, headers: dict[str, str]) -> int:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@shows("single-use")
def single_use() -> None:
    app = modal.App()
    with pytest.warns(DeprecationError, match="single_use_containers"):

        @app.function(max_inputs=1)
        def one() -> int:
            return 1

    with app.run():
        assert one.remote() + one.remote() == 2
        seen = one.statistics()
        assert seen is not None
        assert (seen.containers_started, seen.max_inputs) == (1, 1)


# -- faults of the original ----------------------------------------------------------------


@shows("called-directly")
def called_directly() -> None:
    app = modal.App()

    @app.function()
    def one() -> int:
        return 1

    call: Any = one
    for kind in (InvalidError, TypeError):
        with pytest.raises(kind, match=r"one\.remote\(\.\.\.\)"):
            call()
    assert callable(one)


@shows("bare-decorators")
def bare_decorators() -> None:
    app = modal.App()

    def one() -> int:
        return 1

    decorators: list[Any] = [
        *(modal.concurrent, modal.method, modal.enter, modal.exit),
        *(modal.fastapi_endpoint, modal.asgi_app, modal.wsgi_app),
        *(app.function, app.cls, app.local_entrypoint),
    ]
    for decorator in decorators:
        for kind in (InvalidError, TypeError):
            with pytest.raises(kind, match=rf"{decorator.__name__}\("):
                decorator(one)


@shows("names-and-texts")
def names_and_texts() -> None:
    app = modal.App()

    @app.function()
    def double(x: int) -> int:
        """Twice x."""
        return 2 * x

    @app.cls()
    class Doubler:
        """Doubles."""

    assert (double.__name__, double.__doc__) == ("double", "Twice x.")
    assert str(inspect.signature(double)).startswith("(x: ")
    assert Doubler.__doc__ == "Doubles."


def plain(function: Any) -> Any:
    """A decorator that knows nothing of async, and leaves no trace of the function."""
    return lambda *args: function(*args)


@shows("callable-objects")
def callable_objects() -> None:
    class Double:
        async def __call__(self, x: int) -> int:
            return 2 * x

    class Count:
        def __call__(self, n: int) -> Any:
            yield from range(n)

    app = modal.App()
    double: Any = app.function(name="double")(Double())
    count: Any = app.function(name="count")(Count())
    with app.run():
        assert double.remote(2) == 4
        assert list(count.remote_gen(2)) == [0, 1]


@shows("passed-on-kinds")
def passed_on_kinds() -> None:
    app = modal.App()

    async def double(x: int) -> int:
        return 2 * x

    converted: Any = app.function()(functools.singledispatch(double))
    wrapped: Any = app.function(name="wrapped")(plain(double))
    with app.run():
        assert converted.remote(2) == 4
        with pytest.raises(InvalidError, match="coroutine"):  # as in Modal
            wrapped.remote(2)


@shows("generator-hooks")
def generator_hooks() -> None:
    app = modal.App()
    with pytest.raises(InvalidError, match=r"Model\.load is a generator"):

        @app.cls()
        class Model:
            @modal.enter()
            def load(self) -> Any:
                yield


@shows("hidden-awaitables")
def hidden_awaitables() -> None:
    app = modal.App()

    class Later:
        def __await__(self) -> Any:
            yield from asyncio.sleep(0).__await__()
            loaded.append(1)

    loaded: list[int] = []

    @app.cls()
    class Model:
        @modal.enter()
        def load(self) -> Later:
            return Later()

        @modal.method()
        def later(self) -> Later:
            return Later()

    @app.function()
    async def double(x: int) -> Any:
        return asyncio.sleep(0, 2 * x)

    with app.run():
        with pytest.raises(InvalidError, match="an awaitable of type Later"):
            Model().later.remote()
        assert loaded == [1]
        with pytest.raises(InvalidError, match="return await"):
            double.remote(1)


@shows("patched-class")
def patched_class() -> None:
    app = modal.App()

    @app.cls()
    class Model:
        @modal.enter()
        def load(self) -> None:
            self.weights = "real"

        @modal.method()
        def show(self) -> str:
            return self.weights

    def fake(self: Any) -> None:
        self.weights = "fake"

    with patch.object(Model, "load", fake), app.run():
        assert Model().show.remote() == "fake"
    with app.run():
        assert Model().show.remote() == "real"


@shows("async-enter-local")
def async_enter_local() -> None:
    app = modal.App()

    @app.cls()
    class Connected:
        @modal.enter()
        async def connect(self) -> None:
            self.connection = "open"

        @modal.method()
        def sync(self) -> str:
            return self.connection

        @modal.method()
        async def asynchronous(self) -> str:
            return self.connection

    assert Connected().sync.local() == "open"
    assert asyncio.run(Connected().asynchronous.local()) == "open"


@shows("decorator-reuse")
def decorator_reuse() -> None:
    def one() -> int:
        return 1

    def two() -> int:
        return 2

    four = modal.concurrent(max_inputs=4)
    modal.concurrent(target_inputs=2)(four(one))
    # Refused by Modal: it was set by the line above, for another function.
    modal.concurrent(target_inputs=3)(four(two))
