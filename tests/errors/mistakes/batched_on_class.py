# batched on a class
import moorage as modal

app = modal.App("shop")


@app.cls()
@modal.batched(max_batch_size=8, wait_ms=50)
class Model:
    pass
