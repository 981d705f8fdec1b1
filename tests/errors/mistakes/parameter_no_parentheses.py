# parameter without its parentheses
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    size: int = modal.parameter

    @modal.method()
    def predict(self):
        return self.size


Model(size=3)
