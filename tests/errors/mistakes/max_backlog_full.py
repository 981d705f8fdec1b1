# one input too many waits
import asyncio

import moorage as modal

app = modal.App("shop")


@app.function(max_containers=1, max_backlog=1)
async def f(waits):
    if waits:
        await asyncio.Event().wait()


with app.run():
    f.remote(False)
    f.spawn(True)
    f.spawn(True)
    f.remote(True)
