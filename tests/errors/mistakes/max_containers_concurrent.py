# max_containers of concurrent
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.concurrent(max_inputs=10, max_containers=2)
def f(x):
    return x
