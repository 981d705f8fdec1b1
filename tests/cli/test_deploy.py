"""``moorage deploy``: a server in the foreground, for one file or several."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from .servers import PLAIN, Server, ask, fetch, refuses
from .shells import UNTIL_A_SIGNAL

MODEL = """
    import modal
    from helper import answers, note

    app = modal.App("model")
    frontend = modal.Function.from_name("web", "greet")

    @app.cls(min_containers=1)
    class Model:
        @modal.enter()
        def load(self):
            note("enter")

        @modal.exit()
        def free(self):
            note("exit")

        @modal.method()
        def predict(self, text):
            return text.upper()

    @app.function()
    @modal.asgi_app()
    def status():
        return answers(lambda path: frontend.get_web_url())

    @app.function(schedule=modal.Period(seconds=0.05))
    def tick():
        note("tick")
"""

WEB = """
    import asyncio, os
    import modal
    from helper import note, say

    app = modal.App("web")

    @app.function()
    @modal.concurrent(max_inputs=10)
    @modal.asgi_app()
    def greet():
        predict = modal.Cls.from_name("model", "Model")().predict
        async def application(scope, receive, send):
            if scope["type"] != "http":
                return
            if scope["path"] == "/held":
                note("began")
                while not os.path.exists("go"):
                    await asyncio.sleep(0.01)
            await say(send, await predict.remote.aio("hello"))
        return application
"""


@pytest.fixture
def deploy(shell, monkeypatch) -> Iterator[Callable[..., Server]]:
    """``deploy(...)`` starts ``moorage deploy --port 0 ...`` beside the two programs."""
    monkeypatch.setenv("MOORAGE_HOME", str(shell.folder / "home"))
    shell.write("helper.py", PLAIN)
    shell.write("model.py", MODEL)
    shell.write("web.py", WEB)
    started: list[Server] = []

    def start(*arguments: str) -> Server:
        server = Server(shell, "deploy", "--port", "0", *arguments)
        started.append(server)
        return server

    yield start
    for server in started:
        server.__exit__()


def held(server: Server, url: str) -> tuple[threading.Thread, list[tuple[int, str]]]:
    """Ask what is answered later; return the thread that waits, and where its answer comes."""
    answers: list[tuple[int, str]] = []

    def wait() -> None:
        status, _, body = fetch(url, "/held")
        answers.append((status, body))

    thread = threading.Thread(target=wait)
    thread.start()
    server.until("began")
    return thread, answers


def test_apps_of_two_files_find_each_other_and_sigterm_finishes_what_was_accepted(shell, deploy):
    server = deploy("web.py", "model.py", "--drain", "60", "--tag", "v1", "--strategy", "recreate")
    server.until(r"^Deployed here, until this process ends")
    server.until(r"^web, of web.py")
    server.until(r"^model, of model.py")
    server.until("SIGTERM")
    server.until("tick")
    server.until("tick")
    greet, status = server.url("greet"), server.url("status")
    assert ask(greet) == "HELLO"
    assert ask(status) == greet
    thread, answers = held(server, greet)
    server.process.send_signal(signal.SIGTERM)
    server.until("finishing what was accepted")
    shell.write("go", "")
    thread.join()
    assert server.ended() == 0
    assert answers == [(200, "HELLO")]
    assert [line for line in server.lines if line != "tick"][-2:] == ["exit", "Stopped."]
    assert refuses(greet)
    assert refuses(status)


def test_a_drain_that_was_too_short_is_143_and_exit_hooks_run(shell, deploy):
    server = deploy("model.py", "web.py", "--drain", "0.05")
    server.until("SIGTERM")
    thread, answers = held(server, server.url("greet"))
    assert server.end(signal.SIGTERM) == 143
    thread.join()
    assert answers == [(503, "Service Unavailable")]
    assert "exit" in server.lines
    assert server.lines[-1] == "Stopped before all of it was finished."


def test_ctrl_c_and_a_second_sigterm_do_not_wait(shell, deploy):
    """Nor does SIGHUP, by which a terminal says that it is closed."""
    for first, code in ((signal.SIGINT, 130), (signal.SIGHUP, 129), (signal.SIGTERM, 143)):
        server = deploy("model.py", "web.py", "--drain", "1000")
        server.until("Ctrl-C stops")
        thread, _ = held(server, server.url("greet"))
        server.process.send_signal(first)
        if first == signal.SIGTERM:
            server.until("finishing what was accepted")
            server.process.send_signal(signal.SIGTERM)
        assert server.ended() == code
        thread.join()
        assert "exit" in server.lines


def test_sigterm_while_a_program_is_imported_stops_what_is_deployed(shell, deploy):
    shell.write("slow.py", f"print('importing', flush=True)\n{UNTIL_A_SIGNAL}")
    server = deploy("model.py", "slow.py")
    server.until("importing")
    assert server.end(signal.SIGTERM) == 143
    assert "exit" in server.lines
    assert "Traceback" not in server.text


# -- in this process ---------------------------------------------------------------------------


def test_an_app_needs_a_name(shell):
    shell.write("app.py", "import modal\napp = modal.App()\n")
    outcome = shell("deploy", "--no-mounts", "app.py")
    assert outcome.code == 1
    assert "moorage deploy app.py --name my-app" in outcome.err
    assert 'app = modal.App("my-app")' in outcome.err


def test_two_apps_of_one_name(shell):
    for file in ("a.py", "b.py"):
        shell.write(file, "import modal\napp = modal.App('same')\n")
    outcome = shell("deploy", "--no-mounts", "a.py", "b.py")
    assert outcome.code == 1
    assert "b.py has an app of the name 'same'" in outcome.err


def test_two_programs_with_a_module_of_one_name(shell):
    """The second would silently get that of the first."""
    for folder in ("a", "b"):
        shell.write(f"{folder}/prog.py", f"import modal, common\napp = modal.App('{folder}')\n")
    shell.write("a/common.py", "")
    shell.write("b/common.py", "")
    outcome = shell("deploy", "--no-mounts", "a/prog.py", "b/prog.py")
    assert outcome.code == 1
    assert f"would get {shell.folder}/a/common.py and not {shell.folder}/b/common.py" in outcome.err


def test_an_error_in_the_second_file_stops_the_first_app(shell):
    shell.write("helper.py", PLAIN)
    shell.write("model.py", MODEL.replace("Period(seconds=0.05)", "Period(days=1)"))
    shell.write("wrong.py", "raise ValueError('at import')\n")
    outcome = shell("deploy", "--no-mounts", "--port", "0", "model.py", "wrong.py")
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1] == "ValueError: at import"


def test_a_taken_port_is_named_and_nothing_is_started(shell):
    shell.write("helper.py", PLAIN)
    shell.write("model.py", MODEL)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        outcome = shell("deploy", "--no-mounts", "--port", str(port), "model.py")
    assert outcome.code == 1
    assert f"Port {port} of 127.0.0.1 is taken, and status cannot be served there" in outcome.err
    assert "enter" not in outcome.out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "Usage: moorage deploy"),
        (["--name", "x", "a.py", "b.py"], 2, "--name is for one app"),
        (["--strategy", "none", "a.py"], 2, "none"),
        (["a.py::x.y"], 2, "'x.y' is no name of an app"),
        (["a.py"], 1, "There is no file 'a.py'"),
    ],
)
def test_wrong_command_lines(shell, arguments, code, words):
    outcome = shell("deploy", *(["--no-mounts"] if arguments else []), *arguments)
    assert outcome.code == code
    assert words in outcome.err
