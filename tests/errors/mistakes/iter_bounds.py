# bounds beyond the inputs of a spawned map
import moorage as modal

app = modal.App("shop")


@app.function()
def f(x):
    return x


with app.run():
    call = f.experimental_spawn_map([1, 2])
    call.get(index=1)
    list(call.iter(end=5))
