# cooperative on an async def
import moorage

app = moorage.App()


@app.function()
@moorage.cooperative
async def work(): ...
