# an error in a method that is called here
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    @modal.method()
    def predict(self, x):
        return int(x)


Model().predict.local("three")
