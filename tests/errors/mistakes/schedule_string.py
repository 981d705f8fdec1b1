# a schedule given as text
import moorage as modal

app = modal.App("shop")


@app.function(schedule="0 9 * * *")
def f():
    pass
