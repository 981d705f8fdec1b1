# batched with a negative wait
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.batched(max_batch_size=8, wait_ms=-1)
def f(xs):
    return xs
