# concurrent on a method of the base class
import moorage as modal

app = modal.App("shop")


class Base:
    @modal.concurrent(max_inputs=4)
    @modal.method()
    def predict(self, x):
        return x


@app.cls()
class Model(Base):
    pass
