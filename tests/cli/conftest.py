"""What the tests of the command line share: a shell, and what may be skipped."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from cli.shells import Shell, shell_in
from cli.users import KERNEL_REFUSES


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A folder for programs, which is the working directory."""
    with shell_in(tmp_path) as shell:
        yield shell


@pytest.fixture
def root_directory() -> Iterator[None]:
    """Let one test at a time make paths in the root directory, which all processes share."""
    import fcntl

    root = os.open("/", os.O_RDONLY)
    try:
        fcntl.flock(root, fcntl.LOCK_EX)
        yield
    finally:
        os.close(root)


@pytest.fixture(autouse=True)
def _signals_are_not_ignored() -> Iterator[None]:
    """Let commands begin as on a terminal, where SIGHUP counts, also if nohup runs these tests."""
    before = signal.getsignal(signal.SIGHUP)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that is skipped on Linux, unless the kernel has refused what it needs."""
    report = yield
    # What is expected to fail is a skip, too.
    if report.skipped and sys.platform == "linux" and not hasattr(report, "wasxfail"):
        assert isinstance(report.longrepr, tuple)
        reason = report.longrepr[2]
        if KERNEL_REFUSES not in reason:
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} is skipped, and must run on Linux. {reason}"
    return report
