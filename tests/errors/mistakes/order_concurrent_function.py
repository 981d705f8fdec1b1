# concurrent above app.function
import moorage as modal

app = modal.App("shop")


@modal.concurrent(max_inputs=4)
@app.function()
def f(x):
    return x
