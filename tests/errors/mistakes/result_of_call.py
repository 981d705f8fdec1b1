# result, as of a future
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


with app.run():
    print(f.spawn(1).result())
