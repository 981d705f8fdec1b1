"""The same with moorage: no more than 1,000 items are under way at a time."""

import asyncio

import moorage

app = moorage.App("fetching")


@app.function(max_containers=1)
@moorage.concurrent(max_inputs=10)
async def fetch(number: int) -> int:
    await asyncio.sleep(0.01)
    return number * 2


async def main() -> None:
    async with app.run():
        total = 0
        async for result in fetch.map.aio(range(100), order_outputs=False):
            total += result
        print(total)


asyncio.run(main())
