# more containers at least than at most
import moorage as modal

app = modal.App("shop")


@app.function(max_containers=2)
def f(x):
    return x


f.update_autoscaler(min_containers=4)
