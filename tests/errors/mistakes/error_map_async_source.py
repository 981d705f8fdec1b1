# an error in the asynchronous iterator that map.aio reads
import asyncio

import moorage as modal

app = modal.App("shop")


@app.function()
async def f(x):
    return x


async def numbers():
    yield 1
    raise OSError("disk full")


async def main():
    await f.for_each.aio(numbers())


with app.run():
    asyncio.run(main())
