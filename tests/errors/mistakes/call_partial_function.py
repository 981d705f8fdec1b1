# a function with marks and without an app is called
import moorage as modal

@modal.concurrent(max_inputs=4)
def f(x):
    return x


f(1)
