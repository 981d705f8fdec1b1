# an error in a function, through spawn.aio and get.aio
import asyncio

import moorage as modal

app = modal.App("shop")


@app.function()
async def f(x):
    return int(x)


async def main():
    call = await f.spawn.aio("three")
    await call.get.aio()


with app.run():
    asyncio.run(main())
