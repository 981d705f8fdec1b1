# timeout=None
# strict
import moorage as modal

app = modal.App("shop")


@app.function(timeout=None)
def f(x):
    return x
