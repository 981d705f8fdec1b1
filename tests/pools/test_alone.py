"""The leaves know no pool: read out of their sources, and of those of their tests."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from test_layers import MODULES, imports_of, is_above

POOL = "runtime.pools.pool"
LEAVES = [
    f"runtime.pools.{name}"
    for name in (
        *("alarms", "attempts", "backlog", "batches", "endings"),
        *("fleet", "kept", "scaling", "tally"),
    )
]

# Which leaf is built on which others.  All others are built on none.
BUILT_ON = {
    "batches": {"backlog"},
    "scaling": {"backlog", "fleet", "tally"},
    "kept": {"scaling", "tally"},
}


def short(name):
    return name.rpartition(".")[2]


def names_in(tree):
    """All that a file calls by a name: parameters, attributes, variables."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Name):
            yield node.id


def reached_from(name):
    """All that importing a module imports, directly or not."""
    reached, left = set(), [name]
    while left:
        for imported, _ in imports_of(left.pop()).ours:
            if imported not in reached:
                reached.add(imported)
                left.append(imported)
    return reached


@pytest.mark.parametrize("name", LEAVES, ids=short)
def test_a_leaf_imports_no_file_that_decides(name):
    reached = reached_from(name)
    assert not reached & {POOL, "runtime.pools.capacity", "runtime.pools.probing"}
    assert not {imported for imported in reached if is_above(imported, name)}


@pytest.mark.parametrize("name", LEAVES, ids=short)
def test_a_leaf_is_built_on_these_leaves_only(name):
    leaves = {short(imported) for imported, _ in imports_of(name).ours if imported in LEAVES}
    assert leaves == BUILT_ON.get(short(name), set())


@pytest.mark.parametrize("name", LEAVES, ids=short)
def test_a_leaf_is_given_no_pool(name):
    names = {found.strip("_").lower() for found in names_in(ast.parse(MODULES[name].read_text()))}
    assert "pool" not in names


@pytest.mark.parametrize("name", LEAVES, ids=short)
def test_a_leaf_has_tests_that_need_no_pool(name):
    path = Path(__file__).with_name(f"test_{short(name)}.py")
    modules = {
        node.module
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("moorage")
    }
    assert f"moorage.{name}" in modules
    assert not [
        module for module in modules if POOL in reached_from(module.removeprefix("moorage."))
    ]
