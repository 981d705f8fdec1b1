# an enter hook with yield, as a fixture of pytest has
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    @modal.enter()
    def load(self):
        self.weights = "loaded"
        yield
