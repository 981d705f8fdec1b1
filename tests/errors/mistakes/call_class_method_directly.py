# a method of the class is called like a plain one
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    @modal.method()
    def predict(self, x):
        return x


Model.predict(1)
