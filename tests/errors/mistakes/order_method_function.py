# method above app.function
import moorage as modal

app = modal.App("shop")


@modal.method()
@app.function()
def f(x):
    return x
