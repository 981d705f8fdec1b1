"""The example suites pass, as a user would run them, with warnings as errors."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
PASSED = {
    "testing": {"test_embeddings.py": 20, "test_crawler.py": 19, "test_jobs.py": 16},
    "jobs": {"test_posters.py": 6},
    "serving": {"test_jobs.py": 7, "test_model.py": 3, "test_progress.py": 2},
}


@pytest.mark.parametrize("folder", PASSED)
def test_every_suite_is_run(folder: str) -> None:
    suites = set(PASSED[folder])
    assert {path.name for path in (EXAMPLES / folder).glob("test_*.py")} == suites
    assert {path.name for path in (EXAMPLES / folder).glob("[!_]*.py")} - suites == {
        "conftest.py",
        *(name.removeprefix("test_") for name in suites),
    }


@pytest.mark.parametrize(
    ("folder", "suite"), [(folder, suite) for folder, suites in PASSED.items() for suite in suites]
)
def test_the_suite_passes(folder: str, suite: str) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-W", "error", "--strict-config"),
            *("-p", "no:cacheprovider", "-q", suite),
        ],
        cwd=EXAMPLES / folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = PASSED[folder][suite]
    assert re.findall(r"^(\d+) passed in ", done.stdout, re.M) == [str(passed)], done.stdout
