# what happens when it is full, without saying when that is
import moorage as modal

app = modal.App("shop")


@app.function(on_full="wait")
def f(x):
    return x
