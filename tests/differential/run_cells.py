"""Runs the cells of one topic with one package; a process of its own.

Needs nothing but the standard library and the package, for the real package's
environment has neither pytest nor this library.  Writes one JSON object a line
to the file descriptor it is given, so that a cell which ends the process loses
no other cell's outcome.

    python run_cells.py modal|moorage DESCRIPTOR TOPIC_FILE [CELL ...]
"""

import contextlib
import hashlib
import importlib
import importlib.util
import io
import json
import logging
import os
import pkgutil
import re
import signal
import sys
import tempfile
import warnings
from pathlib import Path

# Seconds after which a cell that hangs is interrupted.
CELL_GETS = float(os.environ.get("DIFFERENTIAL_CELL_GETS", "10"))

# Of every exception, or only there to help Modal's migration away from gRPC.
NOT_OF_INTEREST = {"object", "BaseException", "GRPCError", "_GRPCErrorWrapper"}

ADDRESS = re.compile(r"0x[0-9a-f]{6,}")


class CellHangs(BaseException):
    """The cell was interrupted."""


def split_cells(source):
    """The cells of a topic file: name to program text, in order."""
    cells = {}
    for part in re.split(r"^# %% ", source, flags=re.MULTILINE)[1:]:
        name, _, text = part.partition("\n")
        if name.strip() in cells:
            raise ValueError(f"two cells are called {name.strip()!r}")
        cells[name.strip()] = text.rstrip() + "\n"
    return cells


def fingerprint(text):
    """Tells whether a recording is of this very text."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class Levels(logging.Handler):
    """Counts log records of level WARNING and up by the name of their level."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.counts = {}

    def emit(self, record):
        if record.name != "asyncio":
            self.counts[record.levelname] = self.counts.get(record.levelname, 0) + 1


def import_as_modal(package):
    importlib.import_module(package)
    if package == "modal":
        return
    moorage = sys.modules["moorage"]
    if hasattr(moorage, "install_as_modal"):
        moorage.install_as_modal()
        return
    sys.modules["modal"] = moorage
    for found in pkgutil.iter_modules(moorage.__path__):
        module = importlib.import_module(f"moorage.{found.name}")
        sys.modules[f"modal.{found.name}"] = module


def interrupt(signum, frame):
    raise CellHangs(f"after {CELL_GETS:g} seconds")


def run_cell(number, text, directory):
    """Import the cell as a module and say what could be seen from outside."""
    name = f"cell{os.getpid()}_{number}"
    path = Path(directory, f"{name}.py")
    path.write_text(text)

    def plain(message):
        message = message.replace(directory, "DIR").replace(name, "cell")
        return ADDRESS.sub("0x0", message)

    levels = Levels()
    root = logging.getLogger()
    root.addHandler(levels)
    out = io.StringIO()
    error = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # When they come is up to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        warnings.filterwarnings("ignore", message=".*was never awaited", category=RuntimeWarning)
        signal.setitimer(signal.ITIMER_REAL, CELL_GETS)
        try:
            with contextlib.redirect_stdout(out):
                spec = importlib.util.spec_from_file_location(name, path)
                module = importlib.util.module_from_spec(spec)
                sys.modules[name] = module
                spec.loader.exec_module(module)
        except BaseException as caught_error:
            mro = [base.__name__ for base in type(caught_error).__mro__]
            error = {
                "mro": [base for base in mro if base not in NOT_OF_INTEREST],
                "message": plain(str(caught_error)),
            }
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            root.removeHandler(levels)
    categories = {}
    for warning in caught:
        category = warning.category.__name__
        categories[category] = categories.get(category, 0) + 1
    return {
        "of": fingerprint(text),
        "stdout": plain(out.getvalue()).splitlines(),
        "error": error,
        "warnings": categories,
        "logs": levels.counts,
    }


def main(package, descriptor, topic, *only):
    import_as_modal(package)
    signal.signal(signal.SIGALRM, interrupt)
    sys.dont_write_bytecode = True
    outcomes = os.fdopen(int(descriptor), "w")
    with tempfile.TemporaryDirectory() as directory:
        sys.path.insert(0, directory)
        for number, (name, text) in enumerate(split_cells(Path(topic).read_text()).items()):
            if not only or name in only:
                outcome = run_cell(number, text, directory)
                outcomes.write(json.dumps({"cell": name, **outcome}) + "\n")
                outcomes.flush()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # what a cell left running is not waited for


if __name__ == "__main__":
    main(*sys.argv[1:])
