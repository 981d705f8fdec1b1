# a local entrypoint that is a function of the app too
import moorage as modal

app = modal.App("shop")


@app.function()
@app.local_entrypoint()
def main():
    pass
