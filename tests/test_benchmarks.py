"""The benchmarks run, prove what they are to prove, and leave no group out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
GROUPS = (
    "bulk-async",
    "one-async-blocking",
    "one-async-awaited",
    "bulk-sync",
    "one-sync",
    "sleeping",
    "memory",
    "items",
    "method",
    "sizes",
    "requests",
    "tail",
    "hogged",
    "import",
    "dict-put",
    "dict-get",
    "sqlite",
    "queue-threads",
    "queue-loops",
    "web",
    "web-cpu",
    "web-socket",
    "web-wsgi",
    "elsewhere-bulk",
    "elsewhere-one",
    "elsewhere-cpu",
    "elsewhere-start",
    "elsewhere-arrays",
    "elsewhere-kill",
)


def run_benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_all_groups_run_and_their_checks_hold() -> None:
    done = run_benchmarks("--quick")
    assert done.returncode == 0, done.stderr
    first_words = [line.split()[0] for line in done.stdout.splitlines() if line.split()]
    for group in GROUPS:
        assert group in first_words
    assert "floor" in done.stdout


def test_only_runs_the_group_that_was_named() -> None:
    done = run_benchmarks("--quick", "--only", "one-sync")
    assert done.returncode == 0, done.stderr
    assert "one-sync" in done.stdout
    assert not any(group in done.stdout for group in GROUPS if group != "one-sync")


def test_a_group_that_does_not_exist_is_refused_with_those_that_do() -> None:
    done = run_benchmarks("--only", "one-sink")
    assert done.returncode == 2
    assert "one-sync" in done.stderr
