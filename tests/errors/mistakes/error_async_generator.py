# an error in an async generator
import asyncio

import moorage as modal

app = modal.App("shop")


@app.function()
async def f(x):
    yield 1
    yield int(x)


async def main():
    async for y in f.remote_gen.aio("three"):
        pass


with app.run():
    asyncio.run(main())
