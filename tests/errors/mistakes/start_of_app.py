# start, as of a server
import moorage as modal

app = modal.App("shop")
app.start()
