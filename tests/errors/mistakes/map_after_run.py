# items of a map are read after the run has ended
import asyncio

import moorage as modal

app = modal.App("shop")
begun = asyncio.Event()


@app.function()
@modal.concurrent(max_inputs=2)
async def f(x):
    if x == 1:
        await begun.wait()
        return x
    begun.set()
    await asyncio.Event().wait()


with app.run():
    results = f.map([1, 2])
    next(results)

next(results)
