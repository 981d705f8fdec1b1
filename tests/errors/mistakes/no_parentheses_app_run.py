# app.run without its parentheses
import moorage as modal

app = modal.App("shop")

with app.run:
    pass
