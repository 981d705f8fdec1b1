# @app.function without its parentheses
import moorage as modal

app = modal.App("shop")


@app.function
def f(x):
    return x
