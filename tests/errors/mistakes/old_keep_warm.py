# the old argument keep_warm
import moorage as modal

app = modal.App("shop")


@app.function(keep_warm=1)
def f(x):
    return x
