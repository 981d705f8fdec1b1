# an error in a local entrypoint
import moorage as modal

app = modal.App("shop")


@app.local_entrypoint()
async def main():
    raise OSError("disk full")


main()
