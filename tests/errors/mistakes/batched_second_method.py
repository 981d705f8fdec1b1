# a batched method beside another one
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    @modal.batched(max_batch_size=8, wait_ms=50)
    def predict(self, xs):
        return xs

    @modal.method()
    def name(self):
        return "model"
