# method twice
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    @modal.method()
    @modal.method()
    def predict(self, x):
        return x
