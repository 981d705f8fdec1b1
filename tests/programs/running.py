"""Starts the command as a user does, and ends it: each program runs in a process of its own.

Owns the environment of such processes, the URLs that a served program prints, and the end of a
served program.  Called by the tests of this folder only.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from cli.users import User, skip_if_refused

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src"

# Seconds after which a program that hangs is killed.
HANGS_AFTER = 60.0

_URL = re.compile(r"^ +(\S+) +(http://\S+)(  \(needs a token\))?$")


def needs_mounts() -> None:
    """Skip the test where the kernel refuses what volumes at their paths need."""
    user = User()
    skip_if_refused(user)
    user.remove()


@dataclass(frozen=True)
class Ended:
    """What a call of the command has left."""

    code: int
    out: str
    err: str

    def well(self) -> str:
        """Return the standard output of a call that ended well."""
        assert self.code == 0, self.err
        return self.out


class Shell:
    """A user's shell: a virtual environment that is active, a home of moorage, a directory."""

    def __init__(self, home: Path, directory: Path = HERE, **variables: str) -> None:
        self.home = home
        self.directory = directory
        foreign = ("MOORAGE_", "MODAL_", "PYTEST_", "PYTHON")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        active = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {
            **kept,
            "PATH": active,
            "PYTHONPATH": str(SOURCE),
            "MOORAGE_HOME": str(home),
            **variables,
        }

    def __call__(self, *arguments: str, stdin: str | None = None) -> Ended:
        """Run ``moorage ARGUMENTS`` to its end."""
        process = self.start(*arguments, stdin=subprocess.PIPE)
        with killed_if_it_hangs(process):
            out, err = process.communicate(stdin)
        return Ended(process.returncode, out, err)

    def start(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        """Start ``moorage ARGUMENTS``, with a process group of its own."""
        return subprocess.Popen(
            _command(arguments),
            cwd=self.directory,
            env=self.environment,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run ``moorage ARGUMENTS`` to its end, and expect an exit code."""
        done = subprocess.run(
            _command(arguments),
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=HANGS_AFTER,
        )
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    @contextmanager
    def serving(self, *arguments: str) -> Iterator[Served]:
        """``moorage serve`` or ``deploy`` until the block ends; nothing is left after it."""
        served = Served(_command(arguments), self)
        try:
            yield served
            if served.process.poll() is None:
                served.end()
        finally:
            served.kill()


class killed_if_it_hangs:
    """Kill the process and its children if the block takes too long, or fails."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._timer = threading.Timer(HANGS_AFTER, self._kill)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, kind: object, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()
        if kind is not None:
            self._kill()
            self._process.communicate()

    def _kill(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has ended by itself


class Served:
    """A program that serves; ``stdout`` and ``stderr`` have the lines that it has printed."""

    def __init__(self, command: Sequence[str], shell: Shell) -> None:
        self.process = subprocess.Popen(
            command,
            cwd=shell.directory,
            env=shell.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._changed = threading.Condition()  # guards the lists and the counter
        self.stdout: list[str] = []
        self.stderr: list[str] = []
        self._open = 2
        self.urls: dict[str, str] = {}
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self.stdout)),
            threading.Thread(target=self._read, args=(self.process.stderr, self.stderr)),
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream, lines: list[str]) -> None:
        with stream:
            for line in stream:
                with self._changed:
                    lines.append(line.rstrip("\n"))
                    if found := _URL.match(lines[-1]):
                        self.urls[found[1]] = found[2]
                    self._changed.notify_all()
        with self._changed:
            self._open -= 1
            self._changed.notify_all()

    def _wait(self, happened, what: str):
        with self._changed:
            self._changed.wait_for(lambda: happened() or not self._open, HANGS_AFTER)
            result = happened()
            assert result, f"{what} in:\n" + "\n".join([*self.stdout, "---", *self.stderr])
            return result

    def url(self, name: str) -> str:
        """The URL of a web function, by the name that the command prints."""
        return self._wait(lambda: self.urls.get(name), f"no URL of {name}")

    def client(self, name: str) -> httpx.Client:
        """A client of a web function."""
        return httpx.Client(base_url=self.url(name), timeout=HANGS_AFTER)

    def wait_for(self, text: str) -> str:
        """The first line with a text, on stdout or stderr."""
        lines = (self.stdout, self.stderr)
        return self._wait(
            lambda: next((line for part in lines for line in part if text in line), None),
            f"no {text!r}",
        )

    def end(self, number: signal.Signals = signal.SIGINT, code: int = 130) -> None:
        """Send a signal; expect an exit code, and that nothing listens any more."""
        self.process.send_signal(number)
        self.ended(code)

    def ended(self, *codes: int) -> None:
        """Wait for the end of the process, with one of the exit codes; see `end`."""
        returned = self.process.wait(HANGS_AFTER)
        for reader in self._readers:
            reader.join(HANGS_AFTER)
        assert returned in codes, "\n".join([*self.stdout, "---", *self.stderr])
        for url in self.urls.values():
            assert_nothing_listens(urlsplit(url).port)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for reader in self._readers:
            reader.join(HANGS_AFTER)


def assert_nothing_listens(port: int | None) -> None:
    with socket.socket() as client:
        refused = client.connect_ex(("127.0.0.1", port))
    assert refused == errno.ECONNREFUSED, f"something listens on port {port}"


def _command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "moorage", *arguments]
