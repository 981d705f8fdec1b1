# an error in a function, through map.aio
import asyncio

import moorage as modal

app = modal.App("shop")


@app.function()
async def f(x):
    return int(x)


async def main():
    async for y in f.map.aio(["1", "three"]): print(y)


with app.run():
    asyncio.run(main())
