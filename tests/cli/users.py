"""Programs of a user without privileges, each in a process of its own.

Owns `User`, and `skip_if_refused` for kernels that let no user make a namespace.  Under root the
programs run as a user whom nobody knows, with this interpreter and a copy of moorage that everybody
may read.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

import moorage

SRC = Path(moorage.__file__).parent.parent
NEEDED = ("anyio", "click", "cloudpickle", "idna", "sniffio", "typing_extensions")

# As `nobody` has it.
NOBODY = 65534

# A number without a name: what belongs to others, also to `nobody`, can be told from its own.
STRANGER = 54321

# Runs as root: an interpreter below a directory of root alone, such as /root, is shown to all, in a
# mount namespace of this process.  Then this process becomes another user's.
BECOME = """
import os, runpy, stat, sys, types
path = os.environ["PYTHONPATH"] + "/moorage/mounting/syscalls.py"
sys_ = types.SimpleNamespace(**runpy.run_path(path))

uid, python, *arguments = sys.argv[1:]
hidden = [
    each
    for each in [*map(str, __import__("pathlib").Path(sys.base_prefix).parents)][::-1]
    if not os.stat(each).st_mode & stat.S_IXOTH
]
if hidden:
    sys_.unshare(sys_.CLONE_NEWNS)
    sys_.mount(None, "/", None, sys_.MS_REC | sys_.MS_SLAVE)
    whole = os.open(sys.base_prefix, os.O_PATH)
    sys_.mount("python", hidden[0], "tmpfs", 0, "mode=0755")
    os.makedirs(sys.base_prefix)
    sys_.mount(f"/proc/self/fd/{whole}", sys.base_prefix, None, sys_.MS_BIND)
os.setgroups([])
os.setgid(int(uid))
os.setuid(int(uid))
os.execv(python, [python, *arguments])
"""


# How the reason of each skip begins.
KERNEL_REFUSES = "the kernel refuses namespaces"

REFUSED = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
print(0 if libc.unshare(0x10020000) == 0 else ctypes.get_errno())
"""


class User:
    """Somebody who runs programs, with a home and a directory that all may read."""

    def __init__(self, uid: int | None = None) -> None:
        """Make the directories: of this user, or of another one, if this is root."""
        self.uid = os.geteuid() if uid is None else uid
        self.room = Path(tempfile.mkdtemp(prefix="moorage-user-"))
        self.room.chmod(0o755)
        self.home = self.room / "home"
        self.home.mkdir()
        self.own(self.home)
        self.path = os.pathsep.join([str(SRC), *(path for path in sys.path if path)])
        if self.uid != os.geteuid():
            self.path = str(self.room / "lib")
            self._copy()

    def _copy(self) -> None:
        (self.room / "lib").mkdir()
        shutil.copytree(SRC / "moorage", self.room / "lib" / "moorage")
        for name in NEEDED:
            found = importlib.util.find_spec(name)
            if found is not None and found.origin is not None:
                origin = Path(found.origin)
                if origin.name == "__init__.py":
                    shutil.copytree(origin.parent, self.room / "lib" / name)
                else:
                    shutil.copy2(origin, self.room / "lib")

    def own(self, path: Path) -> Path:
        os.chown(path, self.uid, -1)
        return path

    def own_directory(self, name: str) -> Path:
        """Make a directory of this user in the home."""
        path = self.home / name
        path.mkdir()
        return self.own(path)

    def remove(self) -> None:
        shutil.rmtree(self.room)

    @property
    def volumes(self) -> Path:
        return self.home / "store" / "main" / "volumes"

    @property
    def left(self) -> list[str]:
        """The records of what was made on the disk, which go with what was made."""
        # Passes over directories that go meanwhile, which `rglob` raises for.
        walked = os.walk(self.home)
        return sorted(
            os.path.join(parent, name)
            for parent, folders, files in walked
            for name in (*folders, *files)
            if name.startswith(".made")
        )

    def start(
        self, program: str, *arguments: str, cwd: Path | None = None, **environment: str
    ) -> subprocess.Popen[str]:
        # The interpreter itself: a virtual environment may be in a directory of root alone.
        python = os.path.realpath(sys.executable)
        command = [python, "-c", textwrap.dedent(program), *arguments]
        if self.uid != os.geteuid():
            command = [python, "-c", BECOME, str(self.uid), *command]
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd or self.home,
            start_new_session=True,
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "HOME": str(self.home),
                "MOORAGE_HOME": str(self.home / "store"),
                "PYTHONPATH": self.path,
                "PYTHONUNBUFFERED": "1",
                **environment,
            },
        )

    def run(
        self, program: str, *arguments: str, cwd: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        process = self.start(program, *arguments, cwd=cwd, **environment)
        try:
            out, err = process.communicate(timeout=100)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def succeeds(
        self, program: str, *arguments: str, cwd: Path | None = None, **environment: str
    ) -> str:
        done = self.run(program, *arguments, cwd=cwd, **environment)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout


def skip_if_refused(user: User) -> None:
    """Skip a test where the kernel itself gives this user no namespaces."""
    number = int(user.succeeds(REFUSED))
    if number:
        pytest.skip(f"{KERNEL_REFUSES}: unshare() gave {errno.errorcode[number]}")
