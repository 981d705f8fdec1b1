"""The command as a process of its own: what only the whole process shows."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from cli.shells import HELLO, SRC, UNTIL_A_SIGNAL


def test_stdout_is_exactly_the_programs(shell):
    shell.write("prog.py", HELLO)
    code, out, err = shell.process("run", "prog.py", "--x", "4")
    assert (code, out) == (0, "12\n")
    lines = err.splitlines()
    assert lines[0] == "run prog: main"
    assert lines[1].startswith("run prog: main done after ")
    assert len(lines) == 2


def test_nothing_but_the_program_in_quiet(shell):
    shell.write("prog.py", HELLO)
    assert tuple(shell.process("run", "-q", "prog.py")) == (0, "6\n", "")


def test_a_program_on_the_standard_input(shell):
    program = textwrap.dedent(HELLO) + "if modal.is_local():\n    print(__name__, __file__)\n"
    code, out, err = shell.process("run", "-", "--x", "4", input=program)
    assert code == 0
    name, file, total = out.split()
    assert (name, total) == ("modal_stdin_app", "12")
    assert err.startswith("run modal_stdin_app: main\n")
    assert not Path(file).exists()


def test_a_program_is_piped_and_the_dash_is_missing(shell):
    for arguments in (("run",), ("run", "-q")):
        code, out, err = shell.process(*arguments, input=textwrap.dedent(HELLO))
        assert (code, out) == (2, "")
        assert "Missing argument 'FUNC_REF'." in err
        assert "write -" in err


def test_no_arguments(shell):
    code, out, err = shell.process("run")
    assert (code, out) == (2, "")
    assert err.startswith("Usage: moorage run [OPTIONS] FUNC_REF [ARGS]...")


@pytest.mark.parametrize(("value", "code"), [("3", 3), ("0", 0), ("None", 0), ("'text'", 1)])
def test_the_programs_own_exit(shell, value, code):
    shell.write(
        "prog.py",
        f"""
        import modal, sys
        app = modal.App()

        @app.local_entrypoint()
        def main():
            sys.exit({value})
        """,
    )
    done = shell.process("run", "-q", "prog.py")
    assert (done.code, done.out) == (code, "")
    assert done.err == ("text\n" if value == "'text'" else "")


WAITS = """
    import asyncio, modal, threading
    app = modal.App()

    @app.cls()
    @modal.concurrent(max_inputs=4)
    class C:
        @modal.enter()
        def start(self):
            print("begun", flush=True)
            if START_WAITS:
                threading.Event().wait()

        @modal.method()
        async def wait(self, x):
            print("waits", flush=True)
            await asyncio.Event().wait()

        @modal.exit()
        def leave(self):
            print("left", flush=True)

    @app.local_entrypoint()
    def maps():
        list(C().wait.map([1]))

    @app.local_entrypoint()
    async def maps_async():
        async for _ in C().wait.map.aio([1]):
            pass
"""


@pytest.mark.parametrize(
    "command",
    [
        ("run", "prog.py"),
        ("deploy", "prog.py"),
        ("serve", "prog.py"),
        ("serve", "--no-reload", "prog.py"),
    ],
    ids=" ".join,
)
def test_what_is_printed_to_a_pipe_comes_line_by_line(shell, monkeypatch, command):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    shell.write(
        "prog.py",
        """
        import modal, threading
        app = modal.App("prog")

        @app.function(schedule=modal.Period(seconds=0.05))
        def tick():
            print("tick")

        @app.local_entrypoint()
        def main():
            threading.Event().wait()
        """,
    )
    with shell.started(*command) as process:
        assert [process.stdout.readline() for _ in range(3)] == ["tick\n"] * 3
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130


@pytest.mark.parametrize("name", ["maps", "maps_async"])
def test_ctrl_c_during_a_map(shell, name):
    shell.write("prog.py", WAITS.replace("START_WAITS", "False"))
    with shell.started("run", f"prog.py::{name}") as process:
        assert process.stdout.readline() == "begun\n"
        assert process.stdout.readline() == "waits\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "left\n")
    assert "Aborted!" in err
    assert f"run prog: {name} stopped after" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("name", ["maps", "maps_async"])
def test_other_signals_leave_the_run_too(shell, name, number):
    shell.write("prog.py", WAITS.replace("START_WAITS", "False"))
    with shell.started("run", f"prog.py::{name}") as process:
        assert process.stdout.readline() == "begun\n"
        assert process.stdout.readline() == "waits\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (128 + number, "left\n")
    assert f"Aborted! {number.name} stopped the program." in err
    assert "Traceback" not in err


def test_sigterm_of_a_command_in_the_background_of_a_script(shell):
    """Such a command ignores Ctrl-C."""
    shell.write("prog.py", WAITS.replace("START_WAITS", "False"))

    def ignore():
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    with shell.started("run", "prog.py::maps", preexec_fn=ignore) as process:
        assert process.stdout.readline() == "begun\n"
        assert process.stdout.readline() == "waits\n"
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (143, "left\n")


def test_a_forked_child_ends_by_sigterm_as_ever(shell):
    shell.write(
        "prog.py",
        """
        import modal, multiprocessing, signal
        app = modal.App()

        def child(end):
            end.send("begun")
            signal.pause()

        @app.local_entrypoint()
        def main():
            fork = multiprocessing.get_context("fork")
            ours, its = fork.Pipe()
            process = fork.Process(target=child, args=[its])
            process.start()
            ours.recv()
            process.terminate()
            process.join()
            print(process.exitcode)
        """,
    )
    done = shell.process("run", "-q", "prog.py")
    assert (done.code, done.out) == (0, "-15\n")


@pytest.mark.parametrize(("count", "unbuffered"), [(1, ""), (1, "1"), (100_000, "")])
def test_nothing_is_said_of_a_pipe_that_nobody_reads(shell, monkeypatch, count, unbuffered):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    shell.write(
        "prog.py",
        f"""
        import modal
        app = modal.App()

        @app.function()
        def f():
            input()  # until nobody reads
            for number in range({count}):
                print(number)
        """,
    )
    with shell.started("run", "-q", "prog.py", stdin=subprocess.PIPE) as process:
        process.stdout.close()
        process.stdout = None
        _, err = process.communicate("go on\n", timeout=60)
    assert (process.returncode, err) == (1, "")


def test_streams_that_the_program_has_replaced(shell):
    shell.write(
        "prog.py",
        """
        import io, modal, sys
        app = modal.App()

        @app.local_entrypoint()
        def main():
            sys.stdout, sys.stderr = io.StringIO(), None
            print("lost")
            raise ValueError("shown")
        """,
    )
    code, out, err = shell.process("run", "prog.py")
    assert (code, out) == (1, "")
    assert err.splitlines()[1].startswith("run prog: main failed after")
    assert err.splitlines()[-1] == "ValueError: shown"


def test_without_stderr_the_exit_code_tells(shell):
    shell.write(
        "prog.py",
        """
        import modal, sys
        app = modal.App()

        @app.local_entrypoint()
        def main():
            sys.stderr.close()
            print("still here")
            raise ValueError
        """,
    )
    assert tuple(shell.process("run", "prog.py"))[:2] == (1, "still here\n")


def test_a_working_directory_that_is_gone(shell):
    shell.write("prog.py", HELLO)
    folder = shell.folder / "gone"
    folder.mkdir()
    for arguments, code, word in (
        (["-q", "../prog.py"], 1, "Error: The file '../prog.py' cannot be found"),
        (["-m", "nope"], 1, "Error: There is no module 'nope'"),
        (["-q", str(shell.folder / "prog.py")], 0, ""),
        (["--timeout", "0", "--port", "0", str(shell.folder / "prog.py")], 0, "Serving."),
    ):
        name = "serve" if "--port" in arguments else "run"
        # With the working directory on its path, Python 3.13.0 imports nothing.
        program = "from moorage.__main__ import main; main()"
        command = [sys.executable, "-P", "-c", program, name]
        done = subprocess.run(
            ["sh", "-c", 'rmdir "$PWD"; exec "$@"', "sh", *command, *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": SRC},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        folder.mkdir()
        assert (done.returncode, "Traceback" in done.stderr) == (code, False)
        assert word in done.stderr


@pytest.mark.parametrize(
    "program",
    [
        b"# -*- coding: latin-1 -*-\nTEXT = '\xe9'\n",
        b"\xef\xbb\xbfTEXT = '\xc3\xa9'\n",
        b"TEXT = '\xc3\xa9'\r\n",
    ],
)
def test_programs_are_read_as_python_reads_files(shell, monkeypatch, program):
    rest = textwrap.dedent("""
        import modal
        app = modal.App()

        @app.local_entrypoint()
        def main():
            print(ascii(TEXT))
            return TEXT
    """)
    (shell.folder / "a prog \xe9.py").write_bytes(program + rest.encode())
    for name, value in (("LC_ALL", "C"), ("PYTHONUTF8", "0"), ("PYTHONCOERCECLOCALE", "0")):
        monkeypatch.setenv(name, value)
    with (shell.folder / "a prog \xe9.py").open("rb") as file:
        process = shell.started("run", "-q", "-", stdin=file)
    with process:
        assert process.communicate(timeout=60) == ("'\\xe9'\n", "")
    assert shell.process("run", "-q", "-w", "out", "a prog \xe9.py").out == "'\\xe9'\n"
    assert (shell.folder / "out").read_bytes() == b"\xc3\xa9"


def test_ctrl_c_during_an_enter_hook(shell):
    text = "import moorage\nmoorage.config.exit_grace = 0.1\n" + textwrap.dedent(WAITS)
    shell.write("prog.py", text.replace("START_WAITS", "True"))
    with shell.started("run", "prog.py::maps") as process:
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err


def test_ctrl_c_while_the_program_is_imported(shell):
    shell.write("prog.py", f"print('begun', flush=True)\n{UNTIL_A_SIGNAL}")
    with shell.started("run", "prog.py") as process:
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err


def test_the_name_of_the_command_with_python_and_m(shell):
    shell.write(
        "prog.py",
        """
        import modal, sys
        app = modal.App()

        @app.local_entrypoint()
        def main():
            print(*sys.argv)
        """,
    )
    out = shell.process("run", "-q", "prog.py").out
    assert out.split("/")[-1] == "moorage run -q prog.py\n"


def test_the_same_with_python_and_the_variable(shell):
    shell.write(
        "prog.py",
        HELLO + "\n    if __name__ == '__main__':\n        with app.run():\n            main()\n",
    )
    environment = {**os.environ, "PYTHONPATH": SRC, "MOORAGE_AS_MODAL": "1"}
    # The variable is read as moorage is imported, or, where it is installed, by Python itself.
    program = "import moorage, runpy; runpy.run_path('prog.py', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=shell.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == shell.process("run", "-q", "prog.py").out == "6\n"


def test_children_of_the_program_import_moorage_too(shell):
    shell.write("child.py", "import moorage, modal\nprint(modal is moorage)\n")
    shell.write(
        "prog.py",
        """
        import modal, subprocess, sys
        app = modal.App()

        @app.local_entrypoint()
        def main():
            subprocess.run([sys.executable, "child.py"], check=True)
        """,
    )
    assert tuple(shell.process("run", "-q", "prog.py")) == (0, "True\n", "")


def test_without_click_one_line_says_what_to_install(tmp_path):
    (tmp_path / "click.py").write_text("raise ModuleNotFoundError('none', name='click')\n")
    done = subprocess.run(
        [sys.executable, "-m", "moorage", "run", "prog.py"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{SRC}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "moorage: the command line needs click, which is not installed; "
        'write pip install "moorage[cli]"\n'
    )


def test_the_library_does_not_import_click():
    program = "import moorage, sys; print([n for n in ('click', 'rich') if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": SRC},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "[]\n"


def test_completion_does_not_import_the_program(shell):
    shell.write("prog.py", "raise AssertionError('imported')\n")

    def completed(*words):
        done = subprocess.run(
            [sys.executable, "-c", "from moorage.__main__ import main; main()"],
            cwd=shell.folder,
            env={
                **os.environ,
                "PYTHONPATH": SRC,
                "_MOORAGE_COMPLETE": "bash_complete",
                "COMP_WORDS": " ".join(["moorage", *words]),
                "COMP_CWORD": str(len(words)),
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stderr == ""
        return done.stdout.split()

    assert "plain,run" in completed("r")
    assert "plain,--quiet" in completed("run", "--qu")
    assert completed("run", "pr") == ["file,pr"]
    assert completed("run", "prog.py", "x") == []
    for command in (
        ["serve"],
        ["deploy", "a.py"],
        ["shell"],
        ["requirements"],
        ["volume", "put", "v"],
    ):
        assert completed(*command, "pr") == ["file,pr"]
