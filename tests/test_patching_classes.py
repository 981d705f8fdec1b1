"""Attributes of a decorated class that a test replaces: they take effect, and are undone."""

from unittest.mock import AsyncMock, Mock, patch

import pytest

import moorage
from moorage.exception import InvalidError
from moorage.testing import FakeContainer

app = moorage.App("patched")


class Base:
    size = "the real size"

    @moorage.enter()
    def open(self):
        self.opened = "the real base"

    @moorage.method()
    def inherited(self):
        return "the real inherited"

    def plain_of_base(self):
        return "the real plain of the base"


@app.cls()
class Model(Base):
    scale = 2

    @moorage.enter()
    def load(self):
        self.weights = "the real weights"

    @moorage.exit()
    def unload(self):
        closed.append("really")

    @moorage.method()
    def predict(self, x):
        return f"{self.weights} {x * self.scale}"

    @moorage.method()
    async def answer(self, x):
        return f"the real answer to {x}"

    @moorage.method()
    def items(self, n):
        yield from range(n)

    @moorage.method()
    async def async_items(self, n):
        for each in range(n):
            yield each

    @moorage.method()
    def look(self):
        return self.opened, self.size, self.plain(), self.helper(), self.named(), self.shown

    @moorage.method()
    def call_inside(self):
        return self.predict.local(1), self.inherited.local()

    def plain(self):
        return "the real plain"

    @staticmethod
    def helper():
        return "the real helper"

    @classmethod
    def named(cls):
        return cls.__name__

    @property
    def shown(self):
        return "really shown"


closed = []


@app.cls()
class Tuned:
    rate: int = moorage.parameter(default=1)

    @moorage.method()
    def show(self):
        return self.rate


def remote(method, *args):
    with app.run():
        return getattr(Model(), method).remote(*args)


REAL = (
    "the real base",
    "the real size",
    "the real plain",
    "the real helper",
    "Model",
    "really shown",
)


def fake_load(self):
    self.weights = "fake"


def test_a_hook_is_replaced_and_restored():
    with patch.object(Model, "load", fake_load):
        assert Model.load is fake_load
        assert remote("predict", 3) == "fake 6"
    assert remote("predict", 3) == "the real weights 6"
    assert isinstance(Model.load, moorage.partial_function.PartialFunction)


def test_with_monkeypatch():
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Model, "load", fake_load)
        monkeypatch.setattr(Model, "predict", lambda self, x: f"patched {self.weights} {x}")
        assert remote("predict", 3) == "patched fake 3"
    assert remote("predict", 3) == "the real weights 6"


def test_patches_nest():
    with patch.object(Model, "load", fake_load):
        with patch.object(Model, "load", lambda self: setattr(self, "weights", "inner")):
            assert remote("predict", 1) == "inner 2"
        assert remote("predict", 1) == "fake 2"
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr(Model, "load", lambda self: setattr(self, "weights", "inner"))
            assert remote("predict", 1) == "inner 2"
        assert remote("predict", 1) == "fake 2"
    assert remote("predict", 1) == "the real weights 2"


def test_the_hook_of_a_mock_is_called_as_python_would_call_it():
    with patch.object(Model, "load") as load, patch.object(Model, "scale", 0):
        with pytest.raises(AttributeError, match="weights"):
            remote("predict", 1)
        load.assert_called_once_with()


def test_an_async_hook_in_place_of_a_sync_hook():
    async def load(self):
        self.weights = "awaited"

    with patch.object(Model, "load", load):
        assert remote("predict", 1) == "awaited 2"
    with (
        patch.object(Model, "load", AsyncMock()) as mock,
        patch.object(Model, "answer", lambda *_: 1),
    ):
        assert remote("answer", 1) == 1
        mock.assert_awaited_once_with()


def test_an_exit_hook():
    closed.clear()
    with patch.object(Model, "unload", lambda self: closed.append("fake")):
        remote("predict", 1)
    assert closed == ["fake"]
    remote("predict", 1)
    assert closed == ["fake", "really"]


def test_attributes_of_all_kinds():
    fakes = {
        "open": lambda self: setattr(self, "opened", "fake base"),
        "size": "fake size",
        "plain": lambda self: "fake plain",
        "helper": staticmethod(lambda: "fake helper"),
        "named": classmethod(lambda cls: f"fake {cls.__name__}"),
        "shown": property(lambda self: "fakely shown"),
    }
    wanted = ("fake base", "fake size", "fake plain", "fake helper", "fake Model", "fakely shown")
    with patch.multiple(Model, **fakes):
        assert remote("look") == wanted
    assert remote("look") == REAL
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, fake in fakes.items():
            monkeypatch.setattr(Model, name, fake)
        assert remote("look") == wanted
    assert remote("look") == REAL
    assert "size" not in vars(Model._declared.user_class)  # the base has it


def test_the_base_class_is_patched():
    with (
        patch.object(Base, "open", lambda self: setattr(self, "opened", "fake base")),
        patch.object(Base, "size", "fake size"),
        patch.object(Base, "inherited", lambda self: "fake inherited"),
    ):
        assert remote("look")[:2] == ("fake base", "fake size")
        assert remote("inherited") == "fake inherited"
    assert remote("look") == REAL
    assert remote("inherited") == "the real inherited"


def test_an_attribute_is_added_and_deleted():
    with patch.object(Model, "extra", 5, create=True):
        assert Model.extra == 5
    assert not hasattr(Model, "extra")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Model, "extra", 5, raising=False)
        monkeypatch.delattr(Model, "load")
        with pytest.raises(AttributeError, match="weights"):
            remote("predict", 1)
    assert not hasattr(Model, "extra")
    assert remote("predict", 1) == "the real weights 2"
    with pytest.raises(AttributeError, match="Model itself has no attribute 'size'"):
        del Model.size


def test_a_method_is_added():
    with patch.object(Model, "extra", moorage.method()(lambda self: self.weights), create=True):
        assert remote("extra") == "the real weights"
    assert not hasattr(Model, "extra")


@pytest.mark.parametrize("make", [lambda: Model, lambda: Model.with_options(timeout=50)])
def test_methods_are_called_in_all_ways(make):
    with patch.object(Model, "predict", lambda self, x: -x), app.run():
        obj = make()()
        assert obj.predict.remote(1) == -1
        assert obj.predict.spawn(1).get() == -1
        assert list(obj.predict.map([1, 2])) == [-1, -2]
        assert obj.predict.local(1) == -1
        assert obj.call_inside.remote()[0] == -1
    assert remote("call_inside") == ("the real weights 2", "the real inherited")


def test_a_handle_that_was_made_before_the_patch():
    obj = Model()
    with app.run():
        assert obj.predict.remote(1) == "the real weights 2"
    with patch.object(Model, "load", fake_load), app.run():
        assert obj.predict.remote(1) == "fake 2"
    with patch.object(Model, "predict", lambda self, x: 7):
        assert obj.predict.local(1) == 7
    assert obj.predict.local(1) == "the real weights 2"


def test_fakes_of_another_kind():
    async def predict(self, x):
        return f"awaited {x}"

    async def items(self, n):
        yield n

    with patch.object(Model, "predict", predict):
        assert remote("predict", 1) == "awaited 1"
    with patch.object(Model, "answer", lambda self, x: f"at once {x}"):
        assert remote("answer", 1) == "at once 1"
    with patch.object(Model, "items", items), app.run():
        assert list(Model().items.remote_gen(4)) == [4]
    with patch.object(Model, "items", lambda self, n: [n, n]), app.run():
        assert list(Model().items.remote_gen(4)) == [4, 4]
    with patch.object(Model, "async_items", lambda self, n: [n, n]), app.run():
        assert list(Model().async_items.remote_gen(4)) == [4, 4]
    with app.run():
        assert (
            list(Model().items.remote_gen(2)) == list(Model().async_items.remote_gen(2)) == [0, 1]
        )


def test_a_mock_replaces_a_method_as_a_whole():
    with patch.object(Model, "predict") as predict:
        predict.remote.return_value = 5
        assert Model().predict.remote(1) == 5
        assert Model().predict is predict
    assert remote("predict", 1) == "the real weights 2"
    with patch.object(Model, "predict", autospec=True) as predict:
        predict.remote.return_value = 5
        assert Model().predict.remote(1) == 5
    with patch(f"{__name__}.Model.predict", Mock()) as predict:
        Model().predict.spawn(1)
        predict.spawn.assert_called_once_with(1)
    assert remote("predict", 1) == "the real weights 2"


def test_local_runs_what_is_patched():
    with patch.object(Model, "load", fake_load):
        assert Model().predict.local(1) == "fake 2"
    assert Model().predict.local(1) == "the real weights 2"


def test_in_a_fake_container_and_with_serialize():
    with patch.object(Model, "load", fake_load), FakeContainer(Model()) as container:
        assert container.method("predict").call(1) == "fake 2"
    with patch.object(Model, "load", fake_load), app.run(serialize=True):
        assert Model().predict.remote(1) == "fake 2"


def test_a_value_in_place_of_a_parameter_is_its_default():
    with app.run():
        assert Tuned().show.remote() == 1
        with patch.object(Tuned, "rate", 5):
            assert Tuned().show.remote() == 5
            assert Tuned(rate=2).show.remote() == 2
        assert Tuned().show.remote() == 1
    with pytest.raises(InvalidError, match="declared int, got the default 'x'"):
        Tuned.rate = "x"
    assert Tuned().show.local() == 1


def test_a_container_that_runs_keeps_its_hooks_and_a_later_one_has_the_new():
    with app.run():
        assert Model().predict.remote(1) == "the real weights 2"
        with patch.object(Model, "load", fake_load):
            assert Model().predict.remote(1) == "the real weights 2"
            assert Model.with_options(timeout=77)().predict.remote(1) == "fake 2"


def test_the_constructor():
    with pytest.warns(moorage.exception.DeprecationError):

        @app.cls()
        class Old:
            def __init__(self, url):
                self.url = url

            @moorage.method()
            def show(self):
                return self.url

    def init(self, url):
        self.url = f"fake {url}"

    with patch.object(Old, "__init__", init), app.run():
        assert Old("a").show.remote() == "fake a"
    with pytest.MonkeyPatch.context() as monkeypatch, app.run():
        monkeypatch.setattr(Old, "__init__", init)
        assert Old("a").show.remote() == "fake a"
    with app.run():
        assert Old("a").show.remote() == "a"


def test_an_attribute_of_the_handle_itself():
    with patch.object(Model, "with_options") as with_options:
        Model.with_options(timeout=3)
    with_options.assert_called_once_with(timeout=3)
    assert Model.with_options(timeout=3) is not with_options.return_value
    assert "with_options" not in vars(Model._declared.user_class)


def test_a_class_that_is_looked_up_by_name():
    named = moorage.Cls.from_name("patched", "Model")
    with pytest.raises(
        AttributeError, match=r"write patch.object\(Model, .load., ...\) on the class"
    ):
        named.load = fake_load


def test_many_writes_that_nobody_undoes_are_not_all_kept():
    real = Model.scale
    for number in range(1000):
        Model.scale = number
    assert len(Model._patches._before["scale"]) <= 100
    Model.scale = real
    assert "scale" not in {n for n, kept in Model._patches._before.items() if kept}
    assert Model.scale == 2


def test_batched_methods():
    @app.cls()
    class Batched:
        @moorage.batched(max_batch_size=2, wait_ms=1)
        def double(self, xs):
            return [2 * x for x in xs]

    with patch.object(Batched, "double", lambda self, xs: [-x for x in xs]), app.run():
        assert Batched().double.remote(3) == -3
    with app.run():
        assert Batched().double.remote(3) == 6
        with patch.object(Batched, "double", lambda self, xs: [-x for x in xs]):
            assert Batched().double.remote(3) == -3


def test_a_hook_that_is_taken_away():
    with (
        patch.object(Model, "load", None),
        patch.object(Model, "weights", "of the class", create=True),
    ):
        assert remote("predict", 1) == "of the class 2"


def test_an_autospecced_hook_gets_the_instance():
    def load(self):
        self.weights = "mocked"

    with patch.object(Model, "load", autospec=True, side_effect=load) as fake:
        assert remote("predict", 1) == "mocked 2"
        fake.assert_called_once()
    with patch.object(Base, "open", autospec=True) as fake:
        fake.side_effect = lambda self: setattr(self, "opened", "mocked")
        assert remote("look")[0] == "mocked"

    async def later(self):
        self.weights = "awaited"

    with patch.object(Model, "load", autospec=True, side_effect=later):
        assert remote("predict", 1) == "awaited 2"
    assert remote("predict", 1) == "the real weights 2"


def test_an_autospecced_static_method_takes_no_instance():
    with patch.object(Model, "helper", autospec=True, return_value="mocked") as fake:
        assert remote("look")[3] == "mocked"
        fake.assert_called_once_with()
        assert Model.helper() == "mocked"
    assert remote("look")[3] == Model.helper() == "the real helper"
