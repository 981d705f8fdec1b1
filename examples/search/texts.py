"""The passages that are searched: the docstrings of the standard library, cut into paragraphs.

Owns where they are found, what each is called, and what its words are.  The
sources are read with ``ast``: no module is imported.  Tests, and what was
installed into the library, are left out.
"""

from __future__ import annotations

import ast
import re
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test"}
FEWEST_WORDS = 4  # of a passage; less is a heading, or a name said again


class Passage(NamedTuple):
    name: str  # of what it documents: "json.decoder.JSONDecoder.decode"
    text: str  # in one line


def collect(library: Path | None = None) -> list[Passage]:
    """The passages of modules, classes, functions and methods, file after file.

    Of those that say the same, letter by letter, the first is kept.
    """
    library = library or Path(sysconfig.get_path("stdlib"))
    found: dict[str, Passage] = {}
    for path in sorted(library.rglob("*.py")):
        relative = path.relative_to(library)
        if LEFT_OUT.isdisjoint(relative.parts):
            module = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
            for passage in passages_of(path.read_bytes(), module):
                found.setdefault(passage.text, passage)
    return list(found.values())


def passages_of(source: bytes, module: str) -> Iterator[Passage]:
    """Those of one file; none of a file that this Python cannot read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the parser warns of odd escapes in old code
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return
    for name, docstring in _docstrings(tree, module):
        for paragraph in re.split(r"\n\s*\n", docstring):
            if len(words(paragraph)) >= FEWEST_WORDS:
                yield Passage(name, " ".join(paragraph.split()))


def _docstrings(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    """Of `node`, and of what stands within, each with its dotted name."""
    named = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    if isinstance(node, named | ast.Module) and (docstring := ast.get_docstring(node)):
        yield name, docstring
    for child in ast.iter_child_nodes(node):
        inner = f"{name}.{child.name}" if isinstance(child, named) else name
        yield from _docstrings(child, inner)


def words(text: str) -> list[str]:
    """The words of a text or a name: `readLines` and `read_lines` are both "read", "line"."""
    found = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", text)
    lowered = (word.lower() for word in found if len(word) > 1)
    return [_singular(word) for word in lowered]


def _singular(word: str) -> str:
    """As well as endings tell it; what matters is that both forms end up the same."""
    if len(word) < 4 or word.endswith(("ss", "us", "is")) or not word.endswith("s"):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "shes", "tches", "rches")):
        return word[:-2]
    return word[:-1]
