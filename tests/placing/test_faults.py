"""Nothing is lost when a process dies before or after any of its system calls, or of its peer's.

A fault is a place: whose system call, which one, the how manyth of this name, before or after it.
There the zygote or the child kills itself; or the driver, before or after a call of its own, kills
its peer and sees its end.  The conversation and its witness are those of ``conversations.py``: see
``test_frames_cut_off.py`` for what must hold.

By default the first call of each name is taken; with ``MOORAGE_WITNESS_STEP=1``, as ``make
kills`` does, each one until the conversation has no more of them.

Begin at `Fault`, then `test_a_death_at_a_system_call`.
"""

import os
import signal
import socket
import sys
from functools import partial
from typing import NamedTuple

import pytest

from moorage.placing.processes import Zygotes

from .outside import Watched
from .test_frames_cut_off import CASES, STEP, check, converse

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pidfds are Linux's")

MOST = 1000 if STEP else 1


class Fault(NamedTuple):
    role: str  # who makes the system call
    call: str
    when: str  # "before" or "after"


# What a process does to itself.  Its environment names the fault, and the file that is made where
# the fault happens, so it happens once.
FAULTY = """
import os, select, signal, socket

role, call, nth, when, marker = os.environ["MOORAGE_FAULT"].split(":")
now = ["zygote", 0]

def die():
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)

def faulty(function, name):
    def run(*args, **kwargs):
        mine = now[0] == role
        if mine:
            now[1] += 1
        here = mine and now[1] == int(nth)
        if here and when == "before":
            die()
        result = function(*args, **kwargs)
        if name == "fork" and result == 0:
            now[:] = ["child", 0]
        if here and when == "after" and now[0] == role:
            die()
        return result
    return run

def forked(fork=os.fork):
    pid = fork()
    if pid == 0:
        now[:] = ["child", 0]
    return pid

module, _, name = call.rpartition(".")
if call == "poll":
    class Poll:
        def __init__(self, made=select.poll):
            made = made()
            self.register = made.register
            self.poll = faulty(made.poll, name)
    select.poll = Poll
else:
    home = {"os": os, "socket": socket, "socket.socket": socket.socket}[module]
    setattr(home, name, faulty(getattr(home, name), name))
if call != "os.fork":
    os.fork = forked
"""

OF_ZYGOTE = (
    *("poll", "socket.recv_fds", "socket.send_fds", "socket.socket.recv"),
    *("os.fork", "os.pidfd_open", "os.waitid", "os.waitpid", "os.killpg"),
)
OF_CHILD = (
    *("os.setpgid", "os.dup2"),
    *("socket.socket.sendmsg", "socket.socket.recv"),
)
OF_DRIVER = ("sendmsg", "recv", "send_fds", "recv_fds")

FAULTS = [
    Fault(role, call, when)
    for role, calls in (("zygote", OF_ZYGOTE), ("child", OF_CHILD), ("driver", OF_DRIVER))
    for call in calls
    for when in ("before", "after")
]
if not STEP:
    FAULTS = FAULTS[::4] + FAULTS[3::4]  # one of each pair, in turns


class OfTheDriver:
    """Counts one system call of the driver, and kills the peer at the nth one."""

    def __init__(self, fault, nth, zygotes):
        self._fault = fault
        self._left = nth
        self._zygotes = zygotes
        self._process = None  # the first child's
        self.happened = False

    def launch(self, process, descriptors):
        if self._process is None and not self._fault.call.endswith("fds"):
            self._process = process
            process._channel._end = FaultySocket(process._channel._end, self)
        self._zygotes.launch(process, descriptors)

    def around(self, function, *args):
        pid = self._zygotes.pid if self._process is None else self._process.pid
        is_here = False
        if pid and not self.happened:  # else there is nobody yet
            self._left -= 1
            self.happened = is_here = not self._left
        if is_here and self._fault.when == "before":
            self._kill(pid)
        result = function(*args)
        if is_here and self._fault.when == "after":
            self._kill(pid)
        return result

    def _kill(self, pid):
        with Watched(pid) as peer:
            peer.send(signal.SIGKILL)
            assert peer.is_gone()


class FaultySocket:
    """The driver's end of the channel to the first child."""

    def __init__(self, end, counts):
        self._end = end
        self._counts = counts

    def __getattr__(self, name):
        function = getattr(self._end, name)
        if name != self._counts._fault.call:
            return function
        return lambda *args: self._counts.around(function, *args)


@pytest.mark.parametrize("fault", FAULTS, ids=" ".join)
def test_a_death_at_a_system_call(fault, tmp_path, monkeypatch):
    case = CASES["service"]
    (tmp_path / "sitecustomize.py").write_text(FAULTY)
    happened = True
    for nth in range(1, MOST + 1):
        path, marker = tmp_path / f"{nth}", tmp_path / f"{nth}-happened"
        zygotes = Zygotes(())
        source = zygotes if fault.role != "driver" else OfTheDriver(fault, nth, zygotes)
        source.places = lambda: None
        with monkeypatch.context() as patch:
            if fault.role != "driver":
                python_path = os.environ.get("PYTHONPATH", "")
                patch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{python_path}")
                what = (fault.role, fault.call, str(nth), fault.when, str(marker))
                patch.setenv("MOORAGE_FAULT", ":".join(what))
            elif fault.call.endswith("fds"):
                function = getattr(socket, fault.call)
                patch.setattr(socket, fault.call, partial(source.around, function))
            try:
                outcomes = converse(case, path, source, patch)
            finally:
                zygotes.close()
        happened = source.happened if fault.role == "driver" else marker.exists()
        try:
            check(case, path, outcomes, complete=not happened)
        except AssertionError as error:
            raise AssertionError(f"{fault}, the {nth}th: {error}") from error
        if not happened:
            break
    assert nth > 1 or happened, f"there is no {fault.call} of the {fault.role}"
