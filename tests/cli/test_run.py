"""``moorage run``: what runs, what is written where, and how the process ends."""

import os
import sys

import pytest

import moorage
from cli.shells import HELLO
from moorage import config
from moorage.cli.tracebacks import print_traceback


def test_an_entrypoint_within_a_run(shell):
    shell.write("prog.py", HELLO)
    code, out, err = shell("run", "prog.py", "--x", "4")
    assert (code, out) == (0, "12\n")
    assert err.splitlines()[0] == "run prog: main"
    assert err.splitlines()[1].startswith("run prog: main done after ")


def test_quiet_leaves_the_prints_of_the_program(shell):
    shell.write("prog.py", HELLO)
    assert tuple(shell("run", "-q", "prog.py")) == (0, "6\n", "")


def test_the_return_value_is_not_printed(shell):
    shell.write("prog.py", HELLO)
    assert tuple(shell("run", "--quiet", "prog.py::double", "--x", "3")) == (0, "", "")


def test_import_modal_is_moorage_everywhere(shell):
    shell.write("helper.py", "from modal import App, experimental\nfrom modal.exception import *\n")
    shell.write("pkg/__init__.py", "import modal.config\n")
    shell.write("pkg/part.py", "from modal import Image\nfrom . import modal\n")
    shell.write(
        "prog.py",
        """
        import helper, modal, moorage, pkg.part
        assert modal is moorage is pkg.modal
        assert helper.App is modal.App is moorage.App
        app = modal.App()

        @app.local_entrypoint()
        def main():
            import modal.functions
            print(modal.functions.Function is moorage.Function)
        """,
    )
    code, out, err = shell("run", "-q", "prog.py")
    assert (code, out, err) == (0, "True\n", "")
    assert os.environ["MOORAGE_AS_MODAL"] == "1"  # for the children


@pytest.mark.parametrize("name", ["modal.cli", "modal_proto"])
def test_parts_of_modal_that_are_not_here(shell, name):
    shell.write("prog.py", f"import {name}\n")
    code, _, err = shell("run", "prog.py")
    assert code == 1
    assert f"ModuleNotFoundError: No module named '{name}'; " in err


def test_a_stderr_of_the_programs_own_may_only_write(monkeypatch):
    written = []

    class Stream:
        def write(self, text):
            written.append(text)

    monkeypatch.setattr(sys, "stderr", Stream())
    print_traceback(ValueError("shown"))
    assert "".join(written) == "ValueError: shown\n"


def test_the_real_modal_is_imported_already(shell, monkeypatch):
    real = type(sys)("modal")
    real.__file__ = "/somewhere/modal/__init__.py"
    monkeypatch.setitem(sys.modules, "modal", real)
    shell.write("prog.py", HELLO)
    code, out, err = shell("run", "prog.py")
    assert (code, out) == (1, "")
    assert err.startswith("Error: modal is imported already, from /somewhere/modal/__init__.py")


def test_what_the_program_sees_of_the_process(shell):
    shell.write(
        "folder/prog.py",
        """
        import modal, sys, threading
        app = modal.App()
        print(__name__, threading.current_thread() is threading.main_thread())
        print(sys.path[0].endswith("/folder"), "" in sys.path, sys.modules[__name__].__file__)

        if __name__ == "__main__":
            print("not to be run")

        @app.local_entrypoint()
        def main():
            print(sys.argv, threading.current_thread() is threading.main_thread())
        """,
    )
    code, out, _ = shell("run", "-q", "folder/prog.py")
    assert code == 0
    assert out.splitlines() == [
        "prog True",
        f"True True {shell.folder / 'folder/prog.py'}",
        "['moorage', 'run', '-q', 'folder/prog.py'] True",
    ]


def test_a_module_of_a_package(shell):
    shell.write("pkg/__init__.py", "")
    shell.write("pkg/common.py", "import modal\napp = modal.App()\n")
    shell.write(
        "pkg/prog.py",
        """
        from .common import app

        @app.local_entrypoint()
        def main(x: int = 1):
            print(__name__, x)
        """,
    )
    assert tuple(shell("run", "-q", "-m", "pkg.prog", "--x", "2")) == (0, "pkg.prog 2\n", "")
    assert shell("run", "-q", "-m", "pkg.prog::main").out == "pkg.prog 1\n"
    assert shell("run", "-m", "pkg.prog").err.startswith("run pkg.prog: main\n")
    code, _, err = shell("run", "-m", "pkg.prog::nope")
    assert code == 1
    assert "Could not find 'nope' in the 'pkg.prog' module." in err
    code, _, err = shell("run", "pkg/prog.py::main")
    assert code == 1
    assert "relative imports" in err
    assert "moorage run -m pkg.prog::main" in err


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["prog.py:main"], "Invalid object reference: prog.py:main."),
        (["prog.py:main"], "Did you mean '::' instead of ':'?"),
        (["prog"], "must be specified with the -m flag. Use `moorage run -m prog` instead."),
        (["-m", "prog.py"], "Use `moorage run prog.py` instead."),
        (["-m", ""], "-m takes the full path of a module"),
        (["-m", ".prog"], "-m takes the full path of a module"),
        (["-m", "nope.prog"], "There is no module 'nope'"),
        (["my.dotted.py"], "cannot contain additional period characters"),
        (["none.py"], "There is no file 'none.py'."),
        (["circle.py"], "'circle.py'"),
        (["porg.py"], "Did you mean:\n    prog.py"),
        (["-q", "-i", "prog.py"], "To use interactive mode, remove the --quiet flag"),
        (["-i", "-"], "To use interactive mode, give a file"),
        (["-m", "-"], "is no module"),
        (["-e", "a b", "prog.py"], "environment_name has 1 to 64 letters"),
    ],
)
def test_wrong_references(shell, arguments, error):
    shell.write("prog.py", HELLO)
    shell.write("my.dotted.py", HELLO)
    (shell.folder / "circle.py").symlink_to("circle.py")
    code, out, err = shell("run", *arguments)
    assert (code, out) == (1, "")
    assert err.startswith("Error: ")
    assert error in err


def test_a_file_that_hides_the_library(shell):
    shell.write("modal.py", HELLO)
    code, _, err = shell("run", "modal.py")
    assert code == 1
    assert "give the file another name" in err


def test_no_arguments_is_help_on_stderr(shell):
    for arguments in ((), ("run",)):
        code, out, err = shell(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith(f"Usage: moorage {'run ' if arguments else ''}[OPTIONS]")
        code, out, err = shell(*arguments, "--help")
        assert (code, err) == (0, "")
        assert out.startswith("Usage: moorage")


def test_options_without_a_reference(shell):
    code, out, err = shell("run", "-q")
    assert (code, out) == (2, "")
    assert "Missing argument 'FUNC_REF'." in err


def test_unknown_options_before_the_reference(shell):
    code, _, err = shell("run", "--quite", "prog.py")
    assert code == 2
    assert "No such option '--quite'. Did you mean '--quiet'?" in err


@pytest.mark.parametrize(
    "arguments", [["--profile", "x", "run", "prog.py"], ["run", "--profile", "x", "prog.py"]]
)
def test_profile_has_no_effect(shell, arguments):
    shell.write("prog.py", HELLO)
    assert shell(*arguments).out == "6\n"


WHERE = """
    import modal, moorage, os
    app = modal.App("prog")
    other = modal.App("other")

    {configuration}

    @app.function()
    def where():
        return os.getpid(), modal.is_local()

    @other.function()
    def there():
        return os.getpid()

    @app.local_entrypoint()
    def main():
        pid, is_local = where.remote()
        print("process" if pid != os.getpid() else "thread", is_local)

    @app.local_entrypoint()
    def own():
        with other.run(placement="thread"):
            print(there.remote() == os.getpid())
        with other.run():
            print(there.remote() != os.getpid())
"""


def test_placement(shell):
    shell.write("prog.py", HELLO)
    assert shell("run", "--placement", "thread", "prog.py").out == "6\n"
    code, _, err = shell("run", "--placement", "moon", "prog.py")
    assert code == 2
    assert "'moon' is not" in err


@pytest.mark.parametrize(
    ("arguments", "variable", "configuration", "place"),
    [
        ([], "", "", "process"),
        (["--placement", "thread"], "", "", "thread"),
        ([], "thread", "", "thread"),
        (["--placement", "process"], "thread", "", "process"),
        ([], "process", 'moorage.config.placement = "thread"', "thread"),
        (["--placement", "process"], "", 'moorage.config.placement = "thread"', "process"),
        ([], "", 'moorage.config.placement = {"where": "thread", "*": "process"}', "thread"),
    ],
)
def test_what_says_where_containers_are(
    shell, monkeypatch, arguments, variable, configuration, place
):
    monkeypatch.setenv("MOORAGE_PLACEMENT", variable)
    shell.write("prog.py", WHERE.format(configuration=configuration))
    done = shell("run", "-q", *arguments, "prog.py::main")
    assert tuple(done) == (0, f"{place} False\n", "")


def test_a_run_of_the_program_itself_says_where(shell):
    shell.write("prog.py", WHERE.format(configuration=""))
    assert tuple(shell("run", "-q", "prog.py::own")) == (0, "True\nTrue\n", "")


def test_a_virtual_clock_has_threads(shell):
    shell.write(
        "prog.py",
        """
        import modal, os
        from moorage.testing import VirtualClock
        app, other = modal.App("prog"), modal.App("other")

        @other.function()
        def where():
            return os.getpid()

        @app.local_entrypoint()
        def main():
            with other.run(clock=VirtualClock()):
                print(where.remote() == os.getpid())
        """,
    )
    assert tuple(shell("run", "-q", "prog.py")) == (0, "True\n", "")


@pytest.mark.parametrize("command", ["run", "serve", "deploy"])
def test_processes_without_what_they_need(shell, monkeypatch, command):
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    shell.write("prog.py", HELLO)
    code, out, err = shell(command, "--placement", "process", "prog.py")
    assert (code, out) == (1, "")
    assert err == (
        "Error: --placement process needs cloudpickle, which is not installed; "
        'write pip install "moorage[process]", or --placement thread.\n'
    )


def test_without_cloudpickle_a_line_says_that_containers_are_threads(shell, monkeypatch):
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    shell.write("prog.py", HELLO)
    code, out, err = shell("run", "prog.py")
    assert (code, out) == (0, "6\n")
    assert err.splitlines()[0] == (
        "Note: containers are threads, because cloudpickle is not installed: "
        'pip install "moorage[process]"'
    )
    assert tuple(shell("run", "-q", "prog.py")) == (0, "6\n", "")
    assert "Note" not in shell("run", "--placement", "thread", "prog.py").err
    monkeypatch.setenv("MOORAGE_PLACEMENT", "thread")
    assert "Note" not in shell("run", "prog.py").err


def test_the_name_of_the_run(shell):
    shell.write(
        "prog.py",
        """
        import modal
        app = modal.App("hello")

        @app.local_entrypoint()
        def main():
            print(app.description)
        """,
    )
    code, out, err = shell("run", "--name", "nightly", "prog.py")
    assert (code, out) == (0, "nightly\n")
    assert err.startswith("run prog: main (nightly)\n")


def test_the_description_of_an_app_without_a_name_is_the_command_line(shell):
    shell.write(
        "prog.py",
        """
        import modal
        app, named = modal.App(), modal.App("named")

        @app.local_entrypoint()
        def main(x: int = 1):
            print(app.description)

        @named.local_entrypoint()
        def other():
            print(named.description)
        """,
    )
    assert shell("run", "-q", "prog.py::main", "--x", "3").out == "prog.py::main --x 3\n"
    assert shell("run", "-q", "-n", "mine", "prog.py::main").out == "mine\n"
    assert shell("run", "-q", "prog.py::other").out == "named\n"


def test_detach_says_once_that_nothing_outlives_the_process(shell):
    shell.write("prog.py", HELLO)
    code, out, err = shell("run", "--detach", "prog.py")
    assert (code, out) == (0, "6\n")
    assert err.count("nothing outlives this process") == 1


# What a job queue does: the program ends as soon as it has spawned the first step.
STEPS = """
import asyncio
import modal

app = modal.App("steps")

@app.function()
async def last(item):
    print("last", item)

@app.function(max_containers=1)
async def first(item, waits):
    if waits:
        await asyncio.Event().wait()
    await last.spawn.aio(item)

@app.local_entrypoint()
def main(waits: bool = False):
    first.spawn_map(range(3), [waits] * 3)
"""


PRINT_AT_ONCE = """
import sys
import modal

app = modal.App("prints")

@app.function(max_containers=2)
@modal.concurrent(max_inputs=4)
def work(item):
    for number in range(50):
        print("item", item, "number", number)
        print("item", item, "number", number, file=sys.stderr)

@app.local_entrypoint()
def main():
    for _ in work.map(range(8)):
        pass
    print("the last line has no end", end="")
"""


@pytest.mark.parametrize("placement", ["thread", "process"])
def test_lines_that_are_printed_at_once_into_a_pipe_stay_whole(shell, placement):
    shell.write("prog.py", PRINT_AT_ONCE)
    code, out, err = shell("run", "--placement", placement, "prog.py")
    assert code == 0
    lines = {f"item {item} number {number}" for item in range(8) for number in range(50)}
    assert set(out.splitlines()) == {*lines, "the last line has no end"}
    assert out.count("\n") == len(lines)
    assert lines <= set(err.splitlines())


def test_detach_waits_for_all_that_was_spawned(shell):
    shell.write("prog.py", STEPS)
    code, out, err = shell("run", "--detach", "prog.py")
    assert code == 0
    assert sorted(out.splitlines()) == ["last 0", "last 1", "last 2"]
    assert "cancelled" not in err


def test_without_detach_a_line_says_what_is_cancelled(shell):
    shell.write("prog.py", STEPS)
    code, out, err = shell("run", "prog.py", "--waits")
    assert (code, out) == (0, "")
    assert "3 of first. Write --detach" in err
    assert shell("run", "-q", "prog.py", "--waits").err == ""


def test_interactive_is_accepted(shell):
    shell.write("prog.py", HELLO)
    assert shell("run", "-i", "prog.py").out == "6\n"


def test_timestamps_are_before_our_lines_only(shell):
    shell.write("prog.py", HELLO)
    code, out, err = shell("run", "--timestamps", "prog.py")
    assert (code, out) == (0, "6\n")
    for line in err.splitlines():
        day, time, rest = line.split(" ", 2)
        assert (len(day), len(time)) == (10, 8)
        assert rest.startswith("run prog: main")


def test_write_result(shell):
    shell.write(
        "prog.py",
        """
        import modal
        app = modal.App()

        @app.function()
        def text():
            return "täxt\\n"

        @app.local_entrypoint()
        def data():
            return b"\\x00\\x01"

        @app.function()
        def number():
            print("ran")
            return 3
        """,
    )
    assert tuple(shell("run", "-q", "-w", "a", "prog.py::text")) == (0, "", "")
    assert (shell.folder / "a").read_text() == "täxt\n"
    assert tuple(shell("run", "-q", "-w", "b", "prog.py::data")) == (0, "", "")
    assert (shell.folder / "b").read_bytes() == b"\x00\x01"
    code, out, err = shell("run", "-q", "--write-result", "c", "prog.py::number")
    assert (code, out) == (1, "ran\n")
    assert err == (
        "Error: Function must return str or bytes when using `--write-result`; got int.\n"
    )
    assert not (shell.folder / "c").exists()
    code, _, err = shell("run", "-q", "-w", "no/such/folder", "prog.py::text")
    assert code == 1
    assert err.startswith("Error: ")


def test_an_async_entrypoint(shell):
    shell.write(
        "prog.py",
        """
        import asyncio, modal
        app = modal.App()

        @app.function()
        async def double(x):
            return 2 * x

        @app.local_entrypoint()
        async def main():
            asyncio.get_running_loop()
            print([y async for y in double.map.aio([1, 2])])
        """,
    )
    assert tuple(shell("run", "-q", "prog.py")) == (0, "[2, 4]\n", "")


def test_app_run_inside_an_entrypoint(shell):
    shell.write(
        "prog.py",
        """
        import modal
        app = modal.App("hello")

        @app.local_entrypoint()
        def main():
            with app.run():
                pass
        """,
    )
    code, _, err = shell("run", "prog.py")
    assert code == 1
    assert "in main" in err
    assert "the app 'hello' runs already" in err


def test_prints_at_import_are_the_programs(shell):
    shell.write("prog.py", "print('imported')\n" + HELLO.replace("\n    ", "\n"))
    assert shell("run", "-q", "--placement", "thread", "prog.py").out == "imported\n6\n"
    # Each container imports the program, as in Modal.
    lines = shell("run", "-q", "prog.py").out.splitlines()
    assert sorted({*lines}) == ["6", "imported"]
    assert lines.count("6") == 1


def test_named_objects_are_on_disk(shell):
    shell.write(
        "prog.py",
        """
        import modal
        app = modal.App()
        d = modal.Dict.from_name("kept-by-run", create_if_missing=True)

        @app.local_entrypoint()
        def main():
            d["runs"] = d.get("runs", 0) + 1
            print(d["runs"])
        """,
    )
    assert not config.persist
    assert shell("run", "-q", "prog.py").out == "1\n"
    assert shell("run", "-q", "prog.py").out == "2\n"
    assert shell("run", "-q", "-e", "other", "prog.py").out == "1\n"
    moorage.Dict.objects.delete("kept-by-run", environment_name="main")
    moorage.Dict.objects.delete("kept-by-run", environment_name="other")


def test_the_environment_is_that_of_named_objects(shell):
    shell.write(
        "prog.py",
        """
        import modal, os
        app = modal.App()

        @app.local_entrypoint()
        def main():
            print(os.environ["MODAL_ENVIRONMENT"], modal.config.config["environment"])
        """,
    )
    assert shell("run", "-q", "-e", "dev", "prog.py").out == "dev dev\n"


def test_the_url_of_a_web_function_is_said_when_it_is_made(shell):
    shell.write(
        "prog.py",
        """
        import modal
        app = modal.App()

        @app.function()
        @modal.fastapi_endpoint()
        def web():
            return {}

        @app.local_entrypoint()
        def main():
            print(web.get_web_url(), web.get_web_url())
        """,
    )
    code, out, err = shell("run", "prog.py")
    url = out.split()[0]
    assert code == 0
    assert err.count(f"web: {url}\n") == 1


def test_schedules_are_on(shell):
    shell.write(
        "prog.py",
        """
        import modal, threading
        app = modal.App()
        fired = threading.Event()

        @app.function(schedule=modal.Period(seconds=0.01))
        def tick():
            fired.set()

        @app.local_entrypoint()
        def main():
            print(fired.wait(30))
        """,
    )
    # The function shares an event with the entrypoint.
    assert shell("run", "-q", "--placement", "thread", "prog.py").out == "True\n"


# -- errors -------------------------------------------------------------------------------------

FAILING = """
    import modal
    import helper
    app = modal.App()

    @app.function()
    def remote_one(x: int = 0):
        return helper.divide(1, x)

    @app.function(timeout=1)
    async def slow():
        import asyncio
        await asyncio.Event().wait()

    @app.local_entrypoint()
    def here():
        helper.divide(1, 0)

    @app.local_entrypoint()
    async def here_async():
        helper.divide(1, 0)

    @app.local_entrypoint()
    def there():
        try:
            remote_one.remote(0)
        except ZeroDivisionError as error:
            raise RuntimeError("it failed there") from error

    @app.local_entrypoint()
    def wrong_use():
        modal.Dict.from_name("not there!")

    class NoException(BaseException):
        pass

    @app.local_entrypoint()
    def raises_no_exception():
        raise NoException("of the program")

    @app.function()
    def remote_no_exception():
        raise NoException("of the program")

    @app.local_entrypoint()
    def raises_a_group():
        raise BaseExceptionGroup("many", [KeyboardInterrupt(), ValueError()])

    @app.local_entrypoint()
    def exits():
        raise SystemExit(3)

    @app.local_entrypoint()
    async def exits_async():
        import sys
        sys.exit(4)
"""


@pytest.fixture
def failing(shell):
    shell.write("helper.py", "def divide(a, b):\n    return a / b\n")
    shell.write("prog.py", FAILING)
    return shell


def frames(err):
    return [line.split(" in ")[1] for line in err.splitlines() if line.startswith("  File ")]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("here", ["here", "divide"]),
        ("here_async", ["here_async", "divide"]),
        ("remote_one", ["remote_one", "divide"]),
        ("there", ["remote_one", "divide", "there"]),
        ("wrong_use", ["wrong_use"]),
        ("raises_no_exception", ["raises_no_exception"]),
        ("remote_no_exception", ["remote_no_exception"]),
    ],
)
def test_tracebacks_have_the_users_frames(failing, name, expected):
    code, out, err = failing("run", "-q", f"prog.py::{name}")
    assert (code, out) == (1, "")
    assert [frame for frame in frames(err) if frame != "there"] == [
        frame for frame in expected if frame != "there"
    ]
    assert f"in {expected[0]}" in err
    assert "moorage/" not in err.replace(str(failing.folder), "")


def test_a_group_that_is_no_exception_has_the_users_frames(failing):
    code, _, err = failing("run", "prog.py::raises_a_group")
    assert code == 1
    assert "BaseExceptionGroup: many (2 sub-exceptions)" in err
    assert "moorage/" not in err.replace(str(failing.folder), "")


def test_an_error_ends_with_its_message(failing):
    lines = failing("run", "prog.py::here").err.splitlines()
    assert lines[0] == "run prog: here"
    assert lines[1].startswith("run prog: here failed after ")
    assert lines[-1] == "ZeroDivisionError: division by zero"
    last = failing("run", "prog.py::wrong_use").err.splitlines()[-1]
    assert last.startswith("moorage.exception.InvalidError: ")


def test_all_frames_on_request(failing, monkeypatch):
    monkeypatch.setenv("MODAL_TRACEBACK", "1")
    assert "moorage/cli/run.py" in failing("run", "prog.py::here").err


@pytest.mark.parametrize(("name", "code"), [("exits", 3), ("exits_async", 4)])
def test_system_exit_passes_through(failing, name, code):
    done = failing("run", f"prog.py::{name}")
    assert (done.code, done.out) == (code, "")
    assert f"run prog: {name} exited after " in done.err
    assert "Traceback" not in done.err


def test_the_run_is_left_before_the_exit(shell):
    shell.write(
        "prog.py",
        """
        import modal
        app = modal.App()

        @app.cls()
        class C:
            @modal.exit()
            def leave(self):
                print("left")

            @modal.method()
            def run(self):
                print("ran")

        @app.local_entrypoint()
        def main():
            C().run.remote()
            raise SystemExit(5)
        """,
    )
    assert tuple(shell("run", "-q", "prog.py")) == (5, "ran\nleft\n", "")


def test_an_error_of_the_library_outside_of_user_code_is_one_line(shell):
    shell.write(
        "prog.py",
        """
        import modal
        app = modal.App("hello")
        app.deploy()

        @app.function()
        def f():
            raise AssertionError
        """,
    )
    try:
        code, out, err = shell("run", "-q", "prog.py")
        assert (code, out) == (1, "")
        assert err.startswith("Error: the app 'hello' is deployed; app.stop() first")
        assert len(err.splitlines()) == 1
    finally:
        moorage.App.lookup("hello").stop()


def test_an_error_of_the_library_shows_the_users_exception_that_caused_it(shell):
    shell.write(
        "prog.py",
        """
        import modal, sys
        app = modal.App()

        @app.function()
        def leaves():
            sys.exit(7)
        """,
    )
    code, _, err = shell("run", "-q", "prog.py")
    assert code == 1
    assert frames(err) == ["leaves"]
    assert "SystemExit: 7" in err
    assert err.splitlines()[-1].startswith("moorage.exception.RemoteError: the input ended with")


AT_IMPORT = [
    ("1 / 0\n", 1, "ZeroDivisionError: division by zero"),
    ("def f(:\n    pass\n", 1, "SyntaxError: invalid syntax"),
    ("import helper_that_fails\n", 1, "ValueError: in the helper"),
    ("import no_such_module\n", 1, "ModuleNotFoundError: No module named 'no_such_module'"),
    ("import modal\nmodal.App(3)\n", 1, 'write App("my-app")'),
    ("class E(BaseException): pass\nraise E('mine')\n", 1, "prog.E: mine"),
    ("raise SystemExit(6)\n", 6, ""),
    ("import sys\nsys.exit()\n", 0, ""),
]


@pytest.mark.parametrize(("text", "code", "last"), AT_IMPORT)
def test_errors_at_import(shell, text, code, last):
    shell.write("helper_that_fails.py", "raise ValueError('in the helper')\n")
    shell.write("prog.py", text)
    done = shell("run", "prog.py")
    assert (done.code, done.out) == (code, "")
    if last:
        assert last in done.err.splitlines()[-1]
        assert "prog.py" in done.err
    assert "importlib" not in done.err
    assert "moorage/" not in done.err.replace(str(shell.folder), "")


def test_errors_at_the_import_of_a_module(shell):
    shell.write("pkg/__init__.py", "")
    shell.write("pkg/helper.py", "1 / 0\n")
    shell.write("pkg/prog.py", "from . import helper\n")
    code, _, err = shell("run", "-m", "pkg.prog")
    assert (code, frames(err)) == (1, ["<module>", "<module>"])


# -- the group of commands ------------------------------------------------------------------------


def test_version(shell):
    code, out, err = shell("--version")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].startswith("moorage ")
    assert "modal 1.6.4" in out.splitlines()[1]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("rnu", "Did you mean:\n    moorage run"),
        ("token", "'token' needs Modal's service."),
        ("app", "Apps live in the process that runs them"),
        ("prog.py::main", "Did you mean:\n    moorage run prog.py::main"),
        ("xyz", "No such command 'xyz'."),
        ("--bogus", "No such option '--bogus'."),
    ],
)
def test_unknown_commands(shell, name, error):
    code, out, err = shell(name)
    assert (code, out) == (2, "")
    assert err.startswith("Usage: moorage [OPTIONS] COMMAND [ARGS]...")
    assert error in err
