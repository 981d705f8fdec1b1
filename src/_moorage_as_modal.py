"""What Python runs as it starts, where moorage is installed: with MOORAGE_AS_MODAL=1, a finder.

Owns `start`, which the files ``moorage_as_modal.pth`` (Python before 3.15) and
``moorage_as_modal.start`` (later) name.  With it ``import modal`` means moorage in every process
that has the variable: the program, and its children by spawn, forkserver and subprocess.

This file stands beside the package, because importing ``moorage.anything`` imports all of
moorage.  It imports `sys` and `os`, which are loaded already.  Begin at `start`.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


class First:
    """A finder that imports moorage when somebody imports modal, and then goes away."""

    @staticmethod
    def find_spec(
        fullname: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        if fullname != "modal":
            return None
        _remove()
        if _is_modals_command():
            return None
        try:
            import moorage
        except ModuleNotFoundError as error:
            if error.name != "moorage":
                raise
            return None  # it was uninstalled, and these files were left
        moorage.install_as_modal()
        from moorage import as_modal

        # Else the import system takes the spec of the module that is there now: that of
        # moorage, which it would load once more.
        sys.modules.pop(fullname, None)
        return as_modal.finder.find_spec(fullname)


def start() -> None:
    """Have ``import modal`` give moorage, if MOORAGE_AS_MODAL says so."""
    if os.environ.get("MOORAGE_AS_MODAL", "") not in ("", "0"):
        _remove()
        sys.meta_path.insert(0, First)


def _remove() -> None:
    try:
        sys.meta_path.remove(First)
    except ValueError:
        pass


def _is_modals_command() -> bool:
    """Whether this process is the command of the real package: ``modal``, ``python -m modal``."""
    arguments = sys.orig_argv
    if "-m" in arguments[:-1] and arguments[arguments.index("-m") + 1].split(".")[0] == "modal":
        return True
    name = os.path.basename(sys.argv[0]) if getattr(sys, "argv", None) else ""
    return name in ("modal", "modal.exe", "modal-script.py")
