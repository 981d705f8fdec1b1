# a blocking get on a running event loop
import asyncio
import time

import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    time.sleep(0.05)
    return x


async def main():
    f.spawn(1).get()


with app.run():
    asyncio.run(main())
