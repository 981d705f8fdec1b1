# for instead of async for over map.aio
import asyncio

import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


async def main():
    for y in f.map.aio([1, 2]):
        print(y, end="")


with app.run():
    asyncio.run(main())
