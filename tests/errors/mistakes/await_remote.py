# await f.remote(...) instead of f.remote.aio
import asyncio

import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


async def main():
    await f.remote(1)


with app.run():
    asyncio.run(main())
