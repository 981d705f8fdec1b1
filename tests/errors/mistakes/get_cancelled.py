# get() of a call that was cancelled
import moorage as modal

app = modal.App("shop")


@app.function()
async def f(x):
    import asyncio

    await asyncio.Event().wait()


with app.run():
    call = f.spawn(1)
    call.cancel()
    call.get()
