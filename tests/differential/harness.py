"""Cells, their outcomes with either package, and what counts as a difference.

Two outcomes agree when all of this holds:

1. The lines of stdout are equal.
2. Either none or both ended in an uncaught exception, and
   a. leaving out names that ``modal.exception`` does not have (unless Modal's
      own error has them), the first class along the MRO is the same: the one
      that an ``except`` of Modal's would name;
   b. all of Modal's class names are along ours, in the same order;
   c. what ours has beyond that are builtin classes or names of ours.
   (``object``, ``BaseException`` and the gRPC wrappers never count.)
   Ours may be an ``InvalidError`` besides, for instance where Modal leaves it
   to Python to raise a TypeError.
3. The *nouns* of Modal's message that the program itself uses are in ours too.
   Nouns are: what stands in backticks or quotes, what has an underscore,
   what follows ``@``, ``modal.`` or ``app.``, and CamelCase; each as an
   identifier, and none of ``NO_NOUNS``.
4. Warnings are as many of each category, log records as many of each level
   from WARNING up.

A cell that differs says so in the lines right after its header::

    # %% name-of-the-cell
    # differs: network

with a reason of ``REASONS``, for two of them followed by a text.  ``lenient``
is about lenient mode only: in strict mode the cell must agree.  The others are
about both.  The test fails when a cell says that it differs and does not.
"""

from __future__ import annotations

import builtins
import functools
import json
import keyword
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .run_cells import fingerprint, split_cells

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
RECORDED = HERE / "recorded"

# Why a cell may differ; True for those that need a text.
REASONS = {"network": False, "by-reference": False, "lenient": False, "fault": True, "other": True}

NO_NOUNS = {*keyword.kwlist, "app", "modal", "self", "cls", "the", "a", "an", "of", "to", "f"}

# Seconds for the cells of one topic, all together.
TOPIC_GETS = 120.0

# What our error may be besides what Modal's is.
ALSO_OURS = {"InvalidError", "Error"}

BUILTIN_ERRORS = {
    name
    for name, found in vars(builtins).items()
    if isinstance(found, type) and issubclass(found, BaseException)
}

Outcome = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One small program."""

    topic: str
    name: str
    text: str
    differs: dict[str, str]

    @property
    def id(self) -> str:
        return f"{self.topic}-{self.name}"


def _differs(text: str) -> dict[str, str]:
    found = {}
    for line in text.splitlines():
        if not line.startswith("# differs:"):
            break
        reason, _, detail = line.removeprefix("# differs:").strip().partition(":")
        if reason not in REASONS or bool(detail.strip()) is not REASONS[reason]:
            raise ValueError(
                f"got {line!r}; write `# differs: REASON` with one of {', '.join(REASONS)}, "
                "the last two followed by `: text`"
            )
        found[reason] = detail.strip()
    return found


def topics() -> list[str]:
    return sorted(path.stem for path in PROGRAMS.glob("*.py"))


def cells_of(topic: str) -> list[Cell]:
    texts = split_cells((PROGRAMS / f"{topic}.py").read_text())
    return [Cell(topic, name, text, _differs(text)) for name, text in texts.items()]


def all_cells() -> list[Cell]:
    return [cell for topic in topics() for cell in cells_of(topic)]


def run(
    package: str, topic: str, *only: str, python: str = sys.executable, strict: bool = False
) -> dict[str, Outcome]:
    """Run the cells of a topic in a process of their own; cell name to outcome."""
    with tempfile.TemporaryFile("w+") as outcomes, tempfile.TemporaryFile("w+") as said:
        descriptor = outcomes.fileno()
        with tempfile.TemporaryDirectory() as home:
            environment = {
                **os.environ,
                "MOORAGE_STRICT": "1" if strict else "0",
                # The real package finds no account, and nothing to talk to.
                "HOME": home,
                "MODAL_CONFIG_PATH": str(Path(home, "none.toml")),
                "MODAL_SERVER_URL": "http://127.0.0.1:9",
                "PYTHONWARNINGS": "",
            }
            for name in ("MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET", "MODAL_PROFILE"):
                environment.pop(name, None)
            program = str(HERE / "run_cells.py")
            path = str(PROGRAMS / f"{topic}.py")
            process = subprocess.Popen(
                [python, program, package, str(descriptor), path, *only],
                pass_fds=[descriptor],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=environment,
            )
            try:
                process.wait(TOPIC_GETS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        outcomes.seek(0)
        found = {}
        for line in outcomes:
            outcome = json.loads(line)
            found[outcome.pop("cell")] = outcome
        if process.returncode != 0:
            said.seek(0)
            tail = "\n".join(said.read().splitlines()[-20:])
            found["_ended"] = {"returncode": process.returncode, "said": tail}
    return found


@functools.cache
def outcomes_here(topic: str, strict: bool) -> dict[str, Outcome]:
    return run("moorage", topic, strict=strict)


@functools.cache
def recording(topic: str) -> dict[str, Outcome]:
    path = RECORDED / f"{topic}.json"
    if not path.exists():
        return {}
    cells: dict[str, Outcome] = json.loads(path.read_text())["cells"]
    return cells


def nouns(message: str) -> set[str]:
    """The identifiers of a message that the other message should have too."""
    identifier = r"[A-Za-z_][A-Za-z0-9_]*"
    quoted = re.findall(r"`([^`]*)`|'([^']*)'|\"([^\"]*)\"", message)
    words = re.findall(identifier, " ".join("".join(groups) for groups in quoted))
    words += re.findall(rf"\b({identifier}_{identifier})\b", message)
    words += re.findall(rf"(?:@|\bmodal\.|\bapp\.)({identifier})", message)
    words += re.findall(r"\b([A-Z][a-z0-9]+[A-Z][A-Za-z0-9]*)\b", message)
    return {word for word in words if word not in NO_NOUNS}


def _words(text: str) -> set[str]:
    return set(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", text))


def _mro_differences(
    theirs: list[str], ours: list[str], names_of_ours: frozenset[str]
) -> list[str]:
    found = []
    shared = [name for name in ours if name in theirs or name not in names_of_ours]
    if shared[:1] != theirs[:1]:
        found.append(f"Modal raises {theirs[0]}, we raise {ours[0]}")
    along = iter(ours)
    if not all(name in along for name in theirs):
        found.append(f"the bases are {theirs}, ours {ours}")
    more = [name for name in shared if name not in theirs and name not in BUILTIN_ERRORS]
    if more:
        found.append(f"ours is more than Modal's: {more}")
    return found


def differences(
    cell: Cell, theirs: Outcome, ours: Outcome, names_of_ours: frozenset[str]
) -> list[str]:
    """What does not agree, as lines to read; empty if all does."""
    found = []
    if theirs["stdout"] != ours["stdout"]:
        found.append(f"Modal prints {theirs['stdout']}, we print {ours['stdout']}")
    if (theirs["error"] is None) != (ours["error"] is None):
        found.append(f"Modal ends with {theirs['error']}, we end with {ours['error']}")
    elif theirs["error"] is not None:
        found += _mro_differences(theirs["error"]["mro"], ours["error"]["mro"], names_of_ours)
        wanted = nouns(theirs["error"]["message"]) & _words(cell.text)
        missing = wanted - _words(ours["error"]["message"])
        if missing:
            found.append(
                f"our message lacks {sorted(missing)}:\n"
                f"  Modal: {theirs['error']['message']}\n  ours:  {ours['error']['message']}"
            )
    found += [
        f"Modal's {kind} are {theirs[kind]}, ours {ours[kind]}"
        for kind in ("warnings", "logs")
        if theirs[kind] != ours[kind]
    ]
    return found


def is_stale(cell: Cell, recorded: Outcome) -> bool:
    """Whether the recording is of another text than the cell has now."""
    return bool(recorded["of"] != fingerprint(cell.text))


@functools.cache
def names_of_ours() -> frozenset[str]:
    """The classes of errors that Modal does not have, or not where ours has them."""
    from moorage import exception

    package = json.loads((RECORDED / "_package.json").read_text())
    here = {name for name, found in vars(exception).items() if isinstance(found, type)}
    return frozenset(here - set(package["errors"]) | ALSO_OURS)
