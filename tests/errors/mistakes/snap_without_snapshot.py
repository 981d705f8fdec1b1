# enter(snap=True) without enable_memory_snapshot
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    @modal.enter(snap=True)
    def load(self):
        pass
