"""The parameters of functions as options: each type, and what is refused."""

import pytest

from moorage import config

HEAD = """
    import datetime
    import enum
    import modal
    import typing
    from pathlib import Path
    from typing import Annotated, Any, Literal, Optional, Union

    class Colour(enum.Enum):
        RED = 1
        GREEN = 2

    app = modal.App("prog")

    @app.local_entrypoint()
    def main(PARAMETERS):
        print(*map(repr, locals().values()))
"""


def program(parameters):
    return HEAD.replace("PARAMETERS", parameters)


@pytest.fixture
def strict(monkeypatch):
    monkeypatch.setattr(config, "strict", True)


TAKEN = [
    ("a: str", ["--a", "x"], "'x'"),
    ("a: str", ["--a=x"], "'x'"),
    ("a: int", ["--a", "-3"], "-3"),
    ("a: float", ["--a", "1.5"], "1.5"),
    ("a: bool", ["--a"], "True"),
    ("a: bool", ["--no-a"], "False"),
    ("a: bool = True", [], "True"),
    ("a: bool = True", ["--no-a"], "False"),
    ("a: bool | None = None", [], "None"),
    ("a: datetime.datetime", ["--a", "2026-01-31"], "datetime.datetime(2026, 1, 31, 0, 0)"),
    (
        "a: datetime.datetime",
        ["--a", "2026-01-31T10:20:30"],
        "datetime.datetime(2026, 1, 31, 10, 20, 30)",
    ),
    (
        "a: datetime.datetime",
        ["--a", "2026-01-31 10:20:30"],
        "datetime.datetime(2026, 1, 31, 10, 20, 30)",
    ),
    ("a: Optional[int]", ["--a", "3"], "3"),
    ("a: int | None = None", [], "None"),
    ("a: Union[float, None] = 2.5", [], "2.5"),
    ("a: 'int | None'", ["--a", "3"], "3"),
    ("a: Annotated[int, 'text']", ["--a", "3"], "3"),
    ("a: Literal['r', 'w']", ["--a", "w"], "'w'"),
    ("a: Literal[1, 2]", ["--a", "2"], "2"),
    ("a: Literal[1, 2] = 1", [], "1"),
    ("a", ["--a", "3"], "'3'"),
    ("a=10", [], "10"),
    ("a=10", ["--a", "20"], "'20'"),
    ("a: int = '7'", [], "7"),
    ("a_long_name: int", ["--a-long-name", "3"], "3"),
    ("numWorkers: int", ["--numWorkers", "3"], "3"),
    ("a: str", ["--a", "x", "--a", "y"], "'y'"),
    ("a: str, b: int = 1", ["--a", "--b"], "'--b' 1"),
    ("a: int, /, b: int", ["--a", "1", "--b", "2"], "1 2"),
    ("*, a: int", ["--a", "1"], "1"),
]


@pytest.mark.parametrize(("parameters", "arguments", "out"), TAKEN)
def test_taken(shell, parameters, arguments, out):
    shell.write("prog.py", program(parameters))
    assert tuple(shell("run", "-q", "prog.py", *arguments)) == (0, f"{out}\n", "")


@pytest.mark.parametrize(("parameters", "arguments", "out"), TAKEN)
def test_taken_in_strict_mode_too(shell, strict, parameters, arguments, out):
    shell.write("prog.py", program(parameters))
    assert tuple(shell("run", "-q", "prog.py", *arguments)) == (0, f"{out}\n", "")


LENIENT = [
    ("a: list[str]", ["--a", "x", "--a", "y"], "['x', 'y']"),
    ("a: list[int] = [1, 2]", [], "[1, 2]"),
    ("a: list[int] | None = None", [], "None"),
    ("a: list[int] | None = None", ["--a", "3"], "[3]"),
    ("a: Colour", ["--a", "GREEN"], "<Colour.GREEN: 2>"),
    ("a: Colour = Colour.RED", [], "<Colour.RED: 1>"),
    ("a: Path", ["--a", "x/y"], "PosixPath('x/y')"),
    ("a: Optional[Literal['r', 'w']] = None", ["--a", "w"], "'w'"),
]


@pytest.mark.parametrize(("parameters", "arguments", "out"), LENIENT)
def test_taken_in_lenient_mode_only(shell, monkeypatch, parameters, arguments, out):
    shell.write("prog.py", program(parameters))
    assert tuple(shell("run", "-q", "prog.py", *arguments)) == (0, f"{out}\n", "")
    monkeypatch.setattr(config, "strict", True)
    code, out, err = shell("run", "-q", "prog.py", *arguments)
    assert (code, out) == (1, "")
    assert "Error: Parameter `a` has unparseable annotation: " in err


@pytest.mark.parametrize(
    "annotation",
    [
        *("bytes", "dict[str, int]", "int | str", "datetime.date", "Any", "list[list[int]]"),
        *("Literal[True]", "Literal[1, 'a']", "list[bool]", "tuple[int, ...]", "list[bytes]"),
    ],
)
def test_refused_annotations(shell, annotation):
    shell.write("prog.py", program(f"a_b: {annotation}"))
    code, out, err = shell("run", "prog.py", "--a-b", "1")
    assert (code, out) == (1, "")
    assert "Error: Parameter `a-b` has unparseable annotation: " in err
    assert "str, int, float, bool" in err


@pytest.mark.parametrize(
    ("parameters", "arguments", "error"),
    [
        ("a: str", [], "Missing option '--a'."),
        ("a: bool", [], "Missing option '--a'"),
        ("a: Optional[int]", [], "Missing option '--a'."),
        ("a: int", ["--a", "x"], "Invalid value for '--a': 'x' is not a valid integer."),
        ("a: Literal['r', 'w']", ["--a", "z"], "'z' is not one of 'r', 'w'."),
        ("a: Literal[1, 2]", ["--a", "3"], "'3' is not one of '1', '2'."),
        ("mode: Literal['r', 'w']", ["--mode", "--a"], "'--a' is not one of 'r', 'w'."),
        ("mode: str", ["--mod", "r"], "No such option '--mod'. Did you mean '--mode'?"),
        ("bogey: int = 1", ["--bogus"], "No such option '--bogus'. Did you mean '--bogey'?"),
        ("a: int = 1", ["pos"], "Got unexpected extra argument (pos)"),
        ("a: datetime.datetime", ["--a", "tomorrow"], "'tomorrow' does not match the formats"),
        ("a: Colour", ["--a", "BLUE"], "'BLUE' is not one of 'RED', 'GREEN'."),
    ],
)
def test_wrong_usage(shell, parameters, arguments, error):
    shell.write("prog.py", program(parameters))
    code, out, err = shell("run", "prog.py::main", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(
        "Usage: moorage run prog.py::main [OPTIONS]\n"
        "Try 'moorage run prog.py::main --help' for help.\n\n"
    )
    assert error in err


def test_postponed_annotations(shell):
    text = "from __future__ import annotations\n" + program("a: int | None = None")
    shell.write("prog.py", text.replace("\n    ", "\n"))
    assert shell("run", "-q", "prog.py", "--a", "3").out == "3\n"


def test_an_annotation_that_cannot_be_evaluated(shell):
    text = "from __future__ import annotations\n" + program("a: pathlib.Path")
    shell.write("prog.py", text.replace("\n    ", "\n"))
    code, _, err = shell("run", "prog.py", "--a", "3")
    assert code == 1
    assert "Error: Unable to generate command line interface" in err
    assert "unparseable type hints:\nname 'pathlib' is not defined" in err


def test_rest_of_arguments(shell):
    shell.write("prog.py", program("*arglist"))
    code, out, _ = shell("run", "-q", "prog.py", "x", "--size", "3", "-v", "--", "-q")
    assert (code, out) == (0, "('x', '--size', '3', '-v', '-q')\n")
    code, out, _ = shell("run", "-q", "prog.py", "--", "--help")
    assert (code, out) == (0, "('--help',)\n")
    code, out, _ = shell("run", "-q", "prog.py", "--help")
    assert code == 0
    assert out.startswith("Usage: moorage run prog.py [OPTIONS]")


def test_an_entrypoint_with_argparse(shell):
    shell.write(
        "prog.py",
        """
        import argparse
        import modal
        app = modal.App()

        @app.local_entrypoint()
        def main(*arglist):
            parser = argparse.ArgumentParser()
            parser.add_argument("--size", type=int)
            print(parser.parse_args(args=arglist))
        """,
    )
    assert shell("run", "prog.py", "--size", "3").out == "Namespace(size=3)\n"
    code, out, err = shell("run", "prog.py", "--size", "x")
    assert (code, out) == (2, "")
    assert "argument --size: invalid int value: 'x'" in err


@pytest.mark.parametrize("parameters", ["*args, a: int", "a: int, *args", "*args, **kwargs"])
def test_rest_with_other_parameters_is_refused(shell, parameters):
    shell.write("prog.py", program(parameters))
    code, _, err = shell("run", "prog.py")
    assert code == 1
    assert "Functions with variable-length positional arguments (*args) cannot have other" in err


def test_keyword_arguments_are_refused(shell):
    shell.write("prog.py", program("**kwargs"))
    code, _, err = shell("run", "prog.py")
    assert code == 1
    assert "(**kwargs) cannot be run from the command line" in err


def test_keyword_arguments_are_one_option_in_strict_mode(shell, strict):
    shell.write("prog.py", program("**kwargs"))
    assert shell("run", "-q", "prog.py", "--kwargs", "3").out == "{'kwargs': '3'}\n"


def test_an_element_of_a_batch(shell):
    shell.write(
        "prog.py",
        """
        import modal
        app = modal.App()

        @app.function()
        @modal.batched(max_batch_size=4, wait_ms=1)
        def double(xs: list[int]) -> list[int]:
            print(xs)
            return [2 * x for x in xs]

        @app.cls()
        class C:
            @modal.batched(max_batch_size=4, wait_ms=1)
            def double(self, xs: list[int]) -> list[int]:
                print("C", xs)
                return [2 * x for x in xs]
        """,
    )
    assert shell("run", "-q", "prog.py::double", "--xs", "3").out == "[3]\n"
    assert shell("run", "-q", "prog.py::C", "--xs", "3").out == "C [3]\n"


CLASSES = """
    import modal
    app = modal.App()

    @app.cls()
    class Marked:
        name: str = modal.parameter()
        size: int = modal.parameter(default=3)

        @modal.method()
        def run(self, text: str):
            print(repr(self.name), self.size, text)

    @app.cls()
    class Built:
        def __init__(self, size: int, flag: bool = False):
            self.size, self.flag = size, flag

        @modal.method()
        def run(self, *args):
            print(self.size, self.flag, args)

    @app.cls()
    class Same:
        size: int = modal.parameter(default=3)

        @modal.method()
        def run(self, size: int):
            pass

    @app.cls()
    class Rest:
        def __init__(self, *args):
            pass

        @modal.method()
        def run(self):
            pass

    @app.cls()
    class Bytes:
        key: bytes = modal.parameter(default=b"")

        @modal.method()
        def run(self):
            pass
"""


# Of a class with a constructor of its own.
ignore_constructors = pytest.mark.filterwarnings("ignore::moorage.exception.DeprecationError")


@ignore_constructors
def test_parameters_of_a_class(shell):
    shell.write("prog.py", CLASSES)
    code, out, _ = shell("run", "prog.py::Marked", "--name", "3", "--text", "x", "--size", "4")
    assert (code, out) == (0, "'3' 4 x\n")
    assert shell("run", "prog.py::Marked", "--text", "x").err.endswith("Missing option '--name'.\n")
    code, out, _ = shell("run", "prog.py::Built", "--size", "4", "x", "--bogus")
    assert (code, out) == (0, "4 False ('x', '--bogus')\n")


@ignore_constructors
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("Same", "multiple values for keyword argument 'size'"),
        ("Rest", "Modal classes cannot have variable-length positional arguments (*args)"),
        ("Bytes", "Parameter `key` has unparseable annotation: bytes"),
    ],
)
def test_refused_parameters_of_a_class(shell, name, error):
    shell.write("prog.py", CLASSES)
    code, _, err = shell("run", f"prog.py::{name}")
    assert code == 1
    assert error in err


def test_help_has_the_options_in_order_with_defaults(shell):
    shell.write("prog.py", program("zebra: str, apple: int = 3, flag: bool = True, empty=None"))
    code, out, err = shell("run", "prog.py", "--help")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines() if line.startswith("  -")] == [
        *("--zebra", "--apple", "--flag", "--empty", "-h,"),
    ]
    assert "--zebra TEXT        [required]" in out
    assert "--apple INTEGER     [default: 3]" in out
    assert "[default: flag]" in out
    assert "--empty ANY" in out
