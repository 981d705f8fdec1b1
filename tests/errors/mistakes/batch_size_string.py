# max_batch_size as a string
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.batched(max_batch_size="4", wait_ms=50)
def f(xs):
    return xs
