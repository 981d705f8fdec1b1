"""The shortest one: any function, two at a time, in virtual time."""

import asyncio


async def brew(cup):
    await asyncio.sleep(30)
    return cup


def test_two_cups_at_a_time(fake_container, virtual_clock):
    container = fake_container(brew, max_inputs=2)
    assert list(container.map([1, 2, 3])) == [1, 2, 3]
    assert virtual_clock.now() == 60
