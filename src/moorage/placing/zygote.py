"""The zygote: the process from which the containers of a program are forked.

Owns what runs in that process.  The driver execs it once, so no thread of the driver is forked; it
has one thread, and has imported what a container needs.  It knows no user code, except what
``Processes(preload=...)`` names.  It forks a child for each request, and reports how each ends.

A request and an answer are one message each, on a SOCK_SEQPACKET socket:

| to the zygote | descriptors | what it says |
|---|---|---|
| START, id, the sum of `SURFACE` and `MOUNTS` | see `DESCRIPTORS` | fork a child |

| from the zygote | descriptors | what it says |
|---|---|---|
| BORN, id, pid | the child's pidfd | the child was forked |
| DIED, id, wait status | | the child has ended |
| REFUSED, id, text | | this process must not fork, because it has several threads |

What nobody must survive: a child dies with the zygote (PR_SET_PDEATHSIG; the parent thread that
this is about is the only one of the zygote).  The zygote sees the end of the driver by a pidfd: the
end of the socket may never come, if a fork of the driver holds it.  Then it kills the children,
their process groups, and what they have left to it as the subreaper, and ends.

Begin at `main`, then `Zygote.serve`, then `Zygote._fork`.  A child returns from `serve`, so it
leaves by the interpreter's normal way.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Sequence
from functools import cache
from typing import Final, NamedTuple

from ..runtime.context import be_a_container
from ..runtime.garbage import keep_what_is_there
from ..runtime.real import Real
from .child import Kit, enter_namespace, live
from .package import complete_the_package

_PACKAGE: Final = __name__.partition(".")[0]

START: Final = 1
BORN: Final = 16
DIED: Final = 17
REFUSED: Final = 18

MESSAGE: Final = struct.Struct("<BQq")
MOST: Final = 4096  # bytes of one message, with its text

# What a START asks for: that the whole package is imported before, and that the child is in a mount
# namespace of its own.
SURFACE: Final = 1
MOUNTS: Final = 2

# What a request carries: the child's end of its channel, its 0, 1 and 2, and the file to which it
# writes where it crashes.
DESCRIPTORS: Final = 5

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36

# How long the zygote goes on killing after the driver's end: steps of so many milliseconds.
_STEPS: Final = 200
_STEP: Final = 5


class Request(NamedTuple):
    """What the driver has sent, as far as a child needs it."""

    id: int
    flags: int
    descriptors: Sequence[int]


def main(
    control: int,
    driver: int,
    preload: Sequence[str] = (),
    path: Sequence[str] = (),
    as_modal: bool = False,
) -> None:
    """Serve the driver; in a child, be a container.

    Args:
        preload: the modules that are imported before.
        path: where they are looked for, if there are any: the driver's `sys.path`.
        as_modal: whether ``import modal`` imports this package.
    """
    zygote = Zygote(Real.socket(fileno=control), driver)
    if preload:
        # After it what a new interpreter has: the driver may have changed PYTHONPATH meanwhile.
        sys.path[:] = [*path, *(each for each in sys.path if each not in path)]
        be_a_container()  # for `is_local`, which the code of these modules may ask
        if as_modal:
            # By its name, because its layer is above this one.
            importlib.import_module(f"{_PACKAGE}.as_modal").install_as_modal()
    kit = zygote.serve(preload)
    if kit is not None:
        live(kit)


class Zygote:
    """This process."""

    def __init__(self, control: socket.socket, driver: int) -> None:
        self._control = control
        self._pid = os.getpid()
        prctl(_PR_SET_CHILD_SUBREAPER, 1)
        self._driver = os.pidfd_open(driver)
        self._is_orphan = os.getppid() != driver  # then the pidfd may be of another process
        self._children: dict[int, int] = {}  # ids of requests by pids
        self._bell, bell = Real.socketpair()  # rung by the signal SIGCHLD
        self._bell.setblocking(False)
        bell.setblocking(False)
        self._bell_end = bell
        self._refusal = ""  # why nothing may be forked

    def serve(self, preload: Sequence[str]) -> Kit | None:
        """Fork what is asked for, until the driver is gone; return what a child is to be."""
        signal.set_wakeup_fd(self._bell_end.fileno(), warn_on_full_buffer=False)
        Real.set_signal(signal.SIGCHLD, _nothing)
        Real.set_signal(signal.SIGINT, _nothing)  # not SIG_IGN, which children's programs inherit
        self._preload(preload)
        # The collector of a child leaves alone what the zygote has: else it would copy the pages.
        keep_what_is_there()
        poll = select.poll()
        for each in (self._control.fileno(), self._driver, self._bell.fileno()):
            poll.register(each, select.POLLIN)
        while not self._is_orphan:
            ready = {number for number, _ in poll.poll()}
            if self._bell.fileno() in ready:
                self._bell.recv(4096)
                self._reap()
            if self._driver in ready:
                break
            if self._control.fileno() in ready:
                request = self._receive()
                if request is None:
                    break
                kit = self._fork(request)
                if kit is not None:
                    return kit
        self._end()
        signal.set_wakeup_fd(-1)
        self._close_ends()
        return None

    def _preload(self, names: Sequence[str]) -> None:
        for name in names:
            try:
                importlib.import_module(name)
            except Exception as error:
                self._refusal = (
                    f"{name}, which preload= names, cannot be imported: "
                    f"{type(error).__name__}: {error}"
                )
                return
            if threads() > 1:
                self._refusal = f"{name}, which preload= names, starts threads; take it out"
                return

    def _receive(self) -> Request | None:
        """Return the next request; None if the driver has closed its end."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self._control, MOST, DESCRIPTORS)
        except OSError:
            return None
        if not data:
            return None
        _, id, flags = MESSAGE.unpack(data)
        return Request(id, flags, descriptors)

    # -- children ------------------------------------------------------------------------

    def _fork(self, request: Request) -> Kit | None:
        """Fork a child.  Returns in the child too: what the child is to be."""
        refusal = self._refusal
        if not refusal and request.flags & SURFACE:
            complete_the_package()
        if not refusal and request.flags & MOUNTS:
            importlib.import_module("..mounting.namespace", __package__)  # once for all children
        if not refusal and threads() > 1:
            refusal = "threads"
        if refusal:
            self._answer(REFUSED, request.id, 0, refusal)
            for each in request.descriptors:
                Real.close(each)
            return None
        gc.freeze()
        try:
            pid = os.fork()
        except OSError as error:
            self._answer(REFUSED, request.id, error.errno or 0, f"it cannot fork: {error}")
        else:
            if pid == 0:
                return self._be_a_child(request)
            self._children[pid] = request.id
            # Not reaped yet, so it is this child.
            pidfd = os.pidfd_open(pid)
            self._answer(BORN, request.id, pid, "", [pidfd])
            Real.close(pidfd)
        for each in request.descriptors:
            Real.close(each)
        return None

    def _be_a_child(self, request: Request) -> Kit:
        self._die_with_the_zygote()
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        Real.set_signal(signal.SIGCHLD, signal.SIG_DFL)
        self._close_ends()
        channel, *streams, crash = request.descriptors
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            Real.close(stream)
        reseed()
        if request.flags & MOUNTS:
            enter_namespace()
            self._die_with_the_zygote()  # the kernel may forget it with a change of capabilities
        return Kit(channel, crash)

    def _die_with_the_zygote(self) -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # If the zygote has died before that line, the signal will never come.
        if os.getppid() != self._pid:
            Real.exit_now(1)

    def _close_ends(self) -> None:
        for end in (self._control, self._bell, self._bell_end):
            end.close()
        Real.close(self._driver)

    def _reap(self) -> None:
        """Take note of all children that have ended, and kill what is left of their groups."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            id = self._children.pop(ended.si_pid, None)
            if id is not None:
                # The number of the group is this child's until it is reaped.
                kill_group(ended.si_pid)
            _, status = os.waitpid(ended.si_pid, 0)
            if id is not None:
                self._answer(DIED, id, status)

    def _answer(
        self, kind: int, id: int, number: int, text: str = "", descriptors: Sequence[int] = ()
    ) -> None:
        data = MESSAGE.pack(kind, id, number) + text.encode("utf-8", "replace")[: MOST - 64]
        try:
            socket.send_fds(self._control, [data], descriptors)
        except OSError:
            pass  # the driver is gone, which the next look shows

    # -- the end ---------------------------------------------------------------------------

    def _end(self) -> None:
        """Kill everything that the driver has left, for a second at most."""
        self._control.close()
        for pid in self._children:
            kill_group(pid)
        pause = select.poll()
        for _ in range(_STEPS):
            for pid in children_of(self._pid, but=HELPER):
                kill(pid)
            while True:
                try:
                    pid, _ = os.waitpid(-1, os.WNOHANG)
                except ChildProcessError:
                    return
                if pid == 0:
                    break
            pause.poll(_STEP)


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass


def kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except OSError:
        pass  # all are gone, or the child has not made its group yet
    kill(pid)


def threads() -> int:
    """Return how many threads this process has, also those that Python does not know."""
    return len(os.listdir("/proc/self/task"))


# The helpers of containers with mounts end by themselves, when they have removed what they made.
HELPER: Final = b"(moorage-mounts"


def children_of(parent: int, *, but: bytes = b"") -> list[int]:
    """Return the pids of the children of a process, also of those that it has adopted.

    Args:
        but: how the names of those begin that are left out, after a parenthesis.
    """
    found: list[int] = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    # The name of a program, in parentheses, may have any characters.
                    text = file.read()
            except OSError:
                continue
            fields = text.rpartition(b")")[2].split()
            if int(fields[1]) == parent and not (but and text.partition(b" ")[2].startswith(but)):
                found.append(int(name))
    return found


def reseed() -> None:
    """Have random numbers of this child differ from those of the others."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:  # `random` does so itself
        numpy_random.seed()


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int) -> None:
    if _libc().prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _nothing(number: int, frame: object) -> None:
    pass
