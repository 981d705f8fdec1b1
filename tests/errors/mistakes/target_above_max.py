# target_inputs above max_inputs
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.concurrent(max_inputs=4, target_inputs=8)
def f(x):
    return x
