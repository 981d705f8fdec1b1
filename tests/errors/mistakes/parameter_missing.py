# a parameter without its value
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    name: str = modal.parameter()

    @modal.method()
    def predict(self, x):
        return x


with app.run():
    Model().predict.remote(1)
