# an error in a batched function
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.batched(max_batch_size=8, wait_ms=5)
def f(xs):
    return list(map(int, xs))


with app.run():
    f.remote("three")
