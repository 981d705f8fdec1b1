"""A bound on what waits: refuse what is too much, or let those who call wait."""

import asyncio

import moorage
from moorage.exception import ResourceExhaustedError

app = moorage.App("limits")


@app.function(max_containers=1, max_backlog=3)
@moorage.concurrent(max_inputs=2)
async def render(page: int) -> int:
    await asyncio.sleep(0.05)
    return page


async def main() -> None:
    async with app.run():
        await render.remote.aio(0)
        requests = [render.remote.aio(page) for page in range(8)]
        answers = await asyncio.gather(*requests, return_exceptions=True)
        print(["busy" if isinstance(a, ResourceExhaustedError) else a for a in answers])
        statistics = render.statistics()
        assert statistics is not None
        print(statistics.accepted, "accepted,", statistics.refused, "refused")

        patient = render.with_options(on_full="wait")
        await patient.remote.aio(0)
        print(await asyncio.gather(*(patient.remote.aio(page) for page in range(8))))

        # A map feeds what fits, and reads on as there is room.
        print([page async for page in render.map.aio(range(8))])


asyncio.run(main())
