# .remote() of a function with marks and without an app
import moorage as modal

@modal.concurrent(max_inputs=4)
def f(x):
    return x


f.remote(1)
