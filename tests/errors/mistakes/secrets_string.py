# a secret given by its name
import moorage as modal

app = modal.App("shop")


@app.function(secrets=["api-key"])
def f(x):
    return x
