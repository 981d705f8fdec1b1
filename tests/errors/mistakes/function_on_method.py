# app.function on a method
import moorage as modal

app = modal.App("shop")


class Model:
    @app.function()
    def predict(self, x):
        return x
