# a blocking map on a running event loop
import asyncio

import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


async def main():
    list(f.map([1, 2]))


with app.run():
    asyncio.run(main())
