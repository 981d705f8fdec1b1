"""``moorage serve``: ports that stay, and reloading without a refused connection."""

from __future__ import annotations

import os
import re
import signal
import socket
import textwrap
import threading
import time
import types
from collections.abc import Callable, Iterator

import pytest

from free_ports import free_port
from moorage.cli import supervisor
from moorage.cli.addresses import Addresses
from moorage.cli.reference import Reference
from moorage.cli.serving import Settings
from moorage.cli.watching import Watched

from .servers import PLAIN, Client, Server, ask, fetch, refuses
from .shells import UNTIL_A_SIGNAL

# Seconds after which a client must expect that the server has closed its idle connection: it does
# so after 5 seconds (``KEEP_ALIVE`` in ``web/uvicorn_protocol.py``).
IDLE = 3.0

SHOP = """
import os
import modal
from helper import answers, note, text

app = modal.App("shop")
print(f"imported by {os.getpid()}", flush=True)


@app.function()
@modal.asgi_app()
def greet():
    return answers(lambda path: text + path)


@app.cls()
class Model:
    @modal.enter()
    def load(self):
        note(f"enter {text}")

    @modal.exit()
    def free(self):
        note(f"exit {text}")

    @modal.asgi_app()
    def web(self):
        return answers(lambda path: "model " + text)
"""

# In the process of the test, which has threads, and so no mounts.
HERE = ("serve", "--no-mounts", "--no-reload", "--port", "0")


def helper(text: str) -> str:
    return f"{PLAIN}\ntext = {text!r}\n"


@pytest.fixture
def serve(shell, monkeypatch) -> Iterator[Callable[..., Server]]:
    """``serve(...)`` starts ``moorage serve --port 0 ...``."""
    monkeypatch.setenv("MOORAGE_HOME", str(shell.folder / "home"))
    started: list[Server] = []

    def start(*arguments: str, port: int = 0) -> Server:
        server = Server(shell, "serve", "--port", str(port), *arguments)
        started.append(server)
        return server

    yield start
    for server in started:
        server.__exit__()


def pid_of(server: Server) -> int:
    return int(server.until("imported by").split()[-1])


def test_changes_give_new_answers_and_no_client_loses_a_request(shell, serve):
    shell.write("app.py", SHOP)
    shell.write("helper.py", helper("one"))
    server = serve("app.py")
    server.until("Serving")
    assert "Watching app.py, helper.py" in server.lines
    urls = [server.url("greet"), server.url("Model.web")]
    assert urls[0] != urls[1]
    assert (ask(urls[0], "/x"), ask(urls[1])) == ("one/x", "model one")
    server.until("enter one")
    patient = Client(urls[1])  # asks now and then, always on the same connection
    patient.ask()
    asked = time.monotonic()

    def patient_asks() -> str:
        nonlocal asked
        if time.monotonic() - asked > IDLE:
            patient.close()  # as the server does; the next question opens another connection
        asked = time.monotonic()
        return patient.ask()[2]

    stop = threading.Event()
    answers: list[set[str]] = []
    failures: list[BaseException] = []

    def load(url: str, keeps: bool) -> None:
        seen: set[str] = set()
        answers.append(seen)
        client = Client(url)
        try:
            while not stop.is_set():
                status, _, body = client.ask() if keeps else fetch(url)
                seen.add(f"{status} {body}")
        except BaseException as error:
            failures.append(error)
        finally:
            client.close()

    threads = [
        threading.Thread(target=load, args=(url, keeps)) for url in urls for keeps in (True, False)
    ]
    for thread in threads:
        thread.start()
    try:
        shell.write("helper.py", helper("two"))
        server.until("exit one")
        server.until("Reloaded")
        server.until("enter two")  # no container before the old ones have ended
        assert patient_asks() == "model two"
        shell.write("helper.py", helper("six"))  # of the same size, and maybe in the same second
        server.until("exit two")
        server.until("Reloaded")
        server.until("enter six")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert patient_asks() == "model six"
    patient.close()
    assert not failures
    for seen in answers:
        assert {answer.split()[0] for answer in seen} == {"200"}
    assert (ask(urls[0]), ask(urls[1])) == ("six/", "model six")
    assert sum("http" in line for line in server.lines) == 2  # the URLs are said once
    assert server.end() == 130
    last = server.lines[server.lines.index("Stopping; another Ctrl-C stops at once.") + 1 :]
    assert set(last) == {"exit six"}
    assert refuses(urls[0])
    assert refuses(urls[1])


@pytest.mark.parametrize("command", ["serve", "deploy"])
def test_the_garbage_collector_leaves_the_modules_alone(shell, command, monkeypatch):
    monkeypatch.setenv("MOORAGE_HOME", str(shell.folder / "home"))
    shell.write("helper.py", PLAIN)
    shell.write(
        "prog.py",
        """
        import gc
        import modal
        from helper import answers

        app = modal.App("frozen")

        class OfTheModule:
            pass

        @app.function()
        @modal.asgi_app()
        def page():
            return answers(lambda path: str(any(each is OfTheModule for each in gc.get_objects())))
        """,
    )
    with Server(shell, command, "--port", "0", "--placement", "thread", "prog.py") as server:
        server.until("http://")
        assert ask(server.url("page")) == "False"


def test_an_error_keeps_the_version_from_before_until_it_is_mended(shell, serve):
    shell.write("app.py", SHOP)
    shell.write("helper.py", helper("one"))
    server = serve("app.py")
    pid = pid_of(server)
    server.until("Serving")
    url = server.url("greet")
    shell.write("helper.py", helper("two") + "text = = 3\n")
    server.until("SyntaxError")
    server.until("the version from before goes on")
    assert "/moorage/" not in server.text.replace(str(shell.folder), "")
    assert ask(url) == "one/"
    # A module that is not there yet.
    shell.write("helper.py", helper("two") + "import later\n")
    server.until("No module named 'later'")
    server.until("the version from before goes on")
    assert ask(url) == "one/"
    shell.write("later.py", "raise SystemExit(3)\n")
    server.until("The server process ended: exit code 3.")
    server.until("the version from before goes on")
    shell.write("later.py", "")
    assert pid_of(server) != pid
    server.until("Reloaded")
    assert ask(url) == "two/"
    assert server.end() == 130


def test_a_change_whose_import_failed_is_not_reported_again(tmp_path, monkeypatch):
    """The watch begins anew after a failure, and looks for what changed since the last import."""
    file = tmp_path / "app.py"
    file.touch()
    watched = Watched(frozenset({str(file)}))
    began: list[int] = []

    class Started:
        def __init__(self, post: object) -> None:
            self.began_at_ns = 1_000 * (1 + len(began))
            began.append(self.began_at_ns)
            self.channel = types.SimpleNamespace(send=lambda message: None)
            self.kill = lambda: None

    monkeypatch.setattr(supervisor, "Child", Started)
    said: list[str] = []
    one = supervisor.Supervisor(
        Reference(str(file), "", False, "moorage serve"),
        Settings(),
        Addresses("127.0.0.1", 0),
        name=None,
        timeout=None,
        say=said.append,
    )
    one._present = one._start()
    one._watched = watched
    os.utime(file, ns=(1_500, 1_500))
    one._next = one._start()  # its import fails
    one._next = None
    one._watching(watched)
    assert said == []
    os.utime(file, ns=(2_500, 2_500))  # during that import
    one._watching(watched)
    assert [line.partition(":")[0] for line in said] == ["Changed"]
    one._events.close()


def test_functions_come_and_go_and_keep_their_ports(shell, serve):
    program = """
        import modal
        from helper import answers
        app = modal.App()
    """
    function = """
        @app.function()
        @modal.asgi_app()
        def {0}():
            return answers(lambda path: "{0}")
    """
    shell.write("helper.py", helper(""))
    shell.write("app.py", program + function.format("a") + function.format("b"))
    server = serve("app.py")
    server.until("Serving")
    a, b = server.url("a"), server.url("b")
    shell.write("app.py", program + function.format("new") + function.format("b"))
    server.until("Reloaded")
    new = server.url("new")
    assert server.url("b") == b
    assert new not in (a, b)
    assert (ask(new), ask(b), refuses(a)) == ("new", "b", True)
    shell.write("app.py", program + function.format("b") + function.format("a"))
    server.until("Reloaded")
    assert (server.url("a"), server.url("b")) == (a, b)
    assert (ask(a), ask(b), refuses(new)) == ("a", "b", True)
    assert server.end() == 130


def test_a_request_that_runs_is_finished_by_the_old_version(shell, serve):
    shell.write("helper.py", helper("one"))
    shell.write(
        "app.py",
        """
        import asyncio, os
        import modal
        from helper import say, text
        app = modal.App()
        print(f"imported by {os.getpid()}", flush=True)

        @app.function()
        @modal.concurrent(max_inputs=10)
        @modal.asgi_app()
        def slow():
            async def application(scope, receive, send):
                if scope["type"] != "http":
                    return
                if scope["path"] == "/slow":
                    print("began", flush=True)
                    while not os.path.exists("go"):
                        await asyncio.sleep(0.01)
                await say(send, text)
            return application
        """,
    )
    server = serve("app.py")
    pid_of(server)
    server.until("Serving")
    url = server.url("slow")
    answers: list[tuple[int, dict[str, str], str]] = []
    old = threading.Thread(target=lambda: answers.append(fetch(url, "/slow")))
    old.start()
    server.until("began")
    shell.write("helper.py", helper("two"))
    pid_of(server)  # the next version waits, and so this one is to end
    shell.write("go", "")
    old.join()
    server.until("Reloaded")
    ((status, _, body),) = answers
    assert (status, body) == (200, "one")
    assert ask(url) == "two"
    assert server.end() == 130


def test_a_child_that_dies_is_started_again_and_not_for_ever(shell, serve):
    shell.write("app.py", SHOP)
    shell.write("helper.py", helper("one"))
    server = serve("app.py")
    first = pid_of(server)
    server.until("Serving")
    url = server.url("greet")
    os.kill(first, signal.SIGKILL)
    server.until(r"The server process ended: killed by SIGKILL\. It is started again")
    second = pid_of(server)
    assert ask(url) == "one/"
    os.kill(second, signal.SIGKILL)
    if "again, soon" not in server.until(r"ended again, soon|It is started again"):
        os.kill(pid_of(server), signal.SIGKILL)  # the second one was slow: this one dies at once
        server.until("ended again, soon after its start: killed by SIGKILL")
    assert server.ended() == 1
    assert refuses(url)


STARTS_A_PROCESS = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
"""


def test_the_child_leaves_its_run_when_its_parent_is_killed(shell, serve):
    shell.write("app.py", SHOP + STARTS_A_PROCESS)
    shell.write("helper.py", helper("one"))
    server = serve("app.py")
    server.until("Serving")
    url = server.url("Model.web")
    assert ask(url) == "model one"
    # Until nobody has the output any more: nothing that the program has started is left.
    assert server.end(signal.SIGKILL) == -signal.SIGKILL
    assert server.lines[-1] == "exit one"
    assert refuses(url)


def test_after_its_timeout_it_ends_with_0_and_runs_exit_hooks(shell, serve):
    program = SHOP.replace("@app.cls()", "@app.cls(min_containers=1)")
    shell.write("helper.py", helper("one"))
    shell.write("app.py", program + STARTS_A_PROCESS)
    server = serve("app.py", "--timeout", "0.01")
    assert server.ended() == 0
    assert server.lines[-1] == "exit one"
    shell.write("app.py", program)
    outcome = shell(
        "serve", "--no-mounts", "--port", "0", "--timeout", "0.01", "--no-reload", "app.py"
    )
    assert outcome.code == 0
    assert outcome.out.splitlines()[-1] == "exit one"


def test_modules_of_the_folder_do_not_hide_those_of_the_command(shell):
    shell.write("app.py", SHOP)
    shell.write("helper.py", helper("one"))
    for name in ("click.py", "json.py", "socket.py"):
        shell.write(name, "raise AssertionError('of the folder')\n")
    code, _, err = shell("serve", "--no-mounts", "--port", "0", "--timeout", "0.01", "app.py")
    assert code == 0
    assert "Serving." in err


def test_without_reloading_it_serves_in_its_own_process(shell, serve):
    shell.write("app.py", SHOP + "\nmine = 3\n")
    shell.write("helper.py", helper("one"))
    server = serve("app.py", "--no-reload", "--name", "stall")
    assert pid_of(server) == server.process.pid
    server.until("Serving, without reloading")
    url = server.url("Model.web")
    assert ask(url) == "model one"
    assert server.end() == 130
    assert server.lines[-2:] == ["exit one", "Stopped."]
    assert refuses(url)
    # Nor is a program reloaded that is no file.
    arguments = ("serve", "--no-mounts", "--port", "0", "--timeout", "0.01", "-")
    code, _, err = shell(*arguments, input=textwrap.dedent(SHOP))
    assert code == 0
    assert "Serving, without reloading" in err
    for number, code in ((signal.SIGHUP, 129), (signal.SIGTERM, 143)):
        server = serve("app.py", "--no-reload")
        server.until("Serving, without reloading")
        assert ask(server.url("Model.web")) == "model one"
        assert server.end(number) == code
        assert "exit one" in server.lines[-2:]


def test_ctrl_c_while_the_program_is_imported(shell, serve):
    shell.write("app.py", SHOP + UNTIL_A_SIGNAL)
    shell.write("helper.py", helper("one"))
    server = serve("app.py")
    pid_of(server)
    assert server.end() == 130
    assert "Traceback" not in server.text


def test_a_package_its_local_files_and_late_modules_are_watched_and_named_objects_survive(
    shell, serve
):
    shell.write("shop/__init__.py", "")
    shell.write("shop/parts/__init__.py", "")
    shell.write("shop/parts/helper.py", helper("one"))
    shell.write("shop/parts/late.py", "word = 'late'")
    shell.write("data/deep/words.txt", "word")
    shell.write(
        "shop/web.py",
        """
        import modal
        from .parts.helper import answers, text
        image = modal.Image.debian_slim().add_local_dir("data", "/data-of-shop")
        app = modal.App()
        kept = modal.Dict.from_name("kept", create_if_missing=True)
        lost = modal.Queue.from_name("lost", create_if_missing=True)

        @app.function(image=image)
        @modal.asgi_app()
        def words():
            def give(path):
                from .parts import late
                kept["n"] = kept.get("n", 0) + 1
                modal.config.persist = False
                lost.put(1)
                word = open("data/deep/words.txt").read()
                return f"{text} {late.word} {word} {kept['n']} {lost.len()}"
            return answers(give)
        """,
    )
    # The queue is one of the memory of the server's process: see `persist` above.
    server = serve("-m", "shop.web", "--placement", "thread")
    server.until("Serving")
    url = server.url("words")
    assert ask(url) == "one late word 1 1"
    shell.write("shop/parts/helper.py", helper("two"))
    server.until("Reloaded")
    assert ask(url) == "two late word 2 1"
    shell.write("shop/parts/late.py", "word = 'later'")
    server.until("Reloaded")
    assert ask(url) == "two later word 3 1"
    shell.write("data/deep/words.txt", "sword")
    server.until("Reloaded")
    assert ask(url) == "two later sword 4 1"
    assert server.end() == 130
    (told,) = [line for line in server.lines if "is lost at each reload" in line]
    assert "Queue 'lost'" in told
    assert "'kept'" not in told


def test_what_only_a_process_has_imported_is_watched_too(shell, serve):
    shell.write("helper.py", helper("one"))
    shell.write("late.py", "word = 'late'")
    shell.write(
        "app.py",
        """
        import modal
        from helper import answers
        app = modal.App("late")

        @app.function()
        @modal.asgi_app()
        def words():
            def give(path):
                import late, os
                return f"{late.word} {os.getppid()}"
            return answers(give)
        """,
    )
    server = serve("app.py")
    server.until("Serving")
    url = server.url("words")
    word, zygote = ask(url).split()
    assert word == "late"
    shell.write("late.py", "word = 'later'")
    server.until("Reloaded")
    word, another = ask(url).split()
    assert word == "later"
    assert zygote != another
    assert server.end() == 130


# -- before anything is served -----------------------------------------------------------------


def test_ports_in_order_from_the_first_and_around_the_programs_own(shell):
    first = free_port(3)
    shell.write("helper.py", helper("one"))
    shell.write(
        "app.py",
        f"""
        import modal
        from helper import answers
        app = modal.App()

        @app.function()
        @modal.asgi_app()
        def a():
            return answers(lambda path: "a")

        @app.function()
        @modal.web_server({first + 1})
        def own(): ...

        @app.function()
        @modal.asgi_app()
        def b():
            return answers(lambda path: "b")
        """,
    )
    command = (
        "serve",
        "--no-mounts",
        "--port",
        str(first),
        "--timeout",
        "0.01",
        "--no-reload",
        "app.py",
    )
    outcome = shell(*command)
    assert outcome.code == 0, outcome.err
    assert [line.split() for line in outcome.err.splitlines()[:3]] == [
        ["a", f"http://127.0.0.1:{first}"],
        ["own", f"http://127.0.0.1:{first + 2}"],
        ["b", f"http://127.0.0.1:{first + 3}"],
    ]


def test_a_taken_port_is_named(shell, serve):
    shell.write("app.py", SHOP)
    shell.write("helper.py", helper("one"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = serve("app.py", port=port)
        assert server.ended() == 1
        outcome = shell(*HERE, "--port", str(port), "app.py")
        assert outcome.code == 1
    for text in (server.text, outcome.err):
        assert re.search(rf"Error: Port {port} of 127.0.0.1 is taken", text)


def test_what_is_wrong_at_the_first_import_ends_it(shell, serve):
    shell.write("helper.py", helper("one"))
    shell.write("app.py", SHOP + "\nraise ValueError('at import')\n")
    outcome = shell(*HERE, "app.py")
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1] == "ValueError: at import"
    assert outcome.err.count("  File ") == 1
    shell.write("app.py", SHOP + "\nraise SystemExit(3)\n")
    assert serve("app.py").ended() == 3


def test_an_open_address_needs_tokens(shell):
    shell.write("helper.py", helper("one"))
    program = SHOP.replace("@modal.asgi_app()", "@modal.asgi_app(requires_proxy_auth=True)")
    shell.write("app.py", program)
    outcome = shell(
        "serve", "--no-mounts", "--no-reload", "--port", "0", "--host", "0.0.0.0", "app.py"
    )
    assert outcome.code == 1
    assert "MOORAGE_PROXY_TOKENS" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "Usage: moorage serve"),
        (["app.py::a.b"], 2, "'a.b' is no name of an app"),
        (["--no-reload", "app.py::answers"], 2, "'answers' of app.py is no modal.App"),
        (["--no-reload", "app.py::none"], 1, "module 'app' has no attribute 'none'"),
        (["--no-reload", "two.py"], 1, "moorage serve two.py::first"),
        (["--no-reload", "nothing.py"], 1, "There is no file 'nothing.py'"),
        (["--no-reload", "app"], 1, "-m app"),
        (["--port", "70000", "app.py"], 2, "70000"),
    ],
)
def test_wrong_references(shell, arguments, code, words):
    shell.write("app.py", SHOP)
    shell.write("helper.py", helper("one"))
    shell.write("two.py", "import modal\nfirst, second = modal.App(), modal.App()\n")
    outcome = shell("serve", *(["--no-mounts"] if arguments else []), *arguments)
    assert outcome.code == code
    assert words in outcome.err


def test_the_only_app_of_a_module_needs_no_name(shell):
    shell.write("web.py", "import modal\nweb = modal.App('web')\n")
    outcome = shell(
        "serve", "--no-mounts", "--no-reload", "--timeout", "0.01", "--port", "0", "web.py"
    )
    assert (outcome.code, outcome.out) == (0, "")


# An app that includes another one, and asks for the URL of its function before anybody else can.
INCLUDES = """
import os
import urllib.request

import modal
from plain import answers, note

inner = modal.App("model")


@inner.function()
@modal.asgi_app()
def tokens():
    return answers(lambda path: "a token")


app = modal.App("shop")
app.include(inner)


@app.cls(min_containers=1)
class Shop:
    @modal.enter()
    def start(self):
        self.url = tokens.get_web_url()
        note(f"asked for {self.url}")

    @modal.asgi_app()
    def web(self):
        return answers(lambda path: urllib.request.urlopen(self.url).read().decode())
"""


@pytest.mark.parametrize("how", ["serve", "serve --no-reload", "deploy"])
def test_the_url_that_a_first_hook_asks_for_is_the_one_that_is_served(shell, monkeypatch, how):
    monkeypatch.setenv("MOORAGE_HOME", str(shell.folder / "home"))
    shell.write("plain.py", PLAIN)
    shell.write("prog.py", INCLUDES)
    with Server(shell, *how.split(), "prog.py", "--port", "0") as server:
        asked = server.until("asked for").split()[-1]
        if "Ctrl-C stops" not in server.text:
            server.until("Ctrl-C stops")
        assert asked == server.url("tokens")
        assert [fetch(server.url(name))[2] for name in ("tokens", "Shop.web")] == ["a token"] * 2
        assert server.end() == 130
