"""The sources of a program as they were when it was imported.

A container imports the program's modules when it starts, which may be long after the program was
imported; the files may have changed in between.  ``moorage serve`` follows such changes by a new
process, so all containers of one process must have the version of that process.  Owns the
sources that such a process keeps, and how a container imports them.

Begin at `keep`; in a container at `use`.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any, Final, NamedTuple


class Source(NamedTuple):
    """The source of one module."""

    file: str
    text: bytes
    is_package: bool


Sources = Mapping[str, Source]
"""By the names of modules."""


class Kept:
    """The sources that this process keeps for its containers."""

    def __init__(self) -> None:
        self.sources: Sources = {}


kept: Final = Kept()


def keep(modules: Iterable[tuple[str, ModuleType]]) -> None:
    """Keep the sources of modules, which were imported just now."""
    found: dict[str, Source] = {}
    for name, module in modules:
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not file.endswith(".py"):
            continue
        try:
            text = importlib.machinery.SourceFileLoader(name, file).get_data(file)
        except OSError:
            continue
        found[name] = Source(file, text, hasattr(module, "__path__"))
    kept.sources = found


# -- in a container ---------------------------------------------------------------------------


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a module from a source that is kept."""

    def __init__(self, name: str, source: Source) -> None:
        super().__init__(name, source.file)
        self._source = source

    def get_data(self, path: str) -> bytes:
        return self._source.text if path == self._source.file else super().get_data(path)

    def path_stats(self, path: str) -> Mapping[str, Any]:
        raise OSError("compiled code is of the file as it is now")

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Write no compiled code."""


class _Finder:
    """Finds the modules whose sources are kept."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        source = self._sources.get(name)
        if source is None:
            return None
        return importlib.util.spec_from_file_location(
            name, source.file, loader=_Loader(name, source)
        )


def use(sources: Sources) -> None:
    """Have imports of this process find these sources."""
    if sources:
        finder: Any = _Finder(sources)
        sys.meta_path.insert(0, finder)
