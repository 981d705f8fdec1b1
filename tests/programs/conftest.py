"""What the tests of all programs share."""

from pathlib import Path

import pytest

from programs.running import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A shell in the folder of the programs, whose home of moorage is empty."""
    return Shell(tmp_path / "home")
