# a queue_timeout within the wait of a batch
import moorage as modal

app = modal.App("shop")


@app.function(queue_timeout=0.05)
@modal.batched(max_batch_size=8, wait_ms=50)
def f(xs):
    return xs
