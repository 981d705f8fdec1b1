"""The command on a terminal: the live line, and the program's prints beside it."""

import os
import pty
import re
import subprocess
import sys

import pytest

from cli.shells import SRC

# Makes the terminal the one that Ctrl-C comes from, and becomes the command.
BEGIN = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "moorage", *sys.argv[1:]])
"""


class Terminal:
    """A command whose standard streams are a terminal."""

    def __init__(self, folder, *arguments):
        self._master, slave = pty.openpty()
        variables = {"PYTHONPATH": SRC, "COLUMNS": "100", "TERM": "xterm-256color"}
        environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", BEGIN, *arguments],
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

    def until(self, what, times=1):
        while self.text.count(what) < times:
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
        line = line.split("\x1b[2K")[-1].split("\r\x1b[K")[-1].removesuffix("\r")
        line = line.removeprefix("\x1b[K")
        seen.append(re.sub(r"\x1b\[[\d;]*m", "", line))
    return seen


# The functions share events with the entrypoint, so their containers are threads.
THREADS = ("--placement", "thread")

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
    run = terminal("run", *THREADS, "prog.py::main")
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
    run = terminal("run", *THREADS, "prog.py::main")
    run.until("name: ")
    run.type("\n")
    assert run.end() == 0
    assert "work:" not in run.text.partition("typed")[0]


LINES = """
    import modal, sys, threading
    import moorage.cli.progress as progress

    progress.LIVE_AFTER = progress.LIVE_EVERY = 0.01
    app = modal.App()
    turns = {"a": threading.Event(), "b": threading.Event()}

    @app.function(max_containers=2)
    def talk(name, other, stream):
        for part in ("the ", "line ", "of ", f"{name}\\n"):
            turns[name].wait()
            turns[name].clear()
            getattr(sys, stream).write(part)
            turns[other].set()

    @app.local_entrypoint()
    def main():
        for stream in ("stdout", "stderr"):
            calls = [talk.spawn("a", "b", stream), talk.spawn("b", "a", stream)]
            turns["a"].set()
            modal.FunctionCall.gather(*calls)
            turns["a"].clear()
        print("begun", end="")
"""


def test_lines_of_threads_that_print_at_once_are_whole(shell, terminal, monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    shell.write("prog.py", LINES)
    run = terminal("run", *THREADS, "prog.py")
    assert run.end() == 0
    seen = [line for line in lines_of(run.text) if line and "talk:" not in line]
    assert seen[1:5] == ["the line of a", "the line of b"] * 2
    assert seen[5] == "begun"


def test_an_unbuffered_stream_holds_nothing_back(shell, terminal, monkeypatch):
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    shell.write("prog.py", PROGRAM.replace('print("begins")', 'print("name: ", end="")'))
    run = terminal("run", *THREADS, "prog.py::main")
    run.until("name: ")
    run.type("\n")
    assert run.end() == 0


def test_quiet_has_no_live_line(shell, terminal):
    shell.write("prog.py", PROGRAM)
    run = terminal("run", "-q", *THREADS, "prog.py::main")
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


def test_a_secret_is_asked_for_and_not_shown(shell, terminal, monkeypatch, tmp_path):
    monkeypatch.setenv("MOORAGE_HOME", str(tmp_path / "home"))
    run = terminal("secret", "create", "s", "TOKEN=-")
    run.until("TOKEN: ")
    run.type("hidden\n")
    assert run.end() == 0
    assert "hidden" not in run.text
    assert (tmp_path / "home/main/secrets/s.env").read_text() == 'TOKEN="hidden"\n'


def test_a_question_before_something_is_deleted(shell, terminal, monkeypatch, tmp_path):
    monkeypatch.setenv("MOORAGE_HOME", str(tmp_path / "home"))
    shell("volume", "create", "v")
    for answer, code, left in (("n", 1, "v\n"), ("y", 0, "")):
        run = terminal("volume", "delete", "v")
        run.until("[y/N]: ")
        run.type(f"{answer}\n")
        assert run.end() == code
        assert ("v" in shell("volume", "list").out.split()) == bool(left)


# -- containers in processes of their own ------------------------------------------------------

SLOW = """
    import modal, os, sys, time
    import moorage.cli.progress as progress

    progress.LIVE_AFTER = progress.LIVE_EVERY = 0.01
    app = modal.App()
    go = modal.Queue.from_name("go", create_if_missing=True)

    @app.function()
    def talk(text):
        print(text, end="", flush=True)
        go.get()
        print(" ends")
        return os.getpid()

    @app.local_entrypoint()
    def main(text: str):
        go.clear()
        call = talk.spawn(text)
        input()
        go.put(1)
        print(call.get() != os.getpid())
"""


def test_a_process_that_prints_removes_the_live_line(shell, terminal, monkeypatch, tmp_path):
    monkeypatch.setenv("MOORAGE_HOME", str(tmp_path / "home"))
    shell.write("prog.py", SLOW.replace("end=''", ""))
    run = terminal("run", "prog.py", "--text", "begun\n")
    run.until("begun")
    # The line that was begun has ended, so the live line comes back.
    count = run.text.count("talk: ")
    run.until("talk: ", count + 2)
    run.type("\n")
    assert run.end() == 0
    seen = [line for line in lines_of(run.text) if line and "talk: " not in line]
    assert seen[:2] == ["run prog: main", "begun"]
    assert seen[2:4] == [" ends", "True"]


def test_no_live_line_in_a_line_that_a_process_has_begun(shell, terminal, monkeypatch, tmp_path):
    monkeypatch.setenv("MOORAGE_HOME", str(tmp_path / "home"))
    shell.write("prog.py", SLOW)
    run = terminal("run", "prog.py", "--text", "begun")
    run.until("begun")
    run.type("\n")
    assert run.end() == 0
    begun = run.text.partition("begun")[2]
    assert begun.startswith(("\r\n", " ends"))  # what the user has typed; no line of ours
    assert "talk: " not in begun.partition("ends")[0]


DEBUGGED = """
    import modal

    app = modal.App()

    @app.function()
    def double(x):
        doubled = 2 * x
        breakpoint()
        return doubled

    @app.function()
    def ask():
        modal.interact()
        return input("name? ")

    @app.local_entrypoint()
    def main():
        print("twice", double.remote(21))
        print("hello", ask.remote())
        print("and", input("yours? "))
"""


def test_a_debugger_in_a_process(shell, terminal):
    shell.write("prog.py", DEBUGGED)
    run = terminal("run", "-i", "prog.py::main")
    run.until("(Pdb) ")
    run.type("p 'found', doubled\n")
    run.until("('found', 42)")
    run.until("(Pdb) ", 2)
    run.type("c\n")
    run.until("name? ")
    run.type("Ann\n")
    run.until("yours? ")
    run.type("Bob\n")
    assert run.end() == 0
    seen = lines_of(run.text)
    # From Python 3.13 on, the debugger stops in the line of the breakpoint itself.
    stops_in = "breakpoint()" if sys.version_info >= (3, 13) else "return doubled"
    assert f"-> {stops_in}" in seen
    assert [line for line in seen if line.startswith(("twice", "hello", "and"))] == [
        *("twice 42", "hello Ann", "and Bob")
    ]


def test_ctrl_c_at_the_prompt_of_a_debugger_in_a_process(shell, terminal):
    shell.write("prog.py", DEBUGGED)
    run = terminal("run", "-i", "prog.py::double", "--x", "1")
    run.until("(Pdb) ")
    # Python notices a signal that comes just before it waits for a line after that line.
    run.type("\x03")
    run.type("p 'found', doubled\n")
    run.until("--KeyboardInterrupt--")
    run.until("(Pdb) ", 2)
    run.type("c\n")
    assert run.end() == 0


def test_a_process_that_dies_at_the_prompt_gives_the_terminal_back(shell, terminal):
    shell.write(
        "prog.py",
        DEBUGGED.replace('print("twice", double.remote(21))', "double.spawn(21)").replace(
            'print("hello", ask.remote())', "print(modal.Queue)"
        ),
    )
    shell.write(
        "dies.py",
        """
        import modal

        app = modal.App()

        @app.function(nonpreemptible=True)
        def dies():
            breakpoint()

        @app.local_entrypoint()
        def main():
            try:
                dies.remote()
            except modal.exception.InternalFailure:
                print("hello", input("name? "))
        """,
    )
    run = terminal("run", "-i", "dies.py")
    run.until("(Pdb) ")
    run.type("import os; os._exit(3)\n")
    run.until("name? ")
    run.type("Ann\n")
    assert run.end() == 0, run.text
    assert "hello Ann" in lines_of(run.text), run.text


@pytest.mark.parametrize("what", ["breakpoint()", "modal.interact()"])
def test_the_terminal_without_i(shell, terminal, what):
    program = DEBUGGED.replace("breakpoint()", what).replace("print(", "# ")
    shell.write("prog.py", program.replace("    # ", "    pass  # "))
    run = terminal("run", "-q", "prog.py::double", "--x", "1")
    assert run.end() == 1
    text = " ".join(" ".join(lines_of(run.text)).split())
    assert f"{what.removeprefix('modal.')} needs the terminal" in text
    assert "`moorage run -i`" in text
    assert "`--placement thread`" in text


def test_reading_the_terminal_without_i_does_not_hang(shell, terminal):
    shell.write(
        "prog.py",
        """
        import modal

        app = modal.App()

        @app.function()
        def read():
            try:
                input()
            except EOFError:
                print("no input")
            with open("/dev/tty") as terminal:
                try:
                    terminal.read(1)
                except OSError:
                    print("no terminal")
        """,
    )
    run = terminal("run", "-q", "prog.py")
    assert run.end() == 0
    assert lines_of(run.text)[:2] == ["no input", "no terminal"]


def test_ctrl_c_with_processes(shell, terminal):
    shell.write(
        "prog.py",
        """
        import modal, os, time

        app = modal.App()

        @app.cls()
        class Works:
            @modal.exit()
            def leave(self):
                print("left")

            @modal.method()
            def work(self):
                print("pids", os.getpid(), os.getppid(), flush=True)
                while True:
                    pass

        @app.local_entrypoint()
        def main():
            try:
                Works().work.remote()
            except KeyboardInterrupt:
                print("one interrupt")
                raise
        """,
    )
    run = terminal("run", "prog.py")
    run.until("pids")
    run.until("\r\n", run.text.partition("pids")[0].count("\r\n") + 1)
    run.type("\x03")
    assert run.end() == 130
    seen = lines_of(run.text)
    assert run.text.count("one interrupt") == 1
    assert seen.count("left") == 1
    assert "Traceback" not in run.text
    assert "is lost" not in run.text
    pids = next(line for line in seen if line.startswith("pids")).split()[1:]
    assert not [pid for pid in pids if is_alive(int(pid))]


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
