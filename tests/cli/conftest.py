"""What the tests of the command line share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.shells import Shell, shell_in


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A folder for programs, which is the working directory."""
    with shell_in(tmp_path) as shell:
        yield shell
