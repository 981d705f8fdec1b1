"""What ``from_name`` finds: apps that run, environments, and what the errors say."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle

import pytest

import moorage as modal
from moorage.exception import (
    ExecutionError,
    InputCancelledError,
    InvalidError,
    NotFoundError,
)
from moorage.runner import deploy_app, run_app
from moorage.running import deployments


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    for name, environment in list(deployments._deployed):
        deployments.find(name, environment).stop()


def shop(says, name="shop"):
    app = modal.App(name)

    @app.function(serialized=True)
    def price(item="x"):
        return f"{says} {item}"

    @app.cls(serialized=True)
    class Cart:
        owner: str = modal.parameter(default="eve")

        @modal.method()
        def total(self):
            return f"{says} {self.owner}"

    return app


# -- apps that run ------------------------------------------------------------------------


def test_an_app_that_runs_is_found_by_its_name_and_no_longer_when_it_has_ended():
    price, cart = modal.Function.from_name("shop", "price"), modal.Cls.from_name("shop", "Cart")
    total, app = cart(owner="ann").total, shop("a")
    with app.run():
        assert price.remote() == "a x"
        assert total.remote() == "a ann"
        assert list(price.map(["y", "z"])) == ["a y", "a z"]
        assert modal.App.lookup("shop") is app
    for use in (price.remote, total.remote, lambda: modal.App.lookup("shop")):
        with pytest.raises(NotFoundError, match="no app runs or is deployed as 'shop'"):
            use()
    with shop("b").run():
        assert price.remote() == "b x"
        assert total.remote() == "b ann"


def test_of_several_that_run_the_last_counts_and_a_deployed_one_before_all():
    price = modal.Function.from_name("shop", "price")
    first, second, third = shop("first"), shop("second"), shop("third")
    with second.run():
        with first.run():
            assert price.remote() == "first x"
            third.deploy()
            assert price.remote() == "third x"
            third.stop()
            assert price.remote() == "first x"
        assert price.remote() == "second x"


def test_an_included_app_runs_with_the_app_that_includes_it():
    inner, outer = shop("inner", "inner"), modal.App("outer")
    outer.include(inner)
    price = modal.Function.from_name("inner", "price")
    with outer.run():
        assert price.remote() == "inner x"
        assert modal.Function.from_name("outer", "price").remote() == "inner x"
    with pytest.raises(NotFoundError, match="'inner'"):
        price.remote()


def test_async_runs_ambient_ones_and_those_of_run_app(run_async):
    price = modal.Function.from_name("shop", "price")

    async def main():
        async with shop("a").run():
            return await price.remote.aio()

    assert run_async(main) == "a x"
    with run_app(shop("b")):
        assert price.remote() == "b x"
    app = shop("c")
    assert app._functions["price"].remote() == "c x"  # opens a run
    assert price.remote() == "c x"
    app.stop()


def test_an_app_whose_run_is_ending_is_not_found():
    app, seen = shop("a"), []

    @app.cls(serialized=True)
    class Last:
        @modal.method()
        def work(self):
            return 1

        @modal.exit()
        def close(self):
            with pytest.raises(NotFoundError, match="there: none"):
                modal.App.lookup("shop")
            seen.append("not found")

    with app.run():
        Last().work.remote()
    assert seen == ["not found"]


def test_a_function_finds_its_own_app():
    app = shop("a")

    @app.function(serialized=True)
    def ask():
        return modal.Function.from_name("shop", "price").remote("inside")

    with app.run():
        assert ask.remote() == "a inside"


def test_one_handle_while_other_threads_begin_and_end_runs(in_threads):
    price = modal.Function.from_name("shop", "price")
    seen = []

    def work(number):
        for _ in range(5):
            with shop(f"app{number}").run():
                try:
                    seen.append(price.remote())
                except (ExecutionError, InputCancelledError, NotFoundError):
                    pass  # the run that was found has just ended

    with shop("base").run():
        for thread in [in_threads(work, number) for number in range(4)]:
            thread.result()
        assert price.remote() == "base x"
    assert set(seen) <= {"base x", *(f"app{number} x" for number in range(4))}


def test_names_of_apps_that_are_gone_take_no_room():
    for number in range(1000):
        modal.App(f"app-{number}")
        if number % 100 == 0:
            gc.collect()
    assert len(deployments._apps) <= 500


# -- environments -------------------------------------------------------------------------


def test_each_environment_has_its_own_apps(monkeypatch):
    shop("main").deploy()
    shop("dev").deploy(environment_name="dev")
    price = modal.Function.from_name("shop", "price")
    in_dev = modal.Function.from_name("shop", "price", environment_name="dev")
    assert price.remote() == "main x"
    assert in_dev.remote() == "dev x"
    cart = modal.Cls.from_name("shop", "Cart", environment_name="dev")
    assert cart().total.remote() == "dev eve"
    modal.App.lookup("shop", environment_name="dev").stop()
    with pytest.raises(NotFoundError, match=r"\(in the 'dev' environment\).*there: shop\)"):
        in_dev.remote()
    assert price.remote() == "main x"
    monkeypatch.setenv("MODAL_ENVIRONMENT", "dev")
    with pytest.raises(NotFoundError, match=r"\(in the 'dev' environment\)"):
        modal.Function.from_name("shop", "price").remote()
    deploy_app(shop("configured"))
    assert modal.Function.from_name("shop", "price").remote() == "configured x"
    assert in_dev.remote() == "configured x"


def test_apps_run_in_environments():
    price = modal.Function.from_name("shop", "price")
    in_dev = modal.Function.from_name("shop", "price", environment_name="dev")
    with shop("dev").run(environment_name="dev"):
        assert in_dev.remote() == "dev x"
        with pytest.raises(NotFoundError):
            price.remote()
        with shop("main").run():
            assert price.remote() == "main x"
            assert in_dev.remote() == "dev x"
    with pytest.raises(InvalidError, match="environment_name"):
        shop("a").run(environment_name="no such name")
    with pytest.raises(InvalidError, match="environment_name"):
        shop("a").deploy(environment_name="no such name")


def look():
    return os.environ["WHERE"], modal.Dict.from_name("kv")["who"]


@pytest.fixture
def two_environments():
    for where in ("main", "dev"):
        modal.Secret.objects.create("keys", {"WHERE": where}, environment_name=where)
        kv = modal.Dict.from_name("kv", create_if_missing=True, environment_name=where)
        kv["who"] = where
    yield
    for where in ("main", "dev"):
        modal.Secret.objects.delete("keys", environment_name=where)
        modal.Dict.objects.delete("kv", environment_name=where)


@pytest.mark.parametrize("how", ["run", "deploy", "run_app"])
def test_the_functions_of_a_run_look_up_in_its_environment(how, two_environments):
    app = modal.App("lookups", secrets=[modal.Secret.from_name("keys")])

    @app.function(serialized=True)
    def sync():
        return look()

    @app.function(serialized=True)
    async def asynchronous():
        return await asyncio.to_thread(look)

    @app.cls(serialized=True)
    class Service:
        @modal.enter()
        def begin(self):
            self.found = look()

        @modal.method()
        def stream(self):
            yield self.found
            yield modal.Dict.from_name("kv", environment_name="main")["who"]

    def check():
        assert sync.remote() == asynchronous.remote() == ("dev", "dev")
        assert list(Service().stream.remote_gen()) == [("dev", "dev"), "main"]
        assert modal.Dict.from_name("kv")["who"] == "main"  # outside of the containers

    if how == "deploy":
        app.deploy(environment_name="dev")
        check()
        app.stop()
    else:
        run = app.run if how == "run" else lambda **options: run_app(app, **options)
        with run(environment_name="dev"):
            check()
    with app.run():
        assert sync.remote() == ("main", "main")


def test_an_app_that_a_container_runs_is_in_the_environment_of_the_container():
    inner, outer = shop("inner", "inner"), modal.App("outer")

    @outer.function(serialized=True)
    def ask():
        with inner.run():
            return modal.Function.from_name("inner", "price").remote()

    with outer.run(environment_name="dev"):
        assert ask.remote() == "inner x"


# -- errors and reprs ---------------------------------------------------------------------


def test_the_errors_say_what_to_write():
    def text_of(use):
        with pytest.raises(NotFoundError) as error:
            use()
        return str(error.value)

    begin = "Lookup failed for Function 'prize' from the 'shop' app (in the 'main' environment): "
    with shop("a").run():
        text = text_of(modal.Function.from_name("shop", "prize").remote)
        assert text.startswith(begin)
        assert text.endswith("write the name of one it has: price")
        text = text_of(modal.Function.from_name("shop", "Cart").remote)
        assert text.endswith("it is a Cls; write Cls.from_name('shop', 'Cart')")
        text = text_of(modal.Cls.from_name("shop", "price")().total.remote)
        assert text.endswith("it is a Function; write Function.from_name('shop', 'price')")
        text = text_of(modal.Cls.from_name("shop", "Card")().total.remote)
        assert text.startswith("Lookup failed for Cls 'Card' from the 'shop' app (in the 'main'")
        assert "there: shop)" in text_of(modal.Function.from_name("show", "price").remote)
    with pytest.raises(InvalidError, match=r"Cls\.from_name"):
        modal.Function.from_name("shop", "Cart.total")


def test_handles_pickle_by_their_names():
    price = modal.Function.from_name("shop", "price", environment_name="dev")
    cart = modal.Cls.from_name("shop", "Cart", environment_name="dev")
    with shop("a").run(environment_name="dev"), modal.Dict.ephemeral() as handles:
        assert price.remote() == "a x"
        for copy in (pickle.loads(pickle.dumps(price)), handles.get("price", price)):
            assert repr(copy) == repr(price)
            assert copy.remote() == "a x"
        handles["cart"] = cart
        assert handles["cart"]().total.remote() == "a eve"
    with pytest.raises((AttributeError, TypeError)):
        pickle.dumps(shop("a")._functions["price"])


def test_the_reprs_are_those_of_modal():
    assert repr(modal.Function.from_name("a", "f")) == "modal.Function.from_name('a', 'f')"
    found = modal.Function.from_name("a", "f", environment_name="dev")
    assert repr(found) == "modal.Function.from_name('a', 'f', environment_name='dev')"
    cls = modal.Cls.from_name("a", "C", environment_name="dev")
    assert repr(cls) == "Cls.from_name('a', 'C', environment_name='dev')"
