"""A program whose code goes by value: its handles cross by id, and their code when it is needed."""

import moorage

app = moorage.App("main-program")
FACTOR = 3


@app.function()
def square(x):
    return x * x * FACTOR


@app.cls()
class Model:
    size: int = moorage.parameter(default=1)

    @moorage.method()
    def sized(self, x):
        return self.size * x

    @moorage.method()
    def up_to(self, n):
        yield from range(n)


INSTANCE = Model(size=11)
VARIANT = square.with_options(timeout=55)


@app.function()
def calls(function, x):
    return function.remote(x)


@app.function()
def calls_here(function, x):
    return function.local(x)


@app.function()
def makes(cls, obj):
    return cls(size=2).sized.remote(3), obj.sized.local(3), list(obj.up_to.remote_gen(2))


@app.function()
def outer():
    assert calls.remote(square, 2) == calls_here.remote(square, 2) == 12
    assert calls.remote(Model(size=9).sized, 2) == 18
    assert calls.remote(square.with_options(timeout=9), 2) == 12
    return makes.remote(Model, Model(size=5))


@app.function()
def gives():
    return square, Model, Model(size=4), Model(size=4).sized, square.spawn(3), app


@app.function()
def uses_globals(given_app):
    return INSTANCE.sized.remote(2), VARIANT.remote(1), given_app.name, app.name


if __name__ == "__main__":
    with app.run(placement="process"):
        assert outer.remote() == makes.remote(Model, Model(size=5)) == (6, 15, [0, 1])
        function, cls, obj, method, call, its_app = gives.remote()
        assert (function, cls, its_app) == (square, Model, app)
        assert (obj.sized.remote(2), method.remote(2), call.get()) == (8, 8, 27)
        assert uses_globals.remote(app) == (22, 3, "main-program", "main-program")
        assert list(calls.starmap([(square, 1), (Model(size=3).sized, 2)])) == [3, 6]
    print("done")
