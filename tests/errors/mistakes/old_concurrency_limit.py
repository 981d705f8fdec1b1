# the old argument concurrency_limit
import moorage as modal

app = modal.App("shop")


@app.function(concurrency_limit=4)
def f(x):
    return x
