# target_inputs of app.function
import moorage as modal

app = modal.App("shop")


@app.function(target_inputs=8)
def f(x):
    return x
