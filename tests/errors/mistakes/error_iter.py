# an error in a function, through the results of a spawned map
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return int(x)


with app.run():
    call = f.experimental_spawn_map(["1", "three"])
    list(call.iter())
