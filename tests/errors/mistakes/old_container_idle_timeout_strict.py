# the old argument container_idle_timeout
# strict
import moorage as modal

app = modal.App("shop")


@app.cls(container_idle_timeout=30)
class Model:
    pass
