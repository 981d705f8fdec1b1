"""One container's process, as the driver sees it.

Owns the life of one child in the driver: the socket of its channel, its pidfd, the file to which
it writes where it crashed, and the words for how it died.  ``processes.py`` starts it;
`RemoteContainer` has it as its `Process`.

The end of a child is told by several: the end of its socket, its pidfd, and the zygote, which knows
the exit status.  None of them alone says enough:
    1. the socket may end long before the child (the child has closed it) or long after it (a
       grandchild holds it), so the pidfd or the zygote says that the child has ended;
    2. what the child has written before counts, so all of it is read first (`Channel.is_lost`);
    3. the status comes from the zygote, which may be dead, so it is waited for only a moment; where
       the system says the status of a process that is not reaped yet, nobody waits for the zygote.
All of this is done on the post's thread, in whatever order it comes.

Begin at `ContainerProcess.start`, then `born`, then `_look`.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from ..runtime import forking
from ..runtime.clocks.clock import system_clock
from ..runtime.real import Real
from .channel import Channel
from .frames import Buffer
from .out_of_memory import process_kills
from .post import process_post
from .terminal import take_back

# Seconds that a child has to end after it has closed its socket, before it is killed.
ENDS_WITHIN: Final = 0.25
# The same for a child whose container has ended well: see ``child.py``.
LEAVES_WITHIN: Final = 6.0
# Seconds that the exit status may come after the pidfd.
STATUS_WITHIN: Final = 0.25


def _always() -> bool:
    return True


class Container(Protocol):
    """What a process needs of its `RemoteContainer`."""

    @property
    def has_ended_well(self) -> bool:
        """Whether the container has said that it has ended."""
        ...

    def received(self, kind: int, words: int, body: memoryview, /) -> object: ...
    def gone(self, how: str, *, counts: bool = True) -> None: ...


class Source(Protocol):
    """What starts processes: see ``processes.py``."""

    def launch(self, process: ContainerProcess, descriptors: Sequence[int], /) -> None:
        """Begin to start `process`, and call its `born`, `died` or `refused` later.

        The descriptors (of the channel, and of the file for a crash) are the child's; whoever
        starts the child calls `handed_over` when they are no longer needed here.
        """
        ...


class ContainerProcess:
    """One process.  See `Process` in ``remote.py``.

    Args:
        source: starts it.
        setup: makes the frame SETUP.  Called once, with no lock held, before the start.
    """

    def __init__(self, source: Source, setup: Callable[[], list[Buffer]]) -> None:
        self._source = source
        self._setup = setup
        self._lock: threading.Lock = Real.Lock()
        # Guarded by the lock, which is a leaf:
        self._pidfd = -1
        self._must_die = False  # `kill` was called
        self._ended: bool = False
        # Set by `start`:
        self._container: Container
        self._channel: Channel
        self._its: socket.socket | None = None  # the child's end, until the child has it
        self._crash = -1
        # Of the post's thread:
        self.pid: int = 0
        self.has_surface: bool = True
        self.has_mounts: bool = False  # it is to be in a mount namespace of its own
        self._status: int | None = None
        self._is_dead = False  # it has ended, whatever its status is
        self._is_read = False  # nothing more comes
        self._is_told = False
        self._cause: str | None = None  # why it ended, if its status does not say so
        self._counts = True
        self._stop_watching: Callable[[], object] | None = None
        self._make_signal: Callable[[], object] | None = None  # kills where there is no pidfd
        self._parent_lives: Callable[[], bool] = _always
        forking.know(self)

    def _after_fork(self) -> None:
        """In a forked child of the driver: the process is the parent's."""
        self._lock = Real.Lock()
        if self._its is not None:
            self._its.close()
        if self._pidfd >= 0:
            Real.close(self._pidfd)
            self._pidfd = -1
        if self._crash >= 0:
            Real.close(self._crash)
            self._crash = -1
        self._must_die, self._ended = False, True

    # -- what the container asks ------------------------------------------------------------

    def start(self, container: Any) -> None:
        self._container = container
        setup = self._setup()
        mine, self._its = Real.socketpair()
        self._channel = Channel(mine, process_post, container.received, self._socket_ended)
        self._channel.open_turnstile()
        self._crash = crash_file()
        process_kills.begin()
        container.connect(self._channel)
        self._channel.send(setup)
        self._channel.begin()
        try:
            self._source.launch(self, [self._its.fileno(), self._crash])
        except BaseException:
            self._ended = True
            self._close_all()
            raise

    def kill(self) -> None:
        """End the process at once, whatever it does."""
        with self._lock:
            if self._ended:
                return
            self._must_die = True
            self._send_kill()

    def _send_kill(self) -> None:
        # Under the lock, so that the pidfd is open.
        try:
            if self._pidfd >= 0:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            elif self._make_signal is not None:
                self._make_signal()
        except OSError:
            pass  # it has ended

    # -- what the source says: on any thread --------------------------------------------------

    def handed_over(self) -> None:
        """Close the child's end of the channel here."""
        its, self._its = self._its, None
        if its is not None:
            its.close()

    def born(
        self,
        pid: int,
        pidfd: int,
        kill: Callable[[], object] | None = None,
        parent_lives: Callable[[], bool] = _always,
    ) -> None:
        """Note that the process is there.

        Args:
            pid, pidfd: its number, and a file descriptor that says when it has ended, or -1.
            kill: ends it where there is no pidfd.
            parent_lives: whether the process lives whose end would end this one too.
        """
        self.pid = pid
        self._parent_lives = parent_lives
        with self._lock:
            self._pidfd = pidfd
            self._make_signal = kill
            if self._must_die:
                self._send_kill()
        if pidfd >= 0:
            self._stop_watching = process_post.watch(pidfd, self._pidfd_ready)

    def died(self, status: int | None, cause: str | None = None, *, counts: bool = True) -> None:
        """Note that the process has ended, or was never born.

        Args:
            status: a wait status; None if it is not known.
            cause: how it ended, if the status does not say it.
            counts: false if the inputs cannot have caused it.
        """
        self._soon(lambda: self._note_death(status, cause, counts))

    # -- on the post's thread -----------------------------------------------------------------

    def _soon(self, work: Callable[[], object]) -> None:
        if process_post.is_here:
            work()
        else:
            process_post.do(work)

    def _note_death(self, status: int | None, cause: str | None, counts: bool) -> None:
        if not self._is_dead:
            self._status, self._counts = status, counts
            self._cause = self._cause or cause
            self._is_dead = True
            self._look()

    def _pidfd_ready(self) -> None:
        self._stop_watching = None
        if self._is_dead:
            return
        # A child that dies with the zygote ends after it, so the zygote is seen to be dead here.
        # Then it is the zygote's end that counts, and which is on its way.
        status = status_of_the_dead(self.pid, self._pidfd) if self._parent_lives() else None
        if status is not None:
            self._note_death(status, None, True)
        else:
            # The status is on its way, if the zygote lives.
            self._after(STATUS_WITHIN, lambda: self._note_death(None, None, True))

    def _socket_ended(self) -> None:
        self._is_read = True
        self._look()
        if not self._is_dead:
            within = LEAVES_WITHIN if self._container.has_ended_well else ENDS_WITHIN
            self._after(within, self._kill_what_is_left)

    def _kill_what_is_left(self) -> None:
        has_ended = self._pidfd >= 0 and self._stop_watching is None  # its status is on its way
        if not self._is_dead and not has_ended:
            if not self._container.has_ended_well:
                self._cause = "it has closed its connection to this process"
            with self._lock:
                self._send_kill()

    def _after(self, seconds: float, work: Callable[[], object]) -> None:
        # The timekeeper must not wait, so the post does the work.
        when = system_clock.now() + seconds
        system_clock.call_at(when, lambda: process_post.do(work))

    def _look(self) -> None:
        """Report the end, once all that the process has written was read."""
        if not self._is_dead or self._is_told:
            return
        if not self._is_read:
            self._channel.is_lost()  # reads, and then calls `_socket_ended`
            return
        self._is_told = True
        with self._lock:
            self._ended = True
            was_killed = self._must_die
        how = self._how(was_killed)
        self._close_all()
        take_back(self.pid)
        self._container.gone(how, counts=self._counts and not was_killed)

    def _how(self, was_killed: bool) -> str:
        if was_killed:
            return "this program has killed it"
        if self._cause is not None:
            return self._cause
        how = how_it_ended(self._status)
        if self._status == signal.SIGKILL and process_kills.has_more():
            return "the system has killed it by SIGKILL because memory ran out"
        place = crash_place(self._crash)
        return f"{how}, {place}" if place else how

    def _close_all(self) -> None:
        self.handed_over()
        if self._stop_watching is not None:
            self._stop_watching()
            self._stop_watching = None
        self._channel.close()
        with self._lock:
            pidfd, self._pidfd = self._pidfd, -1
        if pidfd >= 0:
            # After the post has forgotten it: its number may be another file's then.
            process_post.do(lambda: Real.close(pidfd))
        crash, self._crash = self._crash, -1
        if crash >= 0:
            Real.close(crash)


# -- how it died ---------------------------------------------------------------------------


def status_of_the_dead(pid: int, pidfd: int) -> int | None:
    """Kill what a process that has ended has left in its group; return its wait status.

    None if that is not possible: on an older system (before Linux 6.9), where ``/proc`` does not
    show it, or if the process is reaped already.  Then its parent does and says the same.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name of a program, in parentheses, may have any characters.
            fields = file.read().rpartition(b")")[2].split()
        # Only a process that is not reaped takes a signal, so that was the status of this one.
        signal.pidfd_send_signal(pidfd, 0)
        try:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL, None, _TO_THE_GROUP)
        except ProcessLookupError:
            pass  # it has ended before it made its group
    except (OSError, ValueError, AttributeError):
        return None
    # 0 is also what is shown to those who may not see it.
    return int(fields[_EXIT_CODE]) or None


_TO_THE_GROUP: Final = 4  # PIDFD_SIGNAL_PROCESS_GROUP
_EXIT_CODE: Final = 49  # of the fields after the name


def how_it_ended(status: int | None) -> str:
    """Return how a process ended, as a clause, by its wait status."""
    if status is None:
        return "it ended, and how is not known"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = f"signal {number}"
        if number == signal.SIGKILL:
            return f"it was killed by {name}, as the system does when memory runs out"
        return f"it was killed by {name}"
    return f"it exited with code {os.waitstatus_to_exitcode(status)}"


def crash_file() -> int:
    """Return an open file to which a child writes its stack when it crashes; -1 for none."""
    if not hasattr(os, "memfd_create"):
        return -1
    try:
        return os.memfd_create("moorage-crash", os.MFD_CLOEXEC)
    except OSError:
        return -1


_LINE: Final = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+) in (?P<name>.*)$')
_CURRENT: Final = re.compile(r"^(Current thread|Stack)")
_BEGIN: Final = "<string>"  # the first lines of each process: see ``processes.py``
_PACKAGE_FOLDER: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def crash_place(crash: int) -> str:
    """Return where a child has crashed: the innermost lines outside of this library; "" if unknown.

    `crash` is the file that ``faulthandler`` has written.
    """
    if crash < 0:
        return ""
    try:
        text = os.pread(crash, 1 << 20, 0).decode("utf-8", "replace")
    except OSError:
        return ""
    lines: list[str] = []
    is_current = False
    for line in text.splitlines():
        if _CURRENT.match(line):
            is_current = True
        elif line.startswith("Thread "):
            is_current = False
        found = _LINE.match(line)
        if found is None or not is_current or found["file"] == _BEGIN:
            continue
        if not found["file"].startswith(_PACKAGE_FOLDER):
            lines.append(f"{found['name']} ({found['file']}:{found['line']})")
    if not lines:
        return ""
    shown = ", called by ".join(lines[:SHOWN])
    return f"in {shown}"


# The most lines of a stack that a message has.
SHOWN: Final = 4
