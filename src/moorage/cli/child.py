"""The child of ``moorage serve``: imports the program, and serves it.

Owns the child's side of the messages.  The process that the user started (``supervisor.py``) owns
the listening sockets, and starts a fresh child for each version of the program:
    1. The child imports the program, and says *imported*, with its web functions.
    2. It gets a socket for each, the idle connections of the child before, and *serve*: it opens
       the run of the app.  No container has started before that.
    3. *drain*: it accepts no more connections, hands over those that are idle, finishes what it has
       accepted, and ends.
       *stop*: it leaves the run as at Ctrl-C, and ends.
If the supervisor is gone, the child stops, and then kills what it has started.

The child is the leader of a process group, so that Ctrl-C on the terminal reaches the supervisor
alone.

Begin at `main`, then `_Child.perform`, then `_Child._serve`.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import click

from ..app import App
from ..dict import Dict
from ..exception import Error
from ..image import AddedFiles
from ..placing import sources
from ..placing.placements import placements_of_configuration
from ..queue import Queue
from ..running.mounts import mounts_of
from ..running.runs import drain_runs
from ..running.urls import WebFunction
from ..runtime.clocks.clock import system_clock
from ..runtime.garbage import keep_what_is_there
from ..runtime.real import Real
from .addresses import Served, check_served
from .apps import app_of, describe
from .channel import Channel, Message
from .errors import CommandError, shown_error
from .loading import load
from .mounts import mount
from .reference import Reference
from .serving import Settings, open_sites, reserve, web_functions
from .watching import Watched

# Seconds that the child gets to end after its supervisor has gone.
ORPHANED: Final = 20.0


def main() -> None:
    """Be a child.  The first argument is the descriptor of the channel."""
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    end = Real.socket(fileno=descriptor)
    os.register_at_fork(after_in_child=end.close)
    child = _Child(Channel(end))
    sys.exit(child.perform())


class _Child:
    """This process."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        # Commands for the main thread.
        self._commands: Any = Real.SimpleQueue()
        # Whether the main thread is to be interrupted by the end: it runs the program's code, and
        # does not look at the commands.
        self._is_importing = False
        self._is_orphaned = False
        # By label; those that listen, and idle connections of the child before.
        self._sockets: dict[str, socket.socket] = {}
        self._connections: list[tuple[str, socket.socket]] = []
        self._host = ""
        self._wanted: Reference | None = None
        self._app: App | None = None
        self._labels: list[str] = []  # of its web functions, before the run
        # The folder that relative paths begin at; the program may change into another one.
        self._began_at = _working_directory()

    def perform(self) -> int:
        """Serve until the end; return the exit code."""
        received = self._channel.receive()
        if received is None:
            return 1
        begin = received[0]
        sys.argv[:] = begin["argv"]
        atexit.register(self._end_orphans)  # first, and so called last
        settings = Settings.read(begin["settings"])
        self._host = settings.host
        try:
            settings.apply()
            Real.Thread(target=self._receive, name="moorage-channel", daemon=True).start()
            try:
                functions = self._import(begin)
            except BaseException as error:
                said = not isinstance(error, SystemExit)
                failed = {"kind": "failed", "said": said, "watched": self._watched(failed=True)}
                self._channel.send(failed)
                raise
            self._channel.send(
                {
                    "kind": "imported",
                    "functions": [vars(Served.of(one)) for one in functions],
                    "watched": self._watched(),
                }
            )
            assert self._app is not None
            return self._serve(self._app, functions, begin["name"])
        except KeyboardInterrupt:
            return 130
        except click.ClickException as error:
            error.show()
            return error.exit_code

    def _import(self, begin: Message) -> list[WebFunction]:
        self._wanted = Reference(**begin["reference"])
        self._is_importing = True
        try:
            if not self._commands.empty():  # it came before it could interrupt
                raise KeyboardInterrupt
            module = load(self._wanted)
        finally:
            self._is_importing = False
        inside = tuple(root + os.sep for root in _both(self._root(self._wanted)))
        sources.keep(self._modules(inside))
        self._app = app = app_of(module, self._wanted)
        if begin["name"] is not None:
            app._runs.description = begin["name"]
        describe(app, self._wanted)
        functions = web_functions(app)
        try:
            served = [Served.of(one) for one in functions]
        except Error as error:  # a label that no host can have
            raise CommandError(str(error)) from None
        check_served(served, self._host)
        self._labels = [one.label for one in served]
        return functions

    def _serve(self, app: App, functions: list[WebFunction], name: str | None) -> int:
        """Wait for *serve*, and then serve until a command ends it."""
        command = self._commands.get()
        if command["kind"] != "serve":
            return 0
        try:
            mounted = mount(app)  # after the end of the child before: symlinks are on the disk
            # By the labels that the supervisor was told: the functions of an included app have
            # other labels in the run of `app`.
            sockets = [self._sockets.pop(label) for label in self._labels]
            reserve(app, functions, self._host, sockets)
            keep_what_is_there()
            with app.run(name=name):
                urls = open_sites(functions, self._host, sockets)
                by_label = {one.label: one for one in functions}
                for label, connection in self._connections:
                    by_label[label].adopt(connection)
                self._channel.send({"kind": "serving", "urls": urls, "mounted": mounted})
                command = self._commands.get()
                if command["kind"] == "drain":
                    self._drain(app, command["seconds"])
        except Exception as error:
            raise shown_error(error) from None
        return 0

    def _drain(self, app: App, seconds: float) -> None:
        run = app._runs.run
        if run is None:
            return
        lost = _in_memory()
        if lost:
            self._channel.send({"kind": "lost", "names": lost})

        def hand_over(label: str, descriptor: int) -> None:
            self._commands.put({"kind": "idle", "label": label, "descriptor": descriptor})

        # On a thread, so that *stop* ends the wait.
        def drain() -> None:
            drain_runs([run], seconds, hand_over)
            self._commands.put({"kind": "drained"})

        Real.Thread(target=drain, name="moorage-drain", daemon=True).start()
        while (command := self._commands.get())["kind"] == "idle":
            message = {"kind": "connection", "label": command["label"]}
            self._channel.send(message, command["descriptor"])
            Real.close(command["descriptor"])

    # -- the channel: on a thread of its own -------------------------------------------------

    def _receive(self) -> None:
        while (received := self._channel.receive()) is not None:
            message, descriptor = received
            kind = message["kind"]
            if kind == "socket":
                assert descriptor is not None
                self._sockets[message["label"]] = self._socket(descriptor)
            elif kind == "connection":
                assert descriptor is not None
                self._connections.append((message["label"], self._socket(descriptor)))
            elif kind == "look":
                self._channel.send(
                    {
                        "kind": "looked",
                        "watched": self._watched(maybe=message["paths"]),
                        "paths": message["paths"],
                    }
                )
            else:
                self._command(message)
        self._is_orphaned = True
        self._command({"kind": "stop"})
        # The main thread may be blocked in the program's code.
        waiter = system_clock.make_waiter()
        system_clock.wait(waiter, ORPHANED)
        _kill_group()

    def _socket(self, descriptor: int) -> socket.socket:
        # With the protocol given, asyncio sets TCP_NODELAY.
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        return Real.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=descriptor)

    def _command(self, message: Message) -> None:
        self._commands.put(message)
        if self._is_importing:
            Real.pthread_kill(Real.main_thread().ident or 0, signal.SIGINT)

    def _end_orphans(self) -> None:
        if self._is_orphaned:
            _kill_group()

    # -- what the program is made of ----------------------------------------------------------

    def _watched(self, *, failed: bool = False, maybe: Sequence[str] = ()) -> dict[str, Any]:
        """Return the fields of `Watched`.

        Args:
            failed: whether the import failed.
            maybe: files that have changed.  If containers are processes, one of them may have
                imported what is beside the program's modules: then these files count.
        """
        files: set[str] = set()
        wanted = self._wanted
        if wanted is None:
            return {"files": [], "trees": [], "all_python": failed}
        roots = set(_both(self._root(wanted)))
        if not wanted.is_module:
            files.update(_both(os.path.join(self._began_at, wanted.program)))
        elif failed:
            files.update(os.path.join(root, "__init__.py") for root in roots)
        inside = tuple(root + os.sep for root in roots)
        for _, module in self._modules(inside):
            files.update(_both(_source_of(module) or ""))
        if maybe and placements_of_configuration() is not None:
            files.update(path for path in maybe if path.endswith(".py") and path.startswith(inside))
        trees: set[str] = set()
        if self._app is not None:
            for mounts in mounts_of(self._app).values():
                for mount in mounts:
                    if not isinstance(mount.what, AddedFiles):
                        continue
                    path = os.path.join(self._began_at, mount.what.local_path)
                    if os.path.isdir(path):
                        trees.add(os.path.abspath(path))
                    else:
                        files.update(_both(path))
        watched = Watched(frozenset(files), frozenset(trees), failed)
        return {
            "files": sorted(watched.files),
            "trees": sorted(watched.trees),
            "all_python": watched.all_python,
        }

    def _modules(self, inside: tuple[str, ...]) -> Iterator[tuple[str, ModuleType]]:
        """Yield the modules of the program itself, with their names."""
        for name, module in list(sys.modules.items()):
            file = _source_of(module)
            if file is not None and file.startswith(inside) and not _is_installed(file):
                yield name, module

    def _root(self, wanted: Reference) -> str:
        """Return the folder whose modules are the program's: its own folder, or its package."""
        if not wanted.is_module:
            return os.path.dirname(os.path.join(self._began_at, wanted.program))
        top, _, rest = wanted.program.partition(".")
        file = _source_of(sys.modules.get(top))
        if file is None or not (rest or os.path.basename(file) == "__init__.py"):
            return self._began_at
        return os.path.dirname(file)


def _working_directory() -> str:
    try:
        return Real.getcwd()
    except OSError:  # it was deleted
        return os.sep


def _source_of(module: ModuleType | None) -> str | None:
    file = getattr(module, "__file__", None)
    return os.path.abspath(file) if isinstance(file, str) and file.endswith(".py") else None


def _both(path: str) -> Iterator[str]:
    """Give the path, and where it leads."""
    yield os.path.abspath(path)
    yield os.path.realpath(path)


def _is_installed(file: str) -> bool:
    """Whether the file belongs to an installed package, such as one in ``.venv``."""
    return bool({"site-packages", "dist-packages"} & set(Path(file).parts))


def _in_memory() -> list[str]:
    """Return the named dicts and queues of this process, which a new process does not have."""
    return sorted(
        f"{kind.__name__} {record.name!r}"
        for kind in (Dict, Queue)
        for (_, _), record in kind._catalogue()._memory._by_name.copy().items()
    )


def _kill_group() -> None:
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main()
