"""Processes seen from outside: programs of their own, and whether a process is gone."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

HERE = Path(__file__).parent

# Seconds after which what should have ended counts as left.  Most of them are the machine's.
PATIENCE = 60.0
# A program may start ten interpreters, one after the other.
ENDS_WITHIN = 100.0


class Watched:
    """A process, by its pidfd: its number may become another one's."""

    def __init__(self, pid):
        self.pid = pid
        self._fd = os.pidfd_open(pid)

    def is_gone(self, seconds=PATIENCE):
        return bool(select.select([self._fd], [], [], seconds)[0])

    def send(self, number):
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._fd, number)

    def close(self):
        self.send(signal.SIGKILL)
        os.close(self._fd)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


class Program:
    """A program in a file of its own, which says lines; killed at the end of the block."""

    def __init__(self, folder, source, *, stdout=None, env=None, arguments=()):
        self._read = b""
        file = Path(folder) / "program.py"
        file.write_text(source)
        self.process = subprocess.Popen(
            [sys.executable, str(file), *map(str, arguments)],
            stdout=subprocess.PIPE if stdout is None else stdout,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={**os.environ, **(env or {})},
        )

    def said(self):
        """The next line that the program says."""
        while b"\n" not in self._read:
            # Not by `readline`, which may keep a second line where `select` does not see it.
            out = self.process.stdout.fileno()
            if not select.select([out], [], [], PATIENCE)[0]:
                raise AssertionError(f"the program said nothing; {self._fail()}")
            data = os.read(out, 4096)
            if not data:
                raise AssertionError(f"the program has ended; {self._fail()}")
            self._read += data
        line, _, self._read = self._read.partition(b"\n")
        return line.decode()

    def _fail(self):
        self.process.kill()
        return self.process.stderr.read()

    def end(self):
        """Wait for the end; its exit code, and what it said on both streams."""
        out, err = self.process.communicate(timeout=ENDS_WITHIN)
        return self.process.returncode, out, err

    def kill(self):
        self.process.kill()
        self.process.wait(PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.communicate()


def children_of(pid):
    """The pids of a process's children."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{name}/stat").read_bytes().rpartition(b")")[2].split()
                if int(fields[1]) == pid:
                    found.append(int(name))
    return found


@contextlib.contextmanager
def signalled(process, number, again_after=1.0):
    """Send a signal to a program, and once more each time that nothing has come of it.

    The interpreter looks for signals between two instructions: one that comes after the last look
    and before a wait, also that for a lock, is not seen before the next.  So leave the block when
    something has come of it.
    """
    over = threading.Event()

    def send():
        process.send_signal(number)
        while not over.wait(again_after):
            process.send_signal(number)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def wait_for(condition):
    """Ask until `condition()` is true."""
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.005)):
        if condition():
            return
        pause.wait(0.005)
    raise AssertionError("it did not come to be so")
