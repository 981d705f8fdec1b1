"""``import modal`` means moorage in all processes with MOORAGE_AS_MODAL=1, children included.

What Python reads as it starts is installed with the package: ``moorage_as_modal.pth``, and
``moorage_as_modal.start`` for Python 3.15.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parent.parent / "src"
ON = {**os.environ, "MOORAGE_AS_MODAL": "1"}
OFF = {name: value for name, value in os.environ.items() if name != "MOORAGE_AS_MODAL"}


def run(*arguments, environment=ON, **options):
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
        **options,
    )


def shown(program, environment=ON):
    done = run("-W", "error", "-c", textwrap.dedent(program), environment=environment)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.split()


def test_a_program_that_names_moorage_nowhere():
    program = """
        import modal
        from modal.functions import Function
        app = modal.App("plain")

        @app.function()
        def double(x):
            return 2 * x

        with app.run():
            print(double.remote(21), modal.__name__, Function.__module__)
        import moorage
        assert modal is moorage and modal.__spec__.name == "moorage"
    """
    assert shown(program) == ["42", "moorage", "moorage.functions"]


def test_a_submodule_may_come_first():
    assert shown("import modal.exception; print(modal.exception.__name__)") == ["moorage.exception"]
    assert shown("import moorage, modal; print(modal is moorage)") == ["True"]


CHILD = """
    import multiprocessing, sys

    def child(queue):
        import modal
        queue.put(modal.__name__)

    if __name__ == "__main__":
        context = multiprocessing.get_context(sys.argv[1])
        queue = context.Queue()
        process = context.Process(target=child, args=(queue,))
        process.start()
        print(queue.get(timeout=30))
        process.join()
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_children_of_multiprocessing(tmp_path, method):
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(CHILD))
    done = run(str(program), method)
    assert (done.stdout.split(), done.returncode) == (["moorage"], 0), done.stderr


def test_a_grandchild_by_subprocess():
    inner = "import modal; print(modal.__name__)"
    middle = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}], check=True)"
    )
    program = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {middle!r}], check=True)"
    )
    assert shown(program) == ["moorage"]


@pytest.mark.parametrize("value", [None, "", "0"])
def test_without_the_variable_nothing_is_loaded(value):
    environment = OFF if value is None else {**OFF, "MOORAGE_AS_MODAL": value}
    program = """
        import sys
        print([name for name in sys.modules if "moorage" in name])
        try:
            import modal
        except ModuleNotFoundError as error:
            print(error.name)
    """
    loaded = shown(program, environment)
    assert loaded[0] == "[]"
    assert loaded[-1] == "modal"


def test_with_the_variable_moorage_is_loaded_by_the_first_import_of_modal_only():
    program = """
        import sys
        print(*sorted(name for name in sys.modules if "moorage" in name))
        import json, asyncio
        assert "moorage" not in sys.modules
        import modal
        assert "moorage" in sys.modules
        print(any("moorage" in repr(one) for one in sys.meta_path[1:]))
    """
    assert shown(program) == ["_moorage_as_modal", "False"]


def test_the_real_command_is_left_alone(tmp_path):
    (tmp_path / "modal").mkdir()
    (tmp_path / "modal" / "__init__.py").write_text("print('the real one')\n")
    (tmp_path / "modal" / "__main__.py").write_text("")
    environment = {**ON, "PYTHONPATH": str(tmp_path)}
    assert run("-m", "modal", environment=environment).stdout == "the real one\n"
    command = tmp_path / "bin" / "modal"
    command.parent.mkdir()
    command.write_text("import modal\n")
    assert run(str(command), environment=environment).stdout == "the real one\n"
    # In any other program moorage comes first.
    assert run("-c", "import modal; print(modal.__name__)", environment=environment).stdout == (
        "moorage\n"
    )


@pytest.mark.parametrize(
    "options",
    [["-m", "modal"], ["-mmodal"], ["-Bm", "modal"], ["-W", "ignore", "-X", "dev", "-m", "modal"]],
    ids=" ".join,
)
def test_the_real_command_with_options_of_python(tmp_path, options):
    (tmp_path / "modal.py").write_text("print('the real one')\n")
    environment = {**ON, "PYTHONPATH": os.pathsep.join([str(SRC), str(tmp_path)])}
    assert run(*options, "run", environment=environment).stdout.splitlines()[-1] == "the real one"


@pytest.mark.parametrize("before", [["program.py"], ["-m", "program"], ["-Wignore", "program.py"]])
def test_an_option_m_of_a_program_is_not_pythons(tmp_path, before):
    # As `pytest -m modal` has it.
    (tmp_path / "program.py").write_text("import modal; print(modal.__name__)\n")
    done = run(*before, "-m", "modal", cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("moorage\n", "")


def test_code_of_an_option_c_may_have_arguments():
    done = run("-c", "import modal; print(modal.__name__)", "-m", "modal")
    assert (done.stdout, done.stderr) == ("moorage\n", "")


def test_the_files_say_nothing_when_the_package_is_gone(tmp_path):
    (tmp_path / "moorage_as_modal.pth").write_text((SRC / "moorage_as_modal.pth").read_text())
    add = f"import site; site.addsitedir({str(tmp_path)!r}); print('up')"
    done = run("-S", "-c", add, environment={**ON, "PYTHONPATH": ""})
    assert (done.returncode, done.stdout, done.stderr) == (0, "up\n", "")


def test_the_start_file_names_what_there_is():
    module, _, name = (SRC / "moorage_as_modal.start").read_text().strip().partition(":")
    assert shown(f"import {module} as m; print(callable(m.{name}))", OFF) == ["True"]


def test_starting_twice_is_starting_once():
    program = """
        import sys, _moorage_as_modal as m
        m.start(); m.start()
        print(sys.meta_path.count(m.First))
    """
    assert shown(program) == ["1"]
