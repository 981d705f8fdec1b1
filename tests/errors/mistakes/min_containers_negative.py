# min_containers=-1
import moorage as modal

app = modal.App("shop")


@app.function(min_containers=-1)
def f(x):
    return x
