"""Children: the processes that a container's code starts, and their end.

Owns `Brood`, the processes that one thread of this process has started in a stretch of time, and
threads that it started then; and how these processes are ended, with their descendants.
``web_server.py`` uses one for each container that has a server of the user's.

A neighbour may start processes at the same time, and these must live.  So the thread that starts a
process is learnt at that moment: an audit hook of the interpreter hears of each ``Popen``, and from
Python 3.12 on of each thread.  In Python 3.11 each thread that is new and not the library's counts
as started by the brood's thread.  Processes that were started in another way (by ``os.fork``) are
the brood's if this process has them at the end of the stretch, had them not at its beginning, and
no neighbour's ``Popen`` made them.

Begin at `Brood.watch`, then `Brood.end`.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final, NamedTuple

from ..runtime import forking
from ..runtime.clocks.clock import system_clock
from ..runtime.real import Real

# Seconds that the processes get to end after SIGTERM, and then after SIGKILL.
TERM_GRACE: Final = 5.0
KILL_GRACE: Final = 2.0

# Seconds between two looks at processes that should end.  A child tells nobody but its parent's
# SIGCHLD, which belongs to the program.
LOOKS_EVERY: Final = 0.01


class Running(NamedTuple):
    """One process: its number may be used again, so its start is part of its name."""

    pid: int
    started: str


class Brood:
    """The processes that one thread started.  Used by that thread, unless said otherwise."""

    def __init__(self) -> None:
        # The audit hook appends, on any thread; `watch` reads when it has ended.
        self._family: list[threading.Thread] = [Real.current_thread()]
        self._threads_before: list[threading.Thread] = []
        self._mine: list[subprocess.Popen[Any]] = []
        self._others: list[subprocess.Popen[Any]] = []
        # Processes without a Popen.
        self._found: list[Running] = []
        # All that were ever seen below these; set by `look`.
        self._below: set[Running] = set()
        self._before: set[Running] = set()

    @contextmanager
    def watch(self) -> Generator[None]:
        """Note the processes that are started inside of the block."""
        self.begin()
        try:
            yield
        finally:
            self.finish()

    def begin(self) -> None:
        _install()
        self._threads_before = Real.all_threads()
        self._before = set(_children_of(os.getpid(), _processes()))
        _watching[self] = None
        _left[self] = None

    def finish(self) -> None:
        """End the stretch.  Does nothing if it has ended."""
        if _watching.pop(self, self) is self:
            return
        known = {popen.pid for popen in (*self._mine, *self._others)}
        processes = _processes()
        for one in _children_of(os.getpid(), processes):
            if one not in self._before and one.pid not in known:
                self._found.append(one)
        self._others.clear()
        self._below.update(self._all(processes))

    def is_family(self, ident: int) -> bool:
        """Whether the thread with this ident is the brood's, or was started by one of these."""
        if any(thread.ident == ident for thread in self._family):
            return True
        if sys.version_info >= (3, 12):
            return False
        # By the thread and not by its ident, which a thread that has ended gives to a new one.
        new = [thread for thread in Real.all_threads() if thread.ident == ident]
        return any(
            thread not in self._threads_before and not thread.name.startswith("moorage-")
            for thread in new
        )

    def look(self) -> tuple[int | None, bool]:
        """Return the exit code of the first child that has failed, and whether any process lives.

        On any thread.  No child is reaped: its status belongs to the user's code.
        """
        failed: int | None = None
        for popen in self._mine:
            code = _exit_code(popen.pid, popen)
            if code:
                failed = failed or code
        for one in self._found:
            failed = failed or _exit_code(one.pid, None)
        processes = _processes()
        alive = self._all(processes)
        self._below.update(alive)
        return failed, bool(alive) or any(_lives(one, processes) for one in self._below)

    @property
    def is_empty(self) -> bool:
        """Whether no process was started."""
        return not self._mine and not self._found

    def add(self, pid: int) -> None:
        """Count the process `pid` as one of these, such as a server that has become a daemon."""
        found = _processes().get(pid)
        if found is not None and pid != os.getpid():
            self._below.add(Running(pid, found.started))

    def _all(self, processes: dict[int, _Process]) -> set[Running]:
        """Return the processes of the brood and their descendants that live."""
        seeds = [popen.pid for popen in self._mine if popen.returncode is None]
        seeds += [one.pid for one in (*self._found, *self._below) if _lives(one, processes)]
        return _with_descendants(seeds, processes)

    def end(self) -> None:
        """End all processes with their descendants: SIGTERM, 5 s, SIGKILL.  On any thread."""
        self.finish()
        alive = self._all(_processes())
        _send(alive, signal.SIGTERM)
        self._wait(alive, TERM_GRACE)
        processes = _processes()
        left = self._all(processes) | {one for one in alive if _lives(one, processes)}
        if left:
            left = _with_descendants([one.pid for one in left], processes)
            _send(left, signal.SIGKILL)
            self._wait(left, KILL_GRACE)
        self._reap()
        _left.pop(self, None)

    def kill(self) -> None:
        """End all processes at once, as the interpreter exits."""
        _send(self._all(_processes()), signal.SIGKILL)

    def _wait(self, those: Iterable[Running], seconds: float) -> None:
        until = system_clock.now() + seconds
        while True:
            processes = _processes()
            if not any(_lives(one, processes) for one in those):
                return
            if system_clock.now() >= until:
                return
            system_clock.wait(system_clock.make_waiter(), LOOKS_EVERY)

    def _reap(self) -> None:
        for popen in self._mine:
            popen.poll()
        for one in self._found:
            try:
                os.waitpid(one.pid, os.WNOHANG)
            except ChildProcessError:
                pass


class _Process(NamedTuple):
    parent: int
    started: str
    is_zombie: bool


def _processes() -> dict[int, _Process]:
    """Return all processes of this machine, by number."""
    found: dict[int, _Process] = {}
    if not sys.platform.startswith("linux"):  # pragma: no cover - macOS
        shown = subprocess.run(
            ["ps", "-axo", "pid=,ppid=,stat=,lstart="], capture_output=True, text=True, check=False
        ).stdout
        for line in shown.splitlines():
            pid, parent, state, started = line.split(None, 3)
            found[int(pid)] = _Process(int(parent), started, state.startswith("Z"))
        return found
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            text = Path("/proc", name, "stat").read_bytes().decode("utf-8", "replace")
        except OSError:
            continue  # it has ended
        # The name of the program, in parentheses, may have spaces and parentheses.
        fields = text.rpartition(")")[2].split()
        found[int(name)] = _Process(int(fields[1]), fields[19], fields[0] in "ZX")
    return found


def _children_of(pid: int, processes: dict[int, _Process]) -> list[Running]:
    return [Running(n, one.started) for n, one in processes.items() if one.parent == pid]


def _lives(one: Running, processes: dict[int, _Process]) -> bool:
    found = processes.get(one.pid)
    return found is not None and found.started == one.started and not found.is_zombie


def _with_descendants(seeds: list[int], processes: dict[int, _Process]) -> set[Running]:
    below: dict[int, list[int]] = {}
    for pid, process in processes.items():
        below.setdefault(process.parent, []).append(pid)
    found: set[Running] = set()
    ahead = list(seeds)
    while ahead:
        pid = ahead.pop()
        one = processes.get(pid)
        if one is None or Running(pid, one.started) in found or pid == os.getpid():
            continue
        found.add(Running(pid, one.started))
        ahead += below.get(pid, ())
    return {one for one in found if not processes[one.pid].is_zombie}


def _send(those: Iterable[Running], number: signal.Signals) -> None:
    for one in those:
        try:
            os.kill(one.pid, number)
        except OSError:
            pass  # it has ended, or may not be ended by this user


def _exit_code(pid: int, popen: subprocess.Popen[Any] | None) -> int | None:
    """Return the exit code of a child that has ended, as Popen shows it; None while it lives."""
    if popen is not None and popen.returncode is not None:
        return popen.returncode
    try:
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None if popen is None else popen.returncode
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


# -- whose a process is: the audit hook ---------------------------------------------------

# The broods whose stretch has begun and not ended, and those whose processes may live.  Dicts,
# because each of their operations is atomic: no lock guards them.
_watching: Final[dict[Brood, None]] = {}
_left: Final[dict[Brood, None]] = {}


class _Hook:
    """Whether the audit hook is there.  A hook cannot be taken away."""

    installed = False
    lock: Any = Real.Lock()


def _install() -> None:
    with _Hook.lock:
        if not _Hook.installed:
            _Hook.installed = True
            sys.addaudithook(_hear)
            atexit.register(_kill_left)


def _hear(event: str, args: tuple[Any, ...]) -> None:
    if not _watching:
        return
    if event == "subprocess.Popen":
        frame: FrameType | None = sys._getframe(1)
        started: object = None
        while frame is not None and not isinstance(started, subprocess.Popen):
            started = frame.f_locals.get("self")
            frame = frame.f_back
        if isinstance(started, subprocess.Popen):
            popen: subprocess.Popen[Any] = started  # pyright: ignore[reportUnknownVariableType]
            ident = Real.get_ident()
            for brood in list(_watching):
                (brood._mine if brood.is_family(ident) else brood._others).append(popen)
    elif event in ("_thread.start_new_thread", "_thread.start_joinable_thread"):
        thread: Any = getattr(args[0], "__self__", None)
        if hasattr(thread, "ident"):
            ident = Real.get_ident()
            for brood in list(_watching):
                if brood.is_family(ident):
                    brood._family.append(thread)


def _kill_left() -> None:
    for brood in list(_left):
        brood.kill()


def _after_fork() -> None:
    forking.renew(_Hook.lock)
    forking.keep(dict(_watching), dict(_left))
    _watching.clear()
    _left.clear()


forking.in_child(_after_fork)
