# batched without its wait_ms
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.batched(max_batch_size=8)
def f(xs):
    return xs
