# memory="4GB"
import moorage as modal

app = modal.App("shop")


@app.function(memory="4GB")
def f(x):
    return x
