# a function that runs for longer than its timeout
import asyncio

import moorage as modal

app = modal.App("shop")


@app.function(timeout=0.1)
async def f(x):
    await asyncio.Event().wait()


with app.run():
    f.remote(1)
