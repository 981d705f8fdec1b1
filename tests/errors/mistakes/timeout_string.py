# timeout="10"
import moorage as modal

app = modal.App("shop")


@app.function(timeout="10")
def f(x):
    return x
