# update_autoscaler of a class
import moorage as modal

app = modal.App("shop")


@app.cls()
class Model:
    @modal.method()
    def predict(self, x):
        return x


Model.update_autoscaler(min_containers=1)
