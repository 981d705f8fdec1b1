# a bound that lets nothing wait
import moorage as modal

app = modal.App("shop")


@app.function(max_backlog=0)
def f(x):
    return x
