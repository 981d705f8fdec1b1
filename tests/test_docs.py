"""The documentation: its tables are the code's own, its examples run, its links lead somewhere."""

from __future__ import annotations

import ast
import enum
import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

import moorage
import moorage.testing
from moorage.runtime import input
from moorage.runtime.containers import container
from test_layers import BESIDE, ROWS

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])


# Programs that the README runs by the command.
OF_THE_README = {"examples/hello.py", "examples/shop.py"}


def table_of(moves: Mapping[enum.Enum, frozenset[enum.Enum]], module: object) -> str:
    """A state table in markdown: each state, the comment beside it in the code, its moves."""
    source = inspect.getsource(type(next(iter(moves))))
    rows = []
    for state in type(next(iter(moves))):
        comment = re.search(rf'^ *{state.name} = "[a-z]+"  # (.+)$', source, re.MULTILINE)
        assert comment, f"{state} has no comment"
        order = [other.value for other in type(state) if other in moves[state]]
        rows.append(f"| {state.value} | {comment[1]} | {', '.join(order) or 'nothing: the end'} |")
    return "\n".join(rows)


@pytest.mark.parametrize(
    ("moves", "module"),
    [(input.MOVES, input), (container.CONTAINER_MOVES, container)],
    ids=["inputs", "containers"],
)
def test_state_tables_are_those_of_the_code(
    moves: Mapping[enum.Enum, frozenset[enum.Enum]], module: object
):
    assert table_of(moves, module) in (ROOT / "docs/path-of-an-input.md").read_text()


@dataclass(frozen=True)
class Example:
    """A block of Python in a page, which names its file in a comment, and what it prints.

    The page says ``<!-- examples/docs/x.py -->`` before the block, and after it
    may say ``<!-- prints -->`` or ``<!-- prints, in one run -->`` before a block
    of text: the latter where the numbers are those of one machine.

    A file ``test_x.py`` is run by pytest, by the settings of its folder, and passes;
    what fails says ``<!-- fails with -->`` before the lines that pytest prints then.
    """

    page: Path
    file: str | None
    code: str
    prints: str | None = None
    in_one_run: bool = False
    fails: bool = False

    @property
    def is_suite(self) -> bool:
        return self.file is not None and Path(self.file).name.startswith("test_")

    @property
    def has_settings(self) -> bool:
        return self.file is not None and (ROOT / self.file).with_name("pytest.ini").exists()

    @property
    def passes_among_others(self) -> bool:
        """Whether the page says no more of a suite than that it passes, with our settings."""
        return self.is_suite and self.prints is None and not self.has_settings

    @property
    def id(self) -> str:
        return self.file or f"{self.page.relative_to(ROOT)}: {self.code[:40]!r}"


BLOCK = re.compile(
    r"(?:<!-- (?P<comment>[^\n]+) -->\n)?```(?P<kind>\w*)\n(?P<body>.*?)^```$", re.M | re.S
)


def examples_of(page: Path) -> list[Example]:
    found: list[Example] = []
    for block in BLOCK.finditer(page.read_text()):
        comment, body = block["comment"], block["body"]
        if block["kind"] in ("python", "ini"):
            found.append(Example(page, comment, body))
        elif comment == "fails with":
            found[-1] = replace(found[-1], prints=body, fails=True)
        elif comment is not None and comment.startswith("prints"):
            in_one_run = comment == "prints, in one run"
            assert in_one_run or comment == "prints", f"{page}: {comment!r} is no comment of ours"
            found[-1] = replace(found[-1], prints=body, in_one_run=in_one_run)
    return found


EXAMPLES = [example for page in PAGES for example in examples_of(page)]


def without_numbers(text: str) -> str:
    return re.sub(r"[ \d.,]+", " ", re.sub(r"\bin-[\da-f]+-\d+", "in-", text))


def test_the_table_of_layers_is_the_one_that_is_checked():
    text = (ROOT / "docs/design.md").read_text().partition("## Layers")[2].partition("\n## ")[0]
    rows = [
        re.findall(r"`([\w/]+)`", line.split("|")[1])
        for line in text.splitlines()
        if line.startswith("| `")
    ]
    shown = {names[0]: set(names[1:]) for names in rows if names}
    assert list(shown) == ROWS
    assert {row: names for row, names in shown.items() if names} == BESIDE


def run_example(file: str, *arguments: str) -> str:
    """What a user who starts it sees, in the order in which it comes."""
    environment = {name: value for name, value in os.environ.items() if "MOORAGE" not in name}
    done = subprocess.run(
        [sys.executable, "-u", file, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout.replace(f"{ROOT}{os.sep}", "")  # warnings name the file in full


def run_suites(
    paths: Sequence[Path], where: Path, *options: str, timeout: float = 60
) -> tuple[int, str]:
    """The code with which pytest exits, and what it prints, with all that is installed."""
    # The environment may turn plugins off, or add options, for tests of ours.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MOORAGE", "PYTEST"))
    }
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            *options,
            *map(str, paths),
        ],
        cwd=where,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    return done.returncode, done.stdout


def run_suite(example: Example, tmp_path: Path) -> tuple[int, str]:
    """Run one suite.

    A folder with settings of its own is a suite as a user has it, far from ours.
    """
    assert example.file is not None
    path, where = ROOT / example.file, ROOT
    if example.has_settings:
        where = tmp_path / "suite"
        shutil.copytree(path.parent, where, ignore=shutil.ignore_patterns("__pycache__"))
        path = where / path.name
    return run_suites([path], where)


@pytest.fixture(scope="module")
def ends_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[bool]]:
    """For the file of each suite that passes among others: whether each of its tests passed.

    One process runs them all: most of the time of such a small suite is the start of pytest.
    """
    files = [e.file for e in EXAMPLES if e.file is not None and e.passes_among_others]
    report = tmp_path_factory.mktemp("report") / "report.xml"
    paths = [ROOT / file for file in files]
    _, printed = run_suites(paths, ROOT, f"--junit-xml={report}", timeout=180)
    assert report.exists(), printed
    ends: dict[str, list[bool]] = {file: [] for file in files}
    for case in ElementTree.parse(report).iter("testcase"):
        # The class of a test is a part of its dotted name.
        dotted = f"{case.get('classname', '')}."
        file = next(
            f for f in files if dotted.startswith(f.removesuffix(".py").replace("/", ".") + ".")
        )
        kinds = {child.tag for child in case}
        ends[file].append(not kinds & {"failure", "error", "skipped"})
    if not all(all(passed) for passed in ends.values()):
        print(printed)
    return ends


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.id)
def test_examples_are_the_files_that_run(
    example: Example, tmp_path: Path, request: pytest.FixtureRequest
):
    assert example.file, "write <!-- examples/docs/x.py --> in the line before the block"
    code = (ROOT / example.file).read_text()
    if example.file.endswith(".ini"):
        assert code.strip() == example.code.strip()
        return  # of the suite beside it
    assert ast.get_docstring(ast.parse(code)), "an example opens with what it shows"
    assert code.split('"""', 2)[2].strip() == example.code.strip()
    if example.passes_among_others:
        ends: Mapping[str, list[bool]] = request.getfixturevalue("ends_of_tests")
        assert ends[example.file], "no test was found in it"
        assert all(ends[example.file])
        return
    if example.is_suite:
        code_of_exit, printed = run_suite(example, tmp_path)
        assert code_of_exit == (1 if example.fails else 0), printed
        wanted = (example.prints or "").splitlines()
        assert [line for line in wanted if line not in printed.splitlines()] == []
        assert re.search(r"^\d+ passed", printed, re.M), printed
        return
    if example.has_settings:
        return  # of the suite beside it
    if Path(example.file).name.startswith("cli_") or example.file in OF_THE_README:
        return  # run by commands: see tests/cli/test_guide.py and test_sessions.py
    printed = run_example(example.file)
    if example.prints is None:
        return
    if example.in_one_run:
        assert without_numbers(printed) == without_numbers(example.prints)
    else:
        assert printed == example.prints


def test_every_example_of_the_documentation_stands_in_it():
    folder = ROOT / "examples/docs"
    paths = [path for kind in ("py", "ini") for path in folder.rglob(f"*.{kind}")]
    files = {str(path.relative_to(ROOT)) for path in paths}
    assert files == {e.file for e in EXAMPLES} - OF_THE_README


def test_settings_of_an_example_have_a_suite_beside_them():
    for settings in (ROOT / "examples/docs").rglob("*.ini"):
        assert list(settings.parent.glob("test_*.py")), settings


# Attributes of a FunctionCall that the engine reads.
FOR_THE_ENGINE = {"context", "number", "settled", "settled_at", "target", "unsettled"}

# What of the test kit the engine calls, by class.
FOR_THE_ENGINE_OF_THE_KIT = {
    "Gate": {"is_at", "pass_through", "pass_through_async"},
    "Probe": {"around", "note", "start_error", "unwatch", "watch"},
    "VirtualClock": {
        *("begin", "bind_thread", "call_when_past", "end", "expected", "make_waiter", "rest"),
        *("virtual", "wait"),
    },
}


def attributes_of_the_kit() -> list[str]:
    """All that a user reads and calls; the fields of a dataclass stand beside its name."""
    classes = {name: getattr(moorage.testing, name) for name in moorage.testing.__all__}
    return [
        f"{name}.{attribute}"
        for name, value in classes.items()
        if isinstance(value, type)
        for attribute in vars(value)
        if not attribute.startswith("_")
        and attribute not in getattr(value, "__dataclass_fields__", ())
        and attribute not in FOR_THE_ENGINE_OF_THE_KIT.get(name, ())
    ]


def test_every_public_name_stands_in_the_reference():
    reference = (ROOT / "docs/reference.md").read_text()
    names = [f"`{name}" for name in moorage.__all__]
    names += [
        f"`{owner.__name__}.{name}"
        for owner in (moorage.App, moorage.Function, moorage.FunctionCall, moorage.Cls)
        for name in dir(owner)
        if not name.startswith("_") and name not in FOR_THE_ENGINE and hasattr(owner, name)
    ]
    names += [f"`{name}" for name in (*moorage.testing.__all__, *attributes_of_the_kit())]
    raised = moorage.exception.__file__
    names += [
        f"`{node.name}`"
        for node in ast.parse(Path(raised).read_text()).body
        if isinstance(node, ast.ClassDef)
        and "here for programs" not in (ast.get_docstring(node) or "")
    ]
    assert [name for name in names if name not in reference] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path):
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert missing == []
    assert page.read_text().startswith("# ")
