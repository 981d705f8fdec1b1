# an error in a batched function
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.batched(max_batch_size=8, wait_ms=5)
def f(xs):
    return [int(x) for x in xs]


with app.run():
    f.remote("three")
