# a number given to app.function without its name
import moorage as modal

app = modal.App("shop")


@app.function(8)
def f(x):
    return x
