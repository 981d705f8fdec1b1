"""Nothing is lost and nothing runs twice: shown by a witness outside of the engine.

User code appends a line to a file when it begins and when it ends.  A relay stands between driver
and child, lets so many bytes pass in one direction, and then kills the child.  From the file and
the callers alone: each input has one outcome; nothing begins after its outcome was delivered; a
container never has more than `max_inputs` open; no input runs more than three times, and one that
is nonpreemptible once.
"""

import contextlib
import fcntl
import os
import select
import signal
import socket
import struct
import sys
import termios
import threading
from collections import Counter

import pytest

import moorage
from moorage.exception import ContainerLostError
from moorage.placing.channel import Channel
from moorage.placing.post import process_post
from moorage.placing.processes import Processes, process_zygotes

from . import served
from .outside import Watched, children_of, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pidfds are Linux's")

INPUTS = 8
PADDING = "x" * 40
MAX_INPUTS = 3


class Relay:
    """A source of processes that kills the first one after so many bytes."""

    def __init__(self, inner, direction, most):
        self._inner = inner
        self._direction = direction  # "to the child" or "from the child"
        self._most = most
        self.passed = 0
        self.killed = False
        self._is_first = True
        self.threads = []

    def launch(self, process, descriptors):
        if not self._is_first:
            self._inner.launch(process, descriptors)
            return
        self._is_first = False
        channel, crash = descriptors
        driver = socket.socket(fileno=os.dup(channel))
        here, child = socket.socketpair()
        thread = threading.Thread(target=self._carry, args=(process, driver, here), daemon=True)
        self.threads.append(thread)
        thread.start()
        handed_over = process.handed_over

        def both():
            child.close()
            handed_over()

        process.handed_over = both
        self._inner.launch(process, [child.fileno(), crash])

    def _carry(self, process, driver, child):
        counted = driver if self._direction == "to the child" else child
        with driver, child:
            while True:
                for end in select.select([driver, child], [], [])[0]:
                    other = child if end is driver else driver
                    most = min(65536, self._most - self.passed) if end is counted else 65536
                    try:
                        data = end.recv(max(1, most)) if most > 0 else b""
                        if data:
                            other.sendall(data)
                    except OSError:
                        data = b""
                    if end is counted:
                        self.passed += len(data)
                        if self.passed >= self._most:
                            self._kill(process)
                            return
                    if not data:
                        return

    def _kill(self, process):
        wait_for(lambda: process.pid)
        with Watched(process.pid) as child:
            child.send(signal.SIGKILL)
            assert child.is_gone()
        self.killed = True


def converse(function, path, relay, monkeypatch):
    """Run inputs over the relay; return their outcomes, and when each was delivered."""
    monkeypatch.setattr(Processes, "source", lambda self: relay)
    outcomes = {}
    with served.app.run(placement=Processes(max_processes=2)):
        calls = {id: function.spawn(str(path), id, PADDING) for id in range(INPUTS)}
        for id, call in calls.items():
            try:
                outcomes[id] = call.get(timeout=60)[0]
            except ContainerLostError as error:
                outcomes[id] = error
            served.bear_witness(path, "outcome", id)
    return outcomes


def check(path, outcomes, *, most_runs, inputs=INPUTS):
    """What must hold, from the outcomes and the file alone."""
    assert set(outcomes) == set(range(inputs))
    for id, outcome in outcomes.items():
        assert outcome == id or isinstance(outcome, ContainerLostError)
    begun, delivered, open_inputs = Counter(), set(), Counter()
    for line in path.read_text().splitlines():
        what, id, pid = line.split()
        if what == "begin":
            assert id not in delivered, f"input {id} began after its outcome"
            begun[id] += 1
            open_inputs[pid] += 1
            assert open_inputs[pid] <= MAX_INPUTS
        elif what == "end":
            open_inputs[pid] -= 1
        else:
            delivered.add(id)
    assert max(begun.values()) <= most_runs
    assert all(begun[str(id)] for id, outcome in outcomes.items() if outcome == id)


@pytest.mark.parametrize("direction", ["to the child", "from the child"])
def test_a_kill_at_any_byte_loses_nothing(direction, tmp_path, monkeypatch):
    inner = Processes().source()
    whole = Relay(inner, direction, 1 << 40)
    outcomes = converse(served.witnessed, tmp_path / "whole", whole, monkeypatch)
    assert outcomes == {id: id for id in range(INPUTS)}
    setup = length_of_setup(whole, direction)
    # The bytes of SETUP are many, and all alike; those after it are taken each for each.
    points = {1, 20, setup // 2, *range(max(1, setup - 15), whole.passed, STEP)}
    for most in sorted(points):
        relay = Relay(inner, direction, most)
        path = tmp_path / f"{most}"
        outcomes = converse(served.witnessed, path, relay, monkeypatch)
        check(path, outcomes, most_runs=3)
        # One death is nobody's end: all have run again.
        assert outcomes == {id: id for id in range(INPUTS)}, most


# A prime, so that over the runs of all directions each part of a frame is cut.  1 takes a quarter
# of an hour.
STEP = int(os.environ.get("MOORAGE_WITNESS_STEP", "61"))


def length_of_setup(relay, direction):
    """About where the frame SETUP ends: what comes after it are inputs."""
    per_input = 250
    return max(2, relay.passed - INPUTS * per_input) if direction == "to the child" else 2


def test_nonpreemptible_inputs_run_once(tmp_path, monkeypatch):
    inner = Processes().source()
    for most in (30, 60, 120, 240, 480):
        relay = Relay(inner, "from the child", most)
        path = tmp_path / f"{most}"
        outcomes = converse(served.witnessed_once, path, relay, monkeypatch)
        check(path, outcomes, most_runs=1)


@pytest.mark.parametrize("reads", [True, False], ids=["as it is", "without reading to the end"])
def test_what_was_written_before_a_death_counts(reads, tmp_path, monkeypatch):
    # 1. the post is held up, 2. the zygote says that another child is born: so it is heard first,
    # 3. the child writes its result, 4. the child is killed, which the zygote says too,
    # 5. the post goes on, and hears of the death before it has read the result.
    if not reads:
        monkeypatch.setattr(Channel, "is_lost", Channel._end_here)
    path, go, gate = tmp_path / "witness", tmp_path / "go", threading.Event()
    made = []
    launch = Relay(Processes().source(), "", 0)._inner.launch
    zygotes = process_zygotes.of(())

    class Noting:
        def launch(self, process, descriptors):
            made.append(process)
            launch(process, descriptors)

    monkeypatch.setattr(Processes, "source", lambda self: Noting())
    with contextlib.ExitStack() as stack:
        stack.enter_context(served.app.run(placement=moorage.Processes()))
        stack.callback(gate.set)
        call = served.answer_when.spawn(str(path), str(go))
        wait_for(lambda: path.exists() and path.read_text())
        child = made[0]
        process_post.do(gate.wait)
        before = set(children_of(zygotes.pid))
        other = served.where.spawn()
        wait_for(lambda: set(children_of(zygotes.pid)) > before)
        go.touch()
        wait_for(lambda: unread(child._channel.fileno()))
        with Watched(child.pid) as watched:
            watched.send(signal.SIGKILL)
            assert watched.is_gone()
        wait_for(lambda: child.pid not in children_of(zygotes.pid))
        gate.set()
        assert call.get() == "the answer"
        other.get()
    assert len(path.read_text().splitlines()) == (1 if reads else 2)


def unread(fileno):
    """How many bytes have come to a socket and were not read."""
    return struct.unpack("i", fcntl.ioctl(fileno, termios.FIONREAD, b"\0\0\0\0"))[0]


SOAK = 400


@pytest.mark.parametrize("what", ["containers", "zygote"])
def test_a_soak_with_kills(what, tmp_path):
    path = tmp_path / "witness"
    zygotes = process_zygotes.of(())
    zygotes._deaths.clear()
    done = threading.Event()
    kills = 0

    def kill_one():
        nonlocal kills
        zygote = zygotes.pid
        if zygote is None:
            return
        victims = children_of(zygote) if what == "containers" else [zygote]
        with contextlib.suppress(ProcessLookupError):
            for pid in victims[kills % max(1, len(victims)) :][:1]:
                os.kill(pid, signal.SIGKILL)
                kills += 1

    def kill():
        while what == "containers" and not done.wait(0.05):
            kill_one()

    thread = threading.Thread(target=kill)
    outcomes = {}
    with served.app.run(placement=moorage.Processes(max_processes=4)):
        thread.start()
        try:
            calls = {id: served.slowly.spawn(str(path), id) for id in range(SOAK)}
            for id, call in calls.items():
                if what == "zygote" and id in (SOAK // 4, SOAK // 2):
                    # A third one is the end: see `test_three_deaths_of_the_zygote...`.
                    wait_for(lambda: zygotes.pid)
                    kill_one()
                try:
                    outcomes[id] = call.get()
                except ContainerLostError as error:
                    outcomes[id] = error
                served.bear_witness(path, "outcome", id)
        finally:
            done.set()
            thread.join()
        counts = served.slowly.statistics()
    zygotes._deaths.clear()
    check(path, outcomes, most_runs=3 if what == "containers" else SOAK, inputs=SOAK)
    assert kills >= 2
    lost = sum(isinstance(outcome, ContainerLostError) for outcome in outcomes.values())
    assert counts.failed == lost
    assert counts.succeeded == SOAK - lost
    if what == "zygote":
        assert lost == 0  # it counts against no input
