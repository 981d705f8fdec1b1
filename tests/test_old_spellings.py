"""Old spellings: lenient mode takes them and says what to write today; strict mode has none."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import importlib
import os
import pickle
import re
import warnings
from pathlib import Path

import pytest

import moorage as modal
from moorage import App, config
from moorage.exception import DeprecationError, InvalidError, NotFoundError
from moorage.running.mounts import mounts_of


@pytest.fixture
def strict(monkeypatch):
    monkeypatch.setattr(config, "strict", True)


@contextlib.contextmanager
def warned(match):
    """One of the warnings matches, and all are about old spellings."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        yield seen
    assert {warning.category for warning in seen} == {DeprecationError}
    assert any(re.search(match, str(warning.message)) for warning in seen), match
    assert {warning.filename for warning in seen} == {__file__}, "a warning names the user's line"


def gpus():
    return importlib.import_module("moorage.old.gpu")


NAMES = {
    "Stub": r"modal\.App",
    "Mount": "add_local_dir",
    "SharedVolume": r"modal\.Volume",
    "build": r"@modal\.enter\(\)",
    "create_package_mounts": "add_local_python_source",
    "gpu": 'gpu="A100:2"',
    "web_method": "fastapi_endpoint",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_gone_warns_each_time_and_shows_the_new_one(name):
    for _ in range(2):
        with warned(NAMES[name]):
            assert getattr(modal, name) is not None


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("name", NAMES)
def test_strict_mode_has_no_such_name_also_after_lenient_mode_had_it(name, monkeypatch):
    with monkeypatch.context() as lenient:
        lenient.setattr(config, "strict", False)
        with warned(NAMES[name]):
            getattr(modal, name)
    with pytest.raises(AttributeError, match=NAMES[name]):
        getattr(modal, name)


def test_an_old_program_imports_and_runs():
    with warned("Stub"):
        from moorage import Stub, gpu
    with warned("Mount"):
        from moorage import Mount
    with warned("is gone|became|was renamed") as seen:
        stub = Stub("old", mounts=[Mount.from_local_dir("src", remote_path="/src")])
        image = modal.Image.from_dockerhub("python:3.11").copy_local_file("a", "/a")

        @stub.function(
            image=image.copy_mount(Mount.from_local_file("a", "b")),
            gpu=gpu.A100(count=2, size="80GB"),
            mounts=[Mount.from_local_python_packages("os")],
            keep_warm=True,
            interactive=False,
            _experimental_boost=True,
        )
        def double(x):
            return 2 * x

    assert isinstance(stub, App)
    assert len(seen) >= 9
    with stub.run():
        assert double.remote(4) == 8


def test_the_files_of_old_mounts_are_at_their_paths():
    with warned("is gone"):
        mount = modal.Mount
        pages = mount.from_local_dir("site", remote_path="/assets", condition=lambda path: True)
        pages = pages.add_local_file("style.css", remote_path="/assets/style.css")
        app = App("old", mounts=[mount.from_local_file("all.toml", remote_path="/all.toml")])

        @app.function(mounts=[pages, mount.from_local_dir("some/data/")])
        def page():
            pass

        @app.cls(mounts=(mount.from_local_file("x/a.txt", "b.txt"),))
        class Page:
            pass

    found = {
        name: {each.path: each.source().relative_to(Path.cwd()) for each in mounts}
        for name, mounts in mounts_of(app).items()
    }
    everywhere = {"/all.toml": Path("all.toml")}
    of_page = {"/assets": "site", "/assets/style.css": "style.css", "/root/data": "some/data"}
    assert found == {
        "page": everywhere | {path: Path(local) for path, local in of_page.items()},
        "Page": everywhere | {"/root/b.txt": Path("x/a.txt")},
    }


def test_an_old_secret_and_old_shared_volumes_count(monkeypatch):
    app = App("old")
    monkeypatch.delenv("OLD_KEY", raising=False)
    with warned("secret of app.function is gone"):

        @app.function(secret=modal.Secret.from_dict({"OLD_KEY": "1"}))
        def key():
            return os.environ.get("OLD_KEY")

    with warned("shared_volumes of app.cls is gone"):
        shared = modal.SharedVolume().persist("old-files")

        @app.cls(shared_volumes={"/old": shared}, secret=modal.Secret.from_dict({}))
        class Model:
            pass

    assert [each.path for each in mounts_of(app)["Model"]] == ["/old"]
    with app.run():
        assert key.remote() == "1"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda gpu: gpu.T4(), "T4"),
        (lambda gpu: gpu.L4(count=2), "L4:2"),
        (lambda gpu: gpu.A10G(), "A10G"),
        (lambda gpu: gpu.A100(), "A100"),
        (lambda gpu: gpu.A100(size="80GB"), "A100-80GB"),
        (lambda gpu: gpu.A100(memory=40, count=4), "A100-40GB:4"),
        (lambda gpu: gpu.H100(count=8), "H100:8"),
        (lambda gpu: gpu.H200(), "H200"),
        (lambda gpu: gpu.B200(), "B200"),
        (lambda gpu: gpu.L40S(2), "L40S:2"),
        (lambda gpu: gpu.Any(), "any"),
    ],
)
def test_a_gpu_is_the_text_of_today(make, text):
    gpu = gpus()
    with warned(f'write gpu="{text}"'):
        made = make(gpu)
    assert made == text
    App().function(gpu=made)
    App().function(gpu=[made, "T4"])
    App().cls(gpu=made)
    modal.Image.debian_slim().run_function(len, gpu=made)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert copy.deepcopy(made) == pickle.loads(pickle.dumps(made)) == text


@pytest.mark.parametrize("count", [0, -1, "2", True, 1.5])
def test_a_gpu_has_a_count(count):
    gpu = gpus()
    with pytest.raises(InvalidError, match=r'write gpu="H100"|for two'):
        gpu.H100(count=count)
    with pytest.raises(InvalidError, match='write gpu="A100-80GB"'):
        gpu.A100(size="20GB")


@pytest.mark.usefixtures("strict")
def test_strict_mode_makes_no_gpus():
    with pytest.raises(AttributeError, match='write gpu="T4"'):
        gpus().T4()
    with pytest.raises(ImportError):
        from moorage import gpu  # noqa: F401


def deployed():
    app = App("old-spellings")

    @app.function()
    def double(x):
        return 2 * x

    @app.cls()
    class Model:
        @modal.method()
        def double(self, x):
            return 2 * x

    app.deploy()
    return app


def test_lookup_of_functions_and_classes():
    app = deployed()
    try:
        with warned(r"write Function\.from_name\(...\)"):
            found = modal.Function.lookup("old-spellings", "double")
        with warned(r"write Cls\.from_name\(...\)"):
            cls = modal.Cls.lookup("old-spellings", "Model", environment_name="main")
        with warned("from_name"):

            async def look():
                return await modal.Function.lookup.aio("old-spellings", "double")

            again = asyncio.run(look())
        assert found.remote(2) == cls().double.remote(2) == again.remote(2) == 4
        with warned("from_name"):
            nothing = modal.Function.lookup("old-spellings", "nothing")
        with pytest.raises(NotFoundError):
            nothing.remote()
    finally:
        app.stop()


@pytest.mark.parametrize("kind", ["Dict", "Queue", "Volume", "Secret", "NetworkFileSystem"])
def test_lookup_of_objects(kind):
    with warned(rf"write {kind}\.from_name"):
        assert isinstance(getattr(modal, kind).lookup("mine"), getattr(modal, kind))


def test_persisted():
    with warned("create_if_missing=True"):
        assert modal.Volume.persisted("mine").name == "mine"


def test_a_class_that_has_a_method_by_an_old_name_keeps_the_method():
    app = App()

    @app.cls()
    class Table:
        def lookup(self):
            return "mine"

        def keep_warm(self):
            return "warm"

        @modal.method()
        def use(self):
            return self.lookup(), self.keep_warm()

    with app.run():
        assert Table().use.remote() == ("mine", "warm")
        assert (Table().lookup(), Table().keep_warm()) == ("mine", "warm")
    assert Table.lookup.__qualname__.endswith("Table.lookup")


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize(
    "look",
    [
        lambda: modal.Function.lookup,
        lambda: modal.Cls.lookup,
        lambda: modal.Volume.lookup,
        lambda: modal.Volume.persisted,
        lambda: modal.functions.gather,
        lambda: modal.mount.Mount.from_local_dir,
        lambda: modal.mount.Mount.from_local_file,
        lambda: modal.mount.Mount.from_local_python_packages,
        lambda: modal.Image.debian_slim().copy_local_file,
        lambda: modal.Image.debian_slim().copy_local_dir,
        lambda: modal.Image.debian_slim().copy_mount,
        lambda: modal.Image.from_dockerhub,
        lambda: modal.Image.conda,
    ],
)
def test_strict_mode_has_no_such_attribute(look):
    with pytest.raises(AttributeError, match=r"write|has no attribute"):
        look()


def test_gather():
    app = App()

    @app.function()
    def double(x):
        return 2 * x

    with warned(r"FunctionCall\.gather"):
        gather = modal.functions.gather
    with app.run():
        assert gather(double.spawn(1), double.spawn(2)) == [2, 4]


def test_a_method_of_a_class_is_called_without_an_instance():
    app = App()

    @app.cls()
    class Model:
        @modal.method()
        def double(self, x):
            return 2 * x

        @modal.method()
        def count(self, n):
            yield from range(n)

    async def call_in_a_loop():
        return await Model.double.remote.aio(2)

    with app.run():
        for call, result in (
            (lambda: Model.double.remote(2), 4),
            (lambda: Model.double.spawn(2).get(), 4),
            (lambda: list(Model.double.map([1, 2])), [2, 4]),
            (lambda: list(Model.count.remote_gen(2)), [0, 1]),
            (lambda: asyncio.run(call_in_a_loop()), 4),
        ):
            with warned(r"write Model\(\)\.(double|count)\.(remote|spawn|map|remote_gen)\("):
                assert call() == result
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(TypeError, match="cannot be called directly"):
                Model.double(1)
            assert repr(Model.double) == "UnboundMethod(Model.double)"


@pytest.mark.usefixtures("strict")
def test_strict_mode_wants_an_instance():
    app = App()

    @app.cls(serialized=True)
    class Model:
        @modal.method()
        def double(self, x):
            return 2 * x

    with app.run(), pytest.raises(AttributeError, match=r"write Model\(\)\.double\.remote"):
        Model.double.remote(1)


@pytest.mark.parametrize(
    ("given", "shown", "wanted"),
    [
        ({"keep_warm": True}, "min_containers=1", {"min_containers": 1}),
        ({"keep_warm": False}, "min_containers=0", {"min_containers": 0}),
        ({"concurrency_limit": True}, "max_containers=1", {"max_containers": 1}),
        ({"concurrency_limit": False}, "max_containers=None", {"max_containers": None}),
        ({"container_idle_timeout": True}, "scaledown_window", {}),
        ({"allow_concurrent_inputs": True}, "max_inputs=1", {"max_inputs": 1}),
        ({"allow_concurrent_inputs": False}, "max_inputs", {"max_inputs": 1}),
    ],
)
def test_bools_of_early_programs_are_numbers(given, shown, wanted):
    app = App()
    with warned(shown):
        function = app.function(**given)(lambda: None)
    limits = function._service.limits
    assert {name: getattr(limits, name) for name in wanted} == wanted

    class Model:
        @modal.method()
        def f(self): ...

    with warned(shown):
        limits = app.cls(**given)(Model)()._service.limits
    assert {name: getattr(limits, name) for name in wanted} == wanted


def test_a_bool_under_the_new_name_is_refused_with_the_number_that_was_meant():
    for name in ("min_containers", "max_containers", "buffer_containers"):
        with pytest.raises(InvalidError, match=f"got True; write {name}=1$"):
            App().function(**{name: True})
    with pytest.raises(InvalidError, match=r"got False; write min_containers=0$"):
        App().function(min_containers=False)


GONE = [
    ("mounts", [], "add_local_dir"),
    ("interactive", True, "interact"),
    ("secret", None, r"secrets=\[secret\]"),
    ("shared_volumes", {}, "volumes"),
    ("checkpointing_enabled", True, "enable_memory_snapshot"),
    ("allow_cross_region_volumes", True, "take it away"),
    ("_experimental_scheduler", True, "take it away"),
    ("_experimental_buffer_containers", 1, "buffer_containers"),
]


@pytest.mark.parametrize(("name", "value", "shown"), GONE)
def test_arguments_that_are_gone_are_accepted_without_effect(name, value, shown):
    app = App()
    for decorator in (app.function, app.cls):
        with warned(shown):
            decorator(**{name: value})


def test_an_app_takes_its_old_arguments():
    with warned("add_local_dir"):
        assert App("old", mounts=[]).name == "old"
    with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
        App(nonsense=1)


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize(("name", "value", "shown"), GONE)
def test_strict_mode_refuses_arguments_that_are_gone_as_unknown(name, value, shown):
    for call in (App().function, App().cls, App):
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
            call(**{name: value})


@pytest.mark.parametrize("name", ["asgi_app", "wsgi_app", "web_endpoint"])
def test_wait_for_response(name, monkeypatch):
    decorator = getattr(modal, name)
    with warned("wait_for_response"):
        decorator(wait_for_response=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
            decorator(nonsense=1)
    monkeypatch.setattr(config, "strict", True)
    with pytest.raises((TypeError, DeprecationError)):
        decorator(wait_for_response=False)


def test_build_is_accepted_and_does_not_run():
    app = App()
    ran = []
    with warned(r"modal\.build"):
        build = modal.build

    @app.cls()
    class Model:
        @build()
        def download(self):
            ran.append("download")

        @build()
        @modal.enter()
        def load(self):
            ran.append("load")

        @modal.method()
        def f(self):
            return list(ran)

    with app.run():
        assert Model().f.remote() == ["load"]


def test_keep_warm_of_functions_and_instances():
    app = App()

    @app.function()
    def f(): ...

    @app.cls()
    class Model:
        @modal.method()
        def g(self): ...

    with warned("update_autoscaler"):
        f.keep_warm(2)
    with app.run():
        assert f.autoscaler.settings().min_containers == 2
        obj = Model()
        with warned("update_autoscaler"):
            obj.keep_warm(0)
    with warned("get_web_url"):
        assert f.web_url is None


@pytest.mark.parametrize("kind", ["Dict", "Queue", "Volume", "NetworkFileSystem"])
def test_new_makes_an_object_without_a_name(kind):
    owner = getattr(modal, kind)
    with warned(rf"{kind}\.from_name\(..., create_if_missing=True\)"):
        assert isinstance(owner.new(), owner)


def test_a_shared_volume_is_made_and_persisted():
    with warned(r"modal\.Volume"):
        volume = modal.SharedVolume().persist("cache")
    assert isinstance(volume, modal.NetworkFileSystem)
    with warned(r"modal\.Volume"):
        assert isinstance(modal.SharedVolume(), modal.NetworkFileSystem)


@pytest.mark.parametrize("step", ["run_function", "run_commands", "pip_install"])
def test_a_step_of_an_image_takes_its_old_arguments(step):
    image, secret = modal.Image.debian_slim(), modal.Secret.from_name("key")
    given = len if step == "run_function" else "x"
    with warned(r"secret of Image.* write secrets=\[secret\]"):
        assert getattr(image, step)(given, secret=secret)
    with warned("add_local_dir"):
        assert getattr(image, step)(given, mounts=[])


@pytest.mark.usefixtures("strict")
def test_strict_mode_has_neither_new_nor_old_arguments_of_steps():
    with pytest.raises(AttributeError):
        _ = modal.Dict.new
    with pytest.raises(TypeError):
        modal.Image.debian_slim().run_function(len, secret=modal.Secret.from_name("key"))


def test_a_method_is_looked_up_by_its_old_name():
    app = App("methods")

    @app.cls()
    class Model:
        @modal.method()
        def double(self, x):
            return 2 * x

    app.deploy()
    try:
        with warned(r"Function\.from_name"):
            found = modal.Function.lookup("methods", "Model.double")
        assert found.remote(2) == 4
        with warned("lookup"):
            missing = modal.Function.lookup("methods", "Other.double")
        with pytest.raises(modal.exception.NotFoundError, match="one it has: Model"):
            missing.remote(2)
    finally:
        app.stop()
