# app.run() inside app.run()
import moorage as modal

app = modal.App("shop")

with app.run():
    with app.run():
        pass
