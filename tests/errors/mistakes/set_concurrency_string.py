# set_local_input_concurrency of a string
import moorage as modal

app = modal.App("shop")


@app.function()
@modal.concurrent(max_inputs=10)
def f(x):
    modal.experimental.set_local_input_concurrency("4")


with app.run():
    f.remote(1)
