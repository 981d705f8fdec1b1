# a batched function without parameters
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.batched(max_batch_size=8, wait_ms=50)
def f():
    return []


with app.run():
    f.remote(1)
