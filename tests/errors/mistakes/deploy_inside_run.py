# deploy inside of a run
import moorage as modal

app = modal.App("shop")

with app.run():
    app.deploy()
