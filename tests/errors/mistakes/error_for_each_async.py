# an error in a function, through for_each.aio
import asyncio

import moorage as modal

app = modal.App("shop")


@app.function()
async def f(x):
    return int(x)


async def main():
    await f.for_each.aio(["1", "three"])


with app.run():
    asyncio.run(main())
