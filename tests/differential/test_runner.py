"""The process that runs the cells: what it sees, and what a bad cell costs the others."""

import pytest

from . import harness


@pytest.fixture
def run(tmp_path, monkeypatch):
    def run(source):
        monkeypatch.setattr(harness, "PROGRAMS", tmp_path)
        (tmp_path / "topic.py").write_text(source)
        return harness.run("moorage", "topic")

    return run


def test_what_is_recorded(run):
    outcomes = run(
        "# %% prints\n"
        "import modal\n"
        "print(modal.Error.__name__, __name__, object())\n"
        "# %% raises\n"
        "class Mine(KeyError): pass\n"
        "raise Mine('x')\n"
        "# %% warns-and-logs\n"
        "import logging, warnings\n"
        "warnings.warn('once'); warnings.warn('twice')\n"
        "warnings.warn('never shown', ResourceWarning)\n"
        "logging.getLogger('any').warning('x')\n"
        "logging.getLogger('any').info('x')\n"
    )
    assert {name: {**outcome, "of": ""} for name, outcome in outcomes.items()} == {
        "prints": {
            "of": "",
            "stdout": ["Error cell <object object at 0x0>"],
            "error": None,
            "warnings": {},
            "logs": {},
        },
        "raises": {
            "of": "",
            "stdout": [],
            "error": {"mro": ["Mine", "KeyError", "LookupError", "Exception"], "message": "'x'"},
            "warnings": {},
            "logs": {},
        },
        "warns-and-logs": {
            "of": "",
            "stdout": [],
            "error": None,
            "warnings": {"UserWarning": 2},
            "logs": {"WARNING": 1},
        },
    }


def test_cells_share_nothing_but_the_process(run):
    outcomes = run("# %% one\nhere = 1\n# %% two\nprint(here)\n")
    assert outcomes["two"]["error"]["mro"][0] == "NameError"


def test_a_cell_that_ends_the_process_leaves_the_outcomes_before_it(run):
    outcomes = run("# %% one\nprint(1)\n# %% two\nimport os; os._exit(3)\n# %% three\nprint(3)\n")
    assert outcomes["one"]["stdout"] == ["1"]
    assert outcomes["_ended"]["returncode"] == 3
    assert set(outcomes) == {"one", "_ended"}


def test_a_syntax_error_is_an_outcome(run):
    outcomes = run("# %% one\ndef\n# %% two\nprint(2)\n")
    assert outcomes["one"]["error"]["mro"][0] == "SyntaxError"
    assert outcomes["two"]["stdout"] == ["2"]


def test_a_cell_that_hangs_is_interrupted(run, monkeypatch):
    monkeypatch.setenv("DIFFERENTIAL_CELL_GETS", "0.2")
    outcomes = run("# %% one\nimport threading\nthreading.Event().wait()\n# %% two\nprint(2)\n")
    assert outcomes["one"]["error"]["mro"] == ["CellHangs"]
    assert outcomes["two"]["stdout"] == ["2"]
