"""The sessions in the documentation: commands, and what they write.

A page says ``<!-- runs -->`` before a block ``console``; each line that begins with ``$ `` is run
in ``examples/docs``, one after the other, with a home of the page's own.  A page says
``<!-- runs, in one run -->`` for what has numbers of one machine.

    python -m tests.cli.sessions

writes what the commands say now into the pages.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(
    r"<!-- runs(?P<once>, in one run)? -->\n```console\n(?P<body>.*?)^```$", re.M | re.S
)


@dataclass(frozen=True)
class Step:
    """One command, and what the page says that it writes."""

    command: str
    output: str
    in_one_run: bool


def steps_of(page: Path) -> list[Step]:
    found: list[Step] = []
    for block in BLOCK.finditer(page.read_text()):
        for part in re.split(r"^\$ ", block["body"], flags=re.M)[1:]:
            command, _, output = part.partition("\n")
            found.append(Step(command, output.strip("\n"), block["once"] is not None))
    return found


def pages() -> list[Path]:
    return [page for page in PAGES if steps_of(page)]


def outputs(steps: list[Step]) -> Iterator[str]:
    """Run the commands, and yield what each writes."""
    with tempfile.TemporaryDirectory() as folder:
        bin_ = Path(folder) / "bin"
        bin_.mkdir()
        script = bin_ / "moorage"
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m moorage "$@"\n')
        script.chmod(0o755)
        kept = {k: v for k, v in os.environ.items() if "MOORAGE" not in k and "MODAL" not in k}
        environment = {
            **kept,
            "COLUMNS": "90",
            "MOORAGE_HOME": f"{folder}/home",
            "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(ROOT / "src"),
        }
        for step in steps:
            done = subprocess.run(
                ["sh", "-c", step.command],
                cwd=ROOT / "examples/docs",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=60,
                check=False,
            )
            shown = done.stdout.replace(f"{folder}/home", "~/.local/share/moorage")
            yield shown.replace(f"{ROOT / 'examples/docs'}/", "").strip("\n")


def record(page: Path) -> None:
    """Write what the commands say now into the page."""
    said = outputs(steps_of(page))

    def with_output(block: re.Match[str]) -> str:
        head = block[0][: block.start("body") - block.start()]
        parts = re.split(r"^\$ ", block["body"], flags=re.M)[1:]
        commands = [part.partition("\n")[0] for part in parts]
        shown = [f"$ {command}\n{next(said)}".rstrip("\n") + "\n" for command in commands]
        return head + "\n".join(shown) + "```"

    page.write_text(BLOCK.sub(with_output, page.read_text()))


if __name__ == "__main__":
    for each in pages():
        record(each)
        print(each.relative_to(ROOT))
