"""The example suites pass, as a user would run them, with warnings as errors."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "examples" / "testing"
PASSED = {"test_embeddings.py": 20, "test_crawler.py": 19, "test_jobs.py": 16}


def test_every_suite_is_run() -> None:
    assert {path.name for path in FOLDER.glob("test_*.py")} == set(PASSED)
    assert {path.name for path in FOLDER.glob("[!_]*.py")} - set(PASSED) == {
        "conftest.py",
        *(name.removeprefix("test_") for name in PASSED),
    }


@pytest.mark.parametrize(("suite", "passed"), PASSED.items())
def test_the_suite_passes(suite: str, passed: int) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-W", "error", "--strict-config"),
            *("-p", "no:cacheprovider", "-q", suite),
        ],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^(\d+) passed in ", done.stdout, re.M) == [str(passed)], done.stdout
