# .remote() of a plain function
import moorage as modal

app = modal.App("shop")


def f(x):
    return x


with app.run():
    f.remote(1)
