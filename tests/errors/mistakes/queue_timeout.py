# an input that gets no slot within its queue_timeout
import asyncio

import moorage as modal

app = modal.App("shop")


@app.function(max_containers=1, queue_timeout=0.1)
async def f(x):
    await asyncio.Event().wait()


with app.run():
    f.spawn(1)
    f.remote(2)
