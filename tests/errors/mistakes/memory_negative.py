# memory=-1
import moorage as modal

app = modal.App("shop")


@app.function(memory=-1)
def f(x):
    return x
