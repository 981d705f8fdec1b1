# @enter without its parentheses
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    @modal.enter
    def load(self):
        self.weights = []
