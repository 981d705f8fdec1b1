# a batched function that returns a list of another length
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.batched(max_batch_size=8, wait_ms=5)
def f(xs):
    return [*xs, 1]


with app.run():
    f.remote(1)
