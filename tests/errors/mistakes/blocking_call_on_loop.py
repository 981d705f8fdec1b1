# a blocking call on a running event loop
import asyncio

import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


async def main():
    f.remote(1)


with app.run():
    asyncio.run(main())
