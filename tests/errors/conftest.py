"""These tests run nothing in this process: there is nothing to be left behind."""

import pytest


@pytest.fixture(autouse=True)
def leaves_nothing_behind() -> None: ...
