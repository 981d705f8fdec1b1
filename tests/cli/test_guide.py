"""The sessions that the documentation shows are what the commands write."""

import re
from pathlib import Path

import pytest

from cli.sessions import ROOT, outputs, pages, steps_of


def without_numbers(text):
    return re.sub(r"\d+([.,]\d+)?( ms| s)?", "0", text)


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_sessions(page: Path):
    steps = steps_of(page)
    for step, said in zip(steps, outputs(steps), strict=True):
        if step.in_one_run:
            assert without_numbers(said) == without_numbers(step.output), step.command
        else:
            assert said == step.output, step.command


def test_each_example_for_the_command_is_run_by_a_session():
    commands = " ".join(step.command for page in pages() for step in steps_of(page))
    # Those of servers: see test_sessions.py.
    guide = (ROOT / "docs/guides/command-line.md").read_text()
    commands += " ".join(re.findall(r"^\$ moorage (?:serve|deploy) .*$", guide, re.M))
    for file in (ROOT / "examples/docs").glob("cli_*.py"):
        assert file.name in commands
