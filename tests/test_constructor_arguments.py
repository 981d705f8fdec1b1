"""Strict mode refuses a constructor's argument that does not pickle, when it is given."""

import threading

import pytest

import moorage
from moorage import config
from moorage.exception import InvalidError

app = moorage.App("constructor")


@app.cls()
class Model:
    name: str = moorage.parameter(default="a")

    @moorage.method()
    def f(self):
        return self.name


@app.cls()
class Bare:
    @moorage.method()
    def f(self):
        return 1


class Refuses:
    def __init__(self, error):
        self.error = error

    def __reduce__(self):
        raise self.error


class Given:
    def __init__(self, lock):
        self.lock = lock


@pytest.fixture
def _strict(monkeypatch):
    monkeypatch.setattr(config, "strict", True)


LOCK = threading.Lock()


@pytest.mark.usefixtures("_strict")
@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Model(name=LOCK), TypeError, "name does not pickle.*it is a _thread.lock; make"),
        (lambda: Model(other=LOCK), TypeError, "other does not pickle"),
        (lambda: Model(LOCK), TypeError, "argument 1 does not pickle"),
        (lambda: Bare(1, LOCK), TypeError, "argument 2 does not pickle"),
        (lambda: Model(name=[LOCK]), TypeError, r"name\[0\] is a _thread.lock"),
        (lambda: Model(name=Given(LOCK)), TypeError, "name.lock is a _thread.lock"),
        (lambda: Model(name=lambda: 1), ValueError, "name does not pickle.*a function"),
        (lambda: Model(name=Refuses(ValueError("no"))), ValueError, "raised ValueError: no"),
        (lambda: Model(name=Refuses(TypeError("no"))), TypeError, "raised TypeError: no"),
        (lambda: Model.with_options(timeout=3)(LOCK), TypeError, "does not pickle"),
        (lambda: moorage.Cls.from_name("a", "B")(x=LOCK), TypeError, "x does not pickle"),
    ],
)
def test_strict_refuses_it_at_once(make, error, message):
    with pytest.raises(InvalidError, match=message) as caught:
        make()
    assert isinstance(caught.value, error)


@pytest.mark.usefixtures("_strict")
def test_strict_takes_what_pickles_and_handles_of_moorage():
    Model(name="b")
    Model(name=Model)
    Model(name=Bare().f)
    Model(name=object())  # it pickles: its type is found wrong at the first use


@pytest.mark.usefixtures("_strict")
def test_the_error_of_a_reduce_that_is_no_pickling_error_is_the_users():
    with pytest.raises(KeyError, match="mine"):
        Model(name=Refuses(KeyError("mine")))


@pytest.mark.filterwarnings("ignore:.*constructor")
def test_lenient_passes_it_by_reference():
    app = moorage.App()

    @app.cls()
    class Holder:
        @moorage.method()
        def f(self):
            return self.given is LOCK

        def __init__(self, given):
            self.given = given

    with app.run():
        assert Holder(LOCK).f.remote()
