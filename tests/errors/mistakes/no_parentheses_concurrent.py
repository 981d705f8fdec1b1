# @concurrent without its parentheses
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.concurrent
def f(x):
    return x
