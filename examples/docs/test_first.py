"""The first test: a minute of waiting, two at a time, in milliseconds."""

import asyncio

import moorage

app = moorage.App("kitchen")


@app.function()
@moorage.concurrent(max_inputs=2)
async def brew(cup: int) -> int:
    await asyncio.sleep(30)
    return cup


def test_two_cups_at_a_time(fake_container, virtual_clock):
    container = fake_container(brew)
    assert list(container.map([1, 2, 3])) == [1, 2, 3]
    assert virtual_clock.now() == 60
    assert container.statistics().peak == 2
