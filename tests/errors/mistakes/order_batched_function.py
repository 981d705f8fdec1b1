# batched above app.function
import moorage as modal

app = modal.App("shop")


@modal.batched(max_batch_size=8, wait_ms=50)
@app.function()
def f(xs):
    return xs
