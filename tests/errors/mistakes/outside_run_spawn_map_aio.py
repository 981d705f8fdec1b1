# spawn_map.aio outside of a run
# strict
import asyncio

import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


async def main():
    await f.spawn_map.aio([1, 2])


asyncio.run(main())
