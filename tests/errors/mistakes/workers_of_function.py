# the word of a process pool
import moorage as modal

app = modal.App("shop")


@app.function(workers=3)
def f(x):
    return x
