# the old argument concurrency_limit
# strict
import moorage as modal

app = modal.App("shop")


@app.function(concurrency_limit=4)
def f(x):
    return x
