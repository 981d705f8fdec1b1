"""The package in a process that has begun with a part of it.

A zygote imports what containers need, and not all that users import, which takes twice as long.
There the package is a module without its ``__init__``.  Owns how it becomes whole: when something
asks for a name that is not there, as the first user's module does.

Begin at `complete_the_package`.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Any, Final

from ..runtime.real import Real

_PACKAGE: Final = __name__.partition(".")[0]
_lock = Real.RLock()


def complete_the_package(name: str = "") -> Any:
    """Run ``__init__``, unless that was done; return the attribute `name`, if one is asked for.

    Raises:
        AttributeError: if the whole package has no such name.
    """
    package = sys.modules[_PACKAGE]
    if name.startswith("__"):
        raise AttributeError(f"module {_PACKAGE!r} has no attribute {name!r}")
    with _lock:
        if getattr(package, "__spec__", None) is None:
            spec = importlib.util.spec_from_file_location(
                _PACKAGE,
                os.path.join(package.__path__[0], "__init__.py"),
                submodule_search_locations=list(package.__path__),
            )
            assert spec is not None and spec.loader is not None
            del package.__getattr__
            package.__spec__, package.__file__ = spec, spec.origin
            package.__loader__ = spec.loader
            spec.loader.exec_module(package)
    return getattr(package, name) if name else None
