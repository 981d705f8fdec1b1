"""Handles in processes: they cross, and what they are asked is answered, as with threads."""

import subprocess
import sys

import pytest

import moorage

from . import at_import, handles
from .outside import HERE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pidfds are Linux's")


@pytest.fixture
def placed():
    with handles.app.run(placement="process") as app:
        yield app


def seen_with(placement):
    with handles.app.run(placement=placement):
        found = {name: handles.runs.remote(name) for name in handles.CASES}
    handles.kept.clear()
    handles.line.clear()
    return found


def test_code_in_a_process_sees_what_it_sees_with_threads():
    assert seen_with("process") == seen_with("thread")


def test_the_program_uses_the_handles_that_it_gets(placed):
    function, cls, obj, method, call, app, store = handles.gives.remote()
    assert (function, cls, app) == (handles.square, handles.Model, handles.app)
    assert store.name == handles.kept.name
    assert (obj.sized.remote(1), method.remote(1), call.get()) == (13, 13, 16)
    assert handles.calls.remote(handles.square, 3) == 9
    assert handles.gets.remote(handles.square.experimental_spawn_map([1, 2]))[1:] == (2, [1, 4])


def test_handles_of_a_main_program(tmp_path):
    run = subprocess.run(
        [sys.executable, "-W", "error", HERE / "main_program.py"],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "done"


def test_what_the_code_of_a_container_has_made_is_refused_at_the_call(placed):
    with pytest.raises(moorage.exception.ExecutionError, match="at the top of a module"):
        handles.calls_what_it_makes.remote()


def test_a_process_that_a_container_has_forked_makes_no_calls(placed):
    assert handles.forks.remote() == 7


def test_apps_are_not_deployed_in_a_container(placed):
    with pytest.raises(moorage.exception.InvalidError, match="cannot be deployed in a container"):
        handles.deploys.remote()


def test_what_a_module_asks_while_a_container_imports_it():
    placed = at_import.app.run(placement="process")
    with at_import.other.run(placement="thread"), placed:
        imports, is_found, of_other, refusal = at_import.seen.remote()
    assert (imports, is_found, of_other) == (1, True, 12)
    assert "while a container imports the module" in refusal
    at_import.kept.clear()


@pytest.mark.parametrize("placement", ["thread", "process"])
@pytest.mark.parametrize("named", [False, True])
def test_a_server_crosses_and_is_asked_in_the_program(placement, named):
    with handles.app.run(placement=placement):
        url = handles.Site.get_url()
        given = moorage.Server.from_name("handles", "Site") if named else handles.Site
        server, *seen = handles.asks_server.remote(given)
        assert seen == [url, None, 2]
        assert handles.Site.autoscaler.settings().buffer_containers == 2
        assert server.get_url() == url
        assert named or server is handles.Site
        of_module, *seen = handles.asks_server_of_module.remote()
        assert of_module is handles.Site
        assert seen == [url, None, handles.Site.autoscaler.settings()]


def test_a_server_that_no_module_has_crosses_by_its_app():
    app = moorage.App("local-server")

    @app.server(port=8000, serialized=True)
    class Site:
        @moorage.enter()
        def start(self):
            raise AssertionError

    @app.function(serialized=True)
    def asks(server):
        return server is Site, repr(server), server.get_url(), Site

    with app.run(placement="process"):
        assert asks.remote(Site) == (True, "Server(Site)", Site.get_url(), Site)
        of_id = moorage.Server.from_id("sv-1")
        with pytest.raises(moorage.exception.InvalidError, match="id of Modal's"):
            asks.remote(of_id)


def test_a_server_is_passed_on_by_a_run_that_serializes():
    with handles.app.run(serialize=True):
        assert handles.asks_server.remote(handles.Site)[0] is handles.Site
