# clustered without its parentheses
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.clustered
def f(x):
    return x
