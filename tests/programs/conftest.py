"""What the tests of all programs share: a shell, and what may be skipped."""

from pathlib import Path

import pytest

from cli.conftest import pytest_runtest_makereport as pytest_runtest_makereport
from programs.running import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A shell in the folder of the programs, whose home of moorage is empty."""
    return Shell(tmp_path / "home")
