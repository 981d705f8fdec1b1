# gather of a list
import moorage as modal

app = modal.App("shop")


with app.run():
    modal.FunctionCall.gather([1, 2])
