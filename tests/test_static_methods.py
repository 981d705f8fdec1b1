"""Static methods below moorage's decorators: accepted as in Modal, and run without an instance."""

import inspect

import pytest

import moorage
from moorage import config
from moorage.exception import InvalidError

app = moorage.App("static")
log = []


@app.cls()
@moorage.concurrent(max_inputs=2)
class Shop:
    @moorage.enter()
    @staticmethod
    def load():
        log.append("load")

    @moorage.enter()
    @staticmethod
    async def connect():
        log.append("connect")

    @moorage.exit()
    @staticmethod
    def close():
        log.append("close")

    @moorage.method()
    @staticmethod
    def price(x, *, times=1):
        """The price of x."""
        return x * times

    @moorage.method()
    @staticmethod
    async def fetched(x):
        return x

    @moorage.method()
    @staticmethod
    def items(n):
        yield from range(n)

    @moorage.method()
    @staticmethod
    async def async_items(n):
        for i in range(n):
            yield i

    @moorage.method()
    def all(self, x):
        return self.price.local(x), self.fetched.remote(x)


@pytest.mark.parametrize("strict", [False, True])
def test_a_static_method_runs_in_all_ways(strict, monkeypatch):
    monkeypatch.setattr(config, "strict", strict)
    log.clear()
    with app.run():
        shop = Shop()
        assert shop.price.remote(3, times=2) == 6
        assert shop.price.local(3) == 3
        assert list(shop.price.map([1, 2], kwargs={"times": 2})) == [2, 4]
        assert list(shop.price.starmap([(1,), (2,)])) == [1, 2]
        assert shop.price.spawn(4).get() == 4
        assert shop.fetched.remote(5) == 5
        assert list(shop.items.remote_gen(3)) == [0, 1, 2]
        assert list(shop.async_items.remote_gen(3)) == [0, 1, 2]
        assert shop.all.remote(1) == (1, 1)
    assert log[:2] == ["load", "connect"]
    assert log[-1] == "close"


def test_a_static_batched_method():
    app = moorage.App()

    @app.cls()
    class Batched:
        @moorage.batched(max_batch_size=2, wait_ms=0)
        @staticmethod
        def double(xs):
            return [2 * x for x in xs]

    with app.run():
        assert Batched().double.remote(2) == 4
        assert Batched().double.remote(xs=2) == 4


def test_a_static_web_endpoint_has_no_parameters():
    moorage.asgi_app()(staticmethod(lambda: None))
    with pytest.raises(InvalidError, match="has scope; take them away"):

        class Web:
            @moorage.asgi_app()
            @staticmethod
            def served(scope):
                return None


def test_concurrent_on_a_static_method_is_refused_by_the_class():
    class Odd:
        @moorage.concurrent(max_inputs=2)
        @staticmethod
        def f(x):
            return x

    with pytest.raises(InvalidError, match="on the class Odd instead"):
        moorage.App().cls()(Odd)


@pytest.mark.parametrize("decorated", [False, True])
def test_a_function_below_staticmethod(decorated):
    app = moorage.App()

    def double(x):
        return 2 * x

    async def triple(x):
        return 3 * x

    for function, result in ((double, 4), (triple, 6)):
        static = staticmethod(function)
        if decorated:
            static = moorage.concurrent(max_inputs=2)(static)
        made = app.function()(static)
        with app.run():
            assert made.remote(2) == result
        assert made.__name__ == function.__name__


def test_the_undecorated_class_runs_it_too():
    class Plain:
        @moorage.method()
        @staticmethod
        def f(x):
            return x

    assert Plain().f(3) == 3


def test_its_name_and_text_are_the_users():
    assert Shop().price.__name__ == "price"
    assert Shop().price.__qualname__ == "Shop.price"
    assert Shop().price.__doc__ == "The price of x."
    assert list(inspect.signature(Shop().price).parameters) == ["x", "times"]
