# an argument that app.function does not have
import moorage as modal

app = modal.App("shop")


@app.function(concurrency=10)
def f(x):
    return x
