"""These tests start processes and touch nothing in this one, so they look for no leftovers."""

import pytest


@pytest.fixture(autouse=True)
def leaves_nothing_behind() -> None:
    """In place of the look through all objects, which takes longer than a cell."""
