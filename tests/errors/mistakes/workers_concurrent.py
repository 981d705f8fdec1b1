# the word of a thread pool, for concurrent
import moorage as modal


@modal.concurrent(threads=3)
def f(x):
    return x
