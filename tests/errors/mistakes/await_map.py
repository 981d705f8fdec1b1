# await f.map.aio(...) instead of async for
import asyncio

import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


async def main():
    await f.map.aio([1, 2])


with app.run():
    asyncio.run(main())
