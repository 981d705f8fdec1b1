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
