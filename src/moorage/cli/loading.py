"""Loading a program: ``import modal`` in it means moorage.

Owns what the process is made before anything of the user's is imported (`prepare`), and the import
itself (`load`).  All commands that take a program use both, on the main thread.

Begin at `prepare`, then `load`.
"""

from __future__ import annotations

import ast
import atexit
import importlib
import importlib.util
import io
import os
import shutil
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Final

from .. import config
from ..as_modal import install_as_modal
from ..exception import Error
from ..runtime.real import Real
from ..stores.home import environment_of
from .errors import CommandError, shown_error
from .mounts import enter
from .reference import STDIN, Reference
from .suggestions import did_you_mean, nearest

STDIN_MODULE: Final = "modal_stdin_app"


def prepare(*, environment: str | None = None, mounts: str | None = None) -> None:
    """Make the process one in which a program may be imported.

    From here on ``import modal`` means moorage in this process and in its children, and named
    objects are kept on disk.  If the command runs the program, what the program prints is written
    line by line.

    Args:
        environment: the namespace of named objects; that of the configuration if None.
        mounts: how paths of volumes lead to their files: see ``mounts.py``.  If None, the command
            runs nothing that needs them.

    Raises:
        CommandError: if the real modal is imported already, the environment cannot have such a
            name, or ``--mounts=link`` is not possible.
    """
    try:
        if environment is not None:
            config.config.override_locally("environment", environment_of(environment))
        if mounts is not None:
            # Nothing of the user's is imported yet, and the process has one thread.
            enter(mounts)
            _write_lines_at_once()
        install_as_modal()
    except OSError as error:
        raise CommandError(f"There are no mounts: {error}; write --no-mounts.") from None
    except Error as error:
        raise CommandError(str(error)) from None
    os.environ["MOORAGE_AS_MODAL"] = "1"  # the children: see ``_moorage_as_modal.py``
    config.persist = True


def _write_lines_at_once() -> None:
    """Write what is printed at the end of each line, also to a file or a pipe.

    Python keeps it back until there are 8 kB.  Then the log of a server, whose functions print a
    line now and then, stays empty for hours, and a kill loses what it had.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # not None, and nothing that a test put there
        sys.stdout.reconfigure(line_buffering=True)


def load(reference: Reference) -> ModuleType:
    """Import the program and return its module.

    A file is imported under its own name, and not as ``__main__``.

    Raises:
        CommandError: if there is no such program.
        UserError: if the program raises an exception.
    """
    if "" not in sys.path:
        sys.path.insert(0, "")  # the working directory
    if reference.program == STDIN:
        if reference.is_module:
            raise CommandError(
                f"A program on the standard input ({STDIN}) is no module; leave -m out."
            )
        return _load_file(reference, _write_stdin())
    if reference.is_module:
        return _load_module(reference)
    if not reference.program.endswith(".py"):
        raise CommandError(
            "Python module paths must be specified with the -m flag. "
            f"Use `{reference.command} -m {reference.shown}` instead."
        )
    return _load_file(reference, Path(reference.program))


def _load_module(reference: Reference) -> ModuleType:
    name = reference.program
    if not all(name.split(".")):
        raise CommandError(
            f"-m takes the full path of a module, such as package.module, got {name!r}."
        )
    if name.endswith(".py"):
        raise CommandError(
            f"-m takes the path of a module, got the file {name}. "
            f"Use `{reference.command} {reference.shown}` instead."
        )
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing and (name == missing or name.startswith(f"{missing}.")):
            raise CommandError(
                f"There is no module {missing!r}; the path begins at the working directory, "
                f"{_here()}, or at a folder of PYTHONPATH."
            ) from None
        raise shown_error(error) from None
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise shown_error(error) from None


def _here() -> str:
    try:
        return Real.getcwd()
    except OSError:
        return "which is not there any more"


def _load_file(reference: Reference, path: Path) -> ModuleType:
    try:
        full = path.resolve()
    except (OSError, RuntimeError) as error:
        # The working directory was deleted; or symlinks form a circle, a RuntimeError before 3.13.
        why = (isinstance(error, OSError) and error.strerror) or error
        raise CommandError(f"The file {str(path)!r} cannot be found: {why}.") from None
    stem = full.name.removesuffix(".py")
    if "." in stem:
        raise CommandError(
            f"Invalid Modal source filename: {full.name!r}. A source filename cannot contain "
            f"additional period characters; rename the file to {stem.replace('.', '_')}.py."
        )
    if not full.is_file():
        raise CommandError(f"There is no file {str(path)!r}.", _other_files(path))
    if stem in ("modal", "moorage"):
        raise CommandError(
            f"A file of the name {full.name} hides the library from its own `import {stem}`; "
            "give the file another name."
        )
    sys.path.insert(0, str(full.parent))
    spec = importlib.util.spec_from_file_location(stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[stem] = module
    try:
        spec.loader.exec_module(module)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        if isinstance(error, ImportError) and "no known parent package" in str(error):
            raise _relative_import(reference, path) from None
        raise shown_error(error) from None
    return module


def check_imports(reference: Reference) -> None:
    """Refuse a file that would get a module of another program of this process for its own.

    A process has one module of a name.  Only what the file itself imports is looked at.

    Raises:
        CommandError: if the file's folder has a module that it imports, and another folder's module
            of that name is imported already.
    """
    path = Path(reference.program)
    if reference.is_module or reference.program == STDIN or not path.is_file():
        return
    try:
        nodes = list(ast.walk(ast.parse(path.read_bytes())))
    except (OSError, ValueError, SyntaxError):
        return  # the import shows what is wrong
    names = [name.name for node in nodes if isinstance(node, ast.Import) for name in node.names]
    names += [
        node.module
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
    ]
    folder = path.resolve().parent
    for name in dict.fromkeys(each.partition(".")[0] for each in names):
        own = next(
            (
                file
                for file in (folder / name / "__init__.py", folder / f"{name}.py")
                if file.exists()
            ),
            None,
        )
        imported = getattr(sys.modules.get(name), "__file__", None)
        if own in (None, path.resolve()) or imported is None or own == Path(imported).resolve():
            continue
        raise CommandError(
            f"{reference.program} imports {name!r}, and would get {imported} and not {own}: a "
            "process has one module of a name. Give one of the two another name, or deploy the "
            "programs by commands of their own."
        )


def _relative_import(reference: Reference, path: Path) -> CommandError:
    if reference.program == STDIN:
        return CommandError(
            "The program on the standard input has relative imports, but it is in no package; "
            "write the program to a file of the package."
        )
    parts = os.path.relpath(path).removesuffix(".py").split(os.sep)
    module = ".".join(part for part in parts if part not in ("", ".", ".."))
    suffix = f"::{reference.name}" if reference.name else ""
    return CommandError(
        "The source file contains relative imports and is therefore part of a Python package, but "
        f"it was given as a script (`{reference.call}`). Give the module instead: "
        f"`{reference.command} -m {module}{suffix}`, from the folder that has the package."
    )


def _other_files(path: Path) -> str:
    """Return a hint with the files beside `path` whose names are similar."""
    try:
        names = sorted(file.name for file in path.parent.glob("*.py"))
    except OSError:
        return ""
    return did_you_mean([str(path.parent / name) for name in nearest(path.name, names)])


def _write_stdin() -> Path:
    """Write the program on the standard input to a file, which lives until the process ends."""
    if sys.stdin is None or sys.stdin.isatty():
        raise CommandError(
            "No program was piped on the standard input; write `cat app.py | moorage run -`."
        )
    source = _bytes_of_stdin()
    folder = tempfile.mkdtemp(prefix="moorage-stdin-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / f"{STDIN_MODULE}.py"
    path.write_bytes(source)
    return path


def _bytes_of_stdin() -> bytes:
    """Read the standard input as Python reads a file: the program may say how it is coded."""
    binary = getattr(sys.stdin, "buffer", None)
    found: bytes = sys.stdin.read().encode() if binary is None else binary.read()
    return found
