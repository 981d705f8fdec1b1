# an error in an async enter hook
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    @modal.enter()
    async def load(self):
        raise FileNotFoundError("weights.bin")

    @modal.method()
    def predict(self, x):
        return x


with app.run():
    Model().predict.remote(1)
