# max_inputs=1 of app.function
import moorage as modal

app = modal.App("shop")


@app.function(max_inputs=1)
def f(x):
    return x
