"""The documentation: its tables are the code's own, its examples run, its links lead somewhere."""

from __future__ import annotations

import ast
import enum
import inspect
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from moorage.runtime import container, input

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])


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


def test_the_readmes_example_is_the_file_that_runs(tmp_path: Path):
    code = (ROOT / "examples/hello.py").read_text()
    docstring = ast.get_docstring(ast.parse(code), clean=False)
    assert docstring is not None
    body = code.split('"""', 2)[2].strip()
    assert f"```python\n{body}\n```" in (ROOT / "README.md").read_text()
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.txt").write_text("b")
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples/hello.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "ca978112ca1bbdca a.txt\n3e23e8160039594a b.txt\n"
    assert done.stderr == ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path):
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert missing == []
    assert page.read_text().startswith("# ")
