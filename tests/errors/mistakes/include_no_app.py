# include of something else than an app
import moorage as modal

app = modal.App("shop")
app.include("other")
