# the number given to concurrent without its name
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.concurrent(10)
def f(x):
    return x
