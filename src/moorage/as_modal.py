"""``import modal`` means moorage: on request, or with MOORAGE_AS_MODAL=1 in the environment.

Owns the import hook.  ``modal``, and each ``modal.x`` that Modal has too, become the modules of
this package themselves, not copies: a class is the same class under either name.  All other
modules of this package are not found under ``modal``, except ``modal.testing``.

Begin at `install_as_modal`, then `_Finder.find_spec`.  The variable is read in ``__init__.py``,
and before anything is imported in ``_moorage_as_modal.py``, beside this package.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

from . import config
from .exception import ExecutionError

PACKAGE = __package__ or "moorage"

# The modules of this package that Modal 1.6.4 has too, and the test kit (``testing``).
MODULES: Final = frozenset(
    (
        *("app", "billing", "call_graph", "client", "cloud_bucket_mount", "cls", "cluster"),
        *("config", "container_process", "dict", "environments", "exception", "experimental"),
        *("file_pattern_matcher", "functions", "image", "io_streams", "mount"),
        *("network_file_system", "object", "output", "partial_function", "proxy", "queue"),
        *("retries", "runner", "sandbox", "schedule", "scheduler_placement", "secret", "server"),
        *("stream_type", "testing", "types", "volume", "workspace"),
    )
)

# What programs find in Modal's package that this library does not have, and why.
_NOT_HERE: Final = {
    "modal.cli": "the commands are those of moorage: write `moorage --help`",
    "modal_proto": "it describes the messages of Modal's service, which moorage does not need",
}

# Modules of the inside of Modal that programs import, and the modules of this package that have
# the same names.
INNER: Final = {
    "_functions": "functions",
    "_image": "image",
    "_object": "object",
    "_output": "output",
    "_partial_function": "partial_function",
    "_server": "server",
    "_tunnel": "tunnel",
    "gpu": "old.gpu",  # which Modal once had; not in strict mode
}


def _own_name(fullname: str) -> str:
    """Return the name in this package of the module that a program calls `fullname`."""
    head, dot, rest = fullname.removeprefix("modal").removeprefix(".").partition(".")
    path = INNER.get(head, head) + dot + rest
    return f"{PACKAGE}.{path}" if path else PACKAGE


def _is_refused(head: str) -> bool:
    return head == "gpu" and config.strict


class _Alias:
    """The loader that loads ``modal.x`` by importing ``moorage.x``.  See `importlib.abc.Loader`."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(_own_name(spec.name))
        # The import system replaces `module.__spec__`; `exec_module` restores the original.
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        alias = module.__spec__
        if alias is not None and alias.loader_state is not None:
            module.__spec__ = alias.loader_state


class _Finder:
    """The finder of ``modal`` and its modules.  See `importlib.abc.MetaPathFinder`."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if fullname in _NOT_HERE:
            why = f"No module named {fullname!r}; {_NOT_HERE[fullname]}"
            raise ModuleNotFoundError(why, name=fullname)
        if fullname != "modal" and not fullname.startswith("modal."):
            return None
        own = _own_name(fullname)
        try:
            found = importlib.util.find_spec(own)
        except ModuleNotFoundError:  # the parent is not a package
            found = None
        if found is None:
            return None
        head = fullname.split(".")[1] if fullname != "modal" else ""
        known = not head or head in MODULES or (head in INNER and not _is_refused(head))
        if not known:
            # Raised here: `modal.__path__` is the folder of this package, in which the next
            # finder would find the module, and load a second copy of it.
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        package = found.submodule_search_locations is not None
        return ModuleSpec(fullname, _Alias(), is_package=package)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


finder: Final = _Finder()


def install_as_modal() -> None:
    """Make ``import modal`` and ``import modal.x`` import moorage, in this process.

    A second call does nothing.  With ``MOORAGE_AS_MODAL=1`` in the environment, importing
    moorage does the same.

    Raises:
        ExecutionError: if the real modal is imported already.
    """
    package = sys.modules[PACKAGE]
    real = sys.modules.get("modal", package)
    if real is not package:
        raise ExecutionError(
            f"modal is imported already, from {getattr(real, '__file__', None)}; "
            "call moorage.install_as_modal() before the first import of modal"
        )
    if finder not in sys.meta_path:
        sys.meta_path.insert(0, finder)
    sys.modules["modal"] = package
