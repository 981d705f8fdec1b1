# a method that is a web endpoint too
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    @modal.method()
    @modal.fastapi_endpoint()
    def predict(self, x):
        return x
