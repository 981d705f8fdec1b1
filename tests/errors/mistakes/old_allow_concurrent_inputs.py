# the old argument allow_concurrent_inputs
import moorage as modal

app = modal.App("shop")


@app.function(allow_concurrent_inputs=10)
def f(x):
    return x
