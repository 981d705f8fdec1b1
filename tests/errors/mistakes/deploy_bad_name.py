# deploy under an impossible name
import moorage as modal

app = modal.App()
app.deploy(name="my shop")
