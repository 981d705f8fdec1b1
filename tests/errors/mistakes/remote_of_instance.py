# remote of an instance, as of an actor
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    @modal.method()
    def predict(self, x):
        return x


with app.run():
    Model().remote(1)
