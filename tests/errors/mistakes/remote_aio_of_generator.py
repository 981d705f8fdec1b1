# remote.aio of a generator
import asyncio

import moorage as modal

app = modal.App("shop")


@app.function()
async def f(x):
    yield x


async def main():
    await f.remote.aio(1)


with app.run():
    asyncio.run(main())
