# @exit without its parentheses
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    @modal.exit
    def close(self):
        pass
