# a method that the class looked up does not have
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    @modal.method()
    def predict(self, x):
        return x


app.deploy()
modal.Cls.from_name("shop", "Model")().predicts.remote(1)
