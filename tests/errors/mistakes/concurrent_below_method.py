# concurrent on a method, below @method
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    @modal.method()
    @modal.concurrent(max_inputs=4)
    def predict(self, x):
        return x
