# modal.gpu
import moorage as modal

app = modal.App("shop")


@app.function(gpu=modal.gpu.A100(count=2))
def f(x):
    return x
