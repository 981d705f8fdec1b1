# a blocking for_each on a running event loop
import asyncio

import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


async def main():
    f.for_each([1, 2])


with app.run():
    asyncio.run(main())
