"""The plugin for mypy: what mypy makes of a class with parameters, with the plugin and without."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import moorage

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mypy") is None, reason="mypy is not installed"
)

# An error is wanted at each line that has its code in a comment, and nowhere else.
PROGRAM = '''
from typing import assert_type

import moorage as modal
from moorage import parameter

app = modal.App("typed")
apps = {"a": app}


@app.cls(max_containers=2)
class Plain:
    language: str = modal.parameter()
    size: int = modal.parameter(default=3)
    model: object = modal.parameter(init=False, default=None)

    @modal.method()
    def hello(self, name: str) -> str:
        return f"{self.language} {name}"

    @modal.method()
    async def later(self, x: int) -> bytes:
        return bytes(x)


plain = Plain(language="en", size=4)
assert_type(plain, Plain)
assert_type(plain.language, str)
assert_type(plain.size, int)
assert_type(plain.hello.remote("you"), str)
assert_type(Plain(language="en").later.remote(1), bytes)
assert_type(list(plain.hello.map(["a"])), list[str])
plain.hello.remote(1)  # arg-type
Plain(langage="en")  # call-arg
Plain(language=3)  # arg-type
Plain()  # call-arg
Plain(language="en", model=3)  # call-arg
plain.nothing  # attr-defined


@apps["a"].cls()
class Named:
    flag: bool = parameter(default=False)

    @modal.method()
    def show(self) -> bool:
        return self.flag


assert_type(Named(flag=True).show.remote(), bool)
assert_type(Named().show.remote(), bool)
Named(flag="x")  # arg-type


@app.cls()
@modal.concurrent(max_inputs=3)
class Below:
    language: str = modal.parameter()


Below(language="x")
Below(lang="x")  # call-arg


@app.cls()
class Own:
    def __init__(self, path: str) -> None:
        self.path = path

    @modal.method()
    def show(self) -> str:
        return self.path


assert_type(Own("a").show.remote(), str)
Own(1)  # arg-type


@app.cls()
class Bare:
    @modal.method()
    def show(self) -> int:
        return 1


assert_type(Bare().show.remote(), int)
Bare(k=1)  # call-arg


class NotOurs:
    """Not moorage's decorator: nothing changes."""

    def cls(self) -> type:
        return int

    language: str = ""


NotOurs(language="en")  # call-arg
'''


def errors_of(tmp_path: Path, program: str, config: str) -> set[tuple[int, str]]:
    path = tmp_path / "program.py"
    path.write_text(program)
    (tmp_path / "mypy.ini").write_text(config)
    source = Path(moorage.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), path],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"MYPYPATH": str(source), "PYTHONPATH": str(source)},
    )
    assert not done.stderr
    found = re.findall(r"program\.py:(\d+): error: .*\[([\w-]+)\]", done.stdout)
    return {(int(line), code) for line, code in found}


def test_a_program_with_the_plugin(tmp_path):
    wanted = {
        (number, line.rpartition("# ")[2])
        for number, line in enumerate(PROGRAM.splitlines(), 1)
        if "  # " in line
    }
    config = "[mypy]\nplugins = moorage.mypy_plugin\n"
    assert errors_of(tmp_path, PROGRAM, config) == wanted


def test_concurrent_below_needs_no_plugin(tmp_path):
    program = """
import moorage as modal

app = modal.App("typed")


@app.cls()
@modal.concurrent(max_inputs=1)
class Plain:
    language: str = modal.parameter()


Plain(language="en")
Plain(lang="en")
"""
    assert errors_of(tmp_path, program, "[mypy]\n") == {(14, "call-arg")}
