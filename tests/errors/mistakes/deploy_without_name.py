# deploy of an app without a name
import moorage as modal

app = modal.App()
app.deploy()
