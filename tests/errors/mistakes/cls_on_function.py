# app.cls on a function
import moorage as modal

app = modal.App("shop")


@app.cls()
def f(x):
    return x
