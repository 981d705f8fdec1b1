# .remote() of a method that was not decorated
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    def predict(self, x):
        return x


with app.run():
    Model().predict.remote(1)
