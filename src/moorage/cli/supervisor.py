"""The process that ``moorage serve`` starts: it owns the sockets, and starts the children.

Owns `Supervisor`.  It never imports the program.  A child (``child.py``) does, and serves it, at
sockets that stay open here: so no connection is refused while one version of the program follows
the other.  A change of the program's files goes like this:
    1. The next child starts, and imports the program.  If that fails, the present child goes on.
    2. The next child has said *imported*.  The present one is to drain: it accepts no more
       connections, answers those that it has, and ends.  New connections wait in the system, and
       idle ones here.
    3. The present child has ended.  The next one serves.  So two versions never have containers
       at the same time: a port, or a queue's items, go to one of them.

There is one thread that decides, in `Supervisor.run`.  Others post events: what a child says, that
a child has ended, that files have changed, signals.

Begin at `Supervisor.run`, then `Supervisor._imported`, then `Supervisor._ended`.
"""

from __future__ import annotations

import enum
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any, Final

from ..runtime.clocks.clock import join_threads, system_clock
from ..runtime.outcome import PACKAGE
from ..runtime.real import Real
from .addresses import Addresses, Served
from .channel import Channel, Message
from .errors import ENDED_BY_SIGNAL, CommandError
from .events import Events
from .reference import Reference
from .serving import Settings, lines_of
from .watching import Watched, Watcher

# Seconds that the present child gets for the requests that it has accepted.
DRAIN: Final = 5.0

# Seconds that a child gets to leave its run and to end, after its drain or after *stop*.
LEAVING: Final = 15.0

# A child that dies by itself is started again, unless the one before it died as well, and it did
# so within these seconds.
SOON: Final = 10.0

# Seconds that the thread that reads what a child says gets, after the child has ended.
LAST_WORDS: Final = 1.0

# The exit codes of signals.
_CODES: Final = {
    number: ENDED_BY_SIGNAL + number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
}


class Phase(enum.Enum):
    """How far a child is."""

    IMPORTING = "importing"
    IMPORTED = "imported"  # waits for its turn
    SERVING = "serving"  # has its sockets
    LEAVING = "leaving"  # was told to drain or to stop


class Child:
    """One child process.  Its methods are for the thread that decides.

    Args:
        post: takes the events: see `Supervisor`.
    """

    def __init__(self, post: Callable[[tuple[Any, ...]], object]) -> None:
        self.phase: Phase = Phase.IMPORTING
        self.functions: list[Served] = []
        self.watched: Watched = Watched()
        self.said_why: bool = False  # the import failed, and the child has shown why
        self.began_at: float = system_clock.now()
        self.began_at_ns: int = int(Real.wall_time() * 1e9)
        # When to kill it; None while it may go on.
        self.until: float | None = None
        self._post = post
        ours, its = Real.socketpair()
        with its:
            self._process = subprocess.Popen(
                # -P: the modules of the working directory must not hide those that moorage needs.
                [sys.executable, *_flags(), "-P", "-c", _PROGRAM, str(its.fileno())],
                pass_fds=[its.fileno()],
                stdin=subprocess.DEVNULL,
                process_group=0,
            )
        self.channel: Channel = Channel(ours)
        self._reader = Real.Thread(target=self._read, name="moorage-child", daemon=True)
        self._reader.start()
        Real.Thread(target=self._wait, name="moorage-wait", daemon=True).start()

    def leave(self, message: Message, seconds: float) -> None:
        """Tell the child to end, and give it so many seconds."""
        self.phase = Phase.LEAVING
        self.until = system_clock.now() + seconds
        self.channel.send(message)

    def kill(self) -> None:
        """Kill the child and what it has started, as far as it is in the child's process group."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except OSError:
            pass  # all of them have ended

    def _read(self) -> None:
        while (received := self.channel.receive()) is not None:
            self._post(("said", self, *received))

    def _wait(self) -> None:
        code = self._process.wait()
        join_threads([self._reader], LAST_WORDS)  # what it said comes before its end
        self.channel.shut_down()
        join_threads([self._reader], LAST_WORDS)
        self.channel.close()
        self._post(("ended", self, code))


# The child finds moorage also where this process found it in the working directory.
_FOUND_IN: Final = str(Path(PACKAGE).parent)
_PROGRAM: Final = (
    f"import sys; {_FOUND_IN!r} in sys.path or sys.path.append({_FOUND_IN!r}); "
    "from moorage.cli.child import main; main()"
)


def _flags() -> list[str]:
    """Return the options of this interpreter, for another one: ``-X dev``, ``-W error``."""
    found: Callable[[], list[str]] | None = getattr(
        subprocess, "_args_from_interpreter_flags", None
    )
    return [] if found is None else found()


class Supervisor:
    """Serves one program, in one child after the other.

    Args:
        say: writes a line.
        timeout: seconds to serve; None for no end.
    """

    def __init__(
        self,
        wanted: Reference,
        settings: Settings,
        addresses: Addresses,
        *,
        name: str | None,
        timeout: float | None,
        say: Callable[[str], object],
    ) -> None:
        self._begin: Message = {
            "kind": "begin",
            "argv": sys.argv,
            "reference": vars(wanted),
            "settings": vars(settings),
            "name": name,
        }
        self._wanted = wanted
        self._addresses = addresses
        self._timeout = timeout
        self._say = say
        # Events: ("said", child, message, descriptor), ("ended", child, code), ("changed", paths),
        # ("watching", watched), ("signal", number).  Signal handlers put some, too.
        self._events = Events()
        self._watcher = Watcher(
            lambda paths: self._events.put(("changed", paths)),
            lambda watched: self._events.put(("watching", watched)),
        )
        self._present: Child | None = None  # serves, or drains
        self._next: Child | None = None  # imports, or waits for the end of `_present`
        # All whose end was not seen.
        self._children: set[Child] = set()
        # Idle connections that the present child has handed over, by label: descriptors.
        self._idle: list[tuple[str, int]] = []
        self._changed_again = False  # while `_next` waited
        self._watched = Watched()
        # When the last import began, whether it failed or not, in nanoseconds of the wall clock.
        self._imported_at_ns = 0
        self._shown: list[str] = []  # the lines about URLs
        self._has_served = False
        self._told_lost = False
        self._died_at: float | None = None  # when a child died by itself
        # When to stop; None for no end.
        self._until: float | None = None
        # Set when it is to end: the exit code.
        self._code: int | None = None

    def run(self) -> int:
        """Serve until the end; return the exit code."""
        with ExitStack() as stack:
            stack.callback(self._events.close)
            for number in _CODES:
                if Real.getsignal(number) is not signal.SIG_IGN:  # such as by nohup
                    before = Real.set_signal(number, self._handle)
                    stack.callback(Real.set_signal, number, before)
            stack.callback(self._addresses.close)
            stack.callback(self._watcher.close)
            stack.callback(self._kill_all)
            self._next = self._start()
            while self._code is None:
                self._step()
            self._addresses.close()  # refused from now on
            for _, descriptor in self._take_idle():
                Real.close(descriptor)
            self._stop_all()
            return self._code

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._events.put(("signal", number))

    def _step(self) -> None:
        """Wait for one event, and do what follows from it."""
        event = self._event()
        if event is None:
            self._look_at_times()
            return
        kind, *rest = event
        if kind == "signal":
            self._code = _CODES[rest[0]]
            self._say("Stopping; another Ctrl-C stops at once.")
        elif kind == "changed":
            self._changed(rest[0])
        elif kind == "watching":
            self._watching(rest[0])
        elif kind == "ended":
            self._ended(*rest)
        elif rest[0] in self._children:
            self._said(*rest)

    def _event(self) -> tuple[Any, ...] | None:
        times = [child.until for child in self._children if child.until is not None]
        if self._until is not None:
            times.append(self._until)
        seconds = max(0.0, min(times) - system_clock.now()) if times else None
        event: tuple[Any, ...] | None = self._events.next(seconds)
        return event

    def _look_at_times(self) -> None:
        now = system_clock.now()
        for child in list(self._children):
            if child.until is not None and child.until <= now:
                child.until = None
                self._say("A server process did not end, and is killed.")
                child.kill()
        if self._until is not None and self._until <= now:
            self._code = 0

    # -- children ---------------------------------------------------------------------------------

    def _start(self) -> Child:
        child = Child(self._events.put)
        self._imported_at_ns = child.began_at_ns
        self._children.add(child)
        child.channel.send(self._begin)
        return child

    def _said(self, child: Child, message: Message, descriptor: int | None) -> None:
        kind = message["kind"]
        if descriptor is not None:
            assert kind == "connection"
            self._idle.append((message["label"], descriptor))
        if kind in ("imported", "failed", "looked"):
            child.watched = _watched_of(message["watched"])
        if kind == "imported":
            child.functions = [Served.read(fields) for fields in message["functions"]]
            child.phase = Phase.IMPORTED
            if child is self._next:
                self._imported(child)
        elif kind == "failed":
            child.said_why = message["said"]
        elif kind == "serving":
            self._serves(child, message["urls"], message["mounted"])
        elif kind == "looked":
            known = [path for path in message["paths"] if child.watched.counts(path)]
            if known and child is self._present:
                self._reload(known)
        elif kind == "lost" and not self._told_lost:
            self._told_lost = True
            self._say(
                "What is in memory alone is lost at each reload: "
                f"{', '.join(message['names'])}; write moorage.config.persist = True to keep it."
            )

    def _imported(self, child: Child) -> None:
        try:
            self._addresses.bind(child.functions)
        except CommandError as error:
            error.show()
            self._next = None
            child.kill()
            if self._present is None and not self._has_served:
                self._code = error.exit_code
            else:
                self._say("The version from before goes on.")
                self._watch(child.watched)
            return
        self._watch(child.watched)
        if self._present is None:
            self._serve(child)
        elif self._present.phase is Phase.SERVING:
            self._present.leave({"kind": "drain", "seconds": DRAIN}, DRAIN + LEAVING)

    def _serve(self, child: Child) -> None:
        """Give the next child its sockets: it is the present one from now on."""
        self._present, self._next = child, None
        child.phase = Phase.SERVING
        sockets = self._addresses.bind(child.functions)
        self._addresses.keep_only([one.label for one in child.functions])
        for label, one in sockets.items():
            child.channel.send({"kind": "socket", "label": label}, one.fileno())
        for label, descriptor in self._take_idle():
            if label in sockets:
                child.channel.send({"kind": "connection", "label": label}, descriptor)
            Real.close(descriptor)
        child.channel.send({"kind": "serve"})

    def _take_idle(self) -> list[tuple[str, int]]:
        taken, self._idle = self._idle, []
        return taken

    def _serves(self, child: Child, urls: dict[str, str], mounted: str) -> None:
        lines = lines_of(child.functions, urls) or ["  no web functions"]
        if mounted:
            lines.append(mounted)
        if lines != self._shown:
            self._shown = lines
            for line in lines:
                self._say(line)
        if self._has_served:
            self._say("Reloaded.")
        else:
            self._has_served = True
            self._say(f"Watching {_shown_files(child.watched)}")
            self._say("Serving. Ctrl-C stops the app.")
            if self._timeout is not None:
                self._until = system_clock.now() + self._timeout
        if self._changed_again:
            self._changed_again = False
            self._reload([])

    def _ended(self, child: Child, code: int) -> None:
        self._children.discard(child)
        child.kill()  # what it has started and left
        if child is self._next:
            self._next = None
            self._import_ended(child, code)
        elif child is self._present:
            self._present = None
            was_told = child.phase is Phase.LEAVING
            if self._next is not None:
                if self._next.phase is Phase.IMPORTED:
                    self._serve(self._next)
            elif was_told:
                self._next = self._start()  # the one that was to follow has died
            else:
                self._died(child, code)

    def _import_ended(self, child: Child, code: int) -> None:
        """The next child has ended without having served."""
        if not child.said_why:
            self._say(f"The server process ended: {_shown_code(code)}.")
        if not self._has_served:
            self._code = code if code >= 0 else 1
            return
        # The program may be mended in any of the files.
        self._watch(
            Watched(
                self._watched.files | child.watched.files,
                self._watched.trees | child.watched.trees,
                all_python=True,
            )
        )
        if self._present is None:
            self._say("Nothing is served until the program is mended.")
        else:
            self._say("Not reloaded; the version from before goes on.")

    def _died(self, child: Child, code: int) -> None:
        """The present child has ended by itself."""
        now = system_clock.now()
        died_at, self._died_at = self._died_at, now
        if died_at is not None and now - child.began_at < SOON:
            self._say(f"The server process ended again, soon after its start: {_shown_code(code)}.")
            self._code = 1
            return
        self._say(f"The server process ended: {_shown_code(code)}. It is started again.")
        self._next = self._start()

    # -- changes ----------------------------------------------------------------------------------

    def _watch(self, watched: Watched) -> None:
        if watched != self._watched:
            self._watched = watched
            self._watcher.watch(watched)

    def _watching(self, watched: Watched) -> None:
        """Look for what changed between the start of the import and the beginning of the watch."""
        if watched == self._watched:
            changed = watched.changed_since(self._imported_at_ns)
            if changed:
                self._reload(changed)

    def _changed(self, paths: list[str]) -> None:
        certain = [path for path in paths if self._watched.counts(path)]
        if certain:
            self._reload(certain)
        elif self._present is not None and self._present.phase is Phase.SERVING:
            # A function may have imported the module meanwhile.
            self._present.channel.send({"kind": "look", "paths": paths})

    def _reload(self, paths: Sequence[str]) -> None:
        """Start the next child, for the program as it is now."""
        for path in paths:
            _forget_compiled(path)
        if paths:
            self._say(f"Changed: {', '.join(_shown_path(path) for path in paths[:3])}")
        if self._next is not None:
            if self._next.phase is Phase.IMPORTED:
                self._changed_again = True  # the present child drains: it cannot come back
                return
            before, self._next = self._next, None
            before.kill()
        self._next = self._start()

    # -- the end ----------------------------------------------------------------------------------

    def _stop_all(self) -> None:
        """Let the children leave their runs; kill them after a time, or at a second Ctrl-C."""
        for child in self._children:
            if child is self._present:
                child.leave({"kind": "stop"}, LEAVING)
            else:
                child.kill()
        while self._children:
            event = self._event()
            if event is None:
                self._look_at_times()
            elif event[0] == "signal":
                self._kill_all()
            elif event[0] == "ended":
                self._children.discard(event[1])
                event[1].kill()

    def _kill_all(self) -> None:
        for child in self._children:
            child.kill()


def _watched_of(fields: dict[str, Any]) -> Watched:
    return Watched(frozenset(fields["files"]), frozenset(fields["trees"]), fields["all_python"])


def _forget_compiled(path: str) -> None:
    """Remove the compiled file of a source that has changed.

    Python takes it for current if the source has the same size and was changed in the same second.
    """
    if path.endswith(".py"):
        try:
            os.unlink(importlib.util.cache_from_source(path))
        except (OSError, NotImplementedError):
            pass


def _shown_code(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def _shown_path(path: str) -> str:
    try:
        relative = os.path.relpath(path)
    except (OSError, ValueError):  # the working directory was deleted; or it is on another drive
        return path
    return path if relative.startswith("..") else relative


def _shown_files(watched: Watched) -> str:
    """Name what is watched, without the names of the same file twice."""
    files = {os.path.realpath(file) for file in watched.files}
    shown = sorted(_shown_path(path) for path in files)
    shown += [f"{_shown_path(tree)}{os.sep}" for tree in sorted(watched.trees)]
    more = f" and {len(shown) - 5} more" if len(shown) > 6 else ""
    return ", ".join(shown[: 5 if more else 6]) + more
