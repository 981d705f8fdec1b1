"""The sessions in the documentation: commands, and what they write.

A page says ``<!-- runs -->`` before a block ``console``; each line that begins with ``$ `` is run
in ``examples/docs``, or for the README in the root, one after the other, with a home of the page's
own.  A page says
``<!-- runs, in one run -->`` for what has numbers of one machine, and ``<!-- runs on a terminal, in
one run -->`` for what a person at a terminal sees: the live line as it was last, before it was
removed.

    python -m tests.cli.sessions

writes what the commands say now into the pages.
"""

from __future__ import annotations

import os
import pty
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
    r"<!-- runs(?P<terminal> on a terminal)?(?P<once>, in one run)? -->\n"
    r"```console\n(?P<body>.*?)^```$",
    re.M | re.S,
)


@dataclass(frozen=True)
class Step:
    """One command, and what the page says that it writes."""

    command: str
    output: str
    in_one_run: bool
    on_a_terminal: bool


def steps_of(page: Path) -> list[Step]:
    found: list[Step] = []
    for block in BLOCK.finditer(page.read_text()):
        for part in re.split(r"^\$ ", block["body"], flags=re.M)[1:]:
            command, _, output = part.partition("\n")
            once, terminal = block["once"] is not None, block["terminal"] is not None
            found.append(Step(command, output.strip("\n"), once, terminal))
    return found


def pages() -> list[Path]:
    return [page for page in PAGES if steps_of(page)]


def folder_of(page: Path) -> Path:
    """Return the folder in which a reader of the page runs its commands."""
    return ROOT if page.name == "README.md" else ROOT / "examples/docs"


def with_pipes(command: str, where: Path, environment: dict[str, str]) -> str:
    """Return what a command writes."""
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=where,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout


def on_a_terminal(command: str, where: Path, environment: dict[str, str]) -> str:
    """Return what a person sees while a command runs on a terminal."""
    ours, its = pty.openpty()
    with subprocess.Popen(
        ["sh", "-c", command],
        cwd=where,
        env={**environment, "TERM": "xterm"},
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
    ):
        os.close(its)
        data = b""
        try:
            while part := os.read(ours, 65536):
                data += part
        except OSError:
            pass  # so Linux says that the other end is closed
        os.close(ours)
    seen: list[str] = []
    for line in data.decode().replace("\r\n", "\n").split("\n"):
        *removed, last = re.split(r"\r\x1b\[2K", line)
        live = [each for each in removed if each.strip("\r")]
        seen += [*live[-1:], last]
    return "\n".join(re.sub(r"\x1b\[[\d;]*m|\r", "", line) for line in seen)


def outputs(steps: list[Step], where: Path) -> Iterator[str]:
    """Run the commands in a folder, and yield what each writes."""
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
            run = on_a_terminal if step.on_a_terminal else with_pipes
            shown = run(step.command, where, environment)
            shown = shown.replace(f"{folder}/home", "~/.local/share/moorage")
            yield shown.replace(f"{where}/", "").strip("\n")


def record(page: Path) -> None:
    """Write what the commands say now into the page."""
    said = outputs(steps_of(page), folder_of(page))

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
