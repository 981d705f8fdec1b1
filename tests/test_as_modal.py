"""``import modal`` means moorage: each in a process of its own."""

import os
import subprocess
import sys
import textwrap

import pytest

from moorage.as_modal import MODULES

PUBLIC = sorted(MODULES - {"testing"})


def run(program, *, cwd=None, **environment):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
        env={**os.environ, **environment},
    )
    return done.returncode, done.stdout.split(), done.stderr


def succeeds(program, **environment):
    code, out, err = run(program, **environment)
    assert (code, err) == (0, "")
    return out


@pytest.fixture
def other_modal(tmp_path):
    """A directory in which another ``modal`` can be imported."""
    (tmp_path / "modal").mkdir()
    (tmp_path / "modal" / "__init__.py").write_text("name = 'the other one'\n")
    (tmp_path / "modal" / "other.py").write_text("")
    return str(tmp_path)


def test_modal_is_moorage_itself_once_installed():
    succeeds("""
        import moorage
        assert moorage.install_as_modal() is None
        import modal
        assert modal is moorage
        import modal.functions, modal.experimental
        from modal import App, Function, concurrent
        from modal.functions import Function as F
        from modal.exception import InvalidError
        assert App is moorage.App and F is Function is moorage.Function
        assert InvalidError is moorage.exception.InvalidError
        assert modal.functions is moorage.functions
        app = App("x")
        @app.function()
        @concurrent(max_inputs=2)
        def double(x):
            return 2 * x
        with app.run():
            assert double.remote(2) == 4
    """)


def test_the_environment_installs_it_when_moorage_is_imported():
    program = """
        import moorage
        from modal.functions import Function
        import modal
        assert modal is moorage and Function is moorage.Function
    """
    succeeds(program, MOORAGE_AS_MODAL="1")
    for off in ("", "0"):
        code, _, err = run("import moorage, modal", MOORAGE_AS_MODAL=off)
        assert code == 1
        assert err.splitlines()[-1] == "ModuleNotFoundError: No module named 'modal'"


@pytest.mark.parametrize("first", ["modal", "moorage"])
def test_every_public_module_is_the_same_whichever_name_is_imported_first(first):
    second = {"modal": "moorage", "moorage": "modal"}[first]
    succeeds(f"""
        import importlib
        import moorage
        moorage.install_as_modal()
        for name in {PUBLIC!r}:
            one = importlib.import_module("{first}." + name)
            other = importlib.import_module("{second}." + name)
            assert one is other, name
            assert one.__name__ == "moorage." + name, one.__name__
            assert one.__spec__.name == "moorage." + name, one.__spec__
            assert one.__spec__.loader is one.__loader__, name
            assert one.__package__ == "moorage"
            assert not getattr(one.__spec__, "_initializing", False)
    """)


def test_only_what_modal_has_is_found_as_modal():
    succeeds("""
        import importlib, pkgutil
        import moorage
        from moorage.as_modal import MODULES
        moorage.install_as_modal()
        there = {
            found.name.removeprefix("moorage.")
            for found in pkgutil.walk_packages(moorage.__path__, "moorage.")
        }
        assert MODULES <= there, MODULES - there
        ours = {name for name in there if name.split(".")[0] not in MODULES}
        assert {"declaring.marks", "runtime.pools.pool", "frames", "web", "as_modal"} <= ours
        for name in sorted(ours):
            try:
                importlib.import_module("modal." + name)
            except ModuleNotFoundError as error:
                assert ("modal." + name).startswith(error.name)
            else:
                raise AssertionError(name)
            if "plots" not in name and "pytest" not in name:
                importlib.import_module("moorage." + name)
    """)


def test_the_test_kit_is_found_too():
    succeeds("""
        import moorage
        moorage.install_as_modal()
        import modal.testing.gates
        import moorage.testing.gates
        assert modal.testing.gates is moorage.testing.gates
        assert moorage.testing.__spec__.name == "moorage.testing"
        assert list(moorage.testing.__path__)
    """)


def test_what_is_not_there_fails_as_usual():
    succeeds("""
        import importlib.util
        import moorage
        moorage.install_as_modal()
        import sys
        for name in ("modal.nonsense", "modal.functions.nonsense", "modal.runtime.nonsense.x"):
            try:
                __import__(name)
            except ModuleNotFoundError as error:
                assert name.startswith(error.name), (name, error.name)
            else:
                raise AssertionError(name)
            assert name not in sys.modules
        try:
            from modal import nonsense
        except ImportError as error:
            assert "nonsense" in str(error)
        else:
            raise AssertionError
        assert importlib.util.find_spec("modal.nonsense") is None
        assert importlib.util.find_spec("modalities") is None
        assert importlib.util.find_spec("modal.functions") is not None
    """)


def test_installing_again_changes_nothing():
    succeeds("""
        import sys
        import moorage
        for _ in range(3):
            moorage.install_as_modal()
            import modal
        assert modal is moorage
        from moorage import as_modal
        assert sys.meta_path.count(as_modal.finder) == 1
    """)


def test_it_is_refused_when_another_modal_is_imported(other_modal):
    succeeds(
        """
        import sys
        import modal
        assert modal.name == "the other one"
        import moorage
        before = list(sys.meta_path)
        try:
            moorage.install_as_modal()
        except moorage.exception.ExecutionError as error:
            assert "install_as_modal() before the first import of modal" in str(error)
            assert modal.__file__ in str(error)
        else:
            raise AssertionError
        assert sys.meta_path == before and sys.modules["modal"] is modal
        import modal.other
        """,
        PYTHONPATH=os.pathsep.join([other_modal, *sys.path]),
    )


def test_the_environment_is_refused_too_when_another_modal_is_imported(other_modal):
    # Where Python did not read the files that it reads as it starts: see test_children.py.
    code, _, err = run(
        "import sys; sys.meta_path[:] = [one for one in sys.meta_path if 'First' not in str(one)]\n"
        "import modal, moorage",
        PYTHONPATH=os.pathsep.join([other_modal, *sys.path]),
        MOORAGE_AS_MODAL="1",
    )
    assert code == 1
    assert "modal is imported already" in err.splitlines()[-1]


def test_it_goes_before_another_modal_that_could_be_imported(other_modal):
    succeeds(
        """
        import moorage
        moorage.install_as_modal()
        import modal
        assert modal is moorage
        try:
            import modal.other
        except ModuleNotFoundError:
            pass
        else:
            raise AssertionError
        """,
        PYTHONPATH=os.pathsep.join([other_modal, *sys.path]),
    )


def test_pickles_name_moorage_and_are_read_with_and_without_the_alias():
    program = """
        import pickle
        import moorage
        moorage.install_as_modal()
        from modal.retries import Retries
        from modal.exception import InvalidError, FunctionTimeoutError
        from modal.call_graph import InputInfo
        for made in (Retries, InvalidError, InputInfo):
            assert made.__module__.startswith("moorage."), made.__module__
        error = pickle.loads(pickle.dumps(InvalidError("x")))
        assert type(error) is InvalidError and str(error) == "x"
        print(pickle.dumps([InvalidError("x"), FunctionTimeoutError("y")]).hex())
    """
    (text,) = succeeds(program)
    assert b"moorage.exception" in bytes.fromhex(text)
    succeeds(f"""
        import pickle, sys
        first, second = pickle.loads(bytes.fromhex("{text}"))
        import moorage
        assert type(first) is moorage.exception.InvalidError
        assert "modal" not in sys.modules
    """)


def test_pickles_of_a_program_that_says_modal_are_read():
    succeeds("""
        import pickle
        import moorage
        moorage.install_as_modal()
        made = pickle.loads(b"cmodal.exception\\nInvalidError\\n.")
        assert made is moorage.exception.InvalidError
    """)


def test_modules_may_be_reloaded_and_inspected():
    succeeds("""
        import importlib, importlib.util, inspect, pkgutil
        import moorage
        moorage.install_as_modal()
        import modal.schedule
        assert importlib.util.find_spec("moorage.schedule") is not None
        assert inspect.getsource(modal.schedule.Cron).startswith("class Cron")
        again = importlib.reload(modal.schedule)
        assert again is modal.schedule
        assert {m.name for m in pkgutil.iter_modules(modal.__path__)} >= {"app", "cls"}
    """)


def test_many_threads_import_it_at_once():
    succeeds(f"""
        import importlib, random, sys, threading
        sys.setswitchinterval(1e-5)
        import moorage
        moorage.install_as_modal()
        names = {PUBLIC!r}
        errors = []
        start = threading.Barrier(8)
        def load(seed):
            start.wait()
            mine = list(names)
            random.Random(seed).shuffle(mine)
            for name in mine:
                package = ("modal.", "moorage.")[seed % 2]
                try:
                    importlib.import_module(package + name)
                except BaseException as error:
                    errors.append((name, error))
        threads = [threading.Thread(target=load, args=(n,)) for n in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert not errors, errors
        for name in names:
            module = sys.modules["moorage." + name]
            assert sys.modules["modal." + name] is module
            assert module.__spec__.name == "moorage." + name, module.__spec__
    """)


def test_a_program_written_for_modal_runs_unchanged():
    out = succeeds(
        """
        import moorage
        import modal
        from modal import Cls, enter, method

        app = modal.App("example")

        @app.cls()
        @modal.concurrent(max_inputs=4)
        class Model:
            size: int = modal.parameter(default=1)

            @enter()
            def load(self):
                self.weights = [1] * self.size

            @method()
            def infer(self, x: int) -> int:
                return x * sum(self.weights)

        @app.local_entrypoint()
        def main():
            print(list(Model(size=3).infer.map([1, 2, 3])))

        if __name__ == "__main__":
            with modal.enable_output(), app.run():
                main()
        """,
        MOORAGE_AS_MODAL="1",
    )
    assert " ".join(out) == "[3, 6, 9]"


def test_inner_modules_that_programs_import_are_those_of_the_same_names():
    succeeds("""
        import moorage
        moorage.install_as_modal()
        from modal._functions import _Function
        from modal._partial_function import _PartialFunction
        import modal._object, modal._image
        assert _Function is moorage.Function
        assert _PartialFunction is moorage.partial_function.PartialFunction
        assert modal._image.Image is modal.Image is moorage.Image
        assert modal.image.__spec__.name == modal._image.__spec__.name == "moorage.image"
        import warnings
        warnings.simplefilter("ignore")
        import modal.gpu
        assert modal.gpu.T4() == "T4"
        from modal.gpu import H100
        assert H100(count=2) == "H100:2"
        try:
            import modal._functions_of_nobody
        except ModuleNotFoundError:
            pass
        else:
            raise AssertionError
        """)


def test_strict_mode_has_no_module_of_gpus():
    succeeds("""
        import moorage
        moorage.install_as_modal()
        moorage.config.strict = True
        for line in ("import modal.gpu", "from modal import gpu", "from modal.gpu import T4"):
            try:
                exec(line)
            except ImportError:
                pass
            else:
                raise AssertionError(line)
        """)
