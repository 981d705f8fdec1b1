# is_generator=True of a batched function
import moorage as modal

app = modal.App("shop")


@app.function(is_generator=True)
@modal.batched(max_batch_size=8, wait_ms=50)
def f(xs):
    return xs


with app.run():
    f.remote(1)
