# max_inputs=10 given to app.function
import moorage as modal

app = modal.App("shop")


@app.function(max_inputs=10)
def f(x):
    return x
