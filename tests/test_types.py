"""The public names: re-exported as themselves, documented, and typed.

What the types are is checked by mypy and basedpyright on ``tests/typing``,
which ``make test`` runs.
"""

import ast
from pathlib import Path
from types import ModuleType

import pytest

import moorage

PACKAGE = Path(moorage.__file__).parent
REEXPORTS = [
    alias
    for node in ast.walk(ast.parse((PACKAGE / "__init__.py").read_text()))
    if isinstance(node, ast.Import | ast.ImportFrom)
    for alias in node.names
]
MODULES = {"billing", "experimental", "types"}
# Also those that are imported at their first use.
PUBLIC = sorted(
    {name for name in moorage.__all__ if name != "__version__" and name not in MODULES}
    | {
        name
        for name, value in vars(moorage).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
)


PRIVATE = {"_config", "_import_late", "_os", "_typing"}


def test_every_reexport_is_x_as_x():
    odd = [alias for alias in REEXPORTS if alias.asname != alias.name]
    assert {alias.asname for alias in odd} == PRIVATE


def test_public_names_are_the_reexports_and_no_more():
    names = {alias.asname for alias in REEXPORTS} - PRIVATE
    assert sorted(names - MODULES) == PUBLIC
    assert sorted(moorage.__all__) == sorted({*names, "__version__"})


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_has_a_docstring(name):
    # Its own: a class inherits none here.
    documentation = getattr(moorage, name).__doc__
    assert documentation
    assert documentation.strip()


def test_package_says_that_it_is_typed():
    assert (PACKAGE / "py.typed").is_file()
