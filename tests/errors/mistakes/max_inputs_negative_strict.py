# max_inputs=-3 in strict mode, found when the app runs
# strict
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.concurrent(max_inputs=-3)
def f(x):
    return x


with app.run():
    f.remote(1)
