# max_inputs=0
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.concurrent(max_inputs=0)
def f(x):
    return x
