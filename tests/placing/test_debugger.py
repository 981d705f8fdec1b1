"""Worker processes of a program to which a debugger may attach."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pidfds are Linux's")

PROGRAM = """
import os
import debugpy

debugpy.listen(("127.0.0.1", 0))  # starts threads, here and in children of this process

import moorage

app = moorage.App("debugged")


@app.function()
def twice(x):
    return 2 * x, os.getpid()


with app.run(placement="process"):
    found = list(twice.map(range(4)))
print([value for value, _ in found], all(pid != os.getpid() for _, pid in found))
"""


def test_a_program_that_debugpy_listens_in():
    pytest.importorskip("debugpy")
    done = subprocess.run(
        [sys.executable, "-X", "frozen_modules=off", "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.returncode, done.stdout) == (0, "[0, 2, 4, 6] True\n"), done.stderr
