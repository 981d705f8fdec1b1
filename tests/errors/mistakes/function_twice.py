# app.function twice
import moorage as modal

app = modal.App("shop")


@app.function()
@app.function()
def f(x):
    return x
