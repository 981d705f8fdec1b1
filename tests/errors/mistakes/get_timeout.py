# get(timeout=0) of a call that still runs
import asyncio

import moorage as modal

app = modal.App("shop")


@app.function()
async def f(x):
    await asyncio.Event().wait()


with app.run():
    f.spawn(1).get(timeout=0)
