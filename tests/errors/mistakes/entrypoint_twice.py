# two local entrypoints of the same name
import moorage as modal

app = modal.App("shop")


@app.local_entrypoint()
def main():
    pass


@app.local_entrypoint(name="main")
def other():
    pass
