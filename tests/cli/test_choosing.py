"""Which function ``moorage run`` runs, and what it says when that is not clear."""

import pytest

MANY = """
    import modal

    app = modal.App("many")
    other = modal.App("other")

    @app.function()
    def f(x: int = 1):
        print("f", x)

    @app.cls()
    class C:
        @modal.method()
        def m(self):
            print("C.m")

        @modal.method()
        def k(self):
            print("C.k")

    @app.function()
    @modal.fastapi_endpoint()
    def web():
        return {}

    @other.function()
    def h():
        print("h")

    @other.local_entrypoint()
    def hidden():
        print("hidden")

    del hidden

    @app.local_entrypoint()
    def main(text: str = "x"):
        "Say something."
        print("main", text)
"""


@pytest.mark.parametrize(
    ("reference", "out"),
    [
        ("prog.py", "main x\n"),  # one entrypoint in the module, whatever else there is
        ("prog.py::main", "main x\n"),
        ("prog.py::app.main", "main x\n"),
        ("prog.py::app", "main x\n"),
        ("prog.py::f", "f 1\n"),
        ("prog.py::app.f", "f 1\n"),
        ("prog.py::C.m", "C.m\n"),
        ("prog.py::app.C.k", "C.k\n"),
        ("prog.py::other.hidden", "hidden\n"),
        ("prog.py::other.h", "h\n"),
        ("prog.py::h", "h\n"),
    ],
)
def test_a_reference_that_names_one(shell, reference, out):
    shell.write("prog.py", MANY)
    assert shell("run", "-q", reference).out == out


def test_an_app_with_an_entrypoint_that_only_it_has_and_a_function_of_the_module(shell):
    shell.write("prog.py", MANY)
    code, out, _ = shell("run", "-q", "prog.py::other")
    assert (code, out) == (0, "h\n")  # a function in the module comes first


def test_the_only_function_is_taken(shell):
    shell.write(
        "prog.py",
        """
        import modal
        application = modal.App()

        @application.function()
        def f():
            print("f")

        @application.function()
        @modal.asgi_app()
        def web():
            raise AssertionError
        """,
    )
    assert shell("run", "prog.py").out == "f\n"


def test_the_only_method_of_a_class_is_taken(shell):
    shell.write(
        "prog.py",
        """
        import modal
        app = modal.App()

        @app.cls()
        class Model:
            name: str = modal.parameter(default="x")

            @modal.enter()
            def start(self):
                self.started = True

            @modal.method()
            def run(self, size: int):
                print(self.name, size, self.started)
        """,
    )
    code, out, _ = shell("run", "prog.py", "--size", "3", "--name", "y")
    assert (code, out) == (0, "y 3 True\n")


def test_an_app_that_the_module_only_imports_counts(shell):
    shell.write("common.py", MANY)
    shell.write("prog.py", "from common import app\n")
    assert shell("run", "prog.py").out == "main x\n"
    code, _, err = shell("run", "prog.py::f")
    assert code == 1
    assert "Could not find 'f'" in err
    assert "- app.f\n" in err


def test_functions_of_an_included_app_are_listed_under_the_including_app(shell):
    shell.write(
        "prog.py",
        """
        import modal
        app = modal.App("a")
        part = modal.App("b")

        @part.function()
        def f():
            print("f")

        app.include(part)
        """,
    )
    assert "- f / app.f / part.f" in shell("run", "prog.py::nope").err
    assert shell("run", "prog.py::app.f").out == "f\n"


def test_handles_that_are_looked_up_by_name_are_no_candidates(shell):
    shell.write(
        "prog.py",
        """
        import modal
        app = modal.App("a")
        there = modal.Function.from_name("other", "f")
        There = modal.Cls.from_name("other", "C")

        @app.function()
        def f():
            print("f")
        """,
    )
    assert shell("run", "prog.py").out == "f\n"


def test_variants_are_candidates(shell):
    shell.write(
        "prog.py",
        """
        import modal
        app = modal.App("a")

        @app.function()
        def f():
            print("f")

        longer = f.with_options(timeout=5)
        """,
    )
    code, _, err = shell("run", "prog.py")
    assert code == 1
    assert "- f / app.f\n- longer\n" in err
    assert shell("run", "prog.py::longer").out == "f\n"


def test_nothing_to_run(shell):
    shell.write("empty.py", "import modal\napp = modal.App()\n")
    code, out, err = shell("run", "empty.py")
    assert (code, out) == (1, "")
    assert err.startswith("Error: The 'empty.py' file has no entrypoints.")


def test_web_functions_are_never_candidates(shell):
    shell.write(
        "prog.py",
        """
        import modal
        app = modal.App()

        @app.function()
        @modal.fastapi_endpoint()
        def web():
            return {}

        @app.cls()
        class C:
            @modal.fastapi_endpoint()
            def web(self):
                return {}
        """,
    )
    assert "has no entrypoints" in shell("run", "prog.py").err


LIST = """\
The 'prog.py' file has the following options:
- main / app.main
- f / app.f
- C.m / app.C.m
- C.k / app.C.k
- other.hidden
- h / other.h
"""


def test_an_unknown_name(shell):
    shell.write("prog.py", MANY)
    code, out, err = shell("run", "prog.py::nope")
    assert (code, out) == (1, "")
    assert err == f"Error: Could not find 'nope' in the 'prog.py' file.\n{LIST}"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("mian", "main"),
        ("MAIN", "main"),
        ("mai", "main"),
        ("app.mian", "app.main"),
        ("m", "C.m"),
        ("xyz", None),
    ],
)
def test_did_you_mean(shell, name, meant):
    shell.write("prog.py", MANY)
    err = shell("run", f"prog.py::{name}").err
    if meant is None:
        assert "Did you mean" not in err
    else:
        assert f"Did you mean:\n    moorage run prog.py::{meant}\n" in err


def test_the_corrected_command_does_not_repeat_arguments(shell):
    shell.write("prog.py", MANY)
    err = shell("run", "prog.py::mian", "--token", "secret").err
    assert "Did you mean:\n    prog.py::main\n" in err
    assert "secret" not in err


def test_several_without_a_name(shell):
    shell.write(
        "prog.py", MANY + "\n    @app.local_entrypoint()\n    def second():\n        pass\n"
    )
    code, out, err = shell("run", "prog.py")
    assert (code, out) == (1, "")
    assert "without a function reference" in err
    assert "multiple possible entrypoints" in err
    assert "- second / app.second" in err
    assert "    moorage run prog.py::main [..args]" in err


def test_several_with_a_name(shell):
    shell.write("prog.py", MANY)
    code, _, err = shell("run", "prog.py::C")
    assert code == 1
    assert "'C' matches multiple entrypoints in the 'prog.py' file.\n" in err
    assert "- C.m / app.C.m\n- C.k / app.C.k\n\n" in err
    assert "    moorage run prog.py::C.m [..args]" in err


def test_help_of_several_lists_them(shell):
    shell.write(
        "prog.py", MANY + "\n    @app.local_entrypoint()\n    def second():\n        pass\n"
    )
    code, out, err = shell("run", "prog.py", "--help")
    assert (code, err) == (0, "")
    assert "  main          Say something.\n" in out
    assert "  C.m\n" in out
    assert "moorage run prog.py::main --help" in out
    code, out, _ = shell("run", "prog.py::C", "-h")
    assert code == 0
    assert "main" not in out


def test_help_of_one(shell):
    shell.write("prog.py", MANY)
    code, out, err = shell("run", "prog.py::main", "--help")
    assert (code, err) == (0, "")
    assert out.startswith("Usage: moorage run prog.py::main [OPTIONS]\n\n  Say something.\n")
    assert "--text TEXT" in out
    assert "[default: x]" in out


def test_generators_are_refused(shell):
    shell.write(
        "prog.py",
        """
        import modal
        app = modal.App()

        @app.function()
        def f():
            yield 1

        @app.cls()
        class C:
            @modal.method()
            async def m(self):
                yield 1

        @app.local_entrypoint()
        def main():
            yield 1
        """,
    )
    for name in ("f", "C.m", "main"):
        code, _, err = shell("run", f"prog.py::{name}")
        assert code == 1
        assert err.startswith("Error: `moorage run` is not supported for generator functions")


def test_members_that_raise_attribute_errors_are_left_out(shell):
    shell.write(
        "prog.py",
        """
        import modal
        app = modal.App()

        def __dir__():
            return ["app", "main", "gone"]

        @app.local_entrypoint()
        def main():
            print("main")
        """,
    )
    assert shell("run", "prog.py").out == "main\n"
