# the old argument allow_concurrent_inputs
# strict
import moorage as modal

app = modal.App("shop")


@app.function(allow_concurrent_inputs=10)
def f(x):
    return x
