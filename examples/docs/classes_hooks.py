"""The life of a container: enter hooks, inputs, exit hooks."""

import moorage

app = moorage.App("classes")


class Logged:
    @moorage.enter()
    def open_log(self) -> None:
        print("enter of the base class")

    @moorage.exit()
    def close_log(self) -> None:
        print("exit of the base class")


@app.cls(enable_memory_snapshot=True)
class Model(Logged):
    @moorage.enter(snap=True)
    def read_weights(self) -> None:
        print("enter(snap=True)")

    @moorage.enter()
    async def connect(self) -> None:
        print("enter, asynchronous")

    @moorage.method()
    def predict(self, x: int) -> int:
        return x + 1

    @moorage.exit()
    def disconnect(self) -> None:
        print("exit")


with app.run():
    print(Model().predict.remote(1))
