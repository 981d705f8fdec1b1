# a misspelt argument of concurrent
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.concurrent(max_input=10)
def f(x):
    return x
