"""pytest-xdist: each process has its own clock, and its own containers."""

import asyncio

import pytest


async def brew(cup: int) -> int:
    await asyncio.sleep(30)
    return cup


@pytest.mark.parametrize("cups", [1, 2, 3, 4])
def test_one_cup_at_a_time(cups, fake_container, virtual_clock):
    assert list(fake_container(brew).map(range(cups))) == list(range(cups))
    assert virtual_clock.now() == 30 * cups
