# delay, as in Celery, of a method
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    @modal.method()
    def predict(self, x):
        return x


with app.run():
    Model().predict.delay(1)
