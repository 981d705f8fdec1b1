# app.stop() when it does not run
import moorage as modal

app = modal.App("shop")
app.stop()
