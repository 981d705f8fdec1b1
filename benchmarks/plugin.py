"""What the pytest plugin costs a suite that uses nothing of moorage.

Owns one line beneath the table.  Two suites of plain tests, one of them with the plugin,
are run in turns by pytest in processes of their own, without any other plugin; what is
compared is the processor's time of each process.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

TESTS = 500
PLUGIN = "_moorage_pytest_plugin"


def measure_plugin(rounds: int) -> str:
    """The line; `rounds` pairs, after one that warms up."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.joinpath("test_unrelated.py").write_text(
            "import pytest\n"
            f"@pytest.mark.parametrize('x', range({TESTS}))\n"
            "def test_plain(x):\n    assert x + 1 > x\n"
        )
        pairs: list[tuple[float, float]] = []
        for turn in range(rounds + 1):
            both = (False, True) if turn % 2 else (True, False)
            seconds = {with_plugin: _run(folder, with_plugin) for with_plugin in both}
            pairs.append((seconds[False], seconds[True]))
    ratios = sorted(with_it / without for without, with_it in pairs[1:])
    without = median(pair[0] for pair in pairs[1:])
    return (
        f"the pytest plugin in a suite of {TESTS} tests that does not use it: "
        f"{median(ratios):.3f} of the processor's time without it "
        f"({ratios[0]:.3f} to {ratios[-1]:.3f} in {rounds} pairs; {without:.2f} s)"
    )


def _run(folder: Path, with_plugin: bool) -> float:
    """Seconds of user and system time."""
    arguments = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    if with_plugin:
        arguments += ["-p", PLUGIN]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        arguments,
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode or f"{TESTS} passed" not in done.stdout:
        raise RuntimeError(done.stdout + done.stderr)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
