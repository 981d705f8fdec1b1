# target_inputs of update_autoscaler
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


f.update_autoscaler(target_inputs=8)
