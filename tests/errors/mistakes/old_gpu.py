# modal.gpu, in strict mode
import moorage as modal

modal.config.strict = True
app = modal.App("shop")


@app.function(gpu=modal.gpu.A100(count=2))
def f(x):
    return x
