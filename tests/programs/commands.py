"""The command, as a user calls it: one process for each call, with a home of its own."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

import moorage

HERE = Path(__file__).parent

# Seconds after which a process that hangs is killed; nothing here takes nearly as long.
HANGS_AFTER = 60.0

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000


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
    """A user's terminal: a folder to be in, a home, and an environment."""

    def __init__(self, home: Path, cwd: Path = HERE, **variables: str) -> None:
        self.home = home
        self.cwd = cwd
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MOORAGE_", "MODAL_", "PYTEST_", "PYTHONUNBUFFERED"))
        }
        self.environ = {
            **kept,
            "MOORAGE_HOME": str(home),
            "PYTHONPATH": str(Path(moorage.__file__).parents[1]),
            **variables,
        }

    def __call__(self, *arguments: str, stdin: str | None = None) -> Ended:
        """Run `moorage ARGUMENTS` to its end."""
        process = self.start(*arguments, stdin=subprocess.PIPE)
        with killed_if_it_hangs(process):
            out, err = process.communicate(stdin)
        return Ended(process.returncode, out, err)

    def start(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "moorage", *arguments],
            cwd=self.cwd,
            env=self.environ,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


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


def skip_without_mounts() -> None:
    """Skip the test if the system refuses a mount namespace to this user."""
    if not sys.platform.startswith("linux"):
        pytest.skip("mount namespaces are Linux's")
    program = (
        "import ctypes, sys\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "sys.exit(ctypes.get_errno() if libc.unshare(int(sys.argv[1])) else 0)\n"
    )
    flags = CLONE_NEWNS if os.geteuid() == 0 else CLONE_NEWNS | CLONE_NEWUSER
    refused = subprocess.run([sys.executable, "-c", program, str(flags)]).returncode
    if refused:
        name = errno.errorcode.get(refused, str(refused))
        pytest.skip(f"unshare({flags:#x}): {name}: {os.strerror(refused)}")
