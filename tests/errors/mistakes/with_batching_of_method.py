# with_batching of a method
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    @modal.method()
    def predict(self, x):
        return x


Model().predict.with_batching(max_batch_size=8, wait_ms=50)
