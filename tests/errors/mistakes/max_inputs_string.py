# max_inputs="4"
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.concurrent(max_inputs="4")
def f(x):
    return x


with app.run():
    f.remote(1)
