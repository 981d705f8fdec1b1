"""Environment variables of functions: which value counts, when it is set, when it is taken back."""

from __future__ import annotations

import contextlib
import gc
import itertools
import logging
import os
import subprocess
import sys
import threading

import pytest

import moorage as modal
from moorage.exception import ExecutionError, InvalidError, NotFoundError
from moorage.testing import FakeContainer
from onlooker import messages_of_moorage

NAMES = [f"MOORAGE_TEST_{letter}" for letter in "ABCDE"]
A, B, C, D, E = NAMES
SLIM = modal.Image.debian_slim()


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    for name in NAMES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    yield
    assert {name for name in NAMES if name in os.environ} <= {E}


def secret(**values):
    return modal.Secret.from_dict({f"MOORAGE_TEST_{k}": v for k, v in values.items()})


def seen():
    return "".join(os.environ.get(name, "-") for name in NAMES)


def reader(app=None, **options):
    """A function that says what it sees, and its app."""
    app = modal.App() if app is None else app

    @app.function(**options)
    def read() -> str:
        return seen()

    return read, app


# -- which value counts ------------------------------------------------------------------


def test_image_then_app_then_secrets_in_their_order_then_env():
    image = SLIM.env(dict.fromkeys(NAMES, "i"))
    app = modal.App(image=image, secrets=[secret(B="p", C="p", D="p", E="p"), secret(C="q")])
    read, _ = reader(app, secrets=[secret(D="s", E="s"), secret(E="t")], env={A: None, E: "e"})
    with app.run():
        assert read.remote() == "ipqse"


def test_an_image_of_a_function_replaces_that_of_the_app():
    app = modal.App(image=SLIM.env({A: "app"}))
    read, _ = reader(app, image=SLIM.env({B: "b"}))
    with app.run():
        assert read.remote() == "-b---"


def test_env_of_an_image_goes_on_in_what_is_made_of_it():
    image = SLIM.env({A: "1", B: "1"}).pip_install("x").env({B: "2"}).apt_install("y")
    read, app = reader(image=image)
    with app.run():
        assert read.remote() == "12---"


def test_none_leaves_out_and_empty_is_set():
    read, app = reader(secrets=[secret(A=None, B="")], env={C: None})
    with app.run():
        read.remote()
        assert (os.environ.get(A), os.environ.get(B), os.environ.get(C)) == (None, "", None)


def test_classes_have_them_before_constructor_and_enter_hooks_until_exit_hooks():
    app, found = modal.App(), []

    @app.cls(secrets=[secret(A="a")], env={B: "b"})
    class Model:
        k: str = modal.parameter(default="k")

        @modal.enter()
        def begin(self):
            found.append(seen())

        @modal.enter()
        async def begin_async(self):
            found.append(seen())

        @modal.method()
        def read(self) -> str:
            return seen()

        @modal.exit()
        def end(self):
            found.append(seen())

    with app.run():
        assert Model().read.remote() == "ab---"
        assert Model(k="other").read.remote() == "ab---"
    assert found == ["ab---"] * 6


@pytest.mark.parametrize("serialize", [False, True])
def test_every_kind_of_function_sees_them(serialize):
    app = modal.App(secrets=[secret(A="a")])

    @app.function()
    async def one() -> str:
        return seen()

    @app.function()
    def several():
        yield seen()

    @app.function()
    @modal.batched(max_batch_size=2, wait_ms=1)
    def batch(xs: list[int]) -> list[str]:
        return [seen() for _ in xs]

    with app.run(serialize=serialize):
        assert {one.remote(), *several.remote_gen(), *batch.map([1, 2])} == {"a----"}
        program = f"import os; print(os.environ['{A}'])"
        assert subprocess.check_output([sys.executable, "-c", program]).strip() == b"a"
    assert seen() == "-----"


def test_local_calls_see_the_program_s_own():
    read, app = reader(env={A: "a"})
    assert read.local() == "-----"
    with app.run():
        assert read.local() == "-----"


def test_a_function_that_is_not_called_sets_nothing():
    _, app = reader(env={A: "a"})
    with app.run():
        assert seen() == "-----"


def test_min_containers_set_them_at_the_start(virtual_clock):
    _, app = reader(env={A: "a"}, min_containers=1)
    with app.run(clock=virtual_clock):
        virtual_clock.sleep(1)
        assert seen() == "a----"


def test_with_options_replaces_secrets_and_env_as_in_modal():
    image = SLIM.env({A: "i"})
    app = modal.App(image=image, secrets=[secret(B="app")])
    read, _ = reader(app, secrets=[secret(C="c")])
    other = read.with_options(env={D: "d"})
    with app.run():
        assert other.remote() == "i--d-"
        assert other.statistics().variant == f"secrets=[], env=[{D}]"
    with app.run():
        assert read.with_options(secrets=[secret(E="e")]).remote() == "i---e"
    with app.run():
        assert read.with_options(secrets=[], timeout=9).remote() == "iappc--"


@pytest.mark.parametrize("strict", [False, True])
def test_with_options_of_a_class(monkeypatch, strict):
    monkeypatch.setattr(modal.config, "strict", strict)
    app = modal.App()

    @app.cls(env={A: "a"}, serialized=True)
    class Model:
        @modal.method()
        def read(self) -> str:
            return seen()

    with app.run():
        assert Model.with_options(secrets=[secret(B="b")])().read.remote() == "-b---"


def test_equal_variables_share_a_pool_and_others_do_not():
    read, app = reader()
    with app.run():
        for value in "112":
            for given in ({"env": {A: value}}, {"secrets": [secret(B=value)]}):
                read.with_options(**given).remote()
        variants = [
            read.with_options(env={A: "1"}),
            read.with_options(secrets=[secret(B="1")]),
            read.with_options(env={A: "2"}),
        ]
        assert [each.statistics().succeeded for each in variants] == [2, 2, 1]
        assert len({each.statistics().variant for each in variants}) == 3


def test_a_fake_container_has_them_and_takes_them_back():
    read, _ = reader(secrets=[secret(A="a")])
    with FakeContainer(read) as container:
        assert container.submit().result() == "a----"
    assert seen() == "-----"


# -- when they are taken back ------------------------------------------------------------


def test_they_are_taken_back_when_the_run_fails():
    read, app = reader(env={A: "a"})
    os.environ[E] = "mine"

    def use():
        with app.run():
            assert read.remote() == "a---mine"
            1 / 0

    with pytest.raises(ZeroDivisionError):
        use()
    assert seen() == "----mine"
    del os.environ[E]


def test_they_are_taken_back_when_the_start_fails():
    app = modal.App()

    @app.cls(env={A: "a"})
    class Model:
        @modal.enter()
        def begin(self):
            raise ZeroDivisionError

        @modal.method()
        def read(self): ...

    with app.run(), pytest.raises(ZeroDivisionError):
        Model().read.remote()
    assert seen() == "-----"


def test_what_was_there_comes_back():
    read, app = reader(env={A: "a", E: "new"})
    os.environ[E] = "old"
    for _ in range(3):
        with app.run():
            assert read.remote() == "a---new"
        assert seen() == "----old"
    del os.environ[E]


@pytest.mark.parametrize("change", ["theirs", None])
def test_a_later_change_of_the_program_stays(change):
    read, app = reader(env={E: "a"})
    with app.run():
        read.remote()
        if change is None:
            del os.environ[E]
        else:
            os.environ[E] = change
        assert read.remote() == f"----{change or '-'}"  # once for each function of a run
    assert os.environ.pop(E, None) == change


def test_deployed_and_ambient_runs_take_them_back_when_they_end():
    read, app = reader(env={A: "a"})
    assert read.remote() == "a----"
    with app.run():  # ends the ambient run first
        assert seen() == "-----"
        assert read.remote() == "a----"
    app.deploy(name="environment")
    assert read.remote() == "a----"
    app.stop()
    assert seen() == "-----"


# Two runs, each with a value or none, in every order of their starts and ends.
ORDERS = [
    order
    for order in itertools.permutations(["+1", "+2", "-1", "-2"])
    if order.index("+1") < order.index("-1") and order.index("+2") < order.index("-2")
]


@pytest.mark.parametrize("before", [None, "base"])
@pytest.mark.parametrize("values", ["12", "11", "b2"])
@pytest.mark.parametrize("order", ORDERS, ids="".join)
def test_every_order_of_two_runs(order, values, before):
    values = {"1": values[0].replace("b", "base"), "2": values[1]}
    if before is not None:
        os.environ[E] = before
    functions = {each: reader(env={E: value}) for each, value in values.items()}
    runs = {each: contextlib.ExitStack() for each in values}
    living = []
    for step, which in order:
        if step == "+":
            read, app = functions[which]
            runs[which].enter_context(app.run())
            living.append(which)
            assert read.remote() == f"----{values[which]}"
        else:
            runs[which].close()
            living.remove(which)
        assert os.environ.get(E) == (values[living[-1]] if living else before)
    os.environ.pop(E, None)


def test_a_change_that_is_undone_while_another_run_is_above():
    first, second = reader(env={A: "1"}), reader(env={A: "2"})
    with first[1].run():
        first[0].remote()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(A, "test")
            with second[1].run():
                assert second[0].remote() == "2----"
            assert seen() == "test----"
        assert seen() == "1----"
        with second[1].run(), pytest.MonkeyPatch.context() as patch:
            patch.setenv(A, "test")
            assert second[0].remote() == "2----"
        # The program put back the value of the first run before the second run ended.
        assert seen() == "1----"
    assert seen() == "-----"


def test_a_run_goes_from_below_the_change_of_the_program():
    first, second = reader(env={E: "1"}), reader(env={E: "2"})
    one, two = contextlib.ExitStack(), contextlib.ExitStack()
    one.enter_context(first[1].run())
    first[0].remote()
    os.environ[E] = "mine"
    two.enter_context(second[1].run())
    second[0].remote()
    one.close()
    assert os.environ[E] == "2"
    two.close()
    assert os.environ.pop(E) == "mine"


def test_many_runs_at_once_leave_nothing():
    apps = [reader(env={A: str(i), B: "b"}) for i in range(4)]
    errors = []

    def use(read, app):
        try:
            for _ in range(10):
                with app.run():
                    assert read.remote()[-4:] == "b---"
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=use, args=each) for each in apps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert seen() == "-----"


def test_a_forked_child_keeps_them_as_its_own():
    read, app = reader(env={A: "a"})
    with app.run():
        read.remote()
        pid = os.fork()
        if pid == 0:
            try:
                other, its_app = reader(env={A: "child"})
                with its_app.run():
                    ok = other.remote() == "child----"
                os._exit(0 if ok and seen() == "a----" else 1)
            finally:
                os._exit(2)
        assert os.waitpid(pid, 0)[1] == 0
    assert seen() == "-----"


# -- two values ----------------------------------------------------------------------------


def test_two_values_of_one_variable_warn_once_without_the_values(caplog):
    app = modal.App()

    @app.function(env={A: "hunter2"})
    def first() -> str:
        return os.environ[A]

    @app.function(env={A: "hunter3", B: "same"})
    def second() -> str:
        return os.environ[A]

    @app.function(env={B: "same"})
    def third() -> str:
        return os.environ[A]

    with caplog.at_level(logging.WARNING, "moorage"), app.run():
        assert [first.remote(), second.remote(), first.remote(), third.remote()] == [
            "hunter2",
            "hunter3",
            "hunter3",
            "hunter3",
        ]
    (text,) = messages_of_moorage(caplog)
    assert [part in text for part in (A, "first", "second", "hunter")] == [True] * 3 + [False]


# -- images --------------------------------------------------------------------------------


def failing_image():
    image = modal.Image.debian_slim()
    with image.imports():
        import no_such_module_anywhere  # noqa: F401
    return image


def test_containers_of_the_image_fail_with_what_its_imports_raised():
    image = failing_image()
    read, app = reader(image=image)
    other, _ = reader(app, image=image.pip_install("x"))
    with app.run():
        for _ in range(2):
            with pytest.raises(ModuleNotFoundError, match="no_such_module_anywhere") as caught:
                read.remote()
            assert caught.value.name == "no_such_module_anywhere"
            assert "install it here" in caught.value.__notes__[-1]
            assert len(caught.value.__notes__) == 1
        assert other.remote() == "-----"


def test_the_image_of_the_app_counts_and_other_errors_too():
    image = modal.Image.debian_slim()
    with pytest.warns(UserWarning, match="ZeroDivisionError"), image.imports():
        1 / 0
    app = modal.App(image=image)
    read, _ = reader(app)
    own, _ = reader(app, image=SLIM)
    with app.run():
        with pytest.raises(ZeroDivisionError):
            read.remote()
        assert own.remote() == "-----"
    with pytest.raises(ZeroDivisionError), FakeContainer(read):
        pass


def test_imports_that_were_recorded_after_the_function_count():
    image = modal.Image.debian_slim()
    read, app = reader(image=image)
    with image.imports():
        raise ImportError("late")
    with app.run(), pytest.raises(ImportError, match="late"):
        read.remote()


def test_the_working_directory_is_left_alone_with_one_warning(caplog):
    image = SLIM.workdir("/app")
    app = modal.App(image=image)
    functions = [reader(app, name=name)[0] for name in ("f", "g")]
    before = os.getcwd()
    with caplog.at_level(logging.WARNING, "moorage"), app.run():
        for read in functions:
            read.remote()
    (text,) = messages_of_moorage(caplog)
    assert "'/app'" in text
    assert os.getcwd() == before


# -- mistakes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "variables", [{"A=B": "1"}, {"": "1"}, {"A\0": "1"}, {A: "hunter2\0"}, {A: "hunter2\ud900"}]
)
def test_impossible_variables_set_nothing_and_show_no_value(variables, caplog):
    read, app = reader(env={B: "b", **variables})
    with app.run(), pytest.raises(InvalidError, match="; ") as caught:
        read.remote()
    error = caught.value
    while error is not None:
        assert "hunter2" not in repr(vars(error)) + str(error)
        error = error.__cause__ or error.__context__
    assert "hunter2" not in caplog.text
    assert seen() == "-----"


def test_the_start_fails_when_a_secret_is_not_there_in_strict_mode(monkeypatch):
    monkeypatch.setattr(modal.config, "strict", True)
    read, app = reader(secrets=[modal.Secret.from_name("not-there")], serialized=True)
    with app.run():
        with pytest.raises(NotFoundError, match="'not-there'"):
            read.remote()
        modal.Secret.objects.create("not-there", {A: "a"})
        try:
            assert read.remote() == "a----"
        finally:
            modal.Secret.objects.delete("not-there")


def test_nothing_is_set_for_a_run_that_has_ended():
    from moorage.declaring.needs import needs_of
    from moorage.running.environment import RunEnvironment
    from moorage.running.pool_keys import PoolKey

    environment = RunEnvironment()
    environment.end()
    with pytest.raises(ExecutionError):
        environment.prepare(PoolKey(), "f", needs_of(None, (), None, {A: "a"}))
    assert seen() == "-----"


# -- no value is shown ---------------------------------------------------------------------


def test_no_value_is_shown_anywhere(capsys, caplog):
    app = modal.App(image=SLIM.env({A: "hunter2"}), secrets=[secret(B="hunter2")])

    @app.function(env={C: "hunter2"}, secrets=[secret(D="hunter2")])
    def work() -> str:
        modal.describe()
        raise ValueError("mine")

    variant = work.with_options(env={C: "hunter2b"}, secrets=[secret(D="hunter2b")])
    with caplog.at_level(logging.DEBUG), app.run():
        for each in (work, variant):
            call = each.spawn()
            with pytest.raises(ValueError, match="mine"):
                call.get()
            service = each._service
            things = [each, service.options, service.options.needs, each.statistics(), app]
            assert "hunter2" not in repr(things) + str(vars(service.options.needs.image))
    text = capsys.readouterr()
    assert "hunter2" not in text.out + text.err + caplog.text
    gc.collect()
