# a class that inherits from one of the app
import moorage as modal

app = modal.App("shop")


@app.cls()
class Base:
    @modal.method()
    def predict(self, x):
        return x


@app.cls()
class Model(Base):
    pass
