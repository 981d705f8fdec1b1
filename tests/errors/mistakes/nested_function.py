# a function inside of a function
# strict
import moorage as modal

app = modal.App("shop")


def make():
    @app.function()
    def f(x):
        return x

    return f


make()
