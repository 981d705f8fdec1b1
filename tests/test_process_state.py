"""The objects that outlive every run: the source against the table of docs/design.md."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from test_layers import MODULES

DESIGN = Path(__file__).resolve().parent.parent / "docs" / "design.md"

# Calls whose results never change.
VALUES = {
    *("TypeVar", "ParamSpec", "TypeVarTuple", "frozenset", "getLogger", "attrgetter", "Context"),
    *("FunctionWithAio", "StashKey", "_find_decimal_context", "_Uninterruptible", "_Finder"),
}
# Copies of what the standard library has, made at import.
UNCHANGED = {"runtime.real"}


def state_of(source):
    """The names in a module that are bound once for the process, to what may change.

    Names in capitals are constants.
    """
    tree = ast.parse(source)
    rebound = {
        name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names
    }
    found = set(rebound)
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, value = node.targets[0].id, node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name, value = node.target.id, node.value
        else:
            continue
        if name.strip("_").isupper() or name == "__all__":
            continue
        if isinstance(
            value, (ast.Dict, ast.List, ast.Set, ast.DictComp, ast.ListComp, ast.SetComp)
        ):
            found.add(name)
        elif isinstance(value, ast.Call):
            function = value.func.value if isinstance(value.func, ast.Subscript) else value.func
            if ast.unparse(function).split(".")[-1] not in VALUES:
                found.add(name)
    return found


def test_the_table_of_the_process_is_the_source():
    there = {
        f"{module.replace('.', '/')}.{name}"
        for module, path in MODULES.items()
        if module not in UNCHANGED
        for name in state_of(path.read_text())
    }
    text = DESIGN.read_text().partition("## What is process-wide")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([\w/.]+)` \|", text, re.MULTILINE)) == there


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("_lock = Real.Lock()", {"_lock"}),
        ("_open: Final[dict[int, str]] = {}", {"_open"}),
        ("_all = set()", {"_all"}),
        ("_n = 0\ndef f():\n    global _n\n    _n += 1", {"_n"}),
        ("KINDS = {}", set()),
        ("T = TypeVar('T')", set()),
        ("_key = pytest.StashKey[int]()", set()),
        ("logger = logging.getLogger('x')", set()),
        ("_n = 0", set()),
        ("def f():\n    found = {}", set()),
    ],
)
def test_the_search_finds_what_may_change(source, found):
    assert state_of(source) == found
