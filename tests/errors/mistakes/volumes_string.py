# a volume given by its name
import moorage as modal

app = modal.App("shop")


@app.function(volumes={"/data": "my-volume"})
def f(x):
    return x
