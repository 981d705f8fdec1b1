# concurrent on a method, above @method
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    @modal.concurrent(max_inputs=4)
    @modal.method()
    def predict(self, x):
        return x
