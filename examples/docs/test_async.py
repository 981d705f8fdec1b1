"""An async test lives in the same virtual time as what it tests."""

import asyncio

import pytest


async def brew(cup: int) -> int:
    await asyncio.sleep(30)
    return cup


@pytest.mark.asyncio
async def test_a_customer_who_leaves(fake_container, virtual_clock):
    container = fake_container(brew)
    first, second = container.submit(1), container.submit(2)
    await container.wait_running.aio(1)
    with pytest.raises(asyncio.TimeoutError):
        async with asyncio.timeout(45):
            await second
    assert await first == 1
    assert virtual_clock.now() == 45
    assert not second.done()  # it runs on: who awaits has left, not the input
