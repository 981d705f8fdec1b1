# remote_gen of a plain function
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


with app.run():
    list(f.remote_gen(1))
