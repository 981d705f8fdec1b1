# a method is called from another one like a plain one
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    @modal.method()
    def predict(self, x):
        return x

    @modal.method()
    def predict_twice(self, x):
        return self.predict(self.predict(x))


with app.run():
    Model().predict_twice.remote(1)
