# a lock as a parameter
# strict
import threading

import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    name: str = modal.parameter()

    @modal.method()
    def predict(self, x):
        return x


Model(name=threading.Lock())
