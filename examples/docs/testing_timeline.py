"""What happened, in text: the events of a fake container, and its timeline."""

import asyncio

from moorage.testing import FakeContainer, VirtualClock


async def brew(cup: str) -> str:
    await asyncio.sleep(3 if cup == "tea" else 5)
    if cup == "cocoa":
        raise LookupError("no cocoa")
    return cup


with VirtualClock(), FakeContainer(brew, max_inputs=2) as container:
    tea, mate, cocoa = (container.submit(cup) for cup in ("tea", "mate", "cocoa"))
    container.wait_idle()
    print(container.timeline(width=30))
    print(container.events.of(input="brew('cocoa')"))
    print(container.statistics())
    print(cocoa)
    cocoa.exception()  # an error that nobody reads is logged
