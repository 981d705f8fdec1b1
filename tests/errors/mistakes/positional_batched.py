# the numbers given to batched without their names
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.batched(8, 20)
def f(xs):
    return xs
