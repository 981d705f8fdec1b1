# a method is called from outside like a plain one
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    @modal.method()
    def predict(self, x):
        return x


with app.run():
    Model().predict(1)
