# an error in an exit hook
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    @modal.exit()
    def close(self):
        raise OSError("disk full")

    @modal.method()
    def predict(self, x):
        return x


with app.run():
    Model().predict.remote(1)
