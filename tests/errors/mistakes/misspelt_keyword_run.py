# a misspelt argument of app.run
import moorage as modal

app = modal.App("shop")

with app.run(detached=True):
    pass
