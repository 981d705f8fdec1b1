# @app.local_entrypoint without its parentheses
import moorage as modal

app = modal.App("shop")


@app.local_entrypoint
def main():
    pass
