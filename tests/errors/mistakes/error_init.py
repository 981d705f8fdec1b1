# an error in a constructor
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    @modal.enter()
    def load(self):
        self.weights = {}

    @modal.method()
    def predict(self, x):
        return self.weights[x]


with app.run():
    Model().predict.remote("a")
