# a parameter that the class does not have
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    name: str = modal.parameter()

    @modal.method()
    def predict(self, x):
        return x


with app.run():
    Model(name="a", size=3).predict.remote(1)
