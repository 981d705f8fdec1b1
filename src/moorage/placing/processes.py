"""Processes: what starts the processes of containers.

Owns `Processes`, the value that users give as a placement, and what it needs in the driver: the
zygote, one for each set of modules that it preloads, and the start of a fresh interpreter where
there can be no zygote.

A zygote is started with the first container, and lives until this program ends.  If it dies, its
containers die with it, which counts against no input; the next container starts another one, after
a moment that grows.  After three deaths in a minute no container starts.

A lock guards the tables; no process is started and nothing is waited for under it.  Answers of a
zygote come on the post's thread.

Begin at `Processes`, then `Zygotes.launch`, then `_Zygote`.
"""

from __future__ import annotations

import atexit
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, cast

from .. import config
from ..exception import ExecutionError, InvalidError
from ..runtime import forking
from ..runtime.background import log
from ..runtime.clocks.clock import system_clock
from ..runtime.real import Real
from . import terminal
from .package import import_path, is_as_modal
from .post import process_post
from .process import ContainerProcess, how_it_ended

logger: Final = logging.getLogger("moorage")

_FOLDER: Final = Path(__file__).parent.parent

# So many deaths of zygotes within so many seconds are taken for the end.
MOST_DEATHS: Final = 3
WITHIN: Final = 60.0

# Seconds before the next zygote is started, after the first death; doubled for each further one.
FIRST_PAUSE: Final = 0.05

# A zygote with one thread: libraries of linear algebra start theirs when they are imported.
ONE_THREAD: Final = (
    *("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
    *("VECLIB_MAXIMUM_THREADS", "BLIS_NUM_THREADS"),
)


@dataclass(frozen=True)
class Processes:
    """Containers as worker processes: ``app.run(placement=Processes(...))``.

    Args:
        preload: modules that are imported once, before containers are forked, so that containers
            start faster and share the memory of the modules.  A module that starts threads is
            refused.
        start: "zygote" forks containers from a process that has imported what they need; "spawn"
            starts a new interpreter for each container, as on systems without the former.
        max_processes: the most containers at a time of one function; as many as there may be
            containers if None.

    Raises:
        InvalidError: if an argument is wrong.
    """

    preload: Sequence[str] = field(default=(), kw_only=True)
    start: Literal["zygote", "spawn"] = field(default="zygote", kw_only=True)
    max_processes: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        given = cast("object", self.preload)
        names: list[object] = [given] if isinstance(given, str) else list(cast(Any, given))
        for name in names:
            if not isinstance(name, str) or not all(map(str.isidentifier, name.split("."))):
                raise InvalidError(
                    f"preload= takes names of modules, got {name!r}; "
                    'write Processes(preload=["numpy"])'
                )
        if isinstance(given, str):
            raise InvalidError(
                f"preload= takes a list of modules, got {given!r}; "
                f"write Processes(preload=[{given!r}])"
            )
        object.__setattr__(self, "preload", tuple(names))
        if self.start not in ("zygote", "spawn"):
            raise InvalidError(
                f'start= must be "zygote" or "spawn", got {self.start!r}; write start="spawn"'
            )
        if self.preload and self.start == "spawn":
            raise InvalidError(
                'preload= needs start="zygote", got start="spawn", which shares nothing; '
                "take preload= away"
            )
        most = cast("object", self.max_processes)
        if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 1):
            raise InvalidError(
                f"max_processes must be a whole number from 1 up, got {most!r}; "
                "write max_processes=8"
            )

    @property
    def most(self) -> int | None:
        """The most containers of one function now; None for no bound of its own.

        Without `max_processes`, as many as the free memory has room for, if those are fewer than
        there may be containers in all.
        """
        if self.max_processes is not None:
            return self.max_processes
        free = free_memory()
        if free is None or free // EACH >= config.max_containers:
            return None
        return max(1, free // EACH)

    def source(self) -> Zygotes | Spawner:
        """Return what starts the processes."""
        if self.start == "spawn" or not can_fork():
            return Spawner()
        return process_zygotes.of(self.preload)


# Bytes of memory that a container is thought to take, at least: its interpreter and some data.
EACH: Final = 64 * 1024 * 1024


def free_memory() -> int | None:
    """Return the free memory of this system, in bytes; None if it does not say."""
    try:
        with Real.open_file("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return None


def can_fork() -> bool:
    """Whether this system has what a zygote needs."""
    if sys.platform != "linux":
        return False
    return hasattr(os, "pidfd_open") and Path("/proc/self/task").is_dir()


# -- fresh interpreters ----------------------------------------------------------------------


def command(code: str) -> list[str]:
    """Return the command of an interpreter like this one that runs `code`, of a part of us."""
    flags: list[str] = getattr(subprocess, "_args_from_interpreter_flags", list)()
    begin = (
        "import sys, types\n"
        f"package = sys.modules['{_PACKAGE}'] = types.ModuleType('{_PACKAGE}')\n"
        f"package.__path__ = [{str(_FOLDER)!r}]\n"
        f"package.__package__ = '{_PACKAGE}'\n"
        f"sys.path[:] = [each for each in sys.path if each]\n"
        # `from .. import config` asks the package for it first.
        f"import {_PACKAGE}.config\n"
        "def complete(name):\n"
        f"    from {_PACKAGE}.placing.package import complete_the_package\n"
        "    return complete_the_package(name)\n"
        "package.__getattr__ = complete\n"
    )
    return [sys.executable, *flags, "-c", begin + code]


_PACKAGE: Final = __name__.partition(".")[0]


def _popen(code: str, descriptors: Sequence[int], variables: dict[str, str]) -> Any:
    streams = [number if is_open(number) else subprocess.DEVNULL for number in (0, 1, 2)]
    if hides_terminal():
        streams[0] = subprocess.DEVNULL
    return Real.Popen(
        command(code),
        stdin=streams[0],
        stdout=streams[1],
        stderr=streams[2],
        pass_fds=descriptors,
        # Ctrl-C in a terminal is for this process, which ends its containers.
        process_group=0,
        env={**os.environ, **variables},
    )


def hides_terminal() -> bool:
    """Whether the standard input is a terminal that containers do not get.

    A container is in a group of its own, so the system would stop it when it reads there: see
    ``terminal.py``.
    """
    return terminal.is_terminal(0) and not terminal.shared.sharing.is_interactive


def is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


class Spawner:
    """Starts a new interpreter for each container."""

    def launch(self, process: ContainerProcess, descriptors: Sequence[int]) -> None:
        Real.Thread(
            target=self._launch, args=(process, descriptors), name="moorage-spawn", daemon=True
        ).start()

    def _launch(self, process: ContainerProcess, descriptors: Sequence[int]) -> None:
        """Start the process, and wait for its end: this thread is its owner."""
        channel, crash = descriptors
        code = (
            f"from {_PACKAGE}.placing.child import spawned\n"
            f"spawned({channel}, {crash}, {os.getpid()}, {process.has_mounts})"
        )
        try:
            popen = _popen(code, [each for each in descriptors if each >= 0], {})
        except Exception as error:
            process.died(None, f"it could not be started: {type(error).__name__}: {error}")
            return
        process.handed_over()
        # It is not reaped before `wait`, so it is this process.
        pidfd = os.pidfd_open(popen.pid) if hasattr(os, "pidfd_open") else -1
        process.born(popen.pid, pidfd, popen.kill)
        if hasattr(os, "waitid"):
            # Its number is its own, and that of its group, until it is reaped.
            os.waitid(os.P_PID, popen.pid, os.WEXITED | os.WNOWAIT)
            _kill_group(popen.pid)
            ended = popen.wait()
        else:
            ended = popen.wait()
            _kill_group(popen.pid)
        process.died(wait_status(ended))


def _kill_group(pid: int) -> None:
    """Kill what a process has left in its group."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except OSError:
        pass


def wait_status(code: int) -> int:
    """Return the wait status of a return code of `Popen`."""
    return -code if code < 0 else code << 8


# -- the zygote --------------------------------------------------------------------------------


class Zygotes:
    """Starts containers by one zygote after the other.

    Args:
        preload: the modules that it imports.
    """

    def __init__(self, preload: Sequence[str]) -> None:
        self._preload = preload
        self._begin()
        forking.know(self)

    def _begin(self) -> None:
        self._lock: threading.Lock = Real.Lock()
        # Guarded by the lock:
        self._zygote: _Zygote | None = None
        self._deaths: deque[tuple[float, str]] = deque(maxlen=MOST_DEATHS)
        self._waiting: list[tuple[ContainerProcess, Sequence[int]]] = []
        self._spawns = False  # the zygote may not fork: see `_refuses`

    def _after_fork(self) -> None:
        zygote = self._zygote
        if zygote is not None:
            zygote.let_go()
        forking.keep(zygote)
        self._begin()

    @property
    def pid(self) -> int | None:
        """The zygote; None if there is none."""
        zygote = self._zygote
        return None if zygote is None else zygote.pid

    def launch(self, process: ContainerProcess, descriptors: Sequence[int]) -> None:
        with self._lock:
            self._check_deaths()
            spawns = self._spawns
            if not spawns:
                self._waiting.append((process, descriptors))
                if len(self._waiting) > 1:
                    return  # whoever put the first one there starts them all
            pause = self._pause()
        if spawns:
            Spawner().launch(process, descriptors)
        elif pause > 0:
            when = system_clock.now() + pause
            system_clock.call_at(when, lambda: _in_thread(self._launch_waiting))
        else:
            self._launch_waiting()

    def _pause(self) -> float:
        """Return in how many seconds the next zygote may begin.  Under the lock."""
        if self._zygote is not None or not self._deaths:
            return 0.0
        pause: float = FIRST_PAUSE * 2 ** (len(self._deaths) - 1)
        return max(0.0, self._deaths[-1][0] + pause - system_clock.now())

    def _check_deaths(self) -> None:
        """Refuse to start one more zygote, after too many deaths.  Under the lock."""
        if self._zygote is not None or len(self._deaths) < MOST_DEATHS:
            return
        if system_clock.now() - self._deaths[0][0] < WITHIN:
            raise ExecutionError(
                f"the process that starts containers has died {MOST_DEATHS} times within "
                f"{WITHIN:g} s, the last time so: {self._deaths[-1][1]}; look for what ends it, or "
                'write placement=moorage.Processes(start="spawn")'
            )

    def _launch_waiting(self) -> None:
        while True:
            with self._lock:
                waiting, zygote = self._waiting[:], self._zygote
            failure: str | None = None
            if zygote is None:
                try:
                    made = _Zygote(self, self._preload)
                except Exception as error:
                    failure = f"it could not be started: {type(error).__name__}: {error}"
                else:
                    zygote = made
                    with self._lock:
                        self._zygote = zygote
            for process, descriptors in waiting:
                if zygote is None:
                    process.died(None, failure)
                else:
                    zygote.launch(process, descriptors)
            with self._lock:
                del self._waiting[: len(waiting)]
                if not self._waiting:
                    return

    # -- on the post's thread -----------------------------------------------------------------

    def ended(self, zygote: _Zygote, how: str) -> None:
        with self._lock:
            if self._zygote is zygote:
                self._zygote = None
            self._deaths.append((system_clock.now(), how))

    def refuses(self, process: ContainerProcess, descriptors: Sequence[int], why: str) -> None:
        """Start by other means what the zygote does not start."""
        if why != "threads":
            process.died(None, why)
            return
        with self._lock:
            is_first, self._spawns = not self._spawns, True
        if is_first:
            log(
                logger,
                logging.WARNING,
                "the process that starts containers has several threads before it has imported "
                "anything (a debugger, or a sitecustomize), so it must not fork: each container "
                'is a new interpreter, as with Processes(start="spawn")',
            )
        Spawner().launch(process, descriptors)

    def close(self) -> None:
        """End the zygote, and wait for its end."""
        with self._lock:
            zygote, self._zygote = self._zygote, None
        if zygote is not None:
            zygote.close()


def _in_thread(work: Callable[[], object]) -> None:
    Real.Thread(target=work, name="moorage-zygote", daemon=True).start()


class _Zygote:
    """One zygote."""

    def __init__(self, owner: Zygotes, preload: Sequence[str]) -> None:
        self._owner = owner
        here, there = Real.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        given = f"{there.fileno()}, {os.getpid()}"
        if preload:
            # The modules may be the program's own.
            given += f", {tuple(preload)!r}, {import_path()!r}, {is_as_modal()}"
        code = f"from {_PACKAGE}.placing.zygote import main\nmain({given})"
        try:
            self._popen = _popen(code, [there.fileno()], dict.fromkeys(ONE_THREAD, "1"))
        except BaseException:
            here.close()
            raise
        finally:
            there.close()
        here.setblocking(False)
        self._control = here
        self.pid: int = self._popen.pid
        # Not reaped before `wait`, so it is this process.
        self._pidfd = os.pidfd_open(self.pid)
        self._lock: threading.Lock = Real.Lock()
        # Guarded by the lock:
        self._last_id = 0
        self._processes: dict[int, tuple[ContainerProcess, Sequence[int]]] = {}
        # Requests that the socket did not take; the post sends them later.
        self._unsent: deque[tuple[bytes, list[int]]] = deque()
        self._is_over = False
        # Of the post's thread:
        self._unwatch: list[Callable[[], object]] = []
        process_post.do(self._watch)

    def _watch(self) -> None:
        self._unwatch = [
            process_post.watch(self._control.fileno(), self._readable),
            process_post.watch(self._pidfd, self._over),
        ]

    def let_go(self) -> None:
        """In a forked child of the driver: the zygote is the parent's."""
        self._control.close()
        Real.close(self._pidfd)
        self._popen.returncode = 0  # so that nobody waits for it here
        self._processes = {}

    def launch(self, process: ContainerProcess, descriptors: Sequence[int]) -> None:
        from .zygote import MESSAGE, MOUNTS, START, SURFACE

        with self._lock:
            if not self._is_over:
                self._last_id += 1
                self._processes[self._last_id] = process, descriptors
                flags = SURFACE * process.has_surface + MOUNTS * process.has_mounts
                data = MESSAGE.pack(START, self._last_id, flags)
                self._unsent.append((data, list(descriptors)))
                self._send()
                return
        process.died(None, _DIED, counts=False)

    def _send(self) -> None:
        """Send what the socket takes.  Under the lock."""
        while self._unsent:
            data, (channel, crash) = self._unsent[0]
            null = None
            streams = [0, 1, 2]
            try:
                if crash < 0 or hides_terminal() or not all(map(is_open, streams)):
                    null = os.open(os.devnull, os.O_RDWR)
                    streams = [each if is_open(each) else null for each in streams]
                    if hides_terminal():
                        streams[0] = null
                its = [channel, *streams, crash if null is None or crash >= 0 else null]
                socket.send_fds(self._control, [data], its)
            except BlockingIOError:
                system_clock.call_at(
                    system_clock.now() + _RETRY, lambda: process_post.do(self._send_rest)
                )
                return
            except OSError:
                self._unsent.clear()  # it is dead: `_over` comes
                return
            finally:
                if null is not None:
                    Real.close(null)
            self._unsent.popleft()

    def _send_rest(self) -> None:
        with self._lock:
            if not self._is_over:
                self._send()

    # -- on the post's thread -----------------------------------------------------------------

    def _readable(self) -> None:
        from .zygote import BORN, DIED, MESSAGE, MOST, REFUSED

        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._control, MOST, 1)
            except BlockingIOError:
                self._unwatch[0] = process_post.watch(self._control.fileno(), self._readable)
                return
            except OSError:
                return  # `_over` comes
            if not data:
                return
            kind, id, number = MESSAGE.unpack_from(data)
            with self._lock:
                process, its = self._processes[id]
                if kind != BORN:
                    del self._processes[id]
            if kind == BORN:
                process.handed_over()
                process.born(number, descriptors[0], parent_lives=self._lives)
            elif kind == DIED:
                process.died(number)
            elif kind == REFUSED:
                self._owner.refuses(process, its, str(data[MESSAGE.size :], "utf-8"))

    def _lives(self) -> bool:
        """Whether the zygote has not ended, as the system sees it now."""
        return not self._is_over and not _is_ready(self._pidfd)

    def _over(self) -> None:
        """The zygote is dead: what it has said before counts; then all its children are dead."""
        self._readable_rest()
        with self._lock:
            self._is_over = True
            left, self._processes = list(self._processes.values()), {}
            self._unsent.clear()
        how = how_it_ended(wait_status(self._popen.wait()))
        for unwatch in self._unwatch:
            unwatch()
        process_post.do(self._close_all)
        self._owner.ended(self, how)
        for process, _ in left:
            process.died(None, f"{_DIED}: {how}", counts=False)

    def _readable_rest(self) -> None:
        try:
            self._readable()
        except KeyError:
            pass

    def _close_all(self) -> None:
        self._control.close()
        Real.close(self._pidfd)

    def close(self) -> None:
        """End the zygote, at the end of this program; kill it if it does not end."""
        try:
            self._control.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        if not _is_ready(self._pidfd, _ENDS_WITHIN):
            self._popen.kill()
        self._popen.wait()


def _is_ready(fileno: int, within: int = 0) -> bool:
    """Whether there is something to read, within so many milliseconds."""
    poll = select.poll()
    poll.register(fileno, select.POLLIN)
    return bool(poll.poll(within))


_DIED: Final = "the process that all containers come from died"
_RETRY: Final = 0.01
_ENDS_WITHIN: Final = 2000  # milliseconds


class AllZygotes:
    """The zygotes of this process, by the modules that they preload."""

    def __init__(self) -> None:
        self._lock = Real.Lock()
        self._by_preload: dict[Sequence[str], Zygotes] = {}  # guarded by the lock
        forking.know(self)

    def _after_fork(self) -> None:
        self._lock = Real.Lock()  # each `Zygotes` begins anew itself

    def of(self, preload: Sequence[str]) -> Zygotes:
        """Return the zygotes that preload these modules."""
        with self._lock:
            found = self._by_preload.get(preload)
            if found is None:
                found = self._by_preload[preload] = Zygotes(preload)
            return found

    def close(self) -> None:
        """End all zygotes, and wait for their ends."""
        with self._lock:
            all = list(self._by_preload.values())
        for zygotes in all:
            zygotes.close()


process_zygotes: Final = AllZygotes()
atexit.register(process_zygotes.close)
