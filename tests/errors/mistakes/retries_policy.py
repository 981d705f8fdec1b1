# a retry policy out of its range
import moorage as modal

app = modal.App("shop")


@app.function(retries=modal.Retries(max_retries=3, max_delay=600))
def f(x):
    return x
