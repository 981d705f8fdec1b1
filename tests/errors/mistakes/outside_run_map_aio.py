# map.aio outside of a run
# strict
import asyncio

import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


async def main():
    async for y in f.map.aio([1, 2]): print(y)


asyncio.run(main())
