"""What Python runs as it starts, where moorage is installed: with MOORAGE_AS_MODAL=1, a finder.

Owns `start`, which the files ``moorage_as_modal.pth`` (Python before 3.15) and
``moorage_as_modal.start`` (later) name.  With it ``import modal`` means moorage in every process
that has the variable: the program, and its children by spawn, forkserver and subprocess.

This file stands beside the package, because importing ``moorage.anything`` imports asyncio and
more.  This file imports `sys` and `os`, which are loaded already.  Begin at `start`.
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
    module = _module_of_command(sys.orig_argv[1:])
    if module is not None and module.split(".")[0] == "modal":
        return True
    name = os.path.basename(sys.argv[0]) if getattr(sys, "argv", None) else ""
    return name in ("modal", "modal.exe", "modal-script.py")


def _module_of_command(arguments: "list[str]") -> "str | None":
    """Return the module of ``python -m module``; None if the command line names none.

    An ``-m`` behind a program's name is an argument of that program: ``pytest -m modal``.
    """
    given = iter(arguments)
    for argument in given:
        if argument == "--check-hash-based-pycs":
            next(given, None)
        elif not argument.startswith("--"):
            if not argument.startswith("-"):
                return None  # the program's name
            # Options of one letter, which may be written together: -Im modal, -mmodal
            for index, letter in enumerate(argument[1:], 2):
                if letter in "cmWX":  # what follows is the option's value
                    value = argument[index:] or next(given, None)
                    if letter in "cm":
                        return value if letter == "m" else None
                    break
    return None
