"""Local entrypoints, and what an app says it has registered."""

import asyncio
import inspect

import pytest

import moorage
from moorage import App, config
from moorage.app import LocalEntrypoint
from moorage.exception import DeprecationError, InvalidError


def test_a_sync_entrypoint_is_called_here():
    app = App()

    @app.local_entrypoint()
    def main(name, times=1):
        """Greet."""
        return name * times, moorage.is_local()

    assert main("ab", times=2) == ("abab", True)
    assert isinstance(main, LocalEntrypoint)
    assert (main.__name__, main.__doc__) == ("main", "Greet.")
    assert main.app is app
    assert list(inspect.signature(main).parameters) == ["name", "times"]
    assert main.info.raw_f("c", times=3) == ("ccc", True)
    assert main.info.function_name.endswith("main")
    assert main.info.module_name == __name__
    assert repr(main) == "<LocalEntrypoint main>"


def test_an_async_entrypoint_is_run_to_its_end():
    app = App()

    @app.function()
    async def double(value):
        return 2 * value

    @app.local_entrypoint()
    async def main(value):
        await asyncio.sleep(0)
        return await double.remote.aio(value)

    with app.run():
        assert main(4) == 8


def test_an_entrypoint_lets_errors_through():
    app = App()

    @app.local_entrypoint()
    def fail():
        raise KeyError("mine")

    @app.local_entrypoint()
    async def fail_later():
        await asyncio.sleep(0)
        raise SystemExit(3)

    with pytest.raises(KeyError, match="mine"):
        fail()
    with pytest.raises(SystemExit):
        fail_later()
    with pytest.raises(TypeError):
        fail("too many")


def test_entrypoints_are_registered_under_their_names():
    app = App()

    @app.local_entrypoint()
    def main(): ...

    @app.local_entrypoint(name="another")
    def second(): ...

    assert app.registered_entrypoints == {"main": main, "another": second}
    app.registered_entrypoints.clear()
    assert set(app.registered_entrypoints) == {"main", "another"}, "it gave a copy"


def test_an_entrypoint_of_the_same_name_is_refused():
    app = App()

    @app.local_entrypoint()
    def main(): ...

    with pytest.raises(InvalidError, match=r'@app\.local_entrypoint\(name="\.\.\."\)'):
        app.local_entrypoint(name="main")(lambda: None)
    assert app.registered_entrypoints == {"main": main}


def test_an_entrypoint_without_parentheses_is_refused():
    app = App()
    with pytest.raises(InvalidError, match=r"@app\.local_entrypoint\(\)"):

        @app.local_entrypoint
        def main(): ...

    with pytest.raises(InvalidError, match='name="main"'):
        app.local_entrypoint(name=3)


def test_entrypoints_are_no_functions():
    app = App()

    @app.local_entrypoint()
    def main(): ...

    assert app.registered_functions == {}
    with pytest.raises(InvalidError, match="once"):
        app.function()(main)
    with pytest.raises(AttributeError):
        main.remote()


def test_what_is_registered():
    app = App("shop")

    @app.function()
    def plain(): ...

    @app.function(name="renamed")
    async def other(): ...

    @app.cls()
    class Work:
        @moorage.method()
        def work(self): ...

        @moorage.fastapi_endpoint()
        def page(self): ...

    @app.function()
    @moorage.fastapi_endpoint()
    def site(): ...

    assert app.registered_functions["plain"] is plain
    assert set(app.registered_functions) == {"plain", "renamed", "site", "Work.*"}
    assert app.registered_classes == {"Work": Work}
    assert sorted(app.registered_web_endpoints) == ["Work.page", "site"]
    assert app.registered_entrypoints == {}
    with pytest.raises(InvalidError, match=r"write Work\(\)\.method"):
        app.registered_functions["Work.*"].remote()


def test_of_a_name_registered_twice_a_run_starts_the_minimum_of_the_last():
    app = App("notebook")

    def cell(value):
        @app.function(min_containers=1)
        def function():
            return value

        @app.cls(min_containers=1)
        class Class:
            @moorage.method()
            def method(self):
                return value

        return function, Class

    cell(1)
    function, user_class = cell(2)
    with app.run():
        assert (function.remote(), user_class().method.remote()) == (2, 2)
        assert len(app._runs.run.pools) == 2


def test_a_name_registered_twice_is_logged_and_the_last_counts(caplog):
    app = App("shop")

    @app.function(name="same")
    def first():
        return 1

    @app.function(name="same")
    def second():
        return 2

    assert "'same' is registered twice in the app 'shop'" in caplog.text
    assert app.registered_functions == {"same": second}
    with app.run():
        assert (first.remote(), second.remote()) == (1, 2)


def test_in_strict_mode_the_registered_names_warn_as_modals_do(monkeypatch):
    app = App()
    monkeypatch.setattr(config, "strict", True)
    for name in (
        "registered_functions",
        "registered_classes",
        "registered_entrypoints",
        "registered_web_endpoints",
    ):
        with pytest.warns(DeprecationError, match=f"App.{name}"):
            getattr(app, name)


def test_what_an_app_is_called():
    assert App().name is None
    assert App().description is None
    app = App("shop")
    assert (app.name, app.description, app.app_id) == ("shop", "shop", None)
    assert (repr(App()), repr(app)) == ("App()", "App('shop')")
    with app.run(name="today"):
        assert app.description == "today"
        assert app.app_id.startswith("ap-")
    assert app.app_id is None
