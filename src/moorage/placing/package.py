"""The package, and the path of imports, in a process that has begun with a part of the package.

A zygote imports what containers need, and not all that users import, which takes twice as long.
There the package is a module without its ``__init__``.  Owns how it becomes whole: when something
asks for a name that is not there, as the first user's module does.  And what such a process must
know of the calling program to import as it does: `import_path`, `is_as_modal`.

Begin at `complete_the_package`.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import Any, Final

from ..runtime.context import is_a_container
from ..runtime.real import Real

_PACKAGE: Final = __name__.partition(".")[0]
_BEGUN: Final = "_moorage_has_begun_its_init"
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
            package.__spec__, package.__file__ = spec, spec.origin
            package.__loader__ = spec.loader
            # Until the end of ``__init__``, other threads that ask for a name come here, and wait.
            names = vars(package)
            ours = names["__getattr__"]
            names[_BEGUN] = True
            try:
                spec.loader.exec_module(package)
            finally:
                del names[_BEGUN]
                if names.get("__getattr__") is ours:  # ``__init__`` has one of its own
                    del names["__getattr__"]
            if is_a_container():
                use_objects_elsewhere()
        elif name and _BEGUN in vars(package):
            # ``__init__`` itself asks, on this thread: an import of a file of the package.
            raise AttributeError(f"module {_PACKAGE!r} has no attribute {name!r} yet")
    return getattr(package, name) if name else None


def use_objects_elsewhere() -> None:
    """Have dicts and queues of this container be those of the calling program.

    By its name, because its layer is above this one.
    """
    importlib.import_module(f"{_PACKAGE}.calling.stored").install()


# -- in the calling program ------------------------------------------------------------------


def working_directory() -> str:
    try:
        return Real.getcwd()
    except OSError:  # it was removed
        return "/"


def import_path() -> list[str]:
    """Return where this program looks for modules, for a process with another working directory."""
    return [each or working_directory() for each in sys.path]


def is_as_modal() -> bool:
    """Whether ``import modal`` imports this package."""
    return sys.modules.get("modal") is sys.modules[_PACKAGE]
