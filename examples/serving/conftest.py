"""Every test lives in virtual time: what sleeps, sleeps no real second."""

import pytest


@pytest.fixture(autouse=True)
def clock(virtual_clock):
    with virtual_clock.patch_time():
        yield virtual_clock
