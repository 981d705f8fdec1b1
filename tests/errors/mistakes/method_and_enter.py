# one method that is a hook and called from outside
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    @modal.method()
    @modal.enter()
    def load(self):
        pass
