# a parameter of another type
# strict
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    size: int = modal.parameter()

    @modal.method()
    def predict(self, x):
        return x


with app.run():
    Model(size="3").predict.remote(1)
