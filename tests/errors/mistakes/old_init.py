# a class with a constructor of its own
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    def __init__(self, name):
        self.name = name

    @modal.method()
    def predict(self, x):
        return x
