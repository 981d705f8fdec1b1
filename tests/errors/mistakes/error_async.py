# an error in an async function, awaited
import asyncio

import moorage as modal

app = modal.App("shop")


async def parse(x):
    return int(x)


@app.function()
async def f(x):
    return await parse(x)


async def main():
    async with app.run():
        await f.remote.aio("three")


asyncio.run(main())
