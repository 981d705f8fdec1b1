# App(3)
import moorage as modal

app = modal.App(3)
