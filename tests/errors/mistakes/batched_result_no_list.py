# a batched function that returns no list
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.batched(max_batch_size=8, wait_ms=5)
async def f(xs):
    return sum(xs)


with app.run():
    f.remote(1)
