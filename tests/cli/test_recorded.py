"""The same command lines here and with the real client: the exit code, and what is wrong."""

import json
import re

import pytest

from cli.lines import ACCEPTED, LINES, RECORDED, error_of, write_programs
from moorage import config

OUTCOMES = json.loads(RECORDED.read_text())

# Where the text says something else by intention.  The exit codes are the same.
OTHERWISE = {
    "run -q": "Error: Missing argument 'FUNC_REF'.",
    "run pkg/inner.py": "Error: The source file contains relative imports",
    "run same.py": "Error: C.run got multiple values for keyword argument 'size'",
    "run typed.py::enums --colour RED": "Error: Parameter `colour` has unparseable annotation: ",
}


def without_names_of_modules(text):
    """Annotations as this command line shows them."""
    return re.sub(r"<(?:class|enum) '([\w.]+)'>", r"\1", text).replace("typing.", "")


def test_all_lines_are_recorded():
    assert list(OUTCOMES) == LINES


@pytest.mark.parametrize("line", LINES)
def test_line(shell, monkeypatch, line):
    monkeypatch.setattr(config, "strict", True)
    write_programs(shell.folder)
    code, _, err = shell(*line.split())
    said = (
        error_of(err, shell.folder).replace("moorage", "modal").replace("pathlib._local", "pathlib")
    )
    recorded = OUTCOMES[line]
    assert code == (0 if recorded["code"] == ACCEPTED else recorded["code"])
    error = without_names_of_modules(recorded["error"])
    assert said.startswith(error) != (line in OTHERWISE)
    assert said.startswith(OTHERWISE.get(line, error))
