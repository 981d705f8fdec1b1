# an image given by its name
import moorage as modal

app = modal.App("shop")


@app.function(image="debian")
def f(x):
    return x
