"""The whole surface of the real package against ours: what is missing is listed in the docs.

``recorded/_surface.json`` has the names of each public module, the attributes of its classes
and the parameters of what is called.  The section "Names that are not there" of
docs/differences.md lists what is missing, with ``*`` for any characters.  Every missing name
must be listed, and every entry of the list must stand for a missing name.
"""

from __future__ import annotations

import fnmatch
import importlib
import inspect
import json
import re
import warnings
from pathlib import Path

import moorage

from . import harness

RECORDED = json.loads((harness.RECORDED / "_surface.json").read_text())
PAGE = Path(__file__).parents[2] / "docs" / "differences.md"
HEADING = "## Names that are not there"

app = moorage.App("surface")


@app.function()
def function() -> None: ...


# Some attributes are made for each function, call or app.
INSTANCES = {
    "App": app,
    "Function": function,
    "FunctionCall": moorage.FunctionCall.__new__(moorage.FunctionCall),
    "Volume": moorage.Volume.from_name("volume"),
}


def lacking(shown: str, found: object, wanted: list[str] | None) -> list[str]:
    if not wanted:
        return []
    parameters = inspect.signature(found).parameters  # type: ignore[arg-type]
    return [f"{shown}({name})" for name in wanted if name not in parameters]


def missing() -> set[str]:
    names: set[str] = set()
    for path, defined in RECORDED["surface"].items():
        try:
            module = importlib.import_module("moorage" + path.removeprefix("modal"))
        except ModuleNotFoundError:
            names.add(path)
            continue
        for name, attributes in defined.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                found = getattr(module, name, None)
            if not hasattr(module, name):
                names.add(f"{path}.{name}")
            elif isinstance(attributes, dict):
                one = INSTANCES.get(name, found)
                fields = {n for c in found.__mro__ for n in vars(c).get("__annotations__", ())}
                for attribute, wanted in attributes.items():
                    shown = f"{name}.{attribute}"
                    if hasattr(one, attribute):
                        names.update(lacking(shown, getattr(one, attribute), wanted))
                    elif attribute not in fields and not is_without_an_id(found, attribute):
                        names.add(shown)
            else:
                names.update(lacking(f"{path}.{name}", found, attributes))
    return names


def is_without_an_id(found: type, attribute: str) -> bool:
    """Whether the attribute is a property that raises on this object, or on the class."""
    return inspect.getattr_static(found, attribute, None) is not None


def listed() -> list[str]:
    section = PAGE.read_text().partition(HEADING)[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith(("- ", "  "))]
    return re.findall(r"`([^`]+)`", "\n".join(lines))


def test_what_is_missing_is_listed_and_nothing_else():
    entries = listed()
    found = missing()
    assert [n for n in sorted(found) if not any(fnmatch.fnmatchcase(n, e) for e in entries)] == []
    assert [e for e in entries if not any(fnmatch.fnmatchcase(n, e) for n in found)] == []


def test_inner_modules_that_programs_import_are_there():
    from moorage.as_modal import INNER

    assert set(INNER) - {"gpu"} <= set(RECORDED["inner"])
