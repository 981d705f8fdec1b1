"""The helper of a program: a small process that mounts for it, and cleans up after it.

Owns `start`, which forks the helper, and what the helper does.  It is forked before the program is
imported, so it has nothing of the program.  It answers the questions of `place.Place` on a socket,
one after the other.  It ends when the program ends, however the program ends, and removes what was
made on the disk.

The helper is no child of the program: ``os.wait()`` of the program would wait for it, and its end
would be a zombie.  So it is forked by a process in between, which ends at once.  The helper sees
the end of the program by a pidfd (Linux 5.3), which is sure: PR_SET_PDEATHSIG is about the parent,
and the end of a pipe comes only when all forked children of the program have ended too.  Elsewhere
such a pipe must do.

Begin at `start`, then `_begin`, then `_serve`.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final, NoReturn, Protocol

from ..runtime.real import Real
from . import place
from . import syscalls as sys_
from .place import Outcome, Place, Wanted, Way

# Seconds that a program has to ask its question; it takes less than a millisecond.
_PATIENCE: Final = 10.0


class Worker(Protocol):
    """What a helper does: `paths.Paths` or `links.Links`."""

    def place(
        self, wanted: Sequence[Wanted], *, records: str, keep: Sequence[str]
    ) -> list[Outcome]:
        """Make paths lead to their sources."""
        ...

    def clean(self) -> None:
        """Remove what was made on the disk."""
        ...


class StepError(Exception):
    """A step of the making of a worker was refused."""

    def __init__(self, step: str, error: OSError) -> None:
        """Name the step, for messages."""
        super().__init__(step, error)
        self.step: str = step
        self.error: OSError = error


Make = Callable[[], tuple[Worker, Sequence[int]]]


def start(way: Way, make: Make, *, outlives_exec: bool = False) -> tuple[Place, list[int]]:
    """Fork the helper of this process.  Returns how to ask it, and open files that are for us.

    Args:
        make: makes the worker, in the helper, and opens the files.
        outlives_exec: the program will be another one, by ``exec`` in this process.

    Raises:
        StepError: if `make` raised it.
        OSError: if there cannot be another process, or socket.
    """
    listener, address = _listen()
    token = Real.urandom(16).hex()
    ours, its = Real.socketpair()
    lifeline = -1  # of the program
    with listener, ours:
        try:
            watch = os.pidfd_open(os.getpid())
        except (AttributeError, OSError):
            watch, lifeline = os.pipe()  # this process keeps `lifeline` open
            os.set_inheritable(lifeline, outlives_exec)
        try:
            with its:
                with warnings.catch_warnings():
                    # Python 3.12 warns where there are threads.  The child does not need them.
                    warnings.simplefilter("ignore", DeprecationWarning)
                    between = os.fork()
                if between == 0:
                    _begin(way, make, listener, address, token, watch, its)
            os.waitpid(between, 0)
            said, descriptors, _, _ = socket.recv_fds(ours, 65536, 8)
            report = json.loads(said or b'{"step": "the helper", "errno": 0}')
            if "step" in report:
                number = report["errno"]
                raise StepError(report["step"], OSError(number, os.strerror(number)))
        except BaseException:
            if lifeline >= 0:
                Real.close(lifeline)
            raise
        finally:
            Real.close(watch)
    return Place(way, address, token, report["pid"]), list(descriptors)


def _listen() -> tuple[socket.socket, str]:
    """Return a socket for the questions of this user's processes, and its address."""
    listener = Real.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if sys.platform == "linux":
            address = f"@moorage-{Real.urandom(16).hex()}"
            listener.bind("\0" + address[1:])
        else:
            address = os.path.join(tempfile.mkdtemp(prefix="moorage-"), "mounts")
            listener.bind(address)
        listener.listen(64)
    except BaseException:
        listener.close()
        raise
    return listener, address


def _begin(
    way: Way,
    make: Make,
    listener: socket.socket,
    address: str,
    token: str,
    watch: int,
    program: socket.socket,
) -> NoReturn:
    """Be the process in between, and then the helper."""
    try:
        if os.fork() == 0:
            # Finalizers of the program's objects must not run here.
            gc.disable()
            _let_go_of_the_program(listener.fileno(), watch, program.fileno())
            worker = _make(make, program)
            if worker is not None:
                _serve(way, worker, listener, token, watch)
            if address[:1] != "@":
                os.unlink(address)
                os.rmdir(os.path.dirname(address))
    finally:
        Real.exit_now(0)
    raise AssertionError  # for type checkers


def _make(make: Make, program: socket.socket) -> Worker | None:
    """Make the worker, and tell the program."""
    report: dict[str, Any] = {"pid": os.getpid()}
    worker: Worker | None = None
    descriptors: Sequence[int] = ()
    try:
        worker, descriptors = make()
    except StepError as failed:
        report = {"step": failed.step, "errno": failed.error.errno or 0}
    except Exception as error:
        report = {"step": f"{type(error).__name__}: {error}", "errno": 0}
    with program:
        socket.send_fds(program, [json.dumps(report).encode()], descriptors)
    for descriptor in descriptors:
        Real.close(descriptor)
    return worker


def _let_go_of_the_program(*needed: int) -> None:
    """Leave the program's terminal, directory, signals, and files but for those of the helper."""
    os.setsid()
    os.chdir("/")
    signals = ("INT", "TERM", "HUP", "QUIT", "PIPE", "USR1", "USR2", "ALRM")
    signal.set_wakeup_fd(-1)
    for name in signals:
        Real.set_signal(getattr(signal, f"SIG{name}"), signal.SIG_IGN)
    first = 0
    for kept in sorted(needed):
        os.closerange(first, kept)
        first = kept + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))
    # The three that every process has; they may be ours, if the program had closed them.
    while (null := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    Real.close(null)
    if sys.platform == "linux":
        sys_.name_process("moorage-mounts")


def _serve(way: Way, worker: Worker, listener: socket.socket, token: str, watch: int) -> None:
    """Answer until the program has ended, or says that it ends."""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    poll.register(watch, select.POLLIN)
    try:
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if watch in ready:
                return
            try:
                connection, _ = listener.accept()
            except OSError:
                continue  # who asked has gone
            with connection:
                try:
                    if _answer(way, worker, token, connection):
                        return
                except Exception:
                    pass  # who asked sees the end of the connection
    finally:
        worker.clean()


def _answer(way: Way, worker: Worker, token: str, connection: socket.socket) -> bool:
    """Answer one question.  Returns whether the program ends."""
    connection.settimeout(_PATIENCE)
    if not _is_of_this_user(connection):
        return False
    chunks: list[bytes] = []
    while chunk := connection.recv(65536):
        chunks.append(chunk)
    question: dict[str, Any] = json.loads(b"".join(chunks))
    answer: dict[str, Any]
    if question["token"] != token:
        return False
    if way == "namespace" and question["namespace"] != place.namespace():
        answer = {"error": "the program is in another mount namespace than its helper"}
    elif "close" in question:
        worker.clean()
        answer = {}
    else:
        wanted = [Wanted(**each) for each in question["mount"]]
        try:
            outcomes = worker.place(wanted, records=question["records"], keep=question["keep"])
            answer = {"outcomes": [asdict(each) for each in outcomes]}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
    connection.sendall(json.dumps(answer).encode())
    return "close" in question and "error" not in answer


def _is_of_this_user(connection: socket.socket) -> bool:
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # the socket is in a directory of this user alone
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return struct.unpack("3i", found)[1] in (0, os.geteuid())
