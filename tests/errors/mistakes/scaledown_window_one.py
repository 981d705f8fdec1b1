# scaledown_window=1
import moorage as modal

app = modal.App("shop")


@app.function(scaledown_window=1)
def f(x):
    return x
