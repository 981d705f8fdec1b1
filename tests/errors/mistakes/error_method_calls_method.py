# an error in a method that another method calls locally
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    @modal.method()
    def parse(self, x):
        return int(x)

    @modal.method()
    async def predict(self, x):
        return self.parse.local(x)


with app.run():
    Model().predict.remote("three")
