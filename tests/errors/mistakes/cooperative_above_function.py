# cooperative above the app's decorator
import moorage

app = moorage.App()


@moorage.cooperative
@app.function()
def work(): ...
