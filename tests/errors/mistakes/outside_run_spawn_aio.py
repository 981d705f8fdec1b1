# spawn.aio outside of a run
# strict
import asyncio

import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


async def main():
    await f.spawn.aio(1)


asyncio.run(main())
