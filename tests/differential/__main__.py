"""Records what the real package makes of the programs, and compares by hand.

python -m tests.differential record --python PYTHON [--into FOLDER] [TOPIC ...]
python -m tests.differential compare [--lenient] [TOPIC ...]
python -m tests.differential show --python PYTHON TOPIC [CELL ...]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from . import harness

# What a recording must come from.
MODAL_VERSION = "1.6.4"

ASKS = """
import inspect, json, pkgutil, modal, modal.exception, modal.experimental

def parameters(found):
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):
        return None
    return [
        [p.name, p.kind.name, p.default is not p.empty]
        for p in signature.parameters.values()
        if p.name not in ("self", "cls") and not p.name.startswith("_")
    ]

names = [n for n, c in vars(modal.exception).items() if inspect.isclass(c) and n != "Any"]
signatures = {}
for name in modal.__all__:
    found = getattr(modal, name)
    if inspect.isclass(found):
        for method in dir(found):
            known = None if method.startswith("_") else parameters(getattr(found, method))
            if known is not None:
                signatures[f"{name}.{method}"] = known
    elif callable(found):
        signatures[name] = parameters(found)
for name in ("get_local_input_concurrency", "set_local_input_concurrency", "stop_fetching_inputs"):
    signatures[f"experimental.{name}"] = parameters(getattr(modal.experimental, name))
modules = [m.name for m in pkgutil.iter_modules(modal.__path__) if not m.name.startswith("_")]
print(json.dumps({
    "version": modal.__version__, "errors": sorted(names), "all": sorted(modal.__all__),
    "modules": sorted(modules), "signatures": signatures,
}))
"""

# The surface: for each module without an underscore, but those of the command line, what is
# defined there, with the parameters of functions, and for classes their attributes.  The names
# of a package are those that its modules define.  `_X` counts if `X` is defined there.
SURFACE = """
import importlib, inspect, json, pkgutil, typing, modal

def parameters(found):
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):
        return None
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        p.name
        for p in signature.parameters.values()
        if p.name not in ("self", "cls") and p.kind not in kinds
    ]

def attributes(found):
    names = {}
    for name in dir(found):
        owner = next((c for c in found.__mro__ if name in vars(c)), object)
        if not owner.__module__.startswith("modal"):
            continue
        if not name.startswith("_") or name.startswith("_experimental"):
            names[name] = parameters(getattr(found, name))
    return names

def is_inner(value):
    home = str(getattr(value, "__module__", ""))
    return home.startswith(("modal._utils", "modal._vendor")) or not home.startswith("modal")

def here(module, name, value):
    if name.startswith("__") or inspect.ismodule(value) or isinstance(value, typing.TypeVar):
        return False
    if isinstance(value, typing.ParamSpec):
        return False
    if module.__name__ == "modal.config" and name in ("config", "_profile", "user_config_path"):
        return True
    home = str(getattr(value, "__module__", ""))
    if home == module.__name__:
        return True
    if hasattr(module, "__path__"):
        return not name.startswith("_") and not is_inner(value) and home != "modal.exception"
    public = getattr(module, name[1:], None) if name.startswith("_") else None
    return getattr(public, "__module__", "") == module.__name__

surface = {}
modules = [m.name for m in pkgutil.walk_packages(modal.__path__, "modal.")]
for path in ["modal", *modules]:
    parts = path.split(".")[1:]
    if any(part.startswith("_") for part in parts) or parts[:1] == ["cli"]:
        continue
    try:
        module = importlib.import_module(path)
    except ImportError:  # it needs another package
        continue
    names = surface[path] = {}
    for name, value in sorted(vars(module).items()):
        if not here(module, name, value):
            continue
        if name.startswith("_"):
            names[name] = None
        elif inspect.isclass(value):
            names[name] = attributes(value)
        else:
            names[name] = parameters(value) if callable(value) else None
inner = [m.name for m in pkgutil.iter_modules(modal.__path__) if m.name.startswith("_")]
print(json.dumps({"version": modal.__version__, "surface": surface, "inner": sorted(inner)}))
"""


def record(python: str, into: Path, only: list[str]) -> None:
    package = json.loads(subprocess.check_output([python, "-c", ASKS], text=True))
    if package["version"] != MODAL_VERSION:
        sys.exit(f"wanted modal {MODAL_VERSION}, {python} has {package['version']}")
    into.mkdir(parents=True, exist_ok=True)
    _write(into / "_package.json", package)
    surface = json.loads(subprocess.check_output([python, "-c", SURFACE], text=True))
    _write(into / "_surface.json", surface)
    for topic in only or harness.topics():
        outcomes = harness.run("modal", topic, python=python)
        ended = outcomes.pop("_ended", None)
        missing = [cell.name for cell in harness.cells_of(topic) if cell.name not in outcomes]
        if ended or missing:
            sys.exit(f"{topic}: no outcome of {missing}: {ended}")
        hanging = [
            name for name, o in outcomes.items() if o["error"] and "CellHangs" in o["error"]["mro"]
        ]
        if hanging:
            sys.exit(f"{topic}: the real package hangs in {hanging}")
        _write(into / f"{topic}.json", {"modal": MODAL_VERSION, "cells": outcomes})
        print(f"{topic}: {len(outcomes)} cells")


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def compare(only: list[str], strict: bool) -> None:
    names = harness.names_of_ours()
    total = agree = 0
    for cell in harness.all_cells():
        if only and cell.topic not in only:
            continue
        total += 1
        ours = harness.outcomes_here(cell.topic, strict).get(cell.name)
        if ours is None:
            print(f"{cell.id}: no outcome of ours")
            continue
        theirs = harness.recording(cell.topic)[cell.name]
        found = harness.differences(cell, theirs, ours, names)
        agree += not found
        if found:
            print(f"{cell.id} {cell.differs or ''}")
            for line in found:
                print("   ", line.replace("\n", "\n    "))
    print(f"{agree} of {total} agree")


def show(python: str, topic: str, only: list[str]) -> None:
    for name, outcome in harness.run("modal", topic, *only, python=python).items():
        del outcome["of"]
        print(f"--- {name}")
        print(json.dumps(outcome, indent=1, ensure_ascii=False))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.differential")
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record", help="record the real package's outcomes")
    recording.add_argument("--python", required=True, help="an interpreter that has modal")
    recording.add_argument("--into", type=Path, default=harness.RECORDED)
    recording.add_argument("topics", nargs="*")
    comparing = commands.add_parser("compare", help="print what differs from the recording")
    comparing.add_argument("--lenient", action="store_true")
    comparing.add_argument("topics", nargs="*")
    showing = commands.add_parser("show", help="print what the real package does")
    showing.add_argument("--python", required=True, help="an interpreter that has modal")
    showing.add_argument("topic")
    showing.add_argument("cells", nargs="*")
    args = parser.parse_args()
    if args.command == "record":
        record(args.python, args.into, args.topics)
    elif args.command == "compare":
        compare(args.topics, not args.lenient)
    else:
        show(args.python, args.topic, args.cells)


main()
