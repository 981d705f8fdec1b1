# cpu="4"
import moorage as modal

app = modal.App("shop")


@app.function(cpu="4")
def f(x):
    return x
