# one input too many waits
import asyncio

import moorage as modal

app = modal.App("shop")


@app.function(max_containers=1, max_backlog=1)
async def f(x):
    await asyncio.sleep(x)


with app.run():
    f.remote(0)
    f.spawn(60)
    f.spawn(60)
    f.remote(60)
