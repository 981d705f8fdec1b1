"""Containers that are processes: what the user's code sees, and what callers get."""

import io
import os
import re
import signal
import subprocess
import sys
import threading

import pytest

import moorage
from moorage.exception import ContainerLostError, FunctionTimeoutError, InvalidError
from moorage.placing import outbox
from moorage.placing.processes import EACH
from moorage.runtime.background import flush
from moorage.testing import Probe, VirtualClock

from . import served
from .outside import Watched, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pidfds are Linux's")


@pytest.fixture(params=["zygote", "spawn"])
def app(request):
    placement = moorage.Processes(start=request.param, max_processes=2)
    with served.app.run(placement=placement) as app:
        yield app


@pytest.fixture
def forked():
    with served.app.run(placement="process") as app:
        yield app


def test_the_code_runs_in_a_process_of_its_own_with_a_module_of_its_own(app):
    first, second = served.where.remote(1), served.where.remote(2)
    assert first["x"] == 1
    assert first["pid"] == second["pid"] != os.getpid()
    assert (first["count"], second["count"], served.count) == (1, 2, 0)
    assert first["is_main"]
    assert first["group"] == first["pid"]
    assert first["argv"] == sys.argv
    assert first["directory"] == os.getcwd()
    assert first["input"].startswith("in-")
    assert first["call"].startswith("fc-")
    assert first["input"][3:].startswith(first["call"][3:])


def test_code_of_the_module_is_not_local_in_a_container(forked):
    assert served.WAS_LOCAL
    seen = served.where.remote()
    assert not seen["was_local"]
    assert not seen["is_local"]


def test_the_garbage_collector_leaves_the_modules_alone_and_not_what_hooks_load(app):
    assert served.Collected().sees.remote() == [False, True]


def test_all_kinds_of_functions(app):
    assert list(served.double.map(range(200))) == [2 * x for x in range(200)]
    assert list(served.numbers.remote_gen(100)) == list(range(100))
    assert list(served.add_one.map(range(10))) == list(range(1, 11))
    assert served.double.spawn(4).get() == 8


def test_an_exception_arrives_as_the_class_of_the_caller(app):
    with pytest.raises(served.SpecialError, match="what") as caught:
        served.fail.remote("what")
    assert caught.value.code == 7
    assert caught.traceback[-1].name == "fail"


def test_hooks_run_in_the_process(app, tmp_path):
    path = tmp_path / "left"
    model = served.Model(size=3, path=str(path))
    value, pid, _ = model.run.remote(5)
    assert value == 15
    assert pid != os.getpid()
    assert model.run.remote(1)[2] >= 1  # signal.signal works in an enter hook
    assert served.Model().run.remote(4)[0] == 4
    assert not path.exists()
    app._runs.run.close()
    assert path.read_text() == "left 3\n"


def test_an_enter_hook_that_raises_fails_the_call(forked):
    with pytest.raises(served.SpecialError, match="no model"):
        served.Broken().run.remote()


def test_a_container_has_the_environment_of_its_function(app, monkeypatch):
    monkeypatch.setenv("OF_THE_DRIVER", "yes")
    environ, directory = served.surrounded.remote()
    assert environ["COLOR"] == "red"
    assert environ["PASSWORD"] == "secret"
    assert environ["SHAPE"] == "round"
    assert environ["OF_THE_DRIVER"] == "yes"
    assert environ["MODAL_TASK_ID"].startswith("ta-")
    assert environ["MODAL_IS_REMOTE"] == "1"
    assert environ.get("OPENBLAS_NUM_THREADS") == os.environ.get("OPENBLAS_NUM_THREADS")
    assert directory == "/"
    other = served.where.remote()["environ"]
    assert not {"COLOR", "PASSWORD", "SHAPE"} & {*other, *os.environ}
    assert other["MODAL_TASK_ID"] != environ["MODAL_TASK_ID"]


def test_an_app_is_not_run_in_a_container(forked):
    with pytest.raises(InvalidError, match="cannot be run in a container"):
        served.run_again.remote()


def test_a_breakpoint_says_what_to_do_instead(forked, monkeypatch):
    monkeypatch.delenv("PYTHONBREAKPOINT", raising=False)
    with pytest.raises(InvalidError, match='placement="thread"'):
        served.stop_here.remote()


# -- by value ---------------------------------------------------------------------------------

by_value = moorage.App("by value")
OFFSET = 10


def make(app, factor):
    @app.function(serialized=True)
    def times(x):
        return factor * x + OFFSET, os.getpid()

    @app.cls(serialized=True)
    class Counter:
        step: int = moorage.parameter()

        @moorage.enter()
        def begin(self):
            self.total = 0

        @moorage.method()
        def add(self, x):
            self.total += self.step * x * factor
            return self.total

    return times, Counter


def test_nested_functions_and_classes_go_by_value():
    app = moorage.App("nested")
    times, Counter = make(app, 3)
    with app.run(placement="process"):
        value, pid = times.remote(4)
        assert value == 22
        assert pid != os.getpid()
        counter = Counter(step=2)
        assert [counter.add.remote(x) for x in (1, 2)] == [6, 18]


def test_what_code_refers_to_and_does_not_pickle_is_named():
    app = moorage.App("unpicklable")
    lock = threading.Lock()

    @app.function(serialized=True)
    def take():
        with lock:
            return 1

    said = r"lock, used by take, is of the type _thread.lock"
    with app.run(placement="process"), pytest.raises(InvalidError, match=said):
        take.remote()


# -- choosing ---------------------------------------------------------------------------------


def test_a_mapping_places_by_name():
    with served.app.run(placement={"where": "process", "*": "thread"}):
        assert served.where.remote()["pid"] != os.getpid()
        assert served.Model().run.remote(1)[1] == os.getpid()
    with served.app.run(placement={"Model": "process"}):
        assert served.where.remote()["pid"] == os.getpid()
        assert served.Model().run.remote(1)[1] != os.getpid()
    served.count = 0


@pytest.mark.parametrize("how", ["environment", "configuration"])
def test_the_environment_and_the_configuration_choose(how, monkeypatch):
    if how == "environment":
        monkeypatch.setenv("MOORAGE_PLACEMENT", "process")
    else:
        monkeypatch.setattr(moorage.config, "placement", "process")
    with served.app.run():
        assert served.where.remote()["pid"] != os.getpid()
    assert served.where.remote()["pid"] != os.getpid()  # an ambient run
    served.app._runs.close(served.app._runs.run)
    with VirtualClock(), served.app.run():
        assert served.where.remote()["pid"] == os.getpid()
    with served.app.run(probe=Probe()):
        assert served.where.remote()["pid"] == os.getpid()
    with served.app.run(placement="thread"):
        assert served.where.remote()["pid"] == os.getpid()
    served.count = 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"placement": "proces"}, 'must be "thread", "process" or moorage.Processes'),
        ({"placement": {3: "process"}}, "names of functions and classes, got 3"),
        ({"placement": {"f": 3}}, r"placement\['f'\] must be"),
        ({"placement": "process", "clock": VirtualClock()}, "does not go with a virtual clock"),
        ({"placement": "process", "probe": Probe()}, "does not go with probe="),
        ({"placement": "process", "serialize": False}, "serialize=False does not go with"),
    ],
)
def test_what_does_not_go_is_refused(options, said):
    with pytest.raises(InvalidError, match=said), served.app.run(**options):
        pass


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"preload": "numpy"}, r'write Processes\(preload=\["numpy"\]\)|preload=\[.numpy.\]'),
        ({"preload": ["a b"]}, "names of modules"),
        ({"start": "fork"}, '"zygote" or "spawn"'),
        ({"start": "spawn", "preload": ["json"]}, "needs start="),
        ({"max_processes": 0}, "from 1 up"),
    ],
)
def test_wrong_options_of_processes(options, said):
    with pytest.raises(InvalidError, match=said):
        moorage.Processes(**options)


def test_a_name_that_no_function_has_is_warned_about():
    said = r"""placement= names 'doubel', which is no function or class of .*; write 'double'"""
    with (
        pytest.warns(UserWarning, match=said),
        served.app.run(placement={"doubel": "process"}),
    ):
        assert served.where.remote()["pid"] == os.getpid()
    with (
        pytest.warns(UserWarning, match=r"names 'Model\.where', .*; write 'Model'"),
        served.app.run(placement={"Model.where": "process", "*": "thread"}),
    ):
        pass


WARNS = """
import moorage

app = moorage.App("warns")

@app.cls()
class Old:
    def __init__(self, size: int = 1):
        self.size = size

    @moorage.method()
    def get(self) -> int:
        return self.size

if __name__ == "__main__":
    with app.run(placement=moorage.Processes(start="{start}")):
        print(Old(2).get.remote(), Old(3).get.remote())
"""


@pytest.mark.parametrize("start", ["zygote", "spawn"])
def test_what_was_said_of_a_declaration_is_not_said_again_in_each_container(start, tmp_path):
    (tmp_path / "program.py").write_text(WARNS.replace("{start}", start))
    ran = subprocess.run(
        [sys.executable, "-W", "always", str(tmp_path / "program.py")],
        capture_output=True,
        text=True,
    )
    assert ran.stdout == "2 3\n", ran.stderr
    assert ran.stderr.count("has a constructor") == 1, ran.stderr


@pytest.mark.parametrize("start", ["zygote", "spawn"])
def test_containers_that_start_while_the_run_ends_are_no_losses(start, caplog):
    with served.app.run(placement=moorage.Processes(start=start)):
        calls = [served.where.spawn(x) for x in range(8)]
    flush(10.0)
    assert "is lost" not in caplog.text
    assert served.where.statistics() is None
    assert len(calls) == 8


def test_an_enter_hook_that_was_killed_at_the_end_of_the_run_is_said(tmp_path, caplog, monkeypatch):
    # The process computes, and may be late with its answer.
    monkeypatch.setattr("moorage.placing.remote.ASKS_FOR", 30.0)
    monkeypatch.setattr("moorage.placing.remote.GIVES_UP_WITHIN", 60.0)
    with served.app.run(placement="process", grace=0.1):
        served.EntersForever(path=str(tmp_path / "seen")).run.spawn()
        wait_for((tmp_path / "seen").exists)
    flush(10.0)
    said = r"EntersForever.load \(.*served.py:[0-9]+\), whose process was killed"
    assert re.search(said, caplog.text), caplog.text


def test_a_finalizer_that_waits_does_not_stop_the_thread_that_reads(forked):
    for _ in range(20):
        served.makes_one_that_spawns.spawn().get()
        served.double.remote(1)  # a caller reads, too
    wait_for(lambda: len(served.SpawnsWhenItDies.died) == 20)
    for died in served.SpawnsWhenItDies.died:
        assert died == 2 or "write spawn(...) in it, and no get()" in str(died)
    assert served.double.remote(4) == 8


def test_max_processes_bounds_the_containers_of_a_function():
    with served.app.run(placement=moorage.Processes(max_processes=2)):
        seen = {each["pid"] for each in served.where.map(range(20))}
        assert len(seen) <= 2
        assert len(served.where.statistics().containers) <= 2


# -- how a container dies ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: served.end_with.remote(3), "it exited with code 3"),
        (lambda: served.kill_itself.remote(), "it was killed by SIGKILL"),
        (lambda: served.crash.remote(), r"it was killed by SIGSEGV, in .* called by crash \("),
        (lambda: served.close_everything.remote(), "it has closed its connection"),
    ],
)
def test_a_call_that_ends_its_container_fails_with_how(app, call, said):
    with pytest.raises(ContainerLostError, match=said):
        call()
    assert served.where.remote()["x"] == 0  # the others go on


def test_a_death_in_an_enter_hook_fails_what_waits(app):
    with pytest.raises(ContainerLostError, match=r"while they start.*it exited with code 4"):
        served.CrashesAtStart().run.remote()


def test_the_neighbours_of_a_poison_input_finish(forked, tmp_path):
    path = tmp_path / "ran"
    results = list(
        served.poisoned.starmap([(x, str(path)) for x in range(20)], return_exceptions=True)
    )
    assert [x for x in results if not isinstance(x, Exception)] == [x for x in range(20) if x != 13]
    assert isinstance(results[13], ContainerLostError)
    ran = path.read_text().split()
    assert max(ran.count(str(x)) for x in range(20)) <= 3


def test_a_container_of_single_use_runs_one_input(forked):
    pids = list(served.once.map(range(6)))
    assert len(set(pids)) == 6


def test_cancel_with_terminate_containers_kills_and_the_neighbours_run_again(forked, tmp_path):
    path = tmp_path / "ran"
    endless = served.note.spawn(str(path), "endless")
    neighbour = served.note.spawn(str(path), "neighbour")
    wait_for(lambda: path.exists() and len(path.read_text().splitlines()) == 2)
    first = int(path.read_text().split()[1])
    with Watched(first) as child:
        endless.cancel(terminate_containers=True)
        assert child.is_gone()
    with pytest.raises(moorage.exception.InputCancelledError):
        endless.get()
    assert neighbour.get() != first


@pytest.mark.parametrize("how", ["hold", "be_stopped", "NeverStarts"])
def test_a_process_that_does_not_end_is_killed_once_its_callers_are_answered(forked, how, tmp_path):
    path = tmp_path / "witness"
    calls = {
        "hold": lambda: served.hold.spawn(str(path)),
        "be_stopped": lambda: served.be_stopped.spawn(str(path)),
        "NeverStarts": lambda: served.NeverStarts(path=str(path)).run.spawn(),
    }
    call = calls[how]()
    wait_for(lambda: path.exists() and path.read_text())
    with Watched(int(path.read_text().split()[2])) as child:
        with pytest.raises(FunctionTimeoutError):
            call.get()
        assert child.is_gone()


def test_a_kill_from_outside_runs_the_input_again(forked):
    pid = served.where.remote()["pid"]
    os.kill(pid, signal.SIGKILL)
    assert served.where.remote()["pid"] != pid


def test_a_class_by_value_keeps_the_order_of_its_methods_and_hooks():
    app = moorage.App("by-value")

    @app.cls(serialized=True)
    class Ordered:
        @moorage.enter()
        def z_first(self):
            self.steps = ["z"]

        @moorage.enter()
        def a_second(self):
            self.steps.append("a")

        @moorage.method()
        def y(self):
            return "y", self.steps

        @moorage.method()
        def b(self):
            return "b", self.steps

    with app.run(placement="process"):
        ordered = Ordered()
        assert ordered.y.remote() == ("y", ["z", "a"])
        assert ordered.b.remote() == ("b", ["z", "a"])


def test_a_container_reads_the_limit_that_it_has_set(app):
    assert served.limited.remote(3) == (8, 3)
    assert served.limited.remote(99) == (3, 8)


def test_memory_bounds_only_those_that_there_may_be(monkeypatch):
    monkeypatch.setattr("moorage.placing.processes.free_memory", lambda: 3 * EACH)
    assert moorage.Processes().most == 3
    monkeypatch.setattr("moorage.placing.processes.free_memory", lambda: 3000 * EACH)
    assert moorage.Processes().most is None


def test_a_patch_of_a_class_that_is_imported_goes_along(monkeypatch):
    def load(self):
        self.pid = self.heard = -1

    monkeypatch.setattr(served.Model, "load", load)
    monkeypatch.setattr(served.Model, "size", 7)
    with served.app.run(placement="process"):
        assert served.Model().run.remote(2) == (14, -1, -1)
    monkeypatch.undo()
    with served.app.run(placement="process"):
        assert served.Model(size=3).run.remote(2)[:2] != (14, -1)
    monkeypatch.setattr(served.Model, "extra", threading.Lock(), raising=False)
    said = r"pickling Model.*\.extra raised TypeError"
    with served.app.run(placement="process"), pytest.raises(InvalidError, match=said):
        served.Model().run.remote(1)


def test_the_process_of_a_container_is_shown(forked):
    pid = served.where.remote()["pid"]
    (container,) = served.where.statistics().containers
    assert container.pid == pid
    text = io.StringIO()
    moorage.describe(text)
    assert f"container 1 (process {pid}): ready" in text.getvalue()


@pytest.fixture
def described():
    """Wait until `describe` says what is awaited; then return its text."""

    def describe(*awaited):
        def says_it():
            texts.append(io.StringIO())
            moorage.describe(texts[-1])
            return all(each in texts[-1].getvalue() for each in awaited)

        texts = []
        wait_for(says_it)
        return texts[-1].getvalue()

    return describe


def test_describe_says_where_the_code_of_a_process_is_and_what_it_waits_for(forked, described):
    queue = moorage.Queue.from_name("describe-places", create_if_missing=True)
    sync, coroutine = served.asks_another.spawn(queue), served.awaits_another.spawn(queue)
    text = described(
        "in its main thread, at asks_another (",
        "in a task, at awaits_another (",
        "at waits_for_item (",
        "waits for waits_for_item (in-",
        "waits for results of a map over waits_for_item",
    )
    assert "served.py:" in text
    queue.put_many([None] * 3)
    assert (sync.get(), coroutine.get()) == (1, 2)


def test_describe_says_that_a_stopped_process_does_not_answer(forked, described):
    call = served.stops_itself.spawn()
    described("its process does not answer")
    call.cancel(terminate_containers=True)


def test_describe_asks_nobody_if_it_has_interrupted_what_carries_the_question(forked):
    queue = moorage.Queue.from_name("describe-interrupts", create_if_missing=True)
    call = served.waits_for_item.spawn(queue)
    wait_for(lambda: served.waits_for_item.statistics().running)
    texts = [io.StringIO(), io.StringIO()]
    # As a signal handler: the frame of what it has interrupted is below its own.
    names = {}
    exec(compile("def write(describe, to): describe(to)", outbox.__file__, "exec"), names)
    names["write"](moorage.describe, texts[0])
    wait_for(lambda: moorage.describe(texts[1]) or "main thread" in texts[1].getvalue())
    assert "main thread" not in texts[0].getvalue()
    assert "does not answer" not in texts[0].getvalue()
    queue.put(None)
    assert call.get() == 1


def test_a_fork_of_a_container_says_that_it_makes_no_calls(forked):
    said, after = served.calls_in_a_fork.remote()
    assert said == ["ExecutionError: this process was forked from the process of a container"] * 3
    assert after == 8
