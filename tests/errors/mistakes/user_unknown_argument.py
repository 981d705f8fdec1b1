# a method is called with an argument that it does not have
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    @modal.method()
    async def predict(self, x):
        return x


with app.run():
    Model().predict.remote(1, scale=2)
