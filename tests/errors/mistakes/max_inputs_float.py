# max_inputs=2.5
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.concurrent(max_inputs=2.5)
def f(x):
    return x
