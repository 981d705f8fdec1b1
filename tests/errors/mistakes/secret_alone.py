# one secret instead of a list
import moorage as modal

app = modal.App("shop")


@app.function(secrets=modal.Secret.from_name("api-key"))
def f(x):
    return x
