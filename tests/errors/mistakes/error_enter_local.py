# an error in an enter hook, before .local()
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    @modal.enter()
    def load(self):
        raise FileNotFoundError("weights.bin")

    @modal.method()
    def predict(self, x):
        return x


Model().predict.local(1)
