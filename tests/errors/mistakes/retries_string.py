# retries="3"
import moorage as modal

app = modal.App("shop")


@app.function(retries="3")
def f(x):
    return x
