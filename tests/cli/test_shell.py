"""``moorage shell`` and ``moorage mounts``: what another program finds."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from .test_namespace import until_removed
from .users import User, skip_if_refused

PROGRAM = """
    import modal

    app = modal.App("shop", secrets=[modal.Secret.from_dict({"OF_APP": "a"})])
    image = modal.Image.debian_slim().env({"OF_IMAGE": "i", "BOTH": "image"})

    @app.function(image=image, secrets=[modal.Secret.from_dict({"BOTH": "secret"})])
    def f(): ...

    @app.cls(env={"OF_CLASS": "c"})
    class Model:
        @modal.method()
        def predict(self): ...

    @app.local_entrypoint()
    def main(): ...
"""

SHOW = sys.executable + " -c \"import os; print(*map(os.environ.get, '{}'.split()))\""


@pytest.fixture(autouse=True)
def program(shell):
    shell.write("app.py", PROGRAM)


def test_a_command_has_the_variables_of_the_function(shell):
    outcome = shell("shell", "app.py::f", "-c", SHOW.format("OF_APP OF_IMAGE BOTH OF_CLASS"))
    assert tuple(outcome) == (0, "a i secret None\n", "")
    assert "OF_IMAGE" not in os.environ


def test_a_method_has_those_of_its_class(shell):
    outcome = shell("shell", "app.py::Model.predict", "-c", SHOW.format("OF_CLASS OF_IMAGE"))
    assert tuple(outcome) == (0, "c None\n", "")


def test_the_exit_code_is_that_of_the_command(shell):
    assert shell("shell", "app.py::f", "-c", "sh -c 'exit 7'").code == 7
    assert shell("shell", "app.py::f", "-c", "sh -c 'kill -9 $$'").code == 128 + signal.SIGKILL


def test_a_command_that_is_not_there(shell):
    outcome = shell("shell", "app.py::f", "-c", "no-such-command")
    assert (outcome.code, outcome.err) == (127, "no-such-command: No such file or directory\n")
    assert shell("shell", "app.py::f", "-c", "/").code == 126


@pytest.mark.parametrize("command", ["", "'"])
def test_a_command_that_is_none(shell, command):
    outcome = shell("shell", "app.py::f", "-c", command)
    assert outcome.code == 1
    assert outcome.err.startswith("Error: The command ")


def test_without_a_reference_it_is_a_plain_shell(shell, monkeypatch):
    echo = shell.write("echo.sh", "#!/bin/sh\necho here\nexit 3\n")
    echo.chmod(0o700)
    monkeypatch.setenv("SHELL", str(echo))
    assert tuple(shell("shell")) == (3, "here\n", "")


def test_several_functions_are_listed_without_entrypoints(shell):
    outcome = shell("shell", "app.py", "-c", "true")
    assert outcome.code == 1
    assert "- f / app.f\n- Model.predict / app.Model.predict\n" in outcome.err
    assert "main" not in outcome.err


@pytest.mark.parametrize("reference", ["ta-123", "sb-123", "-"])
def test_what_is_no_function_of_a_file(shell, reference):
    outcome = shell("shell", reference)
    assert outcome.code == 1
    assert outcome.err.startswith("Error: ")


@pytest.mark.parametrize("option", ["--image", "--gpu", "--region"])
def test_machines_of_the_cloud_are_refused(shell, option):
    outcome = shell("shell", option, "x")
    assert outcome.code == 2
    assert f"{option} describes a machine of Modal's" in outcome.err


def test_an_import_of_the_image_that_failed(shell):
    shell.write(
        "broken.py",
        """
        import modal
        app = modal.App("a")
        image = modal.Image.debian_slim()
        with image.imports():
            import no_such_module
        @app.function(image=image)
        def f(): ...
        """,
    )
    outcome = shell("shell", "broken.py::f", "-c", "true")
    assert outcome.code == 1
    assert "No module named 'no_such_module'" in outcome.err


def test_mounts_needs_a_command(shell):
    assert shell("mounts").code == 2


@pytest.fixture
def _namespaces():
    """Skip where the kernel refuses namespaces."""
    user = User()
    skip_if_refused(user)
    user.remove()


MOUNTED = """
    import os
    import modal

    app = modal.App("shop")
    volume = modal.Volume.from_name("files", create_if_missing=True)

    @app.function(volumes={{{path!r}: volume}})
    def keep(text: str = ""):
        path = os.path.join({path!r}, "kept")
        if text:
            with open(path, "w") as file:
                file.write(text)
        with open(path) as file:
            print(file.read())
"""


@pytest.mark.usefixtures("_namespaces")
def test_run_mounts_volumes_and_a_shell_sees_them(shell, tmp_path, monkeypatch):
    monkeypatch.setenv("MOORAGE_HOME", str(tmp_path / "home"))
    path = str(tmp_path / "data")
    shell.write("keeps.py", MOUNTED.format(path=path))
    wrote = shell.process("run", "-q", "keeps.py", "--text", "kept for you")
    assert (wrote.code, wrote.out) == (0, "kept for you\n"), wrote.err
    assert shell.process("run", "-q", "keeps.py").out == "kept for you\n"
    seen = shell.process("shell", "keeps.py::keep", "-c", f"cat {path}/kept")
    assert (seen.code, seen.out) == (0, "kept for you")
    until_removed(tmp_path / "data")
    alone = shell.process("run", "keeps.py", "--no-mounts")
    assert alone.code == 2  # an option of the program, which has none
    alone = shell.process("run", "--no-mounts", "keeps.py")
    assert alone.code == 1
    assert "--no-mounts" in alone.err


@pytest.mark.usefixtures("_namespaces")
def test_another_program_with_mounts(shell, tmp_path, monkeypatch):
    monkeypatch.setenv("MOORAGE_HOME", str(tmp_path / "home"))
    path = str(tmp_path / "data")
    program = MOUNTED.format(path=path) + "\n    with app.run():\n        keep.remote('mine')\n"
    shell.write("prog.py", program.replace("import modal", "import moorage as modal"))
    done = shell.process("mounts", "--", sys.executable, "prog.py")
    assert (done.code, done.out) == (0, "mine\n"), done.err
    until_removed(tmp_path / "data")
