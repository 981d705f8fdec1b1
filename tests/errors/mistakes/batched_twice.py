# batched twice
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.batched(max_batch_size=8, wait_ms=50)
@modal.batched(max_batch_size=4, wait_ms=50)
def f(xs):
    return xs
