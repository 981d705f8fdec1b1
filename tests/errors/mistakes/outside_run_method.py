# a method outside of a run
# strict
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    @modal.method()
    def predict(self, x):
        return x


Model().predict.remote(1)
