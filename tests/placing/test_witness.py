"""Nothing is lost and nothing runs twice: shown by a witness outside of the engine.

User code appends a line to a file when it begins and when it ends.  From the file and the callers
alone: each input has one outcome; nothing begins after its outcome was delivered; a
container never has more than `max_inputs` open; no input runs more than three times, and one that
is nonpreemptible once.  Two mutants of the engine are found.  Deaths at each byte of what driver
and child say are in ``test_frames_cut_off.py``, and at each system call in ``test_faults.py``.
"""

import contextlib
import fcntl
import os
import signal
import struct
import sys
import termios
import threading
from collections import Counter
from pathlib import Path

import pytest

import moorage
from moorage.exception import ContainerLostError
from moorage.placing.channel import Channel
from moorage.placing.frames import Kind
from moorage.placing.post import process_post
from moorage.placing.processes import Processes, process_zygotes
from moorage.placing.remote import RemoteContainer
from moorage.runtime.pools.pool import Pool

from . import served
from .outside import Watched, children_of, wait_for
from .relays import FROM_CHILD, TO_CHILD, Cut, Relay

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pidfds are Linux's")

INPUTS = 8
MAX_INPUTS = 3


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
    assert max(begun.values(), default=0) <= most_runs
    assert all(begun[str(id)] for id, outcome in outcomes.items() if outcome == id)


def outcome_of(call, timeout=60):
    try:
        return call.get(timeout=timeout)[0]
    except ContainerLostError as error:
        return error


@pytest.mark.parametrize("offset", [1, 20, 60, None])
def test_nonpreemptible_inputs_run_once(offset, tmp_path, monkeypatch):
    path, outcomes = tmp_path / "witness", {}
    cut = Cut(FROM_CHILD, Kind.RESULTS, 0, offset) if offset else Cut(TO_CHILD, Kind.INPUTS, 0, 30)
    relay = Relay(Processes().source(), cut)
    monkeypatch.setattr(Processes, "source", lambda self: relay)
    with served.app.run(placement=Processes(max_processes=1)):
        calls = {id: served.witnessed_once.spawn(str(path), id, "x") for id in range(INPUTS)}
        for id, call in calls.items():
            outcomes[id] = outcome_of(call)
            served.bear_witness(path, "outcome", id)
    assert relay.killed
    check(path, outcomes, most_runs=1)


AFTER_LOSS = Pool._after_loss


def forget_granted_ones(pool, input, loss, *, alone):
    """A mutant: inputs that had a slot and had not begun do not go back."""
    return loss is not None and AFTER_LOSS(pool, input, loss, alone=alone)


@pytest.mark.parametrize("returns", [True, False], ids=["as it is", "without the return"])
@pytest.mark.parametrize("place", ["before they are written", "in the socket"])
def test_inputs_that_had_a_slot_and_were_not_written_go_back(place, returns, tmp_path, monkeypatch):
    path = str(tmp_path / "witness")
    outcomes = {}
    with served.app.run(placement=Processes(max_processes=1)):
        outcomes[0] = outcome_of(served.witnessed.spawn(path, 0, ""))
        if not returns:
            monkeypatch.setattr(Pool, "_after_loss", forget_granted_ones)
        with Watched(children_of(process_zygotes.of(()).pid)[0]) as child:

            def lose():
                child.send(signal.SIGKILL)
                wait_for(lambda: served.witnessed.statistics().lost_containers)

            if place == "in the socket":
                calls = lose_what_is_in_the_socket(path, child, lose)
            else:
                calls = lose_what_has_its_slot(path, lose, monkeypatch)
        for id, call in calls.items():
            with contextlib.suppress(TimeoutError):
                outcomes[id] = outcome_of(call, 60 if returns else 1)
                served.bear_witness(path, "outcome", id)
    with contextlib.nullcontext() if returns else pytest.raises(AssertionError):
        check(Path(path), outcomes, most_runs=2, inputs=4)


def lose_what_is_in_the_socket(path, child, lose):
    """The child does not read: of the first input a part is written, of the others nothing."""
    child.send(signal.SIGSTOP)
    calls = {id: served.witnessed.spawn(path, id, "x" * 4_000_000) for id in (1, 2, 3)}
    lose()
    return calls


def lose_what_has_its_slot(path, lose, monkeypatch):
    """1. a thread is about to write an input, 2. others get slots, 3. the child dies, 4. the
    thread goes on.
    """
    comes, goes_on = threading.Event(), threading.Event()
    begin = RemoteContainer._begin

    def wait_once(container):
        if not comes.is_set():
            comes.set()
            goes_on.wait()
        return begin(container)

    monkeypatch.setattr(RemoteContainer, "_begin", wait_once)
    calls = {}

    def spawn(id):
        calls[id] = served.witnessed.spawn(path, id, "")

    thread = threading.Thread(target=spawn, args=(1,))
    thread.start()
    try:
        comes.wait()
        spawn(2)
        spawn(3)
        lose()
    finally:
        goes_on.set()
        thread.join()
    return calls


@pytest.mark.parametrize("reads", [True, False], ids=["as it is", "without reading to the end"])
def test_what_was_written_before_a_death_counts(reads, tmp_path, monkeypatch):
    # 1. the post is held up, 2. the zygote says that another child is born: so it is heard first,
    # 3. the child writes its result, 4. the child is killed, which the zygote says too,
    # 5. the post goes on, and hears of the death before it has read the result.
    if not reads:
        monkeypatch.setattr(Channel, "is_lost", Channel._end_here)
    path, go, gate = tmp_path / "witness", tmp_path / "go", threading.Event()
    made = []
    launch = Processes().source().launch
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


def test_a_zygote_that_is_killed_every_half_second(tmp_path):
    # The third death within a minute is the end for what waits then: it says so, and is no loss.
    path = tmp_path / "witness"
    zygotes = process_zygotes.of(())
    zygotes._deaths.clear()
    done, every = threading.Event(), 0.5

    def kill():
        killed = set()
        while len(killed) < 3 and not done.wait(every):
            pid = zygotes.pid
            if pid is not None and pid not in killed:
                killed.add(pid)
                os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    outcomes, ended, said = {}, 0, set()
    with served.app.run(placement=moorage.Processes(max_processes=4)):
        thread.start()
        try:
            while thread.is_alive():
                ids = range(len(outcomes), len(outcomes) + 40)
                calls = {id: served.slowly.spawn(str(path), id) for id in ids}
                for id, call in calls.items():
                    try:
                        outcomes[id] = call.get()
                    except moorage.exception.ExecutionError as error:
                        said.add(str(error))
                        outcomes[id] = ContainerLostError("the zygote's end")
                        ended += 1
                    served.bear_witness(path, "outcome", id)
        finally:
            done.set()
            thread.join()
        assert len(said) <= 1
        assert all("died 3 times within 60 s" in text and "SIGKILL" in text for text in said)
        zygotes._deaths.clear()
        assert served.slowly.remote(str(path), len(outcomes)) == len(outcomes)
        outcomes[len(outcomes)] = len(outcomes)
        assert served.slowly.statistics().failed == ended
    check(path, outcomes, most_runs=4, inputs=len(outcomes))
