# a blocking get on a running event loop
import asyncio
import contextlib

import moorage as modal

app = modal.App("shop")


@app.function()
async def f(x):
    await asyncio.Event().wait()


async def main():
    with contextlib.suppress(TimeoutError):
        f.spawn(1).get(timeout=0.01)


with app.run():
    asyncio.run(main())
