"""Mistakes people make, and what they read: the programs, the runs, the golden files.

Owns how what a program wrote to stderr becomes the text of its golden file:

- the program is ``program.py``, files of the package are ``moorage/x.py`` without
  a line number;
- what differs between versions of Python is left out: the frames of the standard
  library, which become one line, all lines of a statement but its first, and the
  lines that mark a part of it with ``^^^^``.
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
MISTAKES = HERE / "mistakes"
GOLDEN = HERE / "golden"

# Seconds for all of them together.
ALL_GET = 400.0

STDLIB = "  ... frames of the standard library ..."

_FRAME = re.compile(
    r'^(?P<indent> +(?:\| )?)File "(?P<path>[^"]+)", line (?P<line>\d+)(?P<rest>.*)$'
)
_WARNING = re.compile(r"^(?P<path>/[^:]+\.py):(?P<line>\d+): (?P<rest>\w+: .*)$")


@dataclass(frozen=True)
class Seen:
    """What one program left behind."""

    text: str  # of stderr, normalised
    exit: int


def names() -> list[str]:
    return sorted(path.stem for path in MISTAKES.glob("*.py"))


def golden(name: str) -> Path:
    return GOLDEN / f"{name}.txt"


@functools.cache
def run_all() -> dict[str, Seen]:
    return run(names())


def run(wanted: list[str]) -> dict[str, Seen]:
    paths = {str(MISTAKES / f"{name}.py"): name for name in wanted}
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MOORAGE_", "PYTHON"))}
    if "PYTHONPATH" in os.environ:
        environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
    done = subprocess.run(
        [sys.executable, str(HERE / "run_mistakes.py"), *paths],
        capture_output=True,
        text=True,
        timeout=ALL_GET,
        env=environment | {"NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stderr
    return {
        paths[path]: Seen(normalised(seen["stderr"], path), seen["exit"])
        for path, seen in json.loads(done.stdout).items()
    }


def normalised(stderr: str, program: str) -> str:
    lines: list[str] = []
    source = 0  # lines of source that may follow: one after a frame
    for line in stderr.splitlines():
        if re.fullmatch(r"[\s|]*[~^][\s~^]*", line):
            continue
        frame, warning = _FRAME.match(line), _WARNING.match(line)
        if frame is not None:
            shown, number = _shown(frame["path"], program), frame["line"]
            source = 0 if shown == STDLIB else 1
            if shown == STDLIB:
                if lines[-1] != STDLIB:
                    lines.append(STDLIB)
                continue
            if shown.startswith("moorage/"):
                number = "..."
            lines.append(f'{frame["indent"]}File "{shown}", line {number}{frame["rest"]}')
        elif warning is not None:
            shown, number = _shown(warning["path"], program), warning["line"]
            lines.append(f"{shown}:{number}: {warning['rest']}")
        elif not line.startswith("    "):
            lines.append(line)
        elif source:
            source -= 1
            lines.append(line)
    text = "\n".join(lines) + "\n"
    text = text.replace(program, "program.py")
    text = re.sub(r"\bin-[0-9a-f]{16,}-[0-9a-f]+", "in-...", text)
    return re.sub(r"(?<= at )0x[0-9a-f]+", "0x...", text)


def _shown(path: str, program: str) -> str:
    if path == program:
        return "program.py"
    _, found, inside = path.rpartition("/moorage/")
    return f"moorage/{inside}" if found else STDLIB


def frames_of_ours(text: str) -> int:
    """The most frames of the package in one traceback of `text`."""
    tracebacks = text.split("Traceback (most recent call last):")
    return max(part.count('File "moorage/') for part in tracebacks)


def messages(text: str) -> list[str]:
    """What stands under each traceback, and the first line of each warning."""
    found: list[str] = []
    under = False  # in a message of several lines
    for line in text.splitlines():
        warning = re.match(r"[\w/]+\.py:\d+: (\w+: .*)", line)
        if warning is not None:
            found.append(warning[1])
            under = False
        elif re.match(r"[A-Za-z_][\w.]*(Error|Exception|Cancellation)\b", line):
            found.append(line)
            under = True
        elif not line or line.startswith("Traceback"):
            under = False
        elif under:
            found[-1] += f"\n{line}"
    return found
