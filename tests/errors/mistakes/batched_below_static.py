# staticmethod above batched
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    @staticmethod
    @modal.batched(max_batch_size=8, wait_ms=50)
    def predict(xs):
        return xs


Model().predict.remote(1)
