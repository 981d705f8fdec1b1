# a function that waits for itself, with one slot
import moorage as modal

app = modal.App("shop")


@app.function(max_containers=1)
def f(x):
    return x and f.remote(x - 1)


with app.run():
    f.remote(1)
