"""What is left when something is killed: nothing of ours, and no input is lost.

Each test that kills the driver is a program of its own.
"""

import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

import moorage
from moorage.exception import ContainerLostError, ExecutionError
from moorage.placing.post import process_post
from moorage.placing.processes import process_zygotes

from . import served
from .outside import PATIENCE, Program, Watched, children_of, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pidfds are Linux's")

# A driver whose container says its pid, and is then as the test wants it.
DRIVER = """
import os, sys, threading, time
import moorage

app = moorage.App("program")
START = {start!r}

def say(*what):
    os.write(1, (" ".join(map(str, what)) + "\\n").encode())

def spin():
    while True:
        pass

def hold():
    import ctypes
    ctypes.PyDLL(None).sleep(1000)  # keeps the interpreter's lock

def sleep():
    threading.Event().wait()

@app.function()
def run(what):
    say(os.getpid())
    {{"spin": spin, "hold": hold, "idle": lambda: None, "sleep": sleep}}[what]()

@app.cls()
class In:
    where: str = moorage.parameter()

    @moorage.enter()
    def load(self):
        if self.where == "enter":
            say(os.getpid())
            sleep()

    @moorage.method()
    def go(self):
        say(os.getpid())

    @moorage.exit()
    def leave(self):
        if self.where == "exit":
            say("exit")
            sleep()

if __name__ == "__main__":
    what = sys.argv[1]
    with app.run(placement=moorage.Processes(start=START), grace=1000):
        if what in ("enter", "exit"):
            call = In(where=what).go.spawn()
            if what == "exit":
                call.get()
                sys.exit()
        else:
            call = run.spawn(what)
            if what == "idle":
                call.get()
        say("ready")
        sleep()
"""


@pytest.mark.parametrize("what", ["idle", "sleep", "spin", "hold", "enter", "exit"])
def test_nothing_is_left_of_a_driver_that_is_killed(what, tmp_path):
    with Program(tmp_path, DRIVER.format(start="zygote"), arguments=[what]) as program:
        said = [program.said(), program.said()]
        pid = next(int(each) for each in said if each.isdigit())
        with Watched(pid) as child, Watched(parent_of(pid)) as zygote:
            assert not child.is_gone(0)
            program.kill()
            assert child.is_gone()
            assert zygote.is_gone()


@pytest.mark.parametrize("what", ["idle", "sleep", "spin"])
def test_nothing_is_left_of_a_driver_that_is_killed_without_a_zygote(what, tmp_path):
    with Program(tmp_path, DRIVER.format(start="spawn"), arguments=[what]) as program:
        said = [program.said(), program.said()]
        pid = next(int(each) for each in said if each.isdigit())
        with Watched(pid) as child:
            program.kill()
            assert child.is_gone()


def parent_of(pid):
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[1])


GRANDCHILDREN = """
import os, subprocess, sys, threading
import moorage

app = moorage.App("program")

@app.function()
def start():
    command = [sys.executable, "-c", "import time; time.sleep(1000)"]
    near = subprocess.Popen(command, close_fds=False)
    far = subprocess.Popen(command, start_new_session=True)
    return os.getpid(), near.pid, far.pid

if __name__ == "__main__":
    with app.run(placement="process"):
        os.write(1, (" ".join(map(str, start.remote())) + "\\n").encode())
        if sys.argv[1] == "killed":
            threading.Event().wait()
"""


@pytest.mark.parametrize("how", ["killed", "ended"])
def test_what_a_container_has_started_ends_with_the_driver(how, tmp_path):
    with Program(tmp_path, GRANDCHILDREN, arguments=[how]) as program:
        _, near, far = map(int, program.said().split())
        with Watched(near) as near, Watched(far) as far:
            if how == "killed":
                program.kill()
            else:
                assert program.end()[0] == 0
            assert near.is_gone()
            assert far.is_gone()


SERVER = """
import os, subprocess, sys, threading, urllib.request
import moorage

app = moorage.App("program")
PORT = int(sys.argv[1]) if len(sys.argv) > 1 else int(os.environ["PORT"])

@app.function(env={"PORT": str(PORT)})
@moorage.web_server(PORT)
def serve():
    subprocess.Popen([sys.executable, "-m", "http.server", str(PORT), "--bind", "127.0.0.1"])

if __name__ == "__main__":
    with app.run(placement="process"):
        urllib.request.urlopen(serve.get_web_url()).read()
        os.write(1, b"serves\\n")
        threading.Event().wait()
"""


def test_the_port_of_a_server_is_free_after_the_drivers_death(tmp_path):
    pytest.importorskip("uvicorn")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with Program(tmp_path, SERVER, arguments=[port]) as program:
        while program.said() != "serves":  # the server speaks as well
            pass
        socket.create_connection(("127.0.0.1", port)).close()
        program.kill()

        def is_free():
            try:
                socket.create_server(("127.0.0.1", port)).close()
            except OSError:
                return False
            return True

        wait_for(is_free)


def test_the_end_of_a_child_that_has_forked_is_noticed():
    # The grandchild holds the socket: its end never comes.
    with served.app.run(placement="process"):
        pid, grandchild = served.with_grandchild.remote()
        with Watched(grandchild) as grandchild:
            os.kill(pid, signal.SIGKILL)
            assert served.where.remote()["pid"] != pid
            assert grandchild.is_gone()  # it was in the group


def test_what_is_no_frame_is_the_end_of_its_container_alone(tmp_path, caplog):
    path = tmp_path / "witness"
    with served.app.run(placement="process"), caplog.at_level("ERROR", "moorage"):
        with pytest.raises(ContainerLostError, match="closed its connection"):
            served.talk_nonsense.remote(str(path))
        assert served.where.remote()
        wait_for(lambda: caplog.text.count("the post failed") >= 2)
    assert len(path.read_text().splitlines()) == 2
    assert caplog.text.count("the post failed") == 2


def test_a_fork_of_a_container_has_not_its_socket():
    with served.app.run(placement="process"):
        here, there = served.sockets_of_a_fork.remote()
        assert here > there
        assert served.where.remote()


def test_the_death_of_the_zygote_is_nobodys_loss(zygotes):
    with served.app.run(placement="process"):
        pid = served.where.remote()["pid"]
        with Watched(zygotes.pid) as zygote, Watched(pid) as child:
            zygote.send(signal.SIGKILL)
            assert zygote.is_gone()
            assert child.is_gone()
        seen = served.where.remote()
        assert seen["pid"] != pid
        assert parent_of(seen["pid"]) == zygotes.pid


def sees_the_group():
    """Whether the system kills a group by a pidfd: Linux 6.9."""
    release = os.uname().release.split("-")[0].split(".")
    return tuple(map(int, release[:2])) >= (6, 9)


@pytest.mark.skipif(not sees_the_group(), reason="older systems need the zygote for this")
@pytest.mark.parametrize(("number", "how"), [(signal.SIGKILL, "SIGKILL"), (signal.SIGTERM, "TERM")])
def test_a_death_is_noticed_while_the_zygote_sleeps(zygotes, number, how, tmp_path):
    with served.app.run(placement="process"):
        call = served.start_and_wait.spawn(str(tmp_path / "pids"))
        wait_for(lambda: len(pids_in(tmp_path / "pids")) == 2)
        pid, grandchild = pids_in(tmp_path / "pids")
        with Watched(grandchild) as grandchild:
            os.kill(zygotes.pid, signal.SIGSTOP)
            try:
                os.kill(pid, number)
                # Only by the pidfd: nobody else says how it ended.
                with pytest.raises(ContainerLostError, match=how):
                    call.get(timeout=PATIENCE)
                assert grandchild.is_gone()
            finally:
                os.kill(zygotes.pid, signal.SIGCONT)
        assert served.where.remote()["pid"] != pid


def pids_in(path):
    return list(map(int, path.read_text().split())) if path.exists() else []


def test_three_deaths_of_the_zygote_fail_what_waits(zygotes):
    with served.app.run(placement="process"):
        for _ in range(3):
            served.where.remote()
            with Watched(zygotes.pid) as zygote:
                zygote.send(signal.SIGKILL)
                assert zygote.is_gone()
            wait_for(lambda: zygotes.pid is None)
        with pytest.raises(ExecutionError, match=r"died 3 times within 60 s.*SIGKILL"):
            served.where.remote()


@pytest.fixture
def zygotes():
    """The zygotes of processes without a preload, as if none had died."""
    zygotes = process_zygotes.of(())
    zygotes._deaths.clear()
    yield zygotes
    zygotes._deaths.clear()


def test_a_stopped_child_is_killed_when_the_run_is_left():
    with served.app.run(placement="process", grace=0.2):
        pid = served.where.remote()["pid"]
        child = Watched(pid)
        child.send(signal.SIGSTOP)
    with child:
        assert child.is_gone()


OUTPUT = """
import os, signal, sys
import moorage

app = moorage.App("program")

@app.function()
def talk():
    print("a line that was printed")
    print("a line of stderr", file=sys.stderr)
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    with app.run(placement="process"):
        try:
            talk.remote()
        except moorage.exception.ContainerLostError:
            print("lost")
"""


def test_what_was_printed_before_a_kill_is_there(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    with open(tmp_path / "out", "w+") as file:
        with Program(tmp_path, OUTPUT, stdout=file) as program:
            code, _, err = program.end()
        file.seek(0)
        assert file.read().splitlines() == [*["a line that was printed"] * 2, "lost"]
    assert code == 0
    assert err.count("a line of stderr") == 2


def test_output_goes_where_the_drivers_output_is_now(capfd):
    with served.app.run(placement="process"):
        served.printing.remote("something")
    assert capfd.readouterr().out == "something\n"


LEAVING = """
import atexit, os, sys
import moorage

app = moorage.App("program")

@app.function()
def register(path):
    atexit.register(lambda: open(path, "a").write("left\\n"))
    file = open(path + ".open", "w")
    file.write("not flushed")
    sys.kept = file

if __name__ == "__main__":
    with app.run(placement=moorage.Processes(start=sys.argv[2])):
        register.remote(sys.argv[1])
"""


@pytest.mark.parametrize("start", ["zygote", "spawn"])
def test_a_container_leaves_by_the_normal_way(start, tmp_path):
    path = tmp_path / "left"
    with Program(tmp_path, LEAVING, arguments=[path, start]) as program:
        assert program.end()[0] == 0
    assert path.read_text() == "left\n"
    assert (tmp_path / "left.open").read_text() == "not flushed"


FORKING = """
import os, signal, sys
import moorage

app = moorage.App("program")

@app.function(max_containers=2)
def double(x):
    return 2 * x

if __name__ == "__main__":
    with app.run(placement="process"):
        call = double.map(range(300))
        first = next(iter(call))
        pid = os.fork()
        if pid == 0:
            try:
                double.remote(1)
            except moorage.exception.ExecutionError as error:
                os.write(1, b"refused\\n" if "forked" in str(error) else str(error).encode())
            os._exit(0)
        os.waitpid(pid, 0)
        assert list(double.map(range(300))) == [2 * x for x in range(300)]
        print("all", flush=True)
"""


def test_a_fork_of_the_driver_harms_nothing(tmp_path):
    with Program(tmp_path, FORKING) as program:
        code, out, err = program.end()
    assert (code, out.splitlines()[-1]) == (0, "all"), err


CTRL_C = """
import os, sys, threading
import moorage

app = moorage.App("program")

@app.cls()
class Slow:
    @moorage.method()
    def run(self):
        os.write(1, b"runs\\n")
        while True:
            pass

    @moorage.exit()
    def leave(self):
        os.write(1, b"exit hook\\n")

if __name__ == "__main__":
    with app.run(placement="process"):
        Slow().run.remote()
"""


def test_ctrl_c_in_a_terminal_is_one_interrupt_and_runs_exit_hooks(tmp_path):
    import pty

    file = tmp_path / "program.py"
    file.write_text(CTRL_C)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, str(file)])
    seen = b""
    try:
        while b"runs" not in seen:
            seen += os.read(terminal, 4096)
        os.write(terminal, b"\x03")
        while True:
            try:
                more = os.read(terminal, 4096)
            except OSError:  # all who had the terminal are gone
                break
            if not more:
                break
            seen += more
    finally:
        os.close(terminal)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    text = seen.decode()
    assert code == -signal.SIGINT, text
    assert text.count("Traceback") == 1, text
    assert "KeyboardInterrupt" in text.rstrip().splitlines()[-1], text
    assert text.count("exit hook") == 1, text


def test_a_spawning_thread_that_ends_takes_nobody_with_it():
    with served.app.run(placement="process"):
        results = []
        thread = threading.Thread(target=lambda: results.append(served.where.remote()["pid"]))
        thread.start()
        thread.join()
        with Watched(results[0]) as child:
            assert not child.is_gone(0)
            assert served.where.remote()["pid"] == results[0]


def test_a_zygote_with_threads_spawns(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    with Program(tmp_path, FORKING, env={"PYTHONPATH": path}) as program:
        code, out, err = program.end()
    assert (code, out.splitlines()[-1]) == (0, "all"), err
    assert err.count("has several threads before it has imported anything") == 1


@pytest.mark.parametrize(
    ("name", "source", "said"),
    [
        ("missing", None, "missing, which preload= names, cannot be imported"),
        (
            "threaded",
            "import threading as t\nt.Thread(target=t.Event().wait, daemon=True).start()",
            "threaded, which preload= names, starts threads",
        ),
    ],
)
def test_a_preload_that_does_not_work_is_said(name, source, said, tmp_path, monkeypatch):
    if source is not None:
        (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    placement = moorage.Processes(preload=[name])
    with served.app.run(placement=placement), pytest.raises(ContainerLostError, match=said):
        served.where.remote()


PRELOADED = """
import moorage
moorage.install_as_modal()
import tasks

if __name__ == "__main__":
    with tasks.app.run(placement=moorage.Processes(preload=["tasks"])):
        print(tasks.add.remote(1))
"""

TASKS = """
import os
import modal

app = modal.App("tasks")
IMPORTED_BY = os.getpid()

@app.function()
def add(x: int) -> tuple[int, bool]:
    return x + one.remote(), os.getppid() == IMPORTED_BY

@app.function()
def one() -> int:
    return 1
"""


def test_modules_of_the_program_are_preloaded_from_where_it_has_them(tmp_path):
    (tmp_path / "tasks.py").write_text(TASKS)
    (tmp_path / "program.py").write_text(PRELOADED)
    ran = subprocess.run(
        [sys.executable, str(tmp_path / "program.py")], cwd="/", capture_output=True, text=True
    )
    assert ran.stdout == "(2, True)\n", ran.stderr


def test_a_preload_is_imported_once(tmp_path, monkeypatch):
    path = tmp_path / "imports"
    (tmp_path / "heavy.py").write_text(
        f"import moorage\nopen({str(path)!r}, 'a').write(f'local: {{moorage.is_local()}}\\n')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)  # as the directory of a program is there
    with served.app.run(placement=moorage.Processes(preload=["heavy"])):
        pids = {each["pid"] for each in served.where.map(range(3))}
        os.kill(pids.pop(), signal.SIGKILL)
        served.where.remote()
    assert path.read_text() == "local: False\n"


WITHOUT = """
import os
for name in ("pidfd_open", "memfd_create", "waitid"):
    if hasattr(os, name):
        delattr(os, name)
"""


def test_a_system_without_pidfds_spawns_and_leaves_nothing(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(WITHOUT)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    source = DRIVER.format(start="zygote")
    with Program(tmp_path, source, env={"PYTHONPATH": path}, arguments=["sleep"]) as program:
        said = [program.said(), program.said()]
        pid = next(int(each) for each in said if each.isdigit())
        assert parent_of(pid) == program.process.pid
        with Watched(pid) as child:
            program.kill()
            assert child.is_gone()
    with Program(tmp_path, FORKING, env={"PYTHONPATH": path}) as program:
        code, out, err = program.end()
    assert (code, out.splitlines()[-1]) == (0, "all"), err


MEASURED = """
import os
import moorage

app = moorage.App("measured")

@app.function()
def f(x):
    if x == 4:
        return x * 2
    os._exit(3)
"""

MEASURING = """
import sys
import moorage
from measured import app, f

if __name__ == "__main__":
    with app.run(placement=moorage.Processes(start=sys.argv[1], max_processes=1)):
        f.remote(4)
        try:
            f.remote(5)
        except moorage.exception.ContainerLostError:
            print("lost")
"""


@pytest.mark.parametrize("start", ["zygote", "spawn"])
def test_coverage_measures_what_containers_run(start, tmp_path):
    coverage = pytest.importorskip("coverage")
    (tmp_path / ".coveragerc").write_text(
        "[run]\nparallel = true\nsource = .\npatch = subprocess, _exit\n"
    )
    (tmp_path / "measured.py").write_text(MEASURED)
    (tmp_path / "measuring.py").write_text(MEASURING)
    command = [sys.executable, "-m", "coverage", "run", "measuring.py", start]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (0, "lost\n"), done.stderr
    measured = coverage.Coverage(data_file=str(tmp_path / ".coverage"), config_file=False)
    measured.combine([str(tmp_path)])
    _, _, missing, _ = measured.analysis(str(tmp_path / "measured.py"))
    assert missing == []


HELD_BY_A_FORK = """
import os, sys, threading
import moorage

app = moorage.App("program")

@app.function()
def pids():
    return os.getpid(), os.getppid()

if __name__ == "__main__":
    with app.run(placement="process"):
        found = pids.remote()
        fork = os.fork()
        if fork == 0:
            threading.Event().wait()
        os.write(1, (" ".join(map(str, [*found, fork])) + "\\n").encode())
        threading.Event().wait()
"""


def test_a_fork_of_a_killed_driver_keeps_nobody_alive(tmp_path):
    # The fork holds the driver's ends of all sockets, so their ends never come.
    with Program(tmp_path, HELD_BY_A_FORK) as program:
        child, zygote, fork = map(Watched, map(int, program.said().split()))
        with child, zygote, fork:
            program.kill()
            assert child.is_gone()
            assert zygote.is_gone()
            assert not fork.is_gone(0)


LARGE = [bytes([x]) * 2_000_000 for x in range(20)]


def test_a_driver_that_does_not_read_and_a_child_that_does_not_read():
    gate = threading.Event()
    with served.app.run(placement="process"):
        served.echo.remote(b"")
        try:
            process_post.do(gate.wait)
            calls = [served.echo.spawn(data) for data in LARGE]
        finally:
            gate.set()
        assert [call.get() for call in calls] == LARGE
        with Watched(children_of(process_zygotes.of(()).pid)[0]) as child:
            child.send(signal.SIGSTOP)
            calls = [served.echo.spawn(data) for data in LARGE]
            child.send(signal.SIGCONT)
            assert [call.get() for call in calls] == LARGE


MODAL = """
import os
import modal

app = modal.App("as modal")

if modal.is_local():
    print("here", __name__, flush=True)
else:
    print("there", __name__, modal.__name__, flush=True)

@app.function()
def f(x):
    return x + 1, os.getpid()

@app.local_entrypoint()
def main():
    value, pid = f.remote(1)
    print(value, pid != os.getpid(), flush=True)
"""


def test_a_program_of_the_command_line(tmp_path):
    pytest.importorskip("click")
    (tmp_path / "my_app.py").write_text(MODAL)
    done = subprocess.run(
        [sys.executable, "-m", "moorage", "run", "my_app.py"],
        cwd=tmp_path,
        env={**os.environ, "MOORAGE_PLACEMENT": "process"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["here my_app", "there my_app moorage", "2 True"]


LACKING = """
import sys
sys.modules["cloudpickle"] = None
import moorage

app = moorage.App()
try:
    with app.run(placement="process"):
        pass
except moorage.exception.InvalidError as error:
    print(error)
"""


def test_an_extra_that_is_not_installed_is_named(tmp_path):
    with Program(tmp_path, LACKING) as program:
        code, out, err = program.end()
    assert code == 0, err
    assert 'pip install "moorage[process]"' in out
