# min_containers above max_containers
import moorage as modal

app = modal.App("shop")


@app.function(min_containers=4, max_containers=2)
def f(x):
    return x
