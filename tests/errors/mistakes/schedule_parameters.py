# a scheduled function with a parameter
import moorage as modal

app = modal.App("shop")


@app.function(schedule=modal.Period(days=1))
def f(x):
    return x
