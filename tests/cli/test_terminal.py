"""The command on a terminal: the live line, and the program's prints beside it."""

import os
import pty
import re
import subprocess
import sys

import pytest

from cli.shells import SRC


class Terminal:
    """A command whose standard streams are a terminal."""

    def __init__(self, folder, *arguments):
        self._master, slave = pty.openpty()
        variables = {"PYTHONPATH": SRC, "COLUMNS": "100", "TERM": "xterm-256color"}
        environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "moorage", *arguments],
            cwd=folder,
            env={**environment, **variables},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.text = ""

    def _read(self):
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the other end is closed
            data = b""
        self.text += data.decode()
        return bool(data)

    def until(self, what):
        while what not in self.text:
            assert self._read(), self.text

    def type(self, text):
        os.write(self._master, text.encode())

    def end(self):
        while self._read():
            pass
        os.close(self._master)
        return self._process.wait(60)


@pytest.fixture
def terminal(shell):
    started = []

    def start(*arguments):
        started.append(Terminal(shell.folder, *arguments))
        return started[-1]

    yield start
    for one in started:
        if one._process.poll() is None:
            one._process.kill()
            one.end()


def lines_of(text):
    """The lines that a person sees in the end: what was removed is not there."""
    seen = []
    for line in text.replace("\r\n", "\n").split("\n"):
        line = line.split("\x1b[2K")[-1].removesuffix("\r")
        seen.append(re.sub(r"\x1b\[[\d;]*m", "", line))
    return seen


PROGRAM = """
    import modal, threading
    import moorage.cli.progress as progress

    progress.LIVE_AFTER = progress.LIVE_EVERY = 0.01
    app = modal.App()
    go = threading.Event()

    @app.function(max_containers=2)
    def work(x):
        go.wait()
        return x

    @app.local_entrypoint()
    def main():
        print("begins")
        calls = [work.spawn(x) for x in range(5)]
        input()
        print("typed")
        go.set()
        print(modal.FunctionCall.gather(*calls))

    @app.function()
    def fails():
        raise ValueError("on purpose")
"""


def test_a_live_line_is_removed_before_the_program_prints(shell, terminal):
    shell.write("prog.py", PROGRAM)
    run = terminal("run", "prog.py::main")
    run.until("work: 0/5 done, 2 running, 3 waiting, 2 containers")
    run.type("\n")
    assert run.end() == 0
    seen = [line for line in lines_of(run.text) if line]
    assert seen[:2] == ["run prog: main", "begins"]
    assert seen[-3:-1] == ["typed", "[0, 1, 2, 3, 4]"]
    assert seen[-1].startswith("run prog: main done after")
    # The terminal itself ends the line in which the user types.
    assert sum("work:" in line for line in seen) <= 1


def test_no_live_line_in_a_line_that_the_program_has_begun(shell, terminal):
    shell.write(
        "prog.py", PROGRAM.replace('print("begins")', 'print("name: ", end="", flush=True)')
    )
    run = terminal("run", "prog.py::main")
    run.until("name: ")
    run.type("\n")
    assert run.end() == 0
    assert "work:" not in run.text.partition("typed")[0]


def test_quiet_has_no_live_line(shell, terminal):
    shell.write("prog.py", PROGRAM)
    run = terminal("run", "-q", "prog.py::main")
    run.until("begins")
    run.type("\n")
    assert run.end() == 0
    assert [line for line in lines_of(run.text) if line] == ["begins", "typed", "[0, 1, 2, 3, 4]"]


def test_a_traceback_by_rich(shell, terminal):
    shell.write("prog.py", PROGRAM)
    run = terminal("run", "prog.py::fails")
    assert run.end() == 1
    text = "\n".join(lines_of(run.text))
    assert "Traceback (most recent call last)" in text
    assert "prog.py:" in text
    assert "in fails" in text
    assert 'raise ValueError("on purpose")' in text
    assert "ValueError: on purpose" in text
    assert "moorage/" not in text


def test_tables_by_rich(shell, terminal, monkeypatch, tmp_path):
    monkeypatch.setenv("MOORAGE_HOME", str(tmp_path / "home"))
    shell("volume", "create", "v")
    shell.write("a.txt", "a")
    shell("volume", "put", "v", "a.txt")
    run = terminal("volume", "ls", "v")
    assert run.end() == 0
    text = "\n".join(lines_of(run.text))
    assert "Created/Modified" in text
    assert "│ a.txt" in text


def test_a_question_before_something_is_deleted(shell, terminal, monkeypatch, tmp_path):
    monkeypatch.setenv("MOORAGE_HOME", str(tmp_path / "home"))
    shell("volume", "create", "v")
    for answer, code, left in (("n", 1, "v\n"), ("y", 0, "")):
        run = terminal("volume", "delete", "v")
        run.until("[y/N]: ")
        run.type(f"{answer}\n")
        assert run.end() == code
        assert ("v" in shell("volume", "list").out.split()) == bool(left)
