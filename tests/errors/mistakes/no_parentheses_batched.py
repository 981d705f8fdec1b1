# @batched without its parentheses
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.batched
def f(xs):
    return xs
