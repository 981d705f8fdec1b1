# method above staticmethod
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    @modal.method()
    @staticmethod
    def predict(x):
        return x
