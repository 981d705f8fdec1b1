# an argument that concurrent does not have
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.concurrent(concurrency=10)
def f(x):
    return x
