# concurrent twice, with the same argument
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.concurrent(max_inputs=4)
@modal.concurrent(max_inputs=8)
def f(x):
    return x
