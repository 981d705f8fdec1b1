# statistics of an instance
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    @modal.method()
    def predict(self, x):
        return x


Model().statistics()
