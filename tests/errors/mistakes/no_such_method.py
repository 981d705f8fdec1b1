# a method that the class does not have
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    @modal.method()
    def predict(self, x):
        return x


with app.run():
    Model().predicts.remote(1)
